//! What can go wrong with the database, and what the operator does about it.

use domain::{IllegalBroadcastEvent, IllegalEvent, Refusal};
use sea_orm::DbErr;

/// A failed store operation. Nothing was written unless a variant says otherwise.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database could not be opened.
    #[error("the database {url} cannot be opened; check `database.url`, the folder's rights and free space")]
    Open {
        /// Without password.
        url: String,
        /// Cause.
        source: DbErr,
    },
    /// A statement failed.
    #[error("database: {operation} failed")]
    Query {
        /// What was being done.
        operation: &'static str,
        /// Cause.
        source: DbErr,
    },
    /// A row holds something that no code of ours wrote.
    #[error("database: table {table}, column {column}, row {row}: not readable ({why})")]
    Corrupt {
        /// Table.
        table: &'static str,
        /// Column.
        column: &'static str,
        /// Row id.
        row: i64,
        /// What was wrong.
        why: String,
    },
    /// A safety rule refused the action.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The broadcast is in a state that does not allow this step.
    #[error(transparent)]
    BroadcastStep(#[from] IllegalBroadcastEvent),
    /// A ledger row cannot take this event.
    #[error(transparent)]
    LedgerStep(#[from] IllegalEvent),
    /// There is no such thing.
    #[error("{what} {id} does not exist")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// By which id or name.
        id: String,
    },
    /// Something of that name exists already.
    #[error("{what} {name} exists already")]
    Exists {
        /// What.
        what: &'static str,
        /// Its name.
        name: String,
    },
}

impl StoreError {
    /// For `.map_err(StoreError::query("…"))`.
    pub fn query(operation: &'static str) -> impl FnOnce(DbErr) -> Self {
        move |source| Self::Query { operation, source }
    }

    /// A missing row.
    pub fn not_found(what: &'static str, id: impl ToString) -> Self {
        Self::NotFound { what, id: id.to_string() }
    }
}
