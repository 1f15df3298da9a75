//! Members' answers, and the audiences that follow from the ledger: who has not answered, who
//! was reached.

use crate::{Store, StoreError, erasure::NOT_ERASED, sql};
use domain::{Answers, BroadcastId, MemberId, Timestamp};
use sea_orm::FromQueryResult;

/// Of a ledger row `d`: the broadcast reached the member, or may have.
pub(crate) const REACHED: &str = "d.state IN ('accepted', 'unknown', 'submitting')";

/// A ledger row `d` that was addressed and whose member has not answered. A reminder's answers
/// stand under the broadcast it reminds of.
pub(crate) const UNANSWERED: &str = "d.state NOT IN ('held', 'cancelled', 'rejected') \
    AND NOT EXISTS (SELECT 1 FROM broadcast b JOIN response r ON r.broadcast_id = COALESCE(b.answers_to, b.id) \
    WHERE b.id = d.broadcast_id AND r.member_id = d.member_id)";

/// One member's answers to one broadcast's questionnaire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Question key to value.
    pub answers: Answers,
    /// First stored.
    pub first_answered_at: Timestamp,
    /// Last changed.
    pub answered_at: Timestamp,
}

/// One answer as reports count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponsePoint {
    /// Who.
    pub member: MemberId,
    /// JIS code at the time of freezing.
    pub prefecture: Option<u8>,
    /// When first answered.
    pub at: Timestamp,
    /// What.
    pub answers: Answers,
}

#[derive(FromQueryResult)]
struct ResponseColumns {
    member_id: i64,
    prefecture: Option<i64>,
    answers: String,
    first_answered_at: i64,
    answered_at: i64,
}

impl Store {
    /// Stores a member's answers; durable on return. A later sheet replaces the earlier one, the
    /// time of the first stays. False when the broadcast has no such recipient, or the person was
    /// erased.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn save_response(
        &self,
        broadcast: BroadcastId,
        member: MemberId,
        answers: &Answers,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let body = serde_json::to_string(answers).expect("invariant: answers are plain texts");
        let tx = self.write().await?;
        let text = format!(
            "INSERT INTO response (broadcast_id, member_id, answers, first_answered_at, answered_at) \
             SELECT broadcast_id, member_id, $3, CAST($4 AS BIGINT), CAST($4 AS BIGINT) FROM delivery \
             WHERE broadcast_id = $1 AND member_id = $2 AND {NOT_ERASED} \
             ON CONFLICT (broadcast_id, member_id) \
             DO UPDATE SET answers = excluded.answers, answered_at = excluded.answered_at"
        );
        let values = [broadcast.get().into(), member.get().into(), body.into(), now.millis().into()];
        let written = sql::run(&*tx, "store a response", &text, values).await?;
        tx.commit().await?;
        Ok(written > 0)
    }

    /// What a member answered.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn response(
        &self,
        broadcast: BroadcastId,
        member: MemberId,
    ) -> Result<Option<Response>, StoreError> {
        let text = "SELECT member_id, CAST(NULL AS BIGINT) AS prefecture, answers, first_answered_at, answered_at \
                    FROM response WHERE broadcast_id = $1 AND member_id = $2";
        let values = [broadcast.get().into(), member.get().into()];
        let row: Option<ResponseColumns> =
            sql::row(&self.connection, "read a response", text, values).await?;
        row.map(|row| {
            Ok(Response {
                answers: read_answers(row.member_id, &row.answers)?,
                first_answered_at: Timestamp::from_millis(row.first_answered_at),
                answered_at: Timestamp::from_millis(row.answered_at),
            })
        })
        .transpose()
    }

    /// All answers to a broadcast, in the order they came.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn responses(&self, broadcast: BroadcastId) -> Result<Vec<ResponsePoint>, StoreError> {
        let text = "SELECT r.member_id, d.prefecture, r.answers, r.first_answered_at, r.answered_at \
                    FROM response r JOIN delivery d ON d.broadcast_id = r.broadcast_id \
                    AND d.member_id = r.member_id WHERE r.broadcast_id = $1 ORDER BY r.first_answered_at, r.member_id";
        let rows: Vec<ResponseColumns> =
            sql::rows(&self.connection, "read responses", text, [broadcast.get().into()]).await?;
        rows.iter()
            .map(|row| {
                Ok(ResponsePoint {
                    member: MemberId::new(row.member_id),
                    prefecture: row.prefecture.and_then(|code| u8::try_from(code).ok()),
                    at: Timestamp::from_millis(row.first_answered_at),
                    answers: read_answers(row.member_id, &row.answers)?,
                })
            })
            .collect()
    }

    /// Recipients of a broadcast per prefecture code (none where unknown): how many were
    /// addressed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recipients_by_prefecture(
        &self,
        broadcast: BroadcastId,
    ) -> Result<Vec<(Option<u8>, u64)>, StoreError> {
        #[derive(FromQueryResult)]
        struct Group {
            prefecture: Option<i64>,
            n: i64,
        }
        let text = "SELECT prefecture, COUNT(*) AS n FROM delivery WHERE broadcast_id = $1 AND state <> 'held' \
                    GROUP BY prefecture ORDER BY prefecture";
        let rows: Vec<Group> =
            sql::rows(&self.connection, "count by prefecture", text, [broadcast.get().into()]).await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.prefecture.and_then(|code| u8::try_from(code).ok()), row.n.unsigned_abs()))
            .collect())
    }

    /// Members addressed by a broadcast (not held back) who have not answered it, by id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn non_respondents(&self, broadcast: BroadcastId) -> Result<Vec<MemberId>, StoreError> {
        let text = format!(
            "SELECT d.member_id AS n FROM delivery d WHERE d.broadcast_id = $1 AND {UNANSWERED} \
             ORDER BY d.member_id"
        );
        self.member_ids("list who has not answered", &text, [broadcast.get().into()]).await
    }

    /// Members a broadcast reached or may have reached: accepted, unknown, and those in flight.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reached_or_unknown(&self, broadcast: BroadcastId) -> Result<Vec<MemberId>, StoreError> {
        let text = format!(
            "SELECT d.member_id AS n FROM delivery d WHERE d.broadcast_id = $1 AND {REACHED} \
             ORDER BY d.member_id"
        );
        self.member_ids("list who was reached", &text, [broadcast.get().into()]).await
    }
}

pub(crate) fn read_answers(member: i64, answers: &str) -> Result<Answers, StoreError> {
    serde_json::from_str(answers).map_err(|e| StoreError::Corrupt {
        table: "response",
        column: "answers",
        row: member,
        why: e.to_string(),
    })
}
