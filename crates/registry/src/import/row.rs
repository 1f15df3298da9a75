//! One row of a roster: cells to values, or a reason why not.

use super::{
    RawRow,
    columns::Column,
    dates::{day, year_of_era},
    typing::probably_meant,
};
use crate::kind::value_of;
use domain::{
    AddressError, DisplayName, EmailAddress, FieldKind, FiscalYear, MemberNo, MemberStatus, Prefecture,
};
use std::{borrow::Cow, collections::BTreeMap};
use store::{RowFinding, StagedRow};
use unicode_normalization::UnicodeNormalization;

/// No facility, role or other cell of a roster is longer.
const VALUE_CHARS_MAX: usize = 500;
/// Rosters reach back; further back is a slip of the pen.
const YEARS_BACK_MAX: i32 = 30;
/// A roster for the coming year is made before it begins.
const YEARS_AHEAD_MAX: i32 = 1;

/// What spreadsheets show where a formula failed.
const CELL_ERRORS: [&str; 8] =
    ["#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!", "#SPILL!"];

/// Why a row was rejected or needs a look; the word is stable, pages translate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
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
    /// A cell shows an error instead of a value.
    CellError,
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
    /// The person was erased.
    Erased,
    /// Taken: somebody else, or the same person under another number, was erased with this address.
    ErasedMailbox,
    /// Taken, without its prefecture: the name is not one of the 47.
    UnknownPrefecture,
    /// Taken: the name has a character of this one computer's own (外字), unreadable elsewhere.
    PrivateCharacter,
    /// Taken, with an empty field: the column holds dates, and the cell is none.
    UnreadableDate,
    /// Taken, with an empty field: the column holds numbers, and the cell is none.
    UnreadableNumber,
    /// Taken: there is no address to write to.
    NoAddress,
    /// Taken: the address's domain is one letter off a common one.
    LikelyTypo,
}

impl RowCode {
    /// The word of the database, of JSON and of the pages' texts.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadMemberNo => "bad-member-no",
            Self::BadName => "bad-name",
            Self::BadAddress => "bad-address",
            Self::UnknownStatus => "unknown-status",
            Self::BadFiscalYear => "bad-fiscal-year",
            Self::CellError => "cell-error",
            Self::CellTooLong => "cell-too-long",
            Self::TooManyCells => "too-many-cells",
            Self::DuplicateMember => "duplicate-member",
            Self::DuplicateAddress => "duplicate-address",
            Self::LaterRowRejected => "later-row-rejected",
            Self::Erased => "erased",
            Self::ErasedMailbox => "erased-mailbox",
            Self::UnknownPrefecture => "unknown-prefecture",
            Self::PrivateCharacter => "private-character",
            Self::UnreadableDate => "unreadable-date",
            Self::UnreadableNumber => "unreadable-number",
            Self::NoAddress => "no-address",
            Self::LikelyTypo => "likely-typo",
        }
    }

    /// By its word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        serde_json::from_value(word.into()).ok()
    }

    /// The reason as an English sentence; repeats no cell's content but what it is about.
    pub(super) fn reason(self, about: Option<&str>) -> String {
        let about = about.unwrap_or_default();
        match self {
            Self::BadMemberNo => "the member number is missing or not usable".to_owned(),
            Self::BadName => "the name is missing, too long or has control characters".to_owned(),
            Self::BadAddress => address_problem(about),
            Self::UnknownStatus => "the status is none of 正会員 賛助会員 休会 退会 逝去".to_owned(),
            Self::BadFiscalYear => "the fiscal year is not a year near this one".to_owned(),
            Self::CellError => format!("a cell shows {about}: a formula of the spreadsheet failed"),
            Self::CellTooLong => format!("a cell has more than {VALUE_CHARS_MAX} characters"),
            Self::TooManyCells => "the row has more cells than there are headings".to_owned(),
            Self::DuplicateMember => format!("the same member in the same year as row {about}"),
            Self::DuplicateAddress if about.is_empty() => "the same address as another member".to_owned(),
            Self::DuplicateAddress => match about.strip_prefix('#') {
                Some(row) => format!("the same address as row {row}"),
                None => format!("the same address as member {about} in the registry"),
            },
            Self::LaterRowRejected => "the row of a later year was rejected".to_owned(),
            Self::Erased => {
                "this person was erased; `hansho member readmit` lets a roster bring them again".to_owned()
            }
            Self::ErasedMailbox => {
                "the address belonged to somebody who was erased; it may be the same person".to_owned()
            }
            Self::UnknownPrefecture => "the prefecture is none of the 47".to_owned(),
            Self::PrivateCharacter => "the name has a character that other computers cannot show".to_owned(),
            Self::UnreadableDate => unreadable("date", about),
            Self::UnreadableNumber => unreadable("number", about),
            Self::NoAddress => "there is no address to write to".to_owned(),
            Self::LikelyTypo => format!("the address looks like a typing error; {about}?"),
        }
    }

    pub(super) fn about(self, about: impl Into<String>) -> RowFinding {
        RowFinding { code: self.as_str().to_owned(), about: Some(about.into()) }
    }

    pub(super) fn plain(self) -> RowFinding {
        RowFinding { code: self.as_str().to_owned(), about: None }
    }
}

/// Words for what is wrong with an address.
const ADDRESS_PROBLEMS: [(&str, AddressError); 6] = [
    ("empty", AddressError::Empty),
    ("at", AddressError::At),
    ("local", AddressError::Local),
    ("dots", AddressError::Dots),
    ("domain", AddressError::Domain),
    ("long", AddressError::Long),
];

fn word_of(error: AddressError) -> &'static str {
    ADDRESS_PROBLEMS.iter().find(|(_, known)| *known == error).map_or("", |(word, _)| word)
}

fn address_problem(word: &str) -> String {
    let known = ADDRESS_PROBLEMS.iter().find(|(known, _)| *known == word);
    known.map_or_else(|| "the address is not one we would send to".to_owned(), |(_, error)| error.to_string())
}

fn unreadable(kind: &str, field: &str) -> String {
    let place = if field.is_empty() { String::new() } else { format!(" in {field}") };
    format!("the {kind}{place} cannot be read; the field is left empty")
}

/// What became of cells, by field.
#[derive(Debug, Default)]
pub(super) struct CellCounts {
    /// Written in another way than the file does.
    pub(super) folded: BTreeMap<String, u64>,
    /// No value of the field's kind: the field is left empty.
    pub(super) unreadable: BTreeMap<String, u64>,
}

/// Reads rows of one file, and counts what became of their cells.
pub(super) struct RowReader {
    columns: Vec<Column>,
    default_year: FiscalYear,
    pub(super) counts: CellCounts,
}

impl RowReader {
    /// `default_year` is for files and cells without a year.
    pub(super) fn new(columns: Vec<Column>, default_year: FiscalYear) -> Self {
        Self { columns, default_year, counts: CellCounts::default() }
    }

    /// Reads one row; what is wrong with it stands in it.
    pub(super) fn read(&mut self, raw: &RawRow) -> StagedRow {
        let cells = Cells { columns: &self.columns, raw };
        let member_no = cells.text(&Column::MemberNo).and_then(|text| folded(text).parse().ok());
        let fiscal_year = match cells.text(&Column::FiscalYear) {
            Some(text) => fiscal_year(&folded(text), self.default_year),
            None => Some(self.default_year),
        };
        let mut row = StagedRow {
            line: raw.number,
            member_no,
            fiscal_year,
            rejected: None,
            notes: Vec::new(),
            cells: BTreeMap::new(),
        };
        match cells.read_into(&mut row) {
            Ok(()) => {
                self.count_folded(raw, &row);
                self.count_unreadable(&row);
            }
            Err(finding) => {
                row.rejected = Some(finding);
                row.notes.clear();
                row.cells.clear();
            }
        }
        row
    }

    fn count_folded(&mut self, raw: &RawRow, row: &StagedRow) {
        for (column, cell) in self.columns.iter().zip(&raw.cells) {
            let word = column.word();
            let kept = match column {
                Column::Ignored | Column::FiscalYear | Column::Status => continue,
                Column::MemberNo => row.member_no.as_ref().map(MemberNo::as_str),
                _ => row.cells.get(&word).and_then(Option::as_deref).filter(|kept| !kept.is_empty()),
            };
            if kept.is_some_and(|kept| kept != cell) {
                *self.counts.folded.entry(word).or_default() += 1;
            }
        }
    }

    fn count_unreadable(&mut self, row: &StagedRow) {
        let codes = [RowCode::UnreadableDate, RowCode::UnreadableNumber].map(RowCode::as_str);
        let unreadable = row.notes.iter().filter(|note| codes.contains(&note.code.as_str()));
        for field in unreadable.filter_map(|note| note.about.clone()) {
            *self.counts.unreadable.entry(field).or_default() += 1;
        }
    }
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

    fn read_into(&self, row: &mut StagedRow) -> Result<(), RowFinding> {
        self.check_shape()?;
        if row.member_no.is_none() {
            return Err(RowCode::BadMemberNo.plain());
        }
        if row.fiscal_year.is_none() {
            return Err(RowCode::BadFiscalYear.plain());
        }
        let name = self.name(&mut row.notes)?;
        let address = self.address(&mut row.notes)?;
        let status = self.status()?;
        row.cells.insert("name".to_owned(), Some(name));
        for column in self.columns {
            let text = self.text(column);
            let value = match column {
                Column::MemberNo | Column::Name | Column::FiscalYear | Column::Ignored => continue,
                Column::Kana => text.map(|text| one_line(&folded(text))),
                Column::Address => address.clone(),
                Column::Prefecture => text.and_then(|text| prefecture(text, &mut row.notes)),
                Column::Facility | Column::Duty => text.map(plain),
                Column::Status => status.map(|status| status.to_string()),
                Column::Attribute(name, kind) => {
                    text.map(|text| free(name, kind.unwrap_or_default(), text, &mut row.notes))
                }
            };
            row.cells.insert(column.word(), value);
        }
        Ok(())
    }

    fn check_shape(&self) -> Result<(), RowFinding> {
        let surplus = self.raw.cells.get(self.columns.len()..).unwrap_or_default();
        if surplus.iter().any(|cell| !trimmed(cell).is_empty()) {
            return Err(RowCode::TooManyCells.plain());
        }
        let wanted = || {
            let cells = self.columns.iter().zip(&self.raw.cells);
            cells.filter(|(column, _)| **column != Column::Ignored).map(|(_, cell)| cell)
        };
        if let Some(error) = wanted().find(|cell| CELL_ERRORS.contains(&trimmed(cell))) {
            return Err(RowCode::CellError.about(trimmed(error)));
        }
        if wanted().any(|cell| cell.chars().count() > VALUE_CHARS_MAX) {
            return Err(RowCode::CellTooLong.plain());
        }
        Ok(())
    }

    /// Names are kept as the society writes them: folding would change 髙 or 﨑 in some.
    fn name(&self, notes: &mut Vec<RowFinding>) -> Result<String, RowFinding> {
        let name = plain(self.text(&Column::Name).unwrap_or_default());
        if name.parse::<DisplayName>().is_err() {
            return Err(RowCode::BadName.plain());
        }
        if name.chars().any(|c| ('\u{e000}'..='\u{f8ff}').contains(&c)) {
            notes.push(RowCode::PrivateCharacter.plain());
        }
        Ok(name)
    }

    fn address(&self, notes: &mut Vec<RowFinding>) -> Result<Option<String>, RowFinding> {
        let Some(text) = self.text(&Column::Address) else { return Ok(None) };
        let address =
            EmailAddress::parse(&folded(text)).map_err(|error| RowCode::BadAddress.about(word_of(error)))?;
        if let Some(meant) = probably_meant(address.domain()) {
            notes.push(RowCode::LikelyTypo.about(meant));
        }
        Ok(Some(address.reveal()))
    }

    fn status(&self) -> Result<Option<MemberStatus>, RowFinding> {
        let Some(text) = self.text(&Column::Status) else { return Ok(None) };
        status(&folded(text)).map(Some).ok_or_else(|| RowCode::UnknownStatus.plain())
    }
}

/// An unknown prefecture does not cost anyone a notice; a notice that names it holds the person.
fn prefecture(text: &str, notes: &mut Vec<RowFinding>) -> Option<String> {
    let text = folded(text);
    let found = text.parse().ok().or_else(|| text.parse::<u8>().ok().and_then(Prefecture::from_code));
    if found.is_none() {
        notes.push(RowCode::UnknownPrefecture.plain());
    }
    found.map(|prefecture| prefecture.name().to_owned())
}

/// A cell of a free field. One that is no value of the field's kind leaves nothing, not even what was there
/// before: that is not true any more.
fn free(field: &str, kind: FieldKind, text: &str, notes: &mut Vec<RowFinding>) -> String {
    let code = match kind {
        FieldKind::Text => return day(&folded(text)).unwrap_or_else(|| plain(text)),
        FieldKind::Date => RowCode::UnreadableDate,
        FieldKind::Number => RowCode::UnreadableNumber,
    };
    let value = value_of(kind, text);
    if value.is_none() {
        notes.push(code.about(field));
    }
    value.unwrap_or_default()
}

/// NFKC, trimmed: full-width letters, digits and `＠` become ASCII, half-width kana full.
fn folded(text: &str) -> String {
    trimmed(&text.nfkc().collect::<String>()).to_owned()
}

/// One line, half-width kana full, all else as it is written.
fn plain(text: &str) -> String {
    one_line(&full_width_kana(text))
}

/// Half-width kana by themselves: folding a whole name would change other characters, too.
fn full_width_kana(text: &str) -> Cow<'_, str> {
    let half = |c: char| ('\u{ff61}'..='\u{ff9f}').contains(&c);
    if !text.contains(half) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(half) {
        let (before, kana) = rest.split_at(begin);
        let end = kana.find(|c| !half(c)).unwrap_or(kana.len());
        out.push_str(before);
        out.extend(kana[..end].nfkc());
        rest = &kana[end..];
    }
    Cow::Owned(out + rest)
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
    let year = year_of_era(text).or_else(|| text.parse().ok())?;
    (near.get() - YEARS_BACK_MAX..=near.get() + YEARS_AHEAD_MAX)
        .contains(&year)
        .then(|| FiscalYear::new(year))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::file::tests::open;

    const YEAR: FiscalYear = FiscalYear::new(2026);

    fn read(text: &str) -> (Vec<StagedRow>, BTreeMap<String, u64>) {
        let mut file = open(text.as_bytes(), "roster.csv").expect("a roster");
        let mut reader = RowReader::new(file.columns.clone(), YEAR);
        let mut rows = Vec::new();
        file.each_row(&mut |raw| {
            rows.push(reader.read(&raw));
            true
        })
        .expect("rows");
        (rows, reader.counts.folded)
    }

    fn one(heading: &str, cell: &str) -> StagedRow {
        let text = format!("会員番号,氏名,メールアドレス,{heading}\n100,鈴木 花子,a@example.jp,{cell}\n");
        read(&text).0.remove(0)
    }

    fn code(row: &StagedRow) -> Option<&str> {
        row.rejected.as_ref().map(|finding| finding.code.as_str())
    }

    fn value<'a>(row: &'a StagedRow, field: &str) -> Option<&'a str> {
        row.cells.get(field).expect("a column").as_deref()
    }

    #[test]
    fn full_width_writing_and_stray_spaces_are_folded_and_said_to_be() {
        let text = "会員番号,氏名,フリガナ,メールアドレス,都道府県,施設名\n\u{3000}１００Ａ ,\u{3000}鈴木　花子 ,\
                    ｽｽﾞｷ ﾊﾅｺ, ｈａｎａｋｏ＠ｅｘａｍｐｌｅ．ｊｐ\u{3000},宮城 ,ﾀﾞｲｲﾁ病院①\n\
                    101,佐藤 次郎,サトウ ジロウ,jiro@example.jp,宮城県,第一病院\n";
        let (rows, folded) = read(text);
        let row = &rows[0];
        assert_eq!(row.member_no.as_ref().map(MemberNo::as_str), Some("100A"));
        assert_eq!(value(row, "name"), Some("鈴木　花子"));
        assert_eq!(value(row, "kana"), Some("スズキ ハナコ"));
        assert_eq!(value(row, "address"), Some("hanako@example.jp"));
        assert_eq!(value(row, "prefecture"), Some("宮城県"));
        assert_eq!(value(row, "facility"), Some("ダイイチ病院①"));
        assert!(!row.cells.contains_key("role"));
        let fields: Vec<(&str, u64)> = folded.iter().map(|(field, n)| (field.as_str(), *n)).collect();
        let once = ["address", "facility", "kana", "member_no", "name", "prefecture"];
        assert_eq!(fields, once.map(|field| (field, 1)));
    }

    #[test]
    fn names_keep_the_characters_of_their_owners() {
        let (rows, folded) = read("会員番号,氏名,メールアドレス\n1,髙﨑 神,a@example.jp\n");
        assert_eq!(value(&rows[0], "name"), Some("髙﨑 神"));
        assert!(folded.is_empty());
    }

    #[test]
    fn days_of_eras_are_written_in_the_common_calendar() {
        assert_eq!(value(&one("入会日", "令和8年4月1日"), "入会日"), Some("2026-04-01"));
        assert_eq!(value(&one("電話", "03-1234-5678"), "電話"), Some("03-1234-5678"));
    }

    #[test]
    fn the_words_for_a_status_are_known_and_others_rejected() {
        for (word, status) in [
            ("正会員", Some("active")),
            ("賛助会員", Some("active")),
            ("休会", Some("suspended")),
            ("退会", Some("withdrawn")),
            ("死亡", Some("deceased")),
            ("逝去", Some("deceased")),
            ("Active", Some("active")),
            ("", None),
        ] {
            assert_eq!(value(&one("状態", word), "status"), status, "{word}");
        }
        assert_eq!(code(&one("状態", "会員？")), Some("unknown-status"));
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
            assert_eq!(one("年度", word).fiscal_year.map(FiscalYear::get), Some(year), "{word}");
        }
        for word in ["26", "2062", "1066", "来年", "R", "99999999999"] {
            assert_eq!(code(&one("年度", word)), Some("bad-fiscal-year"), "{word}");
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
             \"6\r\nBcc: x@y.jp\",佐藤,a@example.jp,\n\
             7,佐藤,a@example.jp,#REF!\n"
        );
        let rows = read(&text).0;
        let found: Vec<(u32, Option<&str>)> = rows.iter().map(|row| (row.line, code(row))).collect();
        assert_eq!(
            found,
            [
                (2, Some("bad-member-no")),
                (3, Some("bad-name")),
                (4, Some("bad-address")),
                (5, Some("bad-address")),
                (6, Some("too-many-cells")),
                (7, Some("cell-too-long")),
                (8, Some("bad-member-no")),
                (9, Some("cell-error")),
            ]
        );
        assert!(rows.iter().all(|row| row.cells.is_empty()), "nothing is kept of them");
    }

    #[test]
    fn doubtful_rows_are_taken_and_noted() {
        let text = "会員番号,氏名,メールアドレス,都道府県\n1,\u{e000}田,a@gamil.com,海外\n2,佐藤,,13\n";
        let rows = read(text).0;
        assert!(rows.iter().all(|row| row.rejected.is_none()));
        let notes = rows.iter().flat_map(|row| row.notes.iter().map(|note| (row.line, note.code.as_str())));
        assert_eq!(
            notes.collect::<Vec<_>>(),
            [(2, "private-character"), (2, "likely-typo"), (2, "unknown-prefecture")]
        );
    }

    #[test]
    fn every_code_is_known_by_its_word() {
        for code in [RowCode::BadMemberNo, RowCode::UnreadableDate, RowCode::LikelyTypo] {
            assert_eq!(RowCode::from_word(code.as_str()), Some(code));
            assert_eq!(serde_json::json!(code), code.as_str());
        }
    }
}
