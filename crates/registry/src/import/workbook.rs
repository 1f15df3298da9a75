//! Excel workbooks (.xlsx): the cells of one sheet as the office sees them.
//!
//! # Security
//! A workbook is an archive: a small one can unpack to anything. What it unpacks to is counted
//! before it is read; its texts are held in memory, its cells are not.

use super::{ImportError, ROWS_MAX, RawRow, columns::COLUMNS_MAX, is_runaway};
use calamine::{
    Cell, DataRef, ExcelDateTime, Reader, Sheet, SheetType, SheetVisible, Style, Xlsx, XlsxError,
};
use std::io::{Read, Seek, copy, sink};
use zip::ZipArchive;

/// How every zip archive with something in it begins.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";
/// A million members with long rows, as XML.
pub(super) const UNPACKED_OCTETS_MAX: u64 = 2 << 30;
/// Texts and formats are held in memory.
const HELD: [(&str, u64); 2] = [("sharedStrings.xml", 256 << 20), ("styles.xml", 16 << 20)];
/// Whole numbers that a spreadsheet keeps exactly.
const EXACT_MAX: f64 = 1e15;

/// Shows all rows that have something in them, of the first visible sheet that has any, as long as
/// `show` wants more.
pub(super) fn each_row(
    source: impl Read + Seek,
    show: &mut dyn FnMut(RawRow) -> bool,
) -> Result<(), ImportError> {
    let mut workbook: Xlsx<_> = Xlsx::new(source).map_err(|error| match error {
        XlsxError::FileNotFound(_) => ImportError::OtherFormat { found: "archive" },
        other => unreadable(&other),
    })?;
    let is_shown =
        |sheet: &&Sheet| sheet.visible == SheetVisible::Visible && sheet.typ == SheetType::WorkSheet;
    let visible = workbook.sheets_metadata().iter().filter(is_shown);
    let sheets: Vec<String> = visible.map(|sheet| sheet.name.clone()).collect();
    for sheet in sheets {
        if each_row_of(&mut workbook, &sheet, show)? {
            return Ok(());
        }
    }
    Err(ImportError::Empty)
}

/// Unpacks everything once and keeps nothing: sizes that an archive claims may be lies.
pub(super) fn check_size(source: impl Read + Seek, octets_max: u64) -> Result<(), ImportError> {
    let mut archive = ZipArchive::new(source).map_err(|error| unreadable(&error))?;
    let mut left = octets_max;
    for index in 0..archive.len() {
        let entry = archive.by_index(index).map_err(|error| unreadable(&error))?;
        let is_held = |name: &str| entry.name_raw().ends_with(name.as_bytes());
        let held = HELD.iter().find(|(name, _)| is_held(name)).map_or(left, |(_, max)| *max);
        let most = left.min(held);
        let read = copy(&mut entry.take(most), &mut sink()).map_err(|error| unreadable(&error))?;
        left -= read;
        if read == most {
            return Err(ImportError::TooLarge);
        }
    }
    Ok(())
}

/// Whether the sheet has any row.
fn each_row_of<R: Read + Seek>(
    workbook: &mut Xlsx<R>,
    sheet: &str,
    show: &mut dyn FnMut(RawRow) -> bool,
) -> Result<bool, ImportError> {
    let mut reader = workbook.worksheet_cells_reader(sheet).map_err(|error| unreadable(&error))?;
    let mut open: Option<RawRow> = None;
    while let Some((cell, style)) = reader.next_cell_with_style_id().map_err(|error| unreadable(&error))? {
        let text = text_of(&cell, reader.styles().get(style));
        if text.trim().is_empty() {
            continue;
        }
        let (row, column) = cell.get_position();
        let (number, column) = (row + 1, column as usize);
        if number > 1 + ROWS_MAX {
            return Err(ImportError::TooManyRows);
        }
        if column >= COLUMNS_MAX {
            return Err(ImportError::TooManyColumns);
        }
        if is_runaway(&text) {
            return Err(ImportError::RunawayCell { row: number });
        }
        if let Some(ended) = open.take_if(|row| row.number < number)
            && !show(ended)
        {
            return Ok(true);
        }
        let row = open.get_or_insert_with(|| RawRow { number, cells: Vec::new() });
        if row.number != number {
            let why = format!("row {number} stands below row {}", row.number);
            return Err(ImportError::Workbook { why });
        }
        if row.cells.len() <= column {
            row.cells.resize(column + 1, String::new());
        }
        row.cells[column] = text;
    }
    let Some(last) = open else { return Ok(false) };
    show(last);
    Ok(true)
}

fn unreadable(error: &dyn std::error::Error) -> ImportError {
    ImportError::Workbook { why: error.to_string().chars().filter(|c| !c.is_control()).take(200).collect() }
}

/// What the cell shows.
fn text_of(cell: &Cell<DataRef<'_>>, style: Option<&Style>) -> String {
    match cell.get_value() {
        DataRef::Empty => String::new(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Int(number) => padded(&number.to_string(), style),
        DataRef::Float(number) if number.fract() == 0.0 && number.abs() < EXACT_MAX => {
            padded(&format!("{number:.0}"), style)
        }
        DataRef::Float(number) => number.to_string(),
        DataRef::Bool(truth) => if *truth { "TRUE" } else { "FALSE" }.to_owned(),
        DataRef::DateTime(moment) => date(moment),
        DataRef::Error(error) => error.to_string(),
    }
}

/// Numbers of members are numbers to Excel; a format of zeros shows 00123 where the cell holds 123.
fn padded(digits: &str, style: Option<&Style>) -> String {
    let format = style.and_then(|style| style.number_format.as_ref());
    let width =
        format.map(|format| format.format_code.as_str()).filter(|code| code.bytes().all(|b| b == b'0'));
    let width = width.map_or(0, str::len);
    if digits.starts_with('-') { digits.to_owned() } else { format!("{digits:0>width$}") }
}

fn date(moment: &ExcelDateTime) -> String {
    if !moment.is_datetime() {
        return moment.as_f64().to_string();
    }
    let (year, month, day, hour, minute, ..) = moment.to_ymd_hms_milli();
    let date = format!("{year:04}-{month:02}-{day:02}");
    if (hour, minute) == (0, 0) { date } else { format!("{date} {hour:02}:{minute:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::file::tests::{open, rows};
    use rust_xlsxwriter::{ExcelDateTime, Format, Workbook, Worksheet};
    use std::io::{Cursor, Write};
    use zip::{ZipWriter, write::SimpleFileOptions};

    const HEADINGS: [&str; 3] = ["会員番号", "氏名", "メールアドレス"];

    /// A workbook whose last sheet was filled by `fill`, below the headings.
    fn workbook(fill: impl FnOnce(&mut Worksheet)) -> Vec<u8> {
        let mut book = Workbook::new();
        book.add_worksheet().set_name("表紙").expect("a name");
        book.add_worksheet().set_hidden(true).write(0, 0, "隠れた名簿").expect("a cell");
        let sheet = book.add_worksheet();
        for (column, heading) in (0..).zip(HEADINGS) {
            sheet.write(0, column, heading).expect("a cell");
        }
        fill(sheet);
        book.save_to_buffer().expect("a workbook")
    }

    fn cells(bytes: &[u8]) -> Result<Vec<(u32, Vec<String>)>, ImportError> {
        Ok(rows(bytes)?.into_iter().map(|row| (row.number, row.cells)).collect())
    }

    #[test]
    fn the_first_visible_sheet_that_has_something_is_read_as_it_is_shown() {
        let bytes = workbook(|sheet| {
            sheet.write(0, 3, "入会日").expect("a cell");
            let zeros = Format::new().set_num_format("00000");
            sheet.write_with_format(1, 0, 123, &zeros).expect("a cell");
            sheet.write(1, 1, "髙橋 花子").expect("a cell");
            sheet.write(1, 2, "hanako@example.jp").expect("a cell");
            let day = Format::new().set_num_format("yyyy/mm/dd");
            let joined = ExcelDateTime::from_ymd(2026, 4, 1).expect("a day");
            sheet.write_with_format(1, 3, joined, &day).expect("a cell");
            sheet.write(3, 0, 4000.0).expect("a cell");
            sheet.write(3, 1, true).expect("a cell");
            sheet.write(3, 3, 1.5).expect("a cell");
        });
        assert_eq!(open(&bytes, "名簿.xlsx").expect("a roster").encoding(), "xlsx");
        let text = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            cells(&bytes).expect("rows"),
            [
                (2, text(&["00123", "髙橋 花子", "hanako@example.jp", "2026-04-01"])),
                (4, text(&["4000", "TRUE", "", "1.5"])),
            ]
        );
    }

    #[test]
    fn what_is_no_workbook_or_an_empty_one_is_said_to_be_so() {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        archive.start_file("letter.txt", SimpleFileOptions::default()).expect("a file");
        archive.write_all(b"hello").expect("written");
        let archive = archive.finish().expect("an archive").into_inner();
        assert_eq!(rows(&archive), Err(ImportError::OtherFormat { found: "archive" }));
        let whole = workbook(|_| {});
        assert_eq!(rows(&whole), Err(ImportError::NoRows));
        for length in [4, 30, 200, whole.len() / 2, whole.len() - 1] {
            assert!(matches!(rows(&whole[..length]), Err(ImportError::Workbook { .. })), "{length} octets");
        }
        let empty = Workbook::new().save_to_buffer().expect("a workbook");
        assert_eq!(rows(&empty), Err(ImportError::Empty));
    }

    #[test]
    fn a_far_away_cell_or_a_hole_costs_nothing() {
        let far = workbook(|sheet| {
            sheet.write(1_048_575, 0, "1").expect("a cell");
        });
        assert_eq!(cells(&far), Err(ImportError::TooManyRows));
        let wide = workbook(|sheet| {
            sheet.write(1, 16_383, "1").expect("a cell");
        });
        assert_eq!(cells(&wide), Err(ImportError::TooManyColumns));
        let long = workbook(|sheet| {
            sheet.write(1, 0, "1\n2\n3\n4\n5").expect("a cell");
        });
        assert_eq!(cells(&long), Err(ImportError::RunawayCell { row: 2 }));
    }

    #[test]
    fn an_archive_that_unpacks_to_far_more_is_refused() {
        let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
        for name in 0..3 {
            archive.start_file(format!("xl/{name}.xml"), SimpleFileOptions::default()).expect("a file");
            archive.write_all(&vec![0; 1 << 20]).expect("written");
        }
        let archive = archive.finish().expect("an archive").into_inner();
        assert!(archive.len() < 1 << 14, "it is small");
        assert_eq!(check_size(Cursor::new(&archive), 2 << 20), Err(ImportError::TooLarge));
        assert_eq!(check_size(Cursor::new(&archive), 4 << 20), Ok(()));
    }
}
