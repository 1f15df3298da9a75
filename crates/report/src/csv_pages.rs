//! A CSV export that is written page by page.

use serde::Serialize;

/// A line of an export; its fields are the columns.
pub trait CsvLine: Serialize + Default {
    /// The same, where nothing that a stranger, a relay or a roster wrote can become a formula in
    /// a spreadsheet.
    #[must_use]
    fn spreadsheet_safe(self) -> Self;
}

/// The row of headings that an export begins with, also where no line follows.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn csv_headings<L: CsvLine>() -> Result<Vec<u8>, csv::Error> {
    // The names stand before a line only: this one is cut off again.
    let mut text = written([L::default()], true)?;
    let end = text.iter().position(|octet| *octet == b'\n').map_or(text.len(), |at| at + 1);
    text.truncate(end);
    Ok(text)
}

/// The next lines of an export.
///
/// # Errors
/// None in practice: they are written to memory.
pub fn csv_page<L: CsvLine>(lines: impl IntoIterator<Item = L>) -> Result<Vec<u8>, csv::Error> {
    written(lines.into_iter().map(L::spreadsheet_safe), false)
}

fn written(
    lines: impl IntoIterator<Item = impl Serialize>,
    has_headings: bool,
) -> Result<Vec<u8>, csv::Error> {
    let mut out = csv::WriterBuilder::new().has_headers(has_headings).from_writer(Vec::new());
    for line in lines {
        out.serialize(line)?;
    }
    out.into_inner().map_err(|unwritten| unwritten.into_error().into())
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
        let page = csv_page([line]).expect("a page");
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(page.as_slice());
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

    #[test]
    fn an_export_without_a_line_has_its_headings() {
        let headings = |octets: Result<Vec<u8>, csv::Error>| String::from_utf8(octets.expect("written"));
        let held = headings(csv_headings::<HeldLine>()).expect("UTF-8");
        assert_eq!(held, "member_no,name,facility,prefecture,reason\n");
        for other in [csv_headings::<LedgerLine>(), csv_headings::<ReplyLine>()] {
            let text = headings(other).expect("UTF-8");
            assert_eq!((text.lines().count(), text.split(',').count()), (1, 11), "{text}");
        }
        assert_eq!(csv_page::<HeldLine>([]).expect("written"), b"");
    }
}
