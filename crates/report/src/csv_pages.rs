//! A CSV export that is written page by page.

use serde::Serialize;

/// A line of an export; its fields are the columns.
pub trait CsvLine: Serialize {
    /// The same, where nothing that a stranger, a relay or a roster wrote can become a formula in
    /// a spreadsheet.
    #[must_use]
    fn spreadsheet_safe(self) -> Self;
}

/// The next page of a CSV export.
#[derive(Debug, Default)]
pub struct CsvPages {
    begun: bool,
}

impl CsvPages {
    /// These lines as CSV; the first page brings the heading.
    ///
    /// # Errors
    /// None in practice: the lines are written to memory.
    pub fn page<L: CsvLine>(&mut self, lines: impl IntoIterator<Item = L>) -> Result<Vec<u8>, csv::Error> {
        let mut out = csv::WriterBuilder::new().has_headers(!self.begun).from_writer(Vec::new());
        for line in lines {
            self.begun = true;
            out.serialize(line.spreadsheet_safe())?;
        }
        out.into_inner().map_err(|unwritten| unwritten.into_error().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeldLine, LedgerLine, ReplyLine};

    /// What strangers, relays and rosters wrote, at its worst.
    fn formula() -> String {
        "=HYPERLINK(\"http://example.jp\")".to_owned()
    }

    /// The cells of the only line, as a spreadsheet program reads them.
    fn cells(line: impl CsvLine) -> Vec<String> {
        let page = CsvPages::default().page([line]).expect("a page");
        let mut reader = csv::Reader::from_reader(page.as_slice());
        let record = reader.records().next().expect("a line").expect("CSV");
        record.iter().map(str::to_owned).collect()
    }

    #[test]
    fn no_export_lets_a_formula_through() {
        let ledger = LedgerLine {
            member_no: formula(),
            address: formula(),
            state: "rejected".to_owned(),
            attempts: 1,
            smtp_code: Some(550),
            enhanced_code: Some(formula()),
            reply: Some(formula()),
            message_id: formula(),
            relay: Some(formula()),
            submitted_at: None,
            settled_at: None,
        };
        let reply = ReplyLine {
            id: 1,
            received_at: "2026-09-04T13:00:00.000Z".to_owned(),
            broadcast: 1,
            member_no: formula(),
            name: formula(),
            class: "human-reply".to_owned(),
            reason: Some(formula()),
            status: Some(formula()),
            from: formula(),
            subject: formula(),
            text: formula(),
        };
        let held = HeldLine {
            member_no: formula(),
            name: formula(),
            facility: formula(),
            prefecture: formula(),
            reason: formula(),
        };
        let safe = format!("'{}", formula());
        for (cells, written) in [(cells(ledger), 6), (cells(reply), 7), (cells(held), 5)] {
            assert_eq!(cells.iter().filter(|cell| **cell == safe).count(), written, "{cells:?}");
            assert!(cells.iter().all(|cell| !cell.starts_with('=')), "{cells:?}");
        }
    }
}
