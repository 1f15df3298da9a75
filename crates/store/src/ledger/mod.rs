//! The ledger: one row per recipient and broadcast, and the only thing that decides who is sent to.
//!
//! The order of durability is the promise (laws 3 and 4): [`Store::turn`] writes, in one commit,
//! the outcomes of finished submissions and the intents of the next ones; a [`SubmitPermit`]
//! exists only for an intent whose commit has returned. A stopped broadcast, an expired lease or
//! a worker that was declared dead gets no permit, because the same statement checks all three.

mod attempt;
mod claim;
mod contract;
mod count;
mod pace;
mod permit;
mod turn;
mod turn_text;
mod view;

#[cfg(feature = "model")]
pub(crate) use claim::attempts_of;

pub use attempt::Attempt;
pub use claim::{ClaimedRow, SILENCE_MAX, Worker, WorkerTerms};
pub use contract::Ledger;
pub use count::{Settlement, TimeLimit};
pub use pace::{Full, Limits};
pub use permit::{Outcome, SubmitPermit};
pub use turn::Turn;
pub use view::{LedgerFilter, LedgerRow};
