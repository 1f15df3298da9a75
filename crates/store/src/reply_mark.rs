//! What staff did with replies, and which bounce belongs to which row.
//! The replies themselves are rows of another database, written once.

use crate::{Store, StoreError, sql};
use domain::{BroadcastId, MemberId, ReplyClass, ReplyId, StaffId, Timestamp};
use sea_orm::{FromQueryResult, Value};
use std::collections::HashSet;

#[derive(FromQueryResult)]
struct ReplyRow {
    reply_id: i64,
}

/// A bounce matched to its ledger row.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct BounceMatch {
    /// The stored reply.
    pub reply_id: i64,
    /// Which broadcast.
    pub broadcast_id: i64,
    /// Whose address failed.
    pub member_id: i64,
    /// [`ReplyClass`]'s word.
    pub class: String,
    /// Enhanced status, where given.
    pub status: Option<String>,
}

impl Store {
    /// Marks a reply as read; the first reader stays.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn mark_reply_read(
        &self,
        reply: ReplyId,
        staff: StaffId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        sql::run(
            &*tx,
            "mark a reply",
            "INSERT INTO reply_mark (reply_id, staff_id, read_at) VALUES ($1, $2, $3) ON CONFLICT (reply_id) DO NOTHING",
            [reply.get().into(), staff.get().into(), now.millis().into()],
        )
        .await?;
        tx.commit().await
    }

    /// How many replies somebody has read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read_replies_count(&self) -> Result<u64, StoreError> {
        let text = "SELECT COUNT(*) AS n FROM reply_mark";
        Ok(sql::number(&self.connection, "count read replies", text, []).await?.unsigned_abs())
    }

    /// Which of these replies somebody has read.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn read_replies(&self, ids: &[ReplyId]) -> Result<HashSet<ReplyId>, StoreError> {
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let text = format!(
            "SELECT reply_id FROM reply_mark WHERE reply_id IN ({})",
            sql::placeholders(1, ids.len())
        );
        let values: Vec<Value> = ids.iter().map(|id| id.get().into()).collect();
        let rows: Vec<ReplyRow> = sql::rows(&self.connection, "read marks", &text, values).await?;
        Ok(rows.into_iter().map(|row| ReplyId::new(row.reply_id)).collect())
    }

    /// Up to where replies were looked at.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_reply_looked_at(&self) -> Result<ReplyId, StoreError> {
        let text = "SELECT seen_reply_id AS n FROM triage_progress WHERE id = 1";
        sql::number(&self.connection, "find the last reply looked at", text, []).await.map(ReplyId::new)
    }

    /// Notes how far replies were looked at.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn replies_looked_at(&self, up_to: ReplyId) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let text = "UPDATE triage_progress SET seen_reply_id = $1 WHERE id = 1 AND seen_reply_id < $1";
        sql::run(&*tx, "note the last reply looked at", text, [up_to.get().into()]).await?;
        tx.commit().await
    }

    /// Notes which ledger row a bounce speaks of. It changes no delivery: that the relay took
    /// the mail stays true.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_bounce(
        &self,
        reply: ReplyId,
        broadcast: BroadcastId,
        member: MemberId,
        class: ReplyClass,
        status: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        sql::run(
            &*tx,
            "note a bounce",
            "INSERT INTO bounce_match (reply_id, broadcast_id, member_id, class, status, noted_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (reply_id) DO NOTHING",
            [
                reply.get().into(),
                broadcast.get().into(),
                member.get().into(),
                class.as_str().into(),
                status.map(ToOwned::to_owned).into(),
                now.millis().into(),
            ],
        )
        .await?;
        tx.commit().await
    }

    /// Bounces of one broadcast.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn bounces(&self, broadcast: BroadcastId) -> Result<Vec<BounceMatch>, StoreError> {
        let text = "SELECT * FROM bounce_match WHERE broadcast_id = $1 ORDER BY reply_id";
        sql::rows(&self.connection, "list bounces", text, [broadcast.get().into()]).await
    }
}
