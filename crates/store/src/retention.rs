//! What has been kept long enough: data of recipients of broadcasts that are over, and members who
//! have left. In small steps, so that nobody waits for them; each is recorded with its count.

use crate::{
    Store, StoreError, WriteTx,
    erasure::{HAS_LEFT, over_states},
    request::AUDIT_FIRST,
    sql,
};
use domain::{Actor, BroadcastId, Timestamp};
use sea_orm::{FromQueryResult, Value};

/// Rows in one step: a fraction of a second.
const ROWS: i64 = 500;
/// Each is an entry of the log, whose lock everybody who acts waits for.
const ASKED: i64 = 50;

/// What a retention period is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Stored replies.
    Replies,
    /// Addresses and merge fields in the ledger.
    Recipients,
    /// Members who have left.
    LeftMembers,
}

impl Kept {
    /// How the log calls the end of it.
    fn action(self) -> &'static str {
        match self {
            Self::Replies => "old-replies-deleted",
            Self::Recipients => "old-recipients-cleared",
            Self::LeftMembers => "left-members-asked-for",
        }
    }
}

impl Store {
    /// Clears addresses and merge fields of some recipients of a broadcast that was over before
    /// `ended_before`; whether there may be more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn clear_recipients(
        &self,
        ended_before: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let text = format!(
            "SELECT id AS n FROM broadcast WHERE cleared_at IS NULL AND state IN ({}) \
             AND COALESCE(completed_at, stopped_at, released_at, frozen_at, created_at) < $1 \
             ORDER BY id LIMIT 1",
            over_states()
        );
        let found: Option<sql::Number> =
            sql::row(&self.connection, "look for old broadcasts", &text, [ended_before.millis().into()])
                .await?;
        let Some(id) = found.map(|found| BroadcastId::new(found.n)) else { return Ok(false) };
        let tx = self.write().await?;
        if !tx.broadcast_locked(id).await?.state.is_over() {
            return Ok(false);
        }
        let rows = tx.clear_some_of(id, now).await?;
        if rows == 0 {
            let text = "UPDATE broadcast SET cleared_at = $2 WHERE id = $1";
            sql::run(&*tx, "note a cleared broadcast", text, [id.get().into(), now.millis().into()]).await?;
        } else {
            let (object, detail) = (format!("broadcast:{id}"), format!("rows={rows}"));
            tx.audit(now, Actor::Scheduler, Kept::Recipients.action(), object, detail).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// How many members have left, unchanged since `before`, for whom nobody asked, and how many
    /// members there are.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn members_who_left(&self, before: Timestamp) -> Result<(u64, u64), StoreError> {
        let text = format!("SELECT COUNT(*) AS n FROM member m WHERE {}", left_long_ago());
        let values = [before.millis().into()];
        let left = sql::number(&self.connection, "count members who left", &text, values).await?;
        let text = "SELECT COUNT(*) AS n FROM member";
        let all = sql::number(&self.connection, "count members", text, []).await?;
        Ok((left.unsigned_abs(), all.unsigned_abs()))
    }

    /// Asks for the erasure of some of [`Store::members_who_left`]. How many.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ask_for_left_members(&self, before: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
        let text = format!("SELECT m.id AS n FROM member m WHERE {} ORDER BY m.id LIMIT $2", left_long_ago());
        let values = [before.millis().into(), ASKED.into()];
        let left = self.member_ids("look for members who left", &text, values).await?;
        if left.is_empty() {
            return Ok(0);
        }
        let tx = self.write().await?;
        tx.exclusive(AUDIT_FIRST).await?;
        let mut asked = 0;
        for member in left {
            asked += u64::from(tx.ask_erasure(Actor::Scheduler, member, None, now).await?);
        }
        let (action, object) = (Kept::LeftMembers.action(), "retention".to_owned());
        tx.audit(now, Actor::Scheduler, action, object, format!("rows={asked}")).await?;
        tx.commit().await?;
        Ok(asked)
    }

    /// Notes that so many old replies were deleted.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn old_replies_deleted(&self, rows: u64, now: Timestamp) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let (action, object) = (Kept::Replies.action(), "retention".to_owned());
        tx.audit(now, Actor::Scheduler, action, object, format!("rows={rows}")).await?;
        tx.commit().await
    }

    /// When something was last deleted because it had been kept long enough, and how much.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_deleted(&self, kept: Kept) -> Result<Option<(Timestamp, u64)>, StoreError> {
        #[derive(FromQueryResult)]
        struct Entry {
            at: i64,
            detail: String,
        }
        // Several steps of one pass have the same time.
        let text = "SELECT at, detail FROM audit WHERE action = $1 \
                    AND at = (SELECT MAX(at) FROM audit WHERE action = $1)";
        let entries: Vec<Entry> =
            sql::rows(&self.connection, "look for what was deleted", text, [kept.action().into()]).await?;
        let rows = |entry: &Entry| entry.detail.strip_prefix("rows=").and_then(|n| n.parse::<u64>().ok());
        let sum = entries.iter().filter_map(rows).sum();
        Ok(entries.first().map(|entry| (Timestamp::from_millis(entry.at), sum)))
    }
}

fn left_long_ago() -> String {
    format!(
        "m.updated_at < $1 AND {HAS_LEFT} AND NOT EXISTS (SELECT 1 FROM erasure e WHERE e.member_id = m.id)"
    )
}

impl WriteTx {
    async fn clear_some_of(&self, id: BroadcastId, now: Timestamp) -> Result<u64, StoreError> {
        let text = "SELECT id AS n FROM delivery WHERE broadcast_id = $1 AND cleared_at IS NULL \
                    ORDER BY id LIMIT $2";
        let rows: Vec<sql::Number> =
            sql::rows(&**self, "find rows to clear", text, [id.get().into(), ROWS.into()]).await?;
        if rows.is_empty() {
            return Ok(0);
        }
        let ids: Vec<Value> = rows.iter().map(|row| row.n.into()).collect();
        let list = sql::placeholders(1, ids.len());
        let text = format!("UPDATE attempt SET reply = NULL WHERE delivery_id IN ({list})");
        sql::run(&**self, "clear earlier attempts", &text, ids.clone()).await?;
        let list = sql::placeholders(2, ids.len());
        let text = format!(
            "UPDATE delivery SET address = '', fields = '{{}}', reply = NULL, cleared_at = $1 WHERE id IN ({list})"
        );
        let values = std::iter::once(Value::from(now.millis())).chain(ids);
        sql::run(&**self, "clear recipients", &text, values).await
    }
}
