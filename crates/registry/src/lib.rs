//! The member registry: rosters in, audiences out.
//!
//! Guarantees: a file that cannot be read whole and without doubt changes nothing; an import is
//! planned, shown and then written in one transaction; an audience holds active members of the
//! current fiscal year, whatever the roster's file contained (incidents.md B).

mod audience;
mod condition;
mod fields;
mod import;
mod kind;

pub use audience::{
    AudienceError, AudienceSpec, AudienceView, SnapshotMember, create_audience, filter_from, find_audience,
    known_fields, rename_audience, resolve, sample, save_audience, show_audience, uses_of_audience,
};
pub use condition::{Comparison, Condition, can_be_asked_for, listed_values};
pub use fields::Difference;
pub use import::*;
