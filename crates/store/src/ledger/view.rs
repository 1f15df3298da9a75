//! Reading the ledger for pages and exports.

use crate::{Store, StoreError, sql};
use domain::{BroadcastId, DeliveryState, MemberId};
use sea_orm::{FromQueryResult, Value};

/// Which rows to show.
#[derive(Debug, Clone, Copy, Default)]
pub struct LedgerFilter {
    /// Only these.
    pub state: Option<DeliveryState>,
    /// Only this member's.
    pub member: Option<MemberId>,
}

/// One row as people read it. Times are milliseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct LedgerRow {
    /// Row id: pages continue after it.
    pub id: i64,
    /// Which broadcast.
    pub broadcast_id: i64,
    /// Who.
    pub member_id: i64,
    /// The society's number.
    pub member_no: String,
    /// In clear: mask it for whoever may not see it.
    pub address: String,
    /// JIS code.
    pub prefecture: Option<i64>,
    /// [`DeliveryState`]'s word.
    pub state: String,
    /// [`domain::HoldReason`]'s words.
    pub held_reason: Option<String>,
    /// Attempts made.
    pub attempts: i64,
    /// Last reply's code.
    pub smtp_code: Option<i64>,
    /// Last reply's enhanced status.
    pub enhanced_code: Option<String>,
    /// Last reply's text.
    pub reply: Option<String>,
    /// Stable over all attempts.
    pub message_id: String,
    /// Host of the last attempt.
    pub relay: Option<String>,
    /// Last intent.
    pub submitted_at: Option<i64>,
    /// Last outcome.
    pub settled_at: Option<i64>,
}

const COLUMNS: &str = "id, broadcast_id, member_id, member_no, address, prefecture, state, held_reason, \
    attempts, smtp_code, enhanced_code, reply, message_id, relay, submitted_at, settled_at";

impl Store {
    /// Rows of one broadcast after row `after`, by row id, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ledger_page(
        &self,
        id: BroadcastId,
        filter: LedgerFilter,
        after: i64,
        limit: i64,
    ) -> Result<Vec<LedgerRow>, StoreError> {
        let mut values: Vec<Value> = vec![id.get().into(), after.into(), limit.into()];
        let mut text = format!("SELECT {COLUMNS} FROM delivery WHERE broadcast_id = $1 AND id > $2");
        if let Some(state) = filter.state {
            values.push(state.as_str().into());
            text += &format!(" AND state = ${}", values.len());
        }
        if let Some(member) = filter.member {
            values.push(member.get().into());
            text += &format!(" AND member_id = ${}", values.len());
        }
        text += " ORDER BY id LIMIT $3";
        sql::rows(&self.connection, "read the ledger", &text, values).await
    }

    /// Everything one member was addressed with, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn ledger_of_member(&self, member: MemberId, limit: i64) -> Result<Vec<LedgerRow>, StoreError> {
        let text = format!("SELECT {COLUMNS} FROM delivery WHERE member_id = $1 ORDER BY id DESC LIMIT $2");
        sql::rows(&self.connection, "read a member's history", &text, [member.get().into(), limit.into()])
            .await
    }
}
