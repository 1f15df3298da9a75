//! The ledger as people and scripts take it away: one line per recipient.

use domain::{Timestamp, spreadsheet_safe};
use store::LedgerRow;

/// One recipient, with the columns of `hansho broadcast ledger`. Addresses are in clear: for
/// whoever may see them. Times are RFC 3339 with milliseconds.
#[derive(Debug, Clone, serde::Serialize)]
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

/// The next page of a CSV export.
#[derive(Debug, Default)]
pub struct LedgerCsv {
    begun: bool,
}

impl LedgerCsv {
    /// These rows as CSV; the first page brings the heading. What a relay or a roster wrote
    /// cannot become a formula in a spreadsheet.
    ///
    /// # Errors
    /// None in practice: the rows are written to memory.
    pub fn page(&mut self, rows: Vec<LedgerRow>) -> Result<Vec<u8>, csv::Error> {
        let mut out = csv::WriterBuilder::new().has_headers(!self.begun).from_writer(Vec::new());
        self.begun |= !rows.is_empty();
        for row in rows {
            let mut line = LedgerLine::from(row);
            line.member_no = spreadsheet_safe(&line.member_no);
            line.address = spreadsheet_safe(&line.address);
            line.reply = line.reply.as_deref().map(spreadsheet_safe);
            out.serialize(line)?;
        }
        out.into_inner().map_err(|unwritten| unwritten.into_error().into())
    }
}
