//! The handle that deletes: replies of an erased person, and replies kept long enough. It can write
//! nothing else, and on PostgreSQL it may be a role that can read no reply.

use crate::{BUSY_TIMEOUT, ReplyBoxError, Use, open, without_password};
use domain::{MemberId, Timestamp};
use sea_orm::{ConnectionTrait, DatabaseConnection, Statement, Value};

/// Raw mails are large, and the sink waits meanwhile: some megabytes.
const ROWS: i64 = 100;

/// Deletes replies.
#[derive(Clone, Debug)]
pub struct ReplyEraser {
    connection: DatabaseConnection,
}

impl ReplyEraser {
    /// Opens `sqlite://path` or `postgres://…`. SQLite overwrites what this handle deletes.
    ///
    /// # Errors
    /// [`ReplyBoxError::Open`].
    pub async fn connect(url: &str) -> Result<Self, ReplyBoxError> {
        let connection = open(url, 1, BUSY_TIMEOUT, Use::Erase)
            .await
            .map_err(|source| ReplyBoxError::Open { url: without_password(url), source })?;
        Ok(Self { connection })
    }

    /// Deletes every reply that came to addresses of this member, bounces too; how many.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`]; some may be deleted then, and the next call deletes the rest.
    pub async fn erase_member(&self, member: MemberId) -> Result<u64, ReplyBoxError> {
        let mut deleted = 0;
        loop {
            let some = self.delete("member_id = $1", member.get()).await?;
            deleted += some;
            if some == 0 {
                return Ok(deleted);
            }
        }
    }

    /// Deletes some of the replies that came before `time`; how many, 0 when none is left.
    ///
    /// # Errors
    /// [`ReplyBoxError::Query`].
    pub async fn erase_some_before(&self, time: Timestamp) -> Result<u64, ReplyBoxError> {
        self.delete("received_at < $1", time.millis()).await
    }

    async fn delete(&self, condition: &str, value: i64) -> Result<u64, ReplyBoxError> {
        let text = format!(
            "DELETE FROM reply WHERE id IN (SELECT id FROM reply WHERE {condition} ORDER BY id LIMIT $2)"
        );
        let values: [Value; 2] = [value.into(), ROWS.into()];
        let statement = Statement::from_sql_and_values(self.connection.get_database_backend(), text, values);
        let done =
            self.connection.execute_raw(statement).await.map_err(ReplyBoxError::query("delete replies"))?;
        Ok(done.rows_affected())
    }
}
