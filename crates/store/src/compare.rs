//! Earlier broadcasts to compare a draft with: who was written to, and with which text.

use crate::{AudienceFilter, Broadcast, Reach, Store, StoreError, audience::ids_of, sql};
use domain::{AudienceChange, BroadcastId, MemberId, Nature};
use sea_orm::{FromQueryResult, Value};
use std::collections::HashSet;

/// One parameter holds this many ids.
const IDS_PER_QUERY: usize = 10_000;

/// Who is compared with an earlier broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum People<'a> {
    /// Members within reach that fit a filter; the other side is everybody in the earlier snapshot,
    /// held or not.
    Fitting(&'a AudienceFilter, Reach),
    /// The frozen recipients of a broadcast; the other side is recipients, too.
    Recipients(BroadcastId),
}

/// A member by number and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedMember {
    /// Row id.
    pub id: MemberId,
    /// Number and name; none where the member is not in the registry any more.
    pub known_as: Option<(String, String)>,
}

#[derive(FromQueryResult)]
struct NamedColumns {
    total: i64,
    id: i64,
    member_no: Option<String>,
    name: Option<String>,
}

impl From<NamedColumns> for NamedMember {
    fn from(row: NamedColumns) -> Self {
        Self { id: MemberId::new(row.id), known_as: row.member_no.zip(row.name) }
    }
}

/// Some of the people, in the order of their numbers, and how many there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// All of them.
    pub total: u64,
    /// The first ones.
    pub first: Vec<NamedMember>,
}

/// How people differ from those of an earlier broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// In it now, not then.
    pub joined: Listed,
    /// In it then, not now.
    pub left: Listed,
    /// Of those who joined: whom no broadcast reached or may have reached before.
    pub never_mailed: Listed,
}

impl Store {
    /// How `people` differ from those of `previous`, with at most `limit` names of each kind.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn difference(
        &self,
        people: People<'_>,
        previous: BroadcastId,
        limit: u32,
    ) -> Result<Difference, StoreError> {
        let mut values: Vec<Value> = Vec::new();
        let (now, held, before) = match people {
            People::Fitting(filter, reach) => (ids_of(self.engine(), filter, reach, &mut values), "", ""),
            People::Recipients(id) => {
                values.push(id.get().into());
                let now = "SELECT d.member_id AS id FROM delivery d WHERE d.broadcast_id = $1 AND d.state <> 'held'";
                // Neither the broadcast itself nor what was released after it is before it.
                let before = " AND p.released_at < COALESCE((SELECT b.released_at FROM broadcast b WHERE b.id = $1), \
                              p.released_at + 1)";
                (now.to_owned(), " AND e.state <> 'held'", before)
            }
        };
        values.push(previous.get().into());
        let then = format!("e.broadcast_id = ${}{held}", values.len());
        let joined = format!(
            "SELECT c.id AS id FROM ({now}) c \
             WHERE NOT EXISTS (SELECT 1 FROM delivery e WHERE e.member_id = c.id AND {then})"
        );
        let left = format!(
            "SELECT e.member_id AS id FROM delivery e WHERE {then} \
             AND NOT EXISTS (SELECT 1 FROM ({now}) c WHERE c.id = e.member_id)"
        );
        let never_mailed = format!(
            "{joined} AND NOT EXISTS (SELECT 1 FROM delivery o JOIN broadcast p ON p.id = o.broadcast_id \
             WHERE o.member_id = c.id AND o.state IN ('accepted', 'unknown'){before})"
        );
        Ok(Difference {
            joined: self.listed(&joined, &values, limit).await?,
            left: self.listed(&left, &values, limit).await?,
            never_mailed: self.listed(&never_mailed, &values, limit).await?,
        })
    }

    async fn listed(&self, ids: &str, values: &[Value], limit: u32) -> Result<Listed, StoreError> {
        let text = format!(
            "SELECT COUNT(*) OVER () AS total, l.id AS id, k.member_no, k.name FROM ({ids}) l LEFT JOIN member k ON k.id = l.id \
             ORDER BY k.member_no, l.id LIMIT ${}",
            values.len() + 1
        );
        let mut values = values.to_vec();
        values.push(i64::from(limit).into());
        let first: Vec<NamedColumns> =
            sql::rows(&self.connection, "list a difference", &text, values).await?;
        let total = first.first().map_or(0, |row| row.total.unsigned_abs());
        Ok(Listed { total, first: first.into_iter().map(NamedMember::from).collect() })
    }

    /// Released broadcasts to exactly this audience (`registry::AudienceSpec` as JSON), the last
    /// first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn released_to(&self, audience: &str, limit: u32) -> Result<Vec<Broadcast>, StoreError> {
        let text = "SELECT * FROM broadcast WHERE audience = $1 AND released_at IS NOT NULL \
                    ORDER BY released_at DESC, id DESC LIMIT $2";
        self.broadcast_rows(text, vec![audience.into(), i64::from(limit).into()]).await
    }

    /// The last released broadcast of a nature that was not cancelled.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn last_released(&self, nature: Nature) -> Result<Option<Broadcast>, StoreError> {
        let text = "SELECT * FROM broadcast WHERE nature = $1 AND released_at IS NOT NULL \
                    AND state <> 'cancelled' ORDER BY released_at DESC, id DESC LIMIT 1";
        Ok(self.broadcast_rows(text, vec![nature.as_str().into()]).await?.pop())
    }

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
