//! Opening the database and the one way to write to it.

use crate::{
    StoreError,
    sql::{self},
};
use domain::{BroadcastId, Timestamp};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbBackend,
    SqliteTransactionMode, TransactionOptions, TransactionTrait, Value,
};
use std::{ops::Deref, sync::Arc, time::Duration};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// More writers than this only wait for each other; readers of pages need a few.
const CONNECTIONS_MAX: u32 = 12;
/// SQLite's pages in memory, per connection. A reader forgets its own at every commit of the writer.
const CACHE_KIB: u32 = 2_000;
/// The one connection that writes keeps them: an import's indexes are written in no order.
const WRITER_CACHE_KIB: u32 = 16_000;
/// Another process on the same SQLite file (the CLI) may hold the write lock for a large import.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// A database that does not answer within this is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that was used just now is not asked first whether it is there.
const IDLE_TEST: Duration = Duration::from_secs(1);

/// A process that hangs inside a transaction holds its locks, and with them every other worker
/// and whoever wants to stop. After this PostgreSQL ends its session. Between two statements of
/// ours lie microseconds; a worker whose turn was ended repeats it.
const IDLE_IN_TRANSACTION_MS_MAX: u32 = 2_000;

/// Advisory locks are numbers without a table: this bit marks ours, the rest is the broadcast.
const BROADCAST_LOCKS: i64 = 1 << 62;

/// Which engine is behind the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// One file, one `serve`.
    Sqlite,
    /// Any number of workers.
    Postgres,
}

/// A handle on the core database; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) connection: DatabaseConnection,
    engine: Engine,
    url: Arc<str>,
    // Queueing for SQLite's one writer here is fair; its own busy handler sleeps.
    writer: Arc<Mutex<Writer>>,
}

/// SQLite's writing connection between two transactions: always the same one, which alone changes
/// the file and so keeps its pages at hand. A transaction takes it along and brings it back when it
/// has committed. After anything else it is closed: seen on a full disk, a connection may count as
/// inside a transaction that failed, and the next one is a part of that, committed to nothing.
type Writer = Option<DatabaseConnection>;

/// An open write transaction: dropped without [`WriteTx::commit`], nothing happened.
pub struct WriteTx {
    tx: DatabaseTransaction,
    engine: Engine,
    writer: Option<(OwnedMutexGuard<Writer>, DatabaseConnection)>,
}

impl Store {
    /// Opens `sqlite://path` or `postgres://…`. A missing SQLite file is created.
    ///
    /// # Errors
    /// [`StoreError::Open`].
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        let engine = if url.starts_with("postgres") { Engine::Postgres } else { Engine::Sqlite };
        let connection = open(url, CONNECTIONS_MAX, CACHE_KIB).await?;
        Ok(Self { connection, engine, url: url.into(), writer: Arc::default() })
    }

    /// Which engine this is.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The connection, for migrations by the executables.
    #[must_use]
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Begins a write transaction. On SQLite it takes the write lock at once, so that what is
    /// read inside cannot change before the commit.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    #[expect(clippy::disallowed_methods, reason = "this is the one place that begins transactions")]
    pub async fn write(&self) -> Result<WriteTx, StoreError> {
        let mode = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        let (tx, writer) = match self.engine {
            Engine::Postgres => (self.connection.begin_with_options(mode).await, None),
            Engine::Sqlite => {
                let (kept, connection) = self.take_writer().await?;
                (connection.begin_with_options(mode).await, Some((kept, connection)))
            }
        };
        let tx = tx.map_err(StoreError::query("begin a write"))?;
        Ok(WriteTx { tx, engine: self.engine, writer })
    }

    /// SQLite only: a statement that is a write transaction of its own, durable when this returns;
    /// how many rows it touched.
    pub(crate) async fn write_at_once(
        &self,
        operation: &'static str,
        text: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<u64, StoreError> {
        let (mut kept, connection) = self.take_writer().await?;
        let touched = sql::run(&connection, operation, text, values).await?;
        *kept = Some(connection);
        Ok(touched)
    }

    async fn take_writer(&self) -> Result<(OwnedMutexGuard<Writer>, DatabaseConnection), StoreError> {
        let mut kept = self.writer.clone().lock_owned().await;
        let connection = match kept.take() {
            Some(connection) => connection,
            None => open(&self.url, 1, WRITER_CACHE_KIB).await?,
        };
        Ok((kept, connection))
    }

    /// The database's own clock: what leases and the daily cap are measured by.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        sql::database_now(&self.connection).await
    }

    /// Writes a consistent copy of a SQLite database to a new file, while others go on writing.
    ///
    /// # Errors
    /// [`StoreError::Query`], also where the file exists or this is no SQLite database.
    pub async fn copy_to(&self, file: &str) -> Result<(), StoreError> {
        sql::run(&self.connection, "copy the database", "VACUUM INTO $1", [file.into()]).await.map(|_| ())
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.now().await.map(|_| ())
    }
}

impl WriteTx {
    /// Makes everything written durable.
    ///
    /// # Errors
    /// [`StoreError::Query`]; on PostgreSQL the commit may still have happened.
    pub async fn commit(self) -> Result<(), StoreError> {
        let Self { tx, writer, .. } = self;
        tx.commit().await.map_err(StoreError::query("commit"))?;
        if let Some((mut kept, connection)) = writer {
            *kept = Some(connection);
        }
        Ok(())
    }

    /// Waits for the named lock row, held until the end of the transaction. SQLite's write
    /// transactions exclude each other anyway.
    pub(crate) async fn exclusive(&self, name: &str) -> Result<(), StoreError> {
        match self.engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => sql::run(
                &self.tx,
                "take a lock",
                "SELECT name FROM lock_row WHERE name = $1 FOR UPDATE",
                [name.into()],
            )
            .await
            .map(|_| ()),
        }
    }

    /// Ends a SELECT whose rows nobody else may change before this transaction ends.
    pub(crate) fn for_update(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "",
            Engine::Postgres => " FOR UPDATE",
        }
    }

    /// Keeps a broadcast's state as it is until the end of this transaction, beside others that
    /// only look at it too. PostgreSQL hands these locks out in the order of asking; a row lock
    /// would let a stream of lookers pass by the one who wants to stop (law 8).
    pub(crate) async fn look_at_broadcast(&self, id: BroadcastId) -> Result<(), StoreError> {
        self.advisory("SELECT pg_advisory_xact_lock_shared($1)", id).await
    }

    /// Waits until nobody looks at or moves a broadcast, and keeps it so.
    pub(crate) async fn hold_broadcast(&self, id: BroadcastId) -> Result<(), StoreError> {
        self.advisory("SELECT pg_advisory_xact_lock($1)", id).await
    }

    async fn advisory(&self, text: &str, id: BroadcastId) -> Result<(), StoreError> {
        match self.engine {
            Engine::Sqlite => Ok(()),
            Engine::Postgres => {
                sql::run(&self.tx, "lock a broadcast", text, [(BROADCAST_LOCKS | id.get()).into()])
                    .await
                    .map(|_| ())
            }
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.engine
    }
}

impl Deref for WriteTx {
    type Target = DatabaseTransaction;

    fn deref(&self) -> &DatabaseTransaction {
        &self.tx
    }
}

async fn open(url: &str, connections_max: u32, cache_kib: u32) -> Result<DatabaseConnection, StoreError> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections_max)
        .connect_timeout(CONNECT_TIMEOUT)
        .test_before_acquire_if_idle_for(IDLE_TEST)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_postgres_opts(|postgres| {
            postgres.options([("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_MS_MAX)])
        })
        .map_sqlx_sqlite_opts(move |sqlite| {
            use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
            sqlite
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .pragma("cache_size", format!("-{cache_kib}"))
                .busy_timeout(BUSY_TIMEOUT)
        });
    Database::connect(options).await.map_err(|source| StoreError::Open { url: without_password(url), source })
}

pub(crate) fn engine_of(connection: &impl ConnectionTrait) -> Engine {
    match connection.get_database_backend() {
        DbBackend::Postgres => Engine::Postgres,
        _ => Engine::Sqlite,
    }
}

fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}
