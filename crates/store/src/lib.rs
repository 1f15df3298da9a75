//! The core database behind concrete functions: the only place that branches on SQLite or
//! PostgreSQL, and the only one that writes the ledger.
//!
//! What is guaranteed here: every write happens in one transaction with its audit entry; a
//! ledger row changes only as [`domain::Delivery::next`] allows; a row can be submitted only by
//! whoever holds a [`SubmitPermit`], and a permit exists only after its intent is durable.
//!
//! Statements use `$1` placeholders, which both engines understand.

mod audience;
mod audit;
mod broadcast;
mod compare;
mod connection;
mod entity;
mod erasure;
mod error;
mod exercise;
mod filter;
mod freeze;
mod import;
mod ledger;
mod member;
#[cfg(feature = "model")]
pub mod model;
mod opening;
mod personal;
mod proof;
mod release;
mod reply_mark;
mod request;
mod response;
mod retention;
mod sql;
mod staff;
mod staff_mail;

pub use audience::*;
pub use audit::{AuditEntry, AuditProblem};
pub use broadcast::{Broadcast, NewBroadcast};
pub use compare::{Difference, Listed, NamedMember, People};
pub use connection::{Engine, Store, WriteTx};
pub use erasure::Erasure;
pub use error::StoreError;
pub use exercise::{Exercise, Inject, NewExercise, NewInject};
pub use filter::{AudienceFilter, Clause, QUOTATION_MARKS, Term, Test, quoted_where_needed};
pub use freeze::{FreezeRow, Snapshot};
pub use import::*;
pub use ledger::{
    Attempt, ClaimedRow, Full, Ledger, LedgerFilter, LedgerRow, Limits, Outcome, SILENCE_MAX, Settlement,
    SubmitPermit, TimeLimit, Turn, Worker, WorkerTerms,
};
pub use member::*;
pub use opening::{Canary, CanaryPlan, FULL_HOUR_SPREAD, ReleasePolicy};
pub use personal::{AnswerRecord, RequestRecord};
pub use proof::ProofLimit;
pub use release::{Released, StopAnswer};
pub use reply_mark::BounceMatch;
pub use request::{NewRequest, OpenRequest, SuppressedMember, Suppression};
pub use response::{Response, ResponsePoint};
pub use retention::Kept;
pub use staff::{SessionRow, StaffRow};
pub use staff_mail::{StaffMail, StaffMailKind};
