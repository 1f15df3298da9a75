//! What the promises in this package have in common: a whole installation under test.
//!
//! A [`Society`] is made the way a stranger makes one, by `hansho init`, `user add` and
//! `member import`, in a folder of its own. Its relay runs inside the test, so that the record of
//! what left outlives every process that a test kills. Everything is done through the product's
//! own executables; only looking at the ledger goes straight to the database, read-only.
//!
//! Helpers panic where the product does not do what the sentence of a test says, and tell what it
//! said instead. The only way to wait is [`until`]: for a condition, with a deadline.

mod broadcast;
mod call;
mod dot;
mod post;
mod process;
mod roster;
mod serve;
mod society;
mod wait;

pub use broadcast::Broadcast;
pub use call::{Answer, Call, hansho};
pub use dot::Dot;
pub use post::Post;
pub use process::{Process, sinkd_executable};
pub use roster::{member_address, member_no, write_members};
pub use serve::Serve;
pub use society::{Person, Plan, Society};
pub use wait::{PATIENCE, until};
