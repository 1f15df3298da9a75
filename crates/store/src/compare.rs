//! Earlier broadcasts to compare a draft with: who was written to, and with which text.

use crate::{Broadcast, Store, StoreError, sql};
use domain::{AudienceChange, BroadcastId, MemberId, Nature};
use std::collections::HashSet;

/// One parameter holds this many ids.
const IDS_PER_QUERY: usize = 10_000;

impl Store {
    /// How `recipients` differ from those of the last released broadcast of the same nature to the
    /// same audience; none where there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audience_change(
        &self,
        id: BroadcastId,
        nature: Nature,
        audience: &str,
        recipients: &HashSet<MemberId>,
    ) -> Result<Option<AudienceChange>, StoreError> {
        let text = "SELECT id AS n FROM broadcast WHERE id <> $1 AND nature = $2 AND audience = $3 \
                    AND released_at IS NOT NULL AND state <> 'cancelled' ORDER BY released_at DESC, id DESC LIMIT 1";
        let values = [id.get().into(), nature.as_str().into(), audience.into()];
        let found: Option<sql::Number> =
            sql::row(&self.connection, "look for the broadcast before", text, values).await?;
        let Some(previous) = found.map(|row| BroadcastId::new(row.n)) else { return Ok(None) };
        let then = self.recipients_of(previous).await?;
        let joined: Vec<i64> = recipients.difference(&then).map(|member| member.get()).collect();
        Ok(Some(AudienceChange {
            previous,
            recipients: then.len() as u64,
            joined: joined.len() as u64,
            left: then.difference(recipients).count() as u64,
            never_mailed: self.never_mailed(&joined).await?,
        }))
    }

    /// Released broadcasts of the same nature with exactly this one's text, the last first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn with_same_text(&self, broadcast: &Broadcast) -> Result<Vec<BroadcastId>, StoreError> {
        let text = "SELECT id AS n FROM broadcast WHERE id <> $1 AND subject = $2 AND body = $3 \
                    AND nature = $4 AND released_at IS NOT NULL ORDER BY id DESC";
        let values = [
            broadcast.id.get().into(),
            broadcast.subject.as_str().into(),
            broadcast.body.as_str().into(),
            broadcast.nature.as_str().into(),
        ];
        let earlier: Vec<sql::Number> =
            sql::rows(&self.connection, "look for the same text", text, values).await?;
        Ok(earlier.into_iter().map(|row| BroadcastId::new(row.n)).collect())
    }

    /// Which of these broadcasts was the first named that reached any of `recipients`, or may still,
    /// and how many of them any did; none where that is nobody.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reached_before(
        &self,
        earlier: &[BroadcastId],
        recipients: &HashSet<MemberId>,
    ) -> Result<Option<(BroadcastId, u64)>, StoreError> {
        let (mut last, mut people) = (None, HashSet::new());
        for earlier in earlier {
            let states = "state NOT IN ('held', 'rejected', 'gave_up', 'cancelled')";
            let reached = self.members_in(*earlier, states).await?;
            let before = people.len();
            people.extend(reached.intersection(recipients).copied());
            if last.is_none() && people.len() > before {
                last = Some(*earlier);
            }
        }
        Ok(last.map(|last| (last, people.len() as u64)))
    }

    /// The frozen recipients.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recipients_of(&self, id: BroadcastId) -> Result<HashSet<MemberId>, StoreError> {
        self.members_in(id, "state <> 'held'").await
    }

    async fn members_in(&self, id: BroadcastId, states: &str) -> Result<HashSet<MemberId>, StoreError> {
        let text = format!("SELECT member_id AS n FROM delivery WHERE broadcast_id = $1 AND {states}");
        let rows: Vec<sql::Number> =
            sql::rows(&self.connection, "read recipients", &text, [id.get().into()]).await?;
        Ok(rows.into_iter().map(|row| MemberId::new(row.n)).collect())
    }

    /// How many of these no broadcast ever reached or may have reached.
    async fn never_mailed(&self, members: &[i64]) -> Result<u64, StoreError> {
        let text = format!(
            "SELECT COUNT(*) AS n FROM {} WHERE NOT EXISTS (SELECT 1 FROM delivery d \
             WHERE d.member_id = CAST(row.value ->> 0 AS BIGINT) AND d.state IN ('accepted', 'unknown'))",
            sql::json_rows(self.engine(), 1)
        );
        let mut never = 0;
        for chunk in members.chunks(IDS_PER_QUERY) {
            let ids: Vec<[i64; 1]> = chunk.iter().map(|id| [*id]).collect();
            never += sql::number(&self.connection, "look who is new", &text, [sql::json(&ids)]).await?;
        }
        Ok(never.unsigned_abs())
    }
}
