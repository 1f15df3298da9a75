//! What this database holds about one person, for the person who asks.

use crate::{Store, StoreError, response::read_answers, sql};
use domain::{Answers, MemberId, Timestamp};
use sea_orm::FromQueryResult;
use std::collections::{BTreeMap, HashMap};

/// A request as it was settled, or stands. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct RequestRecord {
    /// Id.
    pub id: i64,
    /// [`domain::RequestKind`]'s word.
    pub kind: String,
    /// The notice it came after.
    pub broadcast_id: i64,
    /// The reply it was read from.
    pub reply_id: Option<i64>,
    /// When it came.
    pub opened_at: i64,
    /// `open`, `superseded` or [`domain::Decision`]'s word.
    pub state: String,
    /// When it was settled.
    pub settled_at: Option<i64>,
}

/// A member's answers to one notice. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRecord {
    /// Which notice.
    pub broadcast_id: i64,
    /// Question key to value.
    pub answers: Answers,
    /// First stored.
    pub first_answered_at: i64,
    /// Last changed.
    pub answered_at: i64,
}

#[derive(FromQueryResult)]
struct AnswerRow {
    broadcast_id: i64,
    answers: String,
    first_answered_at: i64,
    answered_at: i64,
}

impl Store {
    /// Every request of a member, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn requests_of(&self, member: MemberId) -> Result<Vec<RequestRecord>, StoreError> {
        let text = "SELECT id, kind, broadcast_id, reply_id, opened_at, state, settled_at FROM request \
                    WHERE member_id = $1 ORDER BY id";
        sql::rows(&self.connection, "read a member's requests", text, [member.get().into()]).await
    }

    /// Every answer of a member, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn answers_of(&self, member: MemberId) -> Result<Vec<AnswerRecord>, StoreError> {
        let text = "SELECT broadcast_id, answers, first_answered_at, answered_at FROM response \
                    WHERE member_id = $1 ORDER BY first_answered_at, broadcast_id";
        let rows: Vec<AnswerRow> =
            sql::rows(&self.connection, "read a member's answers", text, [member.get().into()]).await?;
        rows.into_iter()
            .map(|row| {
                Ok(AnswerRecord {
                    broadcast_id: row.broadcast_id,
                    answers: read_answers(member.get(), &row.answers)?,
                    first_answered_at: row.first_answered_at,
                    answered_at: row.answered_at,
                })
            })
            .collect()
    }

    /// What was frozen of a member to be put into notices, by broadcast.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn frozen_fields_of(
        &self,
        member: MemberId,
    ) -> Result<HashMap<i64, BTreeMap<String, String>>, StoreError> {
        #[derive(FromQueryResult)]
        struct Row {
            id: i64,
            broadcast_id: i64,
            fields: String,
        }
        let text = "SELECT id, broadcast_id, fields FROM delivery WHERE member_id = $1";
        let rows: Vec<Row> =
            sql::rows(&self.connection, "read a member's frozen fields", text, [member.get().into()]).await?;
        rows.into_iter()
            .map(|row| {
                let fields = serde_json::from_str(&row.fields).map_err(|why| StoreError::Corrupt {
                    table: "delivery",
                    column: "fields",
                    row: row.id,
                    why: why.to_string(),
                })?;
                Ok((row.broadcast_id, fields))
            })
            .collect()
    }

    /// Since when a member stands on the test roster, where they do.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn on_test_roster_since(&self, member: MemberId) -> Result<Option<Timestamp>, StoreError> {
        let text = "SELECT added_at AS n FROM test_roster WHERE member_id = $1";
        let found: Option<sql::Number> =
            sql::row(&self.connection, "look at the test roster", text, [member.get().into()]).await?;
        Ok(found.map(|found| Timestamp::from_millis(found.n)))
    }
}
