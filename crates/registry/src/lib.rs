//! The member registry: rosters in, audiences out.
//!
//! Guarantees: a file that cannot be read whole and without doubt changes nothing; an import is
//! planned, shown and then written in one transaction; an audience holds active members of the
//! current fiscal year, whatever the roster's file contained (incidents.md B).

mod audience;
mod import;

pub use audience::{
    AudienceError, AudienceSpec, AudienceView, Condition, SnapshotMember, create_audience, filter_from,
    known_fields, resolve, show_audience,
};
pub use import::{
    Excluded, ImportError, ImportMode, ImportPlan, ImportReport, Rejected, Roster, RowCode, RowNote, apply,
    plan, read_roster,
};
