//! Importing a roster: read the file, plan the changes, show them, write them.
//!
//! Guarantees: reading and planning change nothing. A row is taken as a whole or rejected with
//! its number and reason. The same file twice changes nothing the second time.
//!
//! # Security
//! Files come from people's desktops by way of a form or the command line. Size, rows, columns and
//! cells are bounded; text is decoded strictly; addresses and names pass the domain's types.

mod apply;
mod columns;
mod decode;
mod plan;
mod row;

pub use apply::apply;
pub use plan::{Excluded, ImportMode, ImportPlan, ImportReport, plan};
pub use row::{Rejected, RowCode, RowNote};

use columns::Column;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::{fmt, io::Read};

/// A million members with long rows; a larger file is not a roster.
const FILE_OCTETS_MAX: usize = 256 * 1024 * 1024;
/// More rows than any society has members.
const ROWS_MAX: u32 = 1_000_000;
/// An unclosed quotation mark swallows the rows behind it into one cell: nobody may be lost to it.
const CELL_CHARS_MAX: usize = 2_000;
const CELL_LINE_BREAKS_MAX: usize = 3;

/// Why a file is not a roster. Nothing was changed. Rows count as a spreadsheet shows them: the
/// headings are row 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// No bytes, or nothing but blanks.
    #[error("the file is empty")]
    Empty,
    /// Over the limit.
    #[error("the file is larger than {} MB", FILE_OCTETS_MAX / 1024 / 1024)]
    TooLarge,
    /// A known format that is not text.
    #[error("the file is {found}, not CSV; in Excel choose \"Save As\" and \"CSV UTF-8\"")]
    OtherFormat {
        /// What it is.
        found: &'static str,
    },
    /// Neither Unicode nor Shift_JIS nor another Japanese encoding without a doubt.
    #[error(
        "the text cannot be read with certainty: row {row} (byte {byte}) is not valid {encoding}; \
         save the file as \"CSV UTF-8\""
    )]
    Encoding {
        /// The most likely encoding.
        encoding: &'static str,
        /// Row of the first unreadable byte.
        row: u32,
        /// Its position, from 0.
        byte: usize,
    },
    /// A column that every roster has is missing.
    #[error("the heading {missing} is missing; found were: {found}")]
    MissingColumn {
        /// In Japanese, as in the documentation.
        missing: &'static str,
        /// The headings of the file.
        found: String,
    },
    /// The first row is a member already. Its cells are not repeated here.
    #[error("the first row is no row of headings; put 会員番号, 氏名, メールアドレス … above the members")]
    NoHeadings,
    /// Two columns mean the same.
    #[error("the headings {first} and {second} mean the same column")]
    DuplicateColumn {
        /// Further left.
        first: String,
        /// Further right.
        second: String,
    },
    /// A free column has the name of a field that the product fills in itself.
    #[error("a column cannot be called {0}: notices use that name for something else")]
    ReservedColumn(String),
    /// Over the limit.
    #[error("the file has more than {} columns", columns::COLUMNS_MAX)]
    TooManyColumns,
    /// Over the limit.
    #[error("the file has more than {ROWS_MAX} rows")]
    TooManyRows,
    /// A cell that looks as if it had swallowed the rows behind it.
    #[error("row {row}: a cell is far too long; a quotation mark is probably not closed")]
    RunawayCell {
        /// Where the cell begins.
        row: u32,
    },
    /// Headings and nothing else.
    #[error("the file has headings, but no rows")]
    NoRows,
}

/// One row as it stands in the file.
#[derive(Clone, PartialEq, Eq)]
struct RawRow {
    number: u32,
    cells: Vec<String>,
}

impl fmt::Debug for RawRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawRow({}, {} cells)", self.number, self.cells.len())
    }
}

/// A file that was read whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    file_name: String,
    sha256: String,
    encoding: &'static str,
    columns: Vec<Column>,
    rows: Vec<RawRow>,
}

impl Roster {
    /// The file's name, without its folder.
    #[must_use]
    pub fn file_name(&self) -> &str {
        &self.file_name
    }

    /// Of the file's bytes, hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// How the text was encoded.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        self.encoding
    }

    /// Rows with something in them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Never: a roster has rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// Reads a file: format, encoding, headings, rows.
///
/// # Errors
/// [`ImportError`] names the row and what to do.
pub fn read_roster(bytes: &[u8], file_name: &str) -> Result<Roster, ImportError> {
    if bytes.len() > FILE_OCTETS_MAX {
        return Err(ImportError::TooLarge);
    }
    let (text, encoding) = decode::decode(bytes)?;
    let mut records = records(&text)?.into_iter();
    let headings = records.next().ok_or(ImportError::Empty)?;
    let columns = columns::read_headings(&headings.cells)?;
    let rows: Vec<RawRow> = records.collect();
    if rows.is_empty() {
        return Err(ImportError::NoRows);
    }
    let file_name = file_name.rsplit(['/', '\\']).next().unwrap_or(file_name);
    Ok(Roster {
        file_name: file_name.chars().filter(|c| !c.is_control()).take(200).collect(),
        sha256: HEXLOWER.encode(&Sha256::digest(bytes)),
        encoding,
        columns,
        rows,
    })
}

/// All records that have something in them, with the row a spreadsheet would show.
fn records(text: &str) -> Result<Vec<RawRow>, ImportError> {
    // With a last line end, the line after a record is always one further.
    let ended = text.as_bytes().chain(&b"\n"[..]);
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter(text))
        .flexible(true)
        .has_headers(false)
        .from_reader(ended);
    let mut rows = Vec::new();
    // The reader counts lines; a line break inside a cell does not begin a new row.
    let (mut breaks_inside, mut last_row) = (0, 0);
    let mut record = csv::StringRecord::new();
    while reader
        .read_record(&mut record)
        .expect("invariant: UTF-8 in memory with ragged rows allowed is readable")
    {
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
        if cells.iter().any(|cell| !cell.trim().is_empty()) {
            rows.push(RawRow { number, cells });
        }
    }
    Ok(rows)
}

fn is_runaway(cell: &str) -> bool {
    cell.matches('\n').count() > CELL_LINE_BREAKS_MAX || cell.chars().count() > CELL_CHARS_MAX
}

/// The sign that separates the headings: Excel's "Unicode text" has tabs, some exports semicolons.
fn delimiter(text: &str) -> u8 {
    let headings = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    let count = |sign: &u8| headings.bytes().filter(|b| b == sign).count();
    // `max_by_key` takes the last of equals, so the comma wins a draw.
    [b';', b'\t', b','].into_iter().max_by_key(count).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(text: &str) -> Vec<u32> {
        read_roster(text.as_bytes(), "roster.csv")
            .expect("a roster")
            .rows
            .iter()
            .map(|row| row.number)
            .collect()
    }

    const HEADINGS: &str = "会員番号,氏名,メールアドレス";

    #[test]
    fn rows_are_numbered_as_a_spreadsheet_shows_them() {
        assert_eq!(numbers(&format!("{HEADINGS}\r\n1,a,\r\n2,b,\r\n")), [2, 3]);
        assert_eq!(numbers(&format!("{HEADINGS}\n1,\"a\nb\",\n2,b,")), [2, 3]);
        assert_eq!(numbers(&format!("{HEADINGS}\n,,\n2,b,\n , ,\n3,c,\n")), [3, 5]);
        assert_eq!(numbers(&format!("{HEADINGS}\n1,a,\n\n\n2,b,\n")), [2, 5]);
    }

    #[test]
    fn tabs_and_semicolons_separate_too() {
        assert_eq!(numbers("会員番号\t氏名\tメールアドレス\n1\t鈴木, 花子\ta@example.jp\n"), [2]);
        assert_eq!(numbers("member_no;name;email\n1;a;a@example.jp\n"), [2]);
    }

    #[test]
    fn an_unclosed_quotation_mark_does_not_swallow_people() {
        let rows: String = (2..20).map(|n| format!("{n},佐藤,a{n}@example.jp\n")).collect();
        let refused = read_roster(format!("{HEADINGS}\n1,\"鈴木,a@example.jp\n{rows}").as_bytes(), "x.csv");
        assert_eq!(refused, Err(ImportError::RunawayCell { row: 2 }));
        for end in ["", "\n", "\n\n"] {
            let short = format!("{HEADINGS}\n1,a,a@example.jp\n2,\"b,b@example.jp\n3,c,c@example.jp{end}");
            let refused = read_roster(short.as_bytes(), "x.csv");
            assert_eq!(refused, Err(ImportError::RunawayCell { row: 3 }), "{end:?}");
        }
    }

    #[test]
    fn a_file_without_rows_is_no_roster() {
        assert_eq!(read_roster(HEADINGS.as_bytes(), "x.csv"), Err(ImportError::NoRows));
        assert_eq!(read_roster(b"\n\n", "x.csv"), Err(ImportError::Empty));
    }

    #[test]
    fn the_folder_of_a_file_is_not_kept() {
        let text = format!("{HEADINGS}\n1,a,\n");
        for name in ["C:\\Users\\hanako\\名簿.csv", "/home/hanako/名簿.csv", "名簿.csv"] {
            assert_eq!(read_roster(text.as_bytes(), name).expect("a roster").file_name(), "名簿.csv");
        }
    }
}
