//! The drill scheduler and the broadcasting desk.
//!
//! [`Desk`] is where people's decisions about a broadcast arrive, from pages and command line
//! alike: draft, preflight, signatures, release, stop. It never sends; it enqueues (incidents.md
//! A: the page's request did the sending). [`Timeline`] turns a running exercise's injects into
//! notices at that same desk, so that an inject needs the same signatures as any other notice.

mod desk;
mod plan;
mod timeline;

pub use desk::{ApproveAnswer, Desk, DeskError, DeskSettings, NewNotice, PreflightAnswer, StrayFields};
pub use plan::{PlanError, parse_plan};
pub use timeline::Timeline;
