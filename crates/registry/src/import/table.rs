//! Rows of a text whose cells are separated by commas, tabs or semicolons.

use super::{ImportError, ROWS_MAX, RawRow, decode::Flaw, is_runaway};
use std::io::Read;

/// Enough for the headings.
const HEAD_OCTETS: u64 = 64 * 1024;

/// What the beginning of a text says about it.
pub(super) fn delimiter_of(text: impl Read) -> Result<u8, ImportError> {
    let mut head = Vec::new();
    text.take(HEAD_OCTETS).read_to_end(&mut head).map_err(|error| Flaw::import_error(&error))?;
    let head = String::from_utf8_lossy(&head);
    let start = head.trim_start().get(..9).unwrap_or_default().to_ascii_lowercase();
    if start == "<!doctype" || start.starts_with("<html") || start.starts_with("<?xml") {
        return Err(ImportError::OtherFormat { found: "web-page" });
    }
    Ok(delimiter(&head))
}

/// The sign that separates the headings: Excel's "Unicode text" has tabs, some exports semicolons.
fn delimiter(text: &str) -> u8 {
    let headings = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    let count = |sign: &u8| headings.bytes().filter(|b| b == sign).count();
    // `max_by_key` takes the last of equals, so the comma wins a draw.
    [b';', b'\t', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

/// Shows all records that have something in them, with the row a spreadsheet would show, as long as
/// `show` wants more.
pub(super) fn each_record(
    text: impl Read,
    delimiter: u8,
    show: &mut dyn FnMut(RawRow) -> bool,
) -> Result<(), ImportError> {
    // With a last line end, the line after a record is always one further.
    let ended = text.chain(&b"\n"[..]);
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(ended);
    // The reader counts lines; a line break inside a cell does not begin a new row.
    let (mut breaks_inside, mut last_row) = (0, 0);
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record).map_err(|error| unreadable(&error))? {
        let cells: Vec<String> = record.iter().map(str::to_owned).collect();
        breaks_inside += cells.iter().map(|cell| cell.matches('\n').count() as u64).sum::<u64>();
        let row = reader.position().line().saturating_sub(1 + breaks_inside);
        // The last line end did not end the record: it stands inside an open quotation.
        let unclosed = row <= last_row;
        last_row = row.max(last_row + 1);
        let number = u32::try_from(last_row).unwrap_or(u32::MAX);
        if number > 1 + ROWS_MAX {
            return Err(ImportError::TooManyRows);
        }
        if unclosed || cells.iter().any(|cell| is_runaway(cell)) {
            return Err(ImportError::RunawayCell { row: number });
        }
        if cells.iter().any(|cell| !cell.trim().is_empty()) && !show(RawRow { number, cells }) {
            return Ok(());
        }
    }
    Ok(())
}

fn unreadable(error: &csv::Error) -> ImportError {
    match error.kind() {
        csv::ErrorKind::Io(error) => Flaw::import_error(error),
        other => ImportError::Unreadable { why: format!("{other:?}").chars().take(200).collect() },
    }
}
