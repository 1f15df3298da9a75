//! Importing a roster: read the file (CSV or an Excel workbook), plan the changes, show them, write them.
//!
//! Guarantees: reading and planning change nothing in the registry. A row is taken as a whole or
//! rejected with its number and reason. The same file twice changes nothing the second time. Memory
//! does not grow with the file, but for the texts of a workbook.
//!
//! # Security
//! Files come from people's desktops by way of a form or the command line. Size, rows, columns and
//! cells are bounded; text is decoded strictly; addresses and names pass the domain's types.

mod apply;
mod columns;
mod dates;
mod decode;
mod file;
mod mailbox;
mod plan;
mod row;
mod table;
mod typing;
mod workbook;

pub use apply::apply;
pub use columns::{COLUMN_MEANINGS, automatic_meaning, check_meaning, heading_key, is_meaning};
pub use file::{RosterFile, Source};
pub use plan::{Excluded, ImportMode, ImportReport, PlanError, Planner, Progress, RowReport};
pub use row::RowCode;

pub(crate) use dates::day;

use std::fmt;

/// A million members with long rows; a larger file is not a roster.
const FILE_OCTETS_MAX: u64 = 256 * 1024 * 1024;
/// More rows than any society has members.
const ROWS_MAX: u32 = 1_000_000;
/// An unclosed quotation mark swallows the rows behind it into one cell: nobody may be lost to it.
const CELL_CHARS_MAX: usize = 2_000;
const CELL_LINE_BREAKS_MAX: usize = 3;

/// Why a file is not a roster. Nothing was changed. Rows count as a spreadsheet shows them: the
/// headings are row 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[serde(tag = "code", rename_all = "kebab-case")]
pub enum ImportError {
    /// No octets, or nothing but blanks.
    #[error("the file is empty")]
    Empty,
    /// Over the limit.
    #[error("the file is larger than {} MB, or unpacks to far more", FILE_OCTETS_MAX / 1024 / 1024)]
    TooLarge,
    /// The disk, or the connection it came by.
    #[error("the file cannot be read: {why}")]
    Unreadable {
        /// The system's words.
        why: String,
    },
    /// A workbook that Excel would not open either.
    #[error("the workbook cannot be read ({why}); open it in Excel and save it again as .xlsx")]
    Workbook {
        /// The reader's words.
        why: String,
    },
    /// A known format that is neither text nor a workbook.
    #[error(
        "the file is {}; in Excel choose \"Save As\" and \"Excel Workbook\" or \"CSV UTF-8\"",
        format_in_words(found)
    )]
    OtherFormat {
        /// A word for what it is.
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
        /// Row of the first unreadable octet.
        row: u32,
        /// Its position, from 0.
        byte: u64,
    },
    /// A column that every roster has is missing.
    #[error("the heading {missing} is missing; found were: {}", found.join(" | "))]
    MissingColumn {
        /// In Japanese, as in the documentation.
        missing: &'static str,
        /// The headings of the file.
        found: Vec<String>,
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
    /// A free column has the name of a field that the product fills in itself, or that the registry has
    /// as its own.
    #[error(
        "a column cannot be called {name} and hold a free field: the registry or notices use that name; \
         give it another heading, or leave its meaning to us (--column {name}=)"
    )]
    ReservedColumn {
        /// The heading.
        name: String,
    },
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
    /// Many members would get the address that another one has now.
    #[error(
        "{people} members would get the address that another member has now; a column is probably shifted \
         against the others"
    )]
    AddressesMoved {
        /// How many.
        people: u64,
    },
    /// A field gets another kind, and values kept before would not be found beside the new ones.
    #[error(
        "the field {name} cannot get another kind yet: {people} members outside this file have a value in \
         another writing{}; import a roster with everybody who has one and delete these audiences first, or keep it a \
         text",
        asking(found)
    )]
    KindInUse {
        /// The field.
        name: String,
        /// Members whose values would stay as they were written.
        people: u64,
        /// Saved audiences that ask about it.
        found: Vec<String>,
    },
    /// Headings and nothing else.
    #[error("the file has headings, but no rows")]
    NoRows,
}

impl ImportError {
    fn unreadable(error: &std::io::Error) -> Self {
        Self::Unreadable { why: error.to_string() }
    }
}

fn asking(audiences: &[String]) -> String {
    let about = |names| format!(", and these audiences ask for one: {names}");
    if audiences.is_empty() { String::new() } else { about(audiences.join(" | ")) }
}

fn format_in_words(found: &str) -> &'static str {
    match found {
        "empty-archive" => "an empty zip archive",
        "archive" => "a zip archive without an Excel workbook",
        "old-excel" => "an old Excel workbook (.xls), or one with a password",
        "pdf" => "a PDF document",
        "gzip" => "a gzip archive",
        "word" => "a Word document (.rtf)",
        "web-page" => "a web page or XML",
        _ => "not text",
    }
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

fn is_runaway(cell: &str) -> bool {
    cell.matches('\n').count() > CELL_LINE_BREAKS_MAX || cell.chars().count() > CELL_CHARS_MAX
}
