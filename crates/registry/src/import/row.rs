//! One row of a roster: cells to values, or a reason why not.

use super::{RawRow, Roster, columns::Column};
use domain::{DisplayName, EmailAddress, FiscalYear, MemberNo, MemberStatus, Prefecture};
use std::collections::BTreeMap;
use unicode_normalization::UnicodeNormalization;

/// No facility, role or other cell of a roster is longer.
const VALUE_CHARS_MAX: usize = 500;
/// Rosters reach back; further back is a slip of the pen.
const YEARS_BACK_MAX: i32 = 30;
/// A roster for the coming year is made before it begins.
const YEARS_AHEAD_MAX: i32 = 1;

/// Why a row was rejected or needs a look; the word is stable, pages translate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowCode {
    /// The member number is missing or not usable.
    BadMemberNo,
    /// The name is missing or not usable.
    BadName,
    /// The address is not one we would send to.
    BadAddress,
    /// The status is none of the words known.
    UnknownStatus,
    /// The year is not a year, or far off.
    BadFiscalYear,
    /// A cell is too long.
    CellTooLong,
    /// More cells than headings.
    TooManyCells,
    /// The same member in the same year stands further up.
    DuplicateMember,
    /// Another member has this address.
    DuplicateAddress,
    /// The member's row of a later year was rejected, so this one would be out of date.
    LaterRowRejected,
    /// Taken, without its prefecture: the name is not one of the 47.
    UnknownPrefecture,
    /// Taken: the name has a character of this one computer's own (外字), unreadable elsewhere.
    PrivateCharacter,
    /// Taken: there is no address to write to.
    NoAddress,
}

/// A row that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rejected {
    /// As a spreadsheet shows it.
    pub row: u32,
    /// Why.
    pub code: RowCode,
    /// Why, as an English sentence; repeats no cell's content.
    pub reason: String,
}

/// A row that was taken, with something to look at.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RowNote {
    /// As a spreadsheet shows it.
    pub row: u32,
    /// What to look at.
    pub code: RowCode,
}

/// What a file says in one column about one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Cell<T> {
    /// The file has no such column.
    NoColumn,
    /// The column is there, the cell is blank.
    Blank,
    /// A value.
    Value(T),
}

impl<T> Cell<T> {
    fn of(value: Option<T>) -> Self {
        value.map_or(Self::Blank, Self::Value)
    }
}

/// A row whose cells were understood.
#[derive(Debug, Clone)]
pub(super) struct PlannedRow {
    pub(super) row: u32,
    pub(super) member_no: MemberNo,
    pub(super) year: FiscalYear,
    pub(super) name: String,
    pub(super) kana: Cell<String>,
    pub(super) address: Cell<EmailAddress>,
    pub(super) prefecture: Cell<Prefecture>,
    pub(super) facility: Cell<String>,
    pub(super) duty: Cell<String>,
    pub(super) status: Option<MemberStatus>,
    pub(super) attributes: BTreeMap<String, Cell<String>>,
}

/// A row that was not understood; number and year where at least these were.
#[derive(Debug)]
pub(super) struct BadRow {
    pub(super) member_no: Option<MemberNo>,
    pub(super) year: Option<FiscalYear>,
    pub(super) rejected: Rejected,
}

pub(super) fn reject(row: u32, code: RowCode, reason: impl Into<String>) -> Rejected {
    Rejected { row, code, reason: reason.into() }
}

/// Reads one row; `default_year` is for files and cells without a year.
pub(super) fn read_row(
    roster: &Roster,
    raw: &RawRow,
    default_year: FiscalYear,
    notes: &mut Vec<RowNote>,
) -> Result<PlannedRow, BadRow> {
    let cells = Cells { columns: &roster.columns, raw };
    let member_no = cells.text(&Column::MemberNo).and_then(|text| folded(text).parse::<MemberNo>().ok());
    let year = match cells.text(&Column::FiscalYear) {
        Some(text) => fiscal_year(&folded(text), default_year),
        None => Some(default_year),
    };
    let bad = |rejected| BadRow { member_no: member_no.clone(), year, rejected };
    cells.check_shape().map_err(bad)?;
    let no = member_no.clone().ok_or_else(|| {
        bad(reject(raw.number, RowCode::BadMemberNo, "the member number is missing or not usable"))
    })?;
    let valid_year = year.ok_or_else(|| {
        bad(reject(raw.number, RowCode::BadFiscalYear, "the fiscal year is not a year near this one"))
    })?;
    cells.read_values(no, valid_year, notes).map_err(bad)
}

struct Cells<'a> {
    columns: &'a [Column],
    raw: &'a RawRow,
}

impl<'a> Cells<'a> {
    /// The trimmed cell of a column; `None` where blank or without a column.
    fn text(&self, column: &Column) -> Option<&'a str> {
        let at = self.columns.iter().position(|other| other == column)?;
        let text = trimmed(self.raw.cells.get(at)?);
        (!text.is_empty()).then_some(text)
    }

    fn has(&self, column: &Column) -> bool {
        self.columns.contains(column)
    }

    fn check_shape(&self) -> Result<(), Rejected> {
        let row = self.raw.number;
        let surplus = self.raw.cells.get(self.columns.len()..).unwrap_or_default();
        if surplus.iter().any(|cell| !trimmed(cell).is_empty()) {
            return Err(reject(row, RowCode::TooManyCells, "the row has more cells than there are headings"));
        }
        if self.raw.cells.iter().any(|cell| cell.chars().count() > VALUE_CHARS_MAX) {
            let reason = format!("a cell has more than {VALUE_CHARS_MAX} characters");
            return Err(reject(row, RowCode::CellTooLong, reason));
        }
        Ok(())
    }

    fn read_values(
        &self,
        member_no: MemberNo,
        year: FiscalYear,
        notes: &mut Vec<RowNote>,
    ) -> Result<PlannedRow, Rejected> {
        let row = self.raw.number;
        let name = self.name(notes)?;
        let address = self.address(notes)?;
        let status = match self.text(&Column::Status) {
            Some(text) => Some(status(&folded(text)).ok_or_else(|| {
                reject(row, RowCode::UnknownStatus, "the status is none of 正会員 賛助会員 休会 退会 逝去")
            })?),
            None => None,
        };
        let attributes = self.columns.iter().filter_map(|column| match column {
            Column::Attribute(key) => Some((key.clone(), self.plain(column))),
            _ => None,
        });
        Ok(PlannedRow {
            row,
            member_no,
            year,
            name,
            kana: self.cell(&Column::Kana, |text| one_line(&folded(text))),
            address,
            prefecture: self.prefecture(notes),
            facility: self.plain(&Column::Facility),
            duty: self.plain(&Column::Duty),
            status,
            attributes: attributes.collect(),
        })
    }

    fn cell<T>(&self, column: &Column, read: impl Fn(&str) -> T) -> Cell<T> {
        if self.has(column) { Cell::of(self.text(column).map(read)) } else { Cell::NoColumn }
    }

    fn plain(&self, column: &Column) -> Cell<String> {
        self.cell(column, one_line)
    }

    /// Names are kept as the society writes them: folding would change 髙 or 﨑 in some.
    fn name(&self, notes: &mut Vec<RowNote>) -> Result<String, Rejected> {
        let row = self.raw.number;
        let name = one_line(self.text(&Column::Name).unwrap_or_default());
        if name.parse::<DisplayName>().is_err() {
            return Err(reject(
                row,
                RowCode::BadName,
                "the name is missing, too long or has control characters",
            ));
        }
        if name.chars().any(|c| ('\u{e000}'..='\u{f8ff}').contains(&c)) {
            notes.push(RowNote { row, code: RowCode::PrivateCharacter });
        }
        Ok(name)
    }

    fn address(&self, notes: &mut Vec<RowNote>) -> Result<Cell<EmailAddress>, Rejected> {
        let row = self.raw.number;
        let Some(text) = self.text(&Column::Address) else {
            notes.push(RowNote { row, code: RowCode::NoAddress });
            return Ok(Cell::Blank);
        };
        EmailAddress::parse(&folded(text))
            .map(Cell::Value)
            .map_err(|error| reject(row, RowCode::BadAddress, error.to_string()))
    }

    /// An unknown prefecture does not cost anyone a notice; a notice that names it holds the person.
    fn prefecture(&self, notes: &mut Vec<RowNote>) -> Cell<Prefecture> {
        let Some(text) = self.text(&Column::Prefecture).map(folded) else {
            return if self.has(&Column::Prefecture) { Cell::Blank } else { Cell::NoColumn };
        };
        let found = text.parse().ok().or_else(|| text.parse::<u8>().ok().and_then(Prefecture::from_code));
        if found.is_none() {
            notes.push(RowNote { row: self.raw.number, code: RowCode::UnknownPrefecture });
        }
        Cell::of(found)
    }
}

/// NFKC, trimmed: full-width letters, digits and `＠` become ASCII, half-width kana full.
fn folded(text: &str) -> String {
    trimmed(&text.nfkc().collect::<String>()).to_owned()
}

/// Without spaces and invisible signs at the ends.
fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| {
        c.is_whitespace()
            || c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}' | '\u{a0}')
    })
}

/// One line: breaks, controls and runs of spaces become one space.
fn one_line(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') || c == ' ' {
            if !out.ends_with(' ') {
                out.push(' ');
            }
        } else {
            out.push(c);
        }
    }
    trimmed(&out).to_owned()
}

fn status(text: &str) -> Option<MemberStatus> {
    match text.to_lowercase().as_str() {
        "正会員" | "賛助会員" | "active" => Some(MemberStatus::Active),
        "休会" | "休会中" | "suspended" => Some(MemberStatus::Suspended),
        "退会" | "退会済" | "withdrawn" => Some(MemberStatus::Withdrawn),
        "逝去" | "死亡" | "deceased" => Some(MemberStatus::Deceased),
        _ => None,
    }
}

/// `2026`, `2026年度`, `令和8年度`, `R8`; within reach of `near`.
fn fiscal_year(text: &str, near: FiscalYear) -> Option<FiscalYear> {
    let text = text.strip_suffix("年度").or_else(|| text.strip_suffix('年')).unwrap_or(text).trim();
    // The first year of the era 令和 is 2019, of 平成 1989.
    let eras = [("令和", 2018_i32), ("R", 2018), ("平成", 1988), ("H", 1988)];
    let year = match eras.iter().find_map(|(era, before)| text.strip_prefix(era).map(|rest| (rest, before))) {
        Some(("元", before)) => before + 1,
        Some((rest, before)) => before.checked_add(rest.trim().parse::<i32>().ok()?)?,
        None => text.parse::<i32>().ok()?,
    };
    (near.get() - YEARS_BACK_MAX..=near.get() + YEARS_AHEAD_MAX)
        .contains(&year)
        .then(|| FiscalYear::new(year))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_roster;

    const YEAR: FiscalYear = FiscalYear::new(2026);

    fn rows(text: &str) -> (Vec<Result<PlannedRow, BadRow>>, Vec<RowNote>) {
        let roster = read_roster(text.as_bytes(), "roster.csv").expect("a roster");
        let mut notes = Vec::new();
        let rows = roster.rows.iter().map(|raw| read_row(&roster, raw, YEAR, &mut notes)).collect();
        (rows, notes)
    }

    fn one(heading: &str, cell: &str) -> Result<PlannedRow, RowCode> {
        let text = format!("会員番号,氏名,メールアドレス,{heading}\n100,鈴木 花子,a@example.jp,{cell}\n");
        let row = rows(&text).0.into_iter().next().expect("a row");
        row.map_err(|bad| bad.rejected.code)
    }

    #[test]
    fn full_width_writing_and_stray_spaces_are_folded() {
        let text = "会員番号,氏名,フリガナ,メールアドレス,都道府県\n\u{3000}１００Ａ ,\u{3000}鈴木　花子 ,\
                    ｽｽﾞｷ ﾊﾅｺ, ｈａｎａｋｏ＠ｅｘａｍｐｌｅ．ｊｐ\u{3000},宮城 \n";
        let row = rows(text).0.into_iter().next().expect("a row").expect("taken");
        assert_eq!(row.member_no.as_str(), "100A");
        assert_eq!(row.name, "鈴木　花子");
        assert_eq!(row.kana, Cell::Value("スズキ ハナコ".to_owned()));
        assert_eq!(row.address, Cell::Value(EmailAddress::parse("hanako@example.jp").expect("an address")));
        assert_eq!(row.prefecture, Cell::Value(Prefecture::from_code(4).expect("a prefecture")));
        assert_eq!(row.facility, Cell::NoColumn);
    }

    #[test]
    fn names_keep_the_characters_of_their_owners() {
        let text = "会員番号,氏名,メールアドレス\n1,髙﨑 神,a@example.jp\n";
        let row = rows(text).0.into_iter().next().expect("a row").expect("taken");
        assert_eq!(row.name, "髙﨑 神");
    }

    #[test]
    fn the_words_for_a_status_are_known_and_others_rejected() {
        for (word, status) in [
            ("正会員", Some(MemberStatus::Active)),
            ("賛助会員", Some(MemberStatus::Active)),
            ("休会", Some(MemberStatus::Suspended)),
            ("退会", Some(MemberStatus::Withdrawn)),
            ("死亡", Some(MemberStatus::Deceased)),
            ("逝去", Some(MemberStatus::Deceased)),
            ("Active", Some(MemberStatus::Active)),
            ("", None),
        ] {
            assert_eq!(one("状態", word).expect("taken").status, status, "{word}");
        }
        assert_eq!(one("状態", "会員？").err(), Some(RowCode::UnknownStatus));
    }

    #[test]
    fn years_are_read_in_both_calendars() {
        for (word, year) in [
            ("2026", 2026),
            ("２０２５年度", 2025),
            ("令和8年度", 2026),
            ("令和元年", 2019),
            ("R7", 2025),
            ("H31", 2019),
            ("", 2026),
        ] {
            assert_eq!(one("年度", word).expect("taken").year.get(), year, "{word}");
        }
        for word in ["26", "2062", "1066", "来年", "R", "99999999999"] {
            assert_eq!(one("年度", word).err(), Some(RowCode::BadFiscalYear), "{word}");
        }
    }

    #[test]
    fn rows_that_cannot_be_taken_say_why() {
        let long = "x".repeat(VALUE_CHARS_MAX + 1);
        let text = format!(
            "会員番号,氏名,メールアドレス,施設名\n\
             ,鈴木,a@example.jp,\n\
             1,,a@example.jp,\n\
             2,佐藤,a@@example.jp,\n\
             3,佐藤,\"a@example.jp,b@example.jp\",\n\
             4,佐藤,a@example.jp,病院,余り\n\
             5,佐藤,a@example.jp,{long}\n\
             \"6\r\nBcc: x@y.jp\",佐藤,a@example.jp,\n"
        );
        let found: Vec<(u32, RowCode)> = rows(&text)
            .0
            .into_iter()
            .filter_map(Result::err)
            .map(|bad| (bad.rejected.row, bad.rejected.code))
            .collect();
        assert_eq!(
            found,
            [
                (2, RowCode::BadMemberNo),
                (3, RowCode::BadName),
                (4, RowCode::BadAddress),
                (5, RowCode::BadAddress),
                (6, RowCode::TooManyCells),
                (7, RowCode::CellTooLong),
                (8, RowCode::BadMemberNo),
            ]
        );
    }

    #[test]
    fn doubtful_rows_are_taken_and_noted() {
        let text = "会員番号,氏名,メールアドレス,都道府県\n1,\u{e000}田,a@example.jp,海外\n2,佐藤,,13\n";
        let (rows, notes) = rows(text);
        assert!(rows.iter().all(Result::is_ok));
        let codes: Vec<(u32, RowCode)> = notes.iter().map(|note| (note.row, note.code)).collect();
        assert_eq!(
            codes,
            [(2, RowCode::PrivateCharacter), (2, RowCode::UnknownPrefecture), (3, RowCode::NoAddress)]
        );
    }
}
