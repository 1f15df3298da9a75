//! Each attempt at a row, as it ended. The ledger's row holds the last one; those before are kept
//! here when they are about to be overwritten, so that a mail taken at once costs nothing more.

use crate::{Store, StoreError, sql};
use domain::{BroadcastId, MemberId};
use sea_orm::FromQueryResult;

/// One attempt. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Attempt {
    /// Counting from 1.
    pub attempt: i64,
    /// How it ended, or stands: [`domain::DeliveryState`]'s word.
    pub state: String,
    /// The reply's code.
    pub smtp_code: Option<i64>,
    /// The reply's enhanced status.
    pub enhanced_code: Option<String>,
    /// The reply's text.
    pub reply: Option<String>,
    /// Which relay.
    pub relay: Option<String>,
    /// When its intent became durable.
    pub submitted_at: Option<i64>,
    /// When its outcome was known, or a person decided about it.
    pub settled_at: Option<i64>,
}

/// The statement that keeps the last attempts of the rows that satisfy `condition`.
pub(super) fn keep_attempts(condition: &str) -> String {
    format!(
        "INSERT INTO attempt (delivery_id, attempt, state, smtp_code, enhanced_code, reply, relay, \
         submitted_at, settled_at) \
         SELECT id, attempts, state, smtp_code, enhanced_code, reply, relay, submitted_at, settled_at \
         FROM delivery WHERE {condition} ON CONFLICT (delivery_id, attempt) DO NOTHING"
    )
}

impl Store {
    /// How many mails to members were begun so far, since there is this database.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn submissions(&self) -> Result<u64, StoreError> {
        let text = "SELECT CAST(COALESCE(SUM(attempts), 0) AS BIGINT) AS n FROM delivery";
        Ok(sql::number(&self.connection, "count submissions", text, []).await?.unsigned_abs())
    }

    /// Every attempt at one recipient of one broadcast, the first one first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn attempts(&self, id: BroadcastId, member: MemberId) -> Result<Vec<Attempt>, StoreError> {
        let columns = "state, smtp_code, enhanced_code, reply, relay, submitted_at, settled_at";
        let text = format!(
            "SELECT attempt, {columns} FROM attempt WHERE delivery_id IN \
               (SELECT id FROM delivery WHERE broadcast_id = $1 AND member_id = $2) \
               AND attempt < (SELECT attempts FROM delivery WHERE broadcast_id = $1 AND member_id = $2) \
             UNION ALL SELECT attempts, {columns} FROM delivery \
             WHERE broadcast_id = $1 AND member_id = $2 AND attempts > 0 ORDER BY 1"
        );
        sql::rows(&self.connection, "read attempts", &text, [id.get().into(), member.get().into()]).await
    }
}
