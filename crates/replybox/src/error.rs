//! What can go wrong with the reply database, and whether waiting helps.

use sea_orm::{DbErr, RuntimeErr, SqlxError, SqlxSqliteError};

/// A failed operation on the reply database. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ReplyBoxError {
    /// The database could not be opened.
    #[error(
        "the reply database {url} cannot be opened; check `database.replies_url`, the folder's rights and free space"
    )]
    Open {
        /// Without password.
        url: String,
        /// Cause.
        source: DbErr,
    },
    /// The table is not there, or not readable.
    #[error("the reply database has no readable table `reply`; run `hansho migrate up` first")]
    SchemaAbsent {
        /// Cause.
        source: DbErr,
    },
    /// A statement failed.
    #[error("reply database: {operation} failed")]
    Query {
        /// What was being done.
        operation: &'static str,
        /// Cause.
        source: DbErr,
    },
    /// The handle was opened to read.
    #[error("reply database: this part of hansho only reads replies")]
    ReadOnly,
    /// A row holds something that no code of ours wrote.
    #[error("reply database: table reply, column {column}, row {row}: not readable")]
    Corrupt {
        /// Column.
        column: &'static str,
        /// Row id.
        row: i64,
    },
}

impl ReplyBoxError {
    /// Whether the same operation may succeed later without anyone changing the program or the
    /// schema: locked, disk full, no connection. A receiver then asks its peer to come back.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Open { source, .. } | Self::Query { source, .. } | Self::SchemaAbsent { source } => {
                is_temporary(source)
            }
            Self::Corrupt { .. } | Self::ReadOnly => false,
        }
    }

    pub(crate) fn query(operation: &'static str) -> impl FnOnce(DbErr) -> Self {
        move |source| Self::Query { operation, source }
    }
}

/// Whether another mail than this one, or fewer at once, might be stored all the same.
pub(crate) fn may_be_one_mail_s(error: &DbErr) -> bool {
    !is_temporary(error) || is_full(error)
}

fn is_full(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(e)) | DbErr::Query(RuntimeErr::SqlxError(e))) = error else {
        return false;
    };
    // SQLITE_FULL; PostgreSQL's disk_full.
    let code = e.as_database_error().and_then(|e| e.code());
    matches!(code.as_deref(), Some("13" | "53100"))
}

pub(crate) fn is_temporary(error: &DbErr) -> bool {
    match error {
        DbErr::ConnectionAcquire(_) => true,
        DbErr::Conn(RuntimeErr::SqlxError(e))
        | DbErr::Exec(RuntimeErr::SqlxError(e))
        | DbErr::Query(RuntimeErr::SqlxError(e)) => is_temporary_in_driver(e),
        _ => false,
    }
}

fn is_temporary_in_driver(error: &SqlxError) -> bool {
    match error {
        SqlxError::Io(_)
        | SqlxError::Tls(_)
        | SqlxError::PoolTimedOut
        | SqlxError::PoolClosed
        | SqlxError::WorkerCrashed => true,
        SqlxError::Database(e) => {
            let code = e.code().unwrap_or_default();
            if e.try_downcast_ref::<SqlxSqliteError>().is_some() {
                code.parse().is_ok_and(is_temporary_in_sqlite)
            } else {
                is_temporary_in_postgres(&code)
            }
        }
        _ => false,
    }
}

/// <https://www.sqlite.org/rescode.html>: the low byte of an extended code is the primary one.
fn is_temporary_in_sqlite(extended: i32) -> bool {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const NO_MEMORY: i32 = 7;
    const READ_ONLY: i32 = 8;
    const IO_ERROR: i32 = 10;
    const FULL: i32 = 13;
    const CANNOT_OPEN: i32 = 14;
    const PROTOCOL: i32 = 15;
    [BUSY, LOCKED, NO_MEMORY, READ_ONLY, IO_ERROR, FULL, CANNOT_OPEN, PROTOCOL].contains(&(extended & 0xff))
}

/// PostgreSQL, appendix A: connection, read-only server, rollback, resources (disk full), lock,
/// operator intervention, system error.
fn is_temporary_in_postgres(sqlstate: &str) -> bool {
    sqlstate == "25006"
        || ["08", "40", "53", "55", "57", "58"].iter().any(|class| sqlstate.starts_with(class))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_passes_and_a_missing_table_does_not() {
        assert!(is_temporary_in_sqlite(13));
        assert!(is_temporary_in_sqlite(5 | 2 << 8));
        assert!(!is_temporary_in_sqlite(1));
        assert!(is_temporary_in_postgres("53100"));
        assert!(!is_temporary_in_postgres("42P01"));
    }
}
