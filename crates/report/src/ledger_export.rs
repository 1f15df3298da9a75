//! The ledger as people and scripts take it away: one line per recipient.

use crate::csv_pages::CsvLine;
use domain::{Timestamp, spreadsheet_safe};
use store::LedgerRow;

/// One recipient, with the columns of `hansho broadcast ledger`. Addresses are in clear: for
/// whoever may see them. Times are RFC 3339 with milliseconds.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[expect(missing_docs, reason = "the columns of the export, described with `LedgerRow`")]
pub struct LedgerLine {
    pub member_no: String,
    pub address: String,
    pub state: String,
    pub attempts: i64,
    pub smtp_code: Option<i64>,
    pub enhanced_code: Option<String>,
    pub reply: Option<String>,
    pub message_id: String,
    pub relay: Option<String>,
    pub submitted_at: Option<String>,
    pub settled_at: Option<String>,
}

impl From<LedgerRow> for LedgerLine {
    fn from(row: LedgerRow) -> Self {
        let time = |ms: i64| Timestamp::from_millis(ms).to_rfc3339();
        Self {
            member_no: row.member_no,
            address: row.address,
            state: row.state,
            attempts: row.attempts,
            smtp_code: row.smtp_code,
            enhanced_code: row.enhanced_code,
            reply: row.reply,
            message_id: row.message_id,
            relay: row.relay,
            submitted_at: row.submitted_at.map(time),
            settled_at: row.settled_at.map(time),
        }
    }
}

impl CsvLine for LedgerLine {
    fn spreadsheet_safe(mut self) -> Self {
        for cell in [&mut self.member_no, &mut self.address, &mut self.message_id] {
            *cell = spreadsheet_safe(cell);
        }
        for cell in [&mut self.enhanced_code, &mut self.reply, &mut self.relay].into_iter().flatten() {
            *cell = spreadsheet_safe(cell);
        }
        self
    }
}
