//! Rows of replies and bounces only, in a database of their own.
//!
//! An insert is durable when it returns, and all rows of one mail are stored or none. Rows are
//! written once: there is no way here to change one, and one handle only ([`ReplyEraser`]) can delete. Whoever holds this database's credentials
//! can neither read the registry nor enqueue a mail.
//!
//! # Security
//! Texts and raw mail were written by strangers. They come out as they went in (a NUL in a text
//! becomes U+FFFD) and must be escaped wherever they are shown.

mod eraser;
mod error;
mod reply;
mod row;
mod writer;

pub use eraser::ReplyEraser;
pub use error::ReplyBoxError;
pub use reply::{ArrivedBy, NewReply, ReplyFilter, ReplySummary, StoredReply};

use domain::{BroadcastId, MemberId, ReplyClass, ReplyId};
use row::{Column, Entity, SUMMARY_COLUMNS, SummaryRow};
use sea_orm::{
    ColumnTrait, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, EntityTrait,
    QueryFilter, QueryOrder, QuerySelect, Select, Statement, sea_query::Expr,
};
use std::time::Duration;
use writer::Writer;

/// One writes; the others serve pages. More only wait for the disk.
const CONNECTIONS_MAX: u32 = 4;
/// Another process (a dashboard's page, a backup) may hold the file this long; the peer's mail
/// server waits minutes, and after that it is told to come back.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A database that does not answer within this is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// More lines than anybody reads on one page.
const PAGE_ROWS_MAX: u64 = 500;
/// With texts as long as they can be, a few megabytes.
const FULL_ROWS_MAX: u64 = 100;

/// What a handle is for.
#[derive(Debug, Clone, Copy)]
enum Use {
    Write,
    Read,
    Erase,
}

/// A handle on the reply database; cheap to clone.
#[derive(Clone, Debug)]
pub struct ReplyBox {
    connection: DatabaseConnection,
    /// None where the handle is for reading.
    writer: Option<Writer>,
}

impl ReplyBox {
    /// Opens `sqlite://path` or `postgres://…`. A missing SQLite file is created, with a rollback
    /// journal: a WAL database cannot be opened read-only by another OS user once its writer has
    /// closed.
    ///
    /// # Errors
    /// [`ReplyBoxError::Open`].
    pub async fn connect(url: &str) -> Result<Self, ReplyBoxError> {
        Self::opened(url, BUSY_TIMEOUT, Use::Write).await
    }

    /// The same for whoever only reads: the database refuses every statement that writes. What a
    /// crash of the writer left half written is put right all the same.
    ///
    /// # Errors
    /// [`ReplyBoxError::Open`].
    pub async fn connect_to_read(url: &str) -> Result<Self, ReplyBoxError> {
        Self::opened(url, BUSY_TIMEOUT, Use::Read).await
    }

    async fn opened(url: &str, busy_timeout: Duration, purpose: Use) -> Result<Self, ReplyBoxError> {
        let connection = open(url, CONNECTIONS_MAX, busy_timeout, purpose)
            .await
            .map_err(|source| ReplyBoxError::Open { url: without_password(url), source })?;
        let writer = match purpose {
            Use::Write => Some(Writer::start(url.into(), busy_timeout)),
            Use::Read | Use::Erase => None,
        };
        Ok(Self { connection, writer })
    }

    /// The connection, for migrations by the executables.
    #[must_use]
    pub fn connection(&self) -> &DatabaseConnection {
        &self.connection
    }

    /// Whether the table is there. A role that may only insert needs SELECT on the column `id`,
    /// which an insert's returned id asks for as well.
    ///
    /// # Errors
    /// [`ReplyBoxError::SchemaAbsent`], or [`ReplyBoxError::Query`] where the database is busy or away.
    pub async fn check_schema(&self) -> Result<(), ReplyBoxError> {
        let first = Entity::find().select_only().column(Column::Id).limit(1).into_tuple::<i64>();
        match first.one(&self.connection).await {
            Ok(_) => Ok(()),
            Err(source) if error::is_temporary(&source) => {
                Err(ReplyBoxError::Query { operation: "look for the table", source })
            }
            Err(source) => Err(ReplyBoxError::SchemaAbsent { source }),
        }
    }

    /// Stores one reply; it is durable when this returns.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`], [`ReplyBoxError::ReadOnly`]: nothing was stored.
    pub async fn insert(&self, reply: NewReply) -> Result<ReplyId, ReplyBoxError> {
        let ids = self.insert_all(vec![reply]).await?;
        Ok(*ids.first().expect("invariant: one row, one id"))
    }

    /// Stores the rows of one mail that came for several recipients: all or none, durable when
    /// this returns. The ids are in the order of `replies`.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`], [`ReplyBoxError::ReadOnly`]: nothing was stored.
    pub async fn insert_all(&self, replies: Vec<NewReply>) -> Result<Vec<ReplyId>, ReplyBoxError> {
        let writer = self.writer.as_ref().ok_or(ReplyBoxError::ReadOnly)?;
        writer.store(replies).await.map_err(ReplyBoxError::query("store a reply"))
    }

    /// The newest replies that `filter` lets through, newest first; `before` continues a list.
    /// At most 500.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`], [`ReplyBoxError::Corrupt`].
    pub async fn page(
        &self,
        filter: ReplyFilter,
        before: Option<ReplyId>,
        limit: u64,
    ) -> Result<Vec<ReplySummary>, ReplyBoxError> {
        let mut query = Entity::find().order_by_desc(Column::Id).limit(limit.min(PAGE_ROWS_MAX));
        if let Some(class) = filter.class {
            query = query.filter(Column::Class.eq(class.as_str()));
        }
        if let Some(broadcast) = filter.broadcast {
            query = query.filter(Column::BroadcastId.eq(broadcast.get()));
        }
        if let Some(before) = before {
            query = query.filter(Column::Id.lt(before.get()));
        }
        self.summaries(query).await
    }

    /// One reply with its raw mail.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`], [`ReplyBoxError::Corrupt`].
    pub async fn get(&self, id: ReplyId) -> Result<Option<StoredReply>, ReplyBoxError> {
        Entity::find_by_id(id.get())
            .one(&self.connection)
            .await
            .map_err(ReplyBoxError::query("read a reply"))?
            .map(StoredReply::try_from)
            .transpose()
    }

    /// Replies stored after `id`, oldest first, at most `limit` and 500: for whoever follows the
    /// box. On PostgreSQL a row may become visible after one with a higher id, so a follower
    /// reads again from a little before the last id it saw.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`], [`ReplyBoxError::Corrupt`].
    pub async fn after(&self, id: ReplyId, limit: u64) -> Result<Vec<ReplySummary>, ReplyBoxError> {
        let newer = Entity::find().filter(Column::Id.gt(id.get()));
        self.summaries(newer.order_by_asc(Column::Id).limit(limit.min(PAGE_ROWS_MAX))).await
    }

    /// The same, with the whole text in place of its beginning: at most 100, for an export.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`], [`ReplyBoxError::Corrupt`].
    pub async fn after_in_full(&self, id: ReplyId) -> Result<Vec<ReplySummary>, ReplyBoxError> {
        let newer = Entity::find().filter(Column::Id.gt(id.get()));
        self.read(newer.order_by_asc(Column::Id).limit(FULL_ROWS_MAX), Expr::col(Column::BodyText)).await
    }

    /// The newest replies to one member's addresses, at most `limit`.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`], [`ReplyBoxError::Corrupt`].
    pub async fn of_member(&self, member: MemberId, limit: u64) -> Result<Vec<ReplySummary>, ReplyBoxError> {
        let theirs = Entity::find().filter(Column::MemberId.eq(member.get()));
        self.summaries(theirs.order_by_desc(Column::Id).limit(limit.min(PAGE_ROWS_MAX))).await
    }

    /// Replies to one member's addresses after `id`, with the whole text: at most 100, for an export.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`], [`ReplyBoxError::Corrupt`].
    pub async fn of_member_in_full(
        &self,
        member: MemberId,
        id: ReplyId,
    ) -> Result<Vec<ReplySummary>, ReplyBoxError> {
        let theirs = Entity::find().filter(Column::MemberId.eq(member.get())).filter(Column::Id.gt(id.get()));
        self.read(theirs.order_by_asc(Column::Id).limit(FULL_ROWS_MAX), Expr::col(Column::BodyText)).await
    }

    /// Writes a consistent copy of a SQLite box to a new file, while others go on writing.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`], also where the file exists or the box is no SQLite database.
    pub async fn copy_to(&self, file: &str) -> Result<(), ReplyBoxError> {
        let copy = Statement::from_sql_and_values(
            self.connection.get_database_backend(),
            "VACUUM INTO $1",
            [file.into()],
        );
        self.connection.execute_raw(copy).await.map(|_| ()).map_err(ReplyBoxError::query("copy the replies"))
    }

    /// How many replies there are of each class; every class is listed, in the order of
    /// [`ReplyClass::ALL`].
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`].
    pub async fn counts(&self) -> Result<Vec<(ReplyClass, u64)>, ReplyBoxError> {
        self.count_classes(Entity::find()).await
    }

    /// The same for the replies to one notice.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`].
    pub async fn counts_for(&self, broadcast: BroadcastId) -> Result<Vec<(ReplyClass, u64)>, ReplyBoxError> {
        self.count_classes(Entity::find().filter(Column::BroadcastId.eq(broadcast.get()))).await
    }

    /// How many replies of any class came back to one notice.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`].
    pub async fn count_for(&self, broadcast: BroadcastId) -> Result<u64, ReplyBoxError> {
        Ok(self.counts_for(broadcast).await?.iter().map(|(_, count)| count).sum())
    }

    async fn count_classes(&self, replies: Select<Entity>) -> Result<Vec<(ReplyClass, u64)>, ReplyBoxError> {
        let rows: Vec<(String, i64)> = replies
            .select_only()
            .column(Column::Class)
            .column_as(Column::Id.count(), "n")
            .group_by(Column::Class)
            .into_tuple()
            .all(&self.connection)
            .await
            .map_err(ReplyBoxError::query("count replies"))?;
        let count =
            |class: ReplyClass| rows.iter().find(|(word, _)| word == class.as_str()).map_or(0, |(_, n)| *n);
        Ok(ReplyClass::ALL.iter().map(|class| (*class, u64::try_from(count(*class)).unwrap_or(0))).collect())
    }

    /// The rows of `query` without their raw mail.
    async fn summaries(&self, query: Select<Entity>) -> Result<Vec<ReplySummary>, ReplyBoxError> {
        let excerpt = format!("substr(body_text, 1, {})", ReplySummary::EXCERPT_CHARS);
        self.read(query, Expr::cust(excerpt)).await
    }

    async fn read(
        &self,
        query: Select<Entity>,
        excerpt: impl Into<Expr>,
    ) -> Result<Vec<ReplySummary>, ReplyBoxError> {
        let rows = query
            .select_only()
            .columns(SUMMARY_COLUMNS)
            .column_as(excerpt.into(), "excerpt")
            .into_model::<SummaryRow>()
            .all(&self.connection)
            .await
            .map_err(ReplyBoxError::query("list replies"))?;
        rows.into_iter().map(ReplySummary::try_from).collect()
    }
}

async fn open(
    url: &str,
    connections_max: u32,
    busy_timeout: Duration,
    purpose: Use,
) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections_max)
        .connect_timeout(CONNECT_TIMEOUT)
        .acquire_timeout(CONNECT_TIMEOUT)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_postgres_opts(move |postgres| match purpose {
            Use::Write | Use::Erase => postgres,
            Use::Read => postgres.options([("default_transaction_read_only", "on")]),
        })
        .map_sqlx_sqlite_opts(move |sqlite| {
            use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
            let sqlite = match purpose {
                Use::Write => sqlite,
                Use::Read => sqlite.pragma("query_only", "ON"),
                // Zeros in place of what is deleted, on disk too.
                Use::Erase => sqlite.pragma("secure_delete", "ON"),
            };
            sqlite
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Delete)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(busy_timeout)
        });
    Database::connect(options).await
}

fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Timestamp;
    use sea_orm::{SqliteTransactionMode, TransactionOptions, TransactionTrait};
    use sea_orm_migration::MigratorTrait;

    async fn empty_box(folder: &tempfile::TempDir) -> (ReplyBox, String) {
        let url = format!("sqlite://{}", folder.path().join("replies.db").display());
        let replies = ReplyBox::opened(&url, Duration::from_millis(50), Use::Write).await.expect("open");
        migrations::replies::Migrator::up(replies.connection(), None).await.expect("migrate");
        (replies, url)
    }

    fn reply(size: usize) -> NewReply {
        NewReply {
            received_at: Timestamp::from_millis(1),
            broadcast: BroadcastId::new(1),
            member: MemberId::new(2),
            arrived_by: ArrivedBy::Reply,
            envelope_from: String::new(),
            peer: "127.0.0.1".to_owned(),
            class: ReplyClass::HumanReply,
            reason: None,
            status: None,
            subject: String::new(),
            from_header: String::new(),
            body_text: String::new(),
            raw: vec![b'x'; size].into(),
        }
    }

    #[tokio::test]
    async fn a_locked_database_is_a_temporary_failure_and_recovers_by_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let (replies, url) = empty_box(&folder).await;
        let other = ReplyBox::opened(&url, Duration::from_millis(50), Use::Write).await.expect("open");
        let lock = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Exclusive),
            ..TransactionOptions::default()
        };
        #[expect(clippy::disallowed_methods, reason = "the test holds a lock")]
        let held = other.connection.begin_with_options(lock).await.expect("lock");
        let error = replies.insert(reply(1)).await.expect_err("locked");
        assert!(error.is_temporary(), "{error:?}");
        held.rollback().await.expect("unlock");
        replies.insert(reply(1)).await.expect("recovered");
    }

    #[tokio::test]
    async fn a_missing_table_names_the_command_that_makes_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("replies.db").display());
        let replies = ReplyBox::connect(&url).await.expect("open");
        let error = replies.check_schema().await.expect_err("no table");
        assert!(error.to_string().contains("hansho migrate up"));
        assert!(!error.is_temporary());
    }

    #[test]
    fn an_error_shows_no_password() {
        assert_eq!(without_password("postgres://sink:secret@db/replies"), "postgres://…@db/replies");
        assert_eq!(without_password("sqlite://replies.db"), "sqlite://replies.db");
    }
}
