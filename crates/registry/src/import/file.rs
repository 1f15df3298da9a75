//! A roster's file: what it is, what its columns mean, and its rows one after the other.

use super::{
    FILE_OCTETS_MAX, ImportError, RawRow,
    columns::{Column, read_headings},
    decode::{TextForm, each_piece, find_encoding, text_of},
    table::{delimiter_of, each_record},
    workbook,
};
use data_encoding::HEXLOWER;
use domain::FieldKind;
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeMap,
    fmt,
    io::{BufReader, Read, Seek, SeekFrom},
};

/// Where a file's octets come from.
pub trait Source: Read + Seek + Send + Sync {}

impl<T: Read + Seek + Send + Sync> Source for T {}

/// A file that looks like a roster so far: its rows are not read yet.
pub struct RosterFile {
    source: Box<dyn Source>,
    name: String,
    sha256: String,
    form: Form,
    pub(super) columns: Vec<Column>,
    headings: Vec<String>,
    lines: u64,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Text(TextForm, u8),
    Workbook,
}

impl fmt::Debug for RosterFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RosterFile({}, {})", self.name, self.encoding())
    }
}

impl RosterFile {
    /// Looks a file over: format, encoding, headings. `meanings` are those this installation
    /// remembers, by [`heading_key`](super::heading_key). It reads the file several times and blocks.
    ///
    /// # Errors
    /// [`ImportError`] names the row and what to do.
    pub fn open(
        source: impl Source + 'static,
        name: &str,
        meanings: &BTreeMap<String, String>,
    ) -> Result<Self, ImportError> {
        let mut source: Box<dyn Source> = Box::new(source);
        let unreadable = |error: std::io::Error| ImportError::unreadable(&error);
        if source.seek(SeekFrom::End(0)).map_err(unreadable)? > FILE_OCTETS_MAX {
            return Err(ImportError::TooLarge);
        }
        let (mut digest, mut lines) = (Sha256::new(), 0);
        let mut magic = Vec::new();
        each_piece(&mut source, |piece| {
            if magic.is_empty() {
                magic.extend_from_slice(&piece[..piece.len().min(workbook::MAGIC.len())]);
            }
            digest.update(piece);
            lines += piece.iter().filter(|octet| **octet == b'\n').count() as u64;
        })?;
        let form = if magic == workbook::MAGIC {
            Form::Workbook
        } else {
            let form = find_encoding(&mut source)?;
            let delimiter = delimiter_of(text_of(&mut source, form)?)?;
            Form::Text(form, delimiter)
        };
        let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
        let mut file = Self {
            source,
            name: name.chars().filter(|c| !c.is_control()).take(200).collect(),
            sha256: HEXLOWER.encode(&digest.finalize()),
            form,
            columns: Vec::new(),
            headings: Vec::new(),
            lines,
        };
        if let Form::Workbook = form {
            workbook::check_size(&mut file.source, workbook::UNPACKED_OCTETS_MAX)?;
        }
        file.find_headings(meanings)?;
        Ok(file)
    }

    fn find_headings(&mut self, meanings: &BTreeMap<String, String>) -> Result<(), ImportError> {
        let (mut headings, mut has_rows) = (None, false);
        self.each_raw_row(&mut |row| {
            has_rows = headings.is_some();
            if !has_rows {
                headings = Some(row.cells);
            }
            !has_rows
        })?;
        self.headings = headings.ok_or(ImportError::Empty)?;
        self.columns = read_headings(&self.headings, meanings)?;
        if has_rows { Ok(()) } else { Err(ImportError::NoRows) }
    }

    /// The file's name, without its folder.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Of the file's octets, hex.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// How the text is encoded, or `xlsx`.
    #[must_use]
    pub fn encoding(&self) -> &'static str {
        match self.form {
            Form::Text(form, _) => form.encoding.name(),
            Form::Workbook => "xlsx",
        }
    }

    /// Each heading with what it was taken for.
    #[must_use]
    pub fn columns(&self) -> Vec<(String, String)> {
        let meaning = |column: &Column| column.word();
        self.headings.iter().cloned().zip(self.columns.iter().map(meaning)).collect()
    }

    /// Gives free fields without a kind the one that the registry knows; returns the kinds of those that
    /// hold no texts.
    pub(super) fn settle_kinds(
        &mut self,
        known: &BTreeMap<String, FieldKind>,
    ) -> BTreeMap<String, FieldKind> {
        let mut kinds = BTreeMap::new();
        for column in &mut self.columns {
            if let Column::Attribute(name, kind) = column {
                let settled = *kind.get_or_insert(known.get(name.as_str()).copied().unwrap_or_default());
                kinds.insert(name.clone(), settled);
            }
        }
        kinds.retain(|_, kind| *kind != FieldKind::Text);
        kinds
    }

    /// About how many rows there are, where the file says so beforehand.
    pub(super) fn rows_about(&self) -> Option<u64> {
        match self.form {
            Form::Text(..) => Some(self.lines),
            Form::Workbook => None,
        }
    }

    /// Shows every row below the headings, as long as `show` wants more.
    pub(super) fn each_row(&mut self, show: &mut dyn FnMut(RawRow) -> bool) -> Result<(), ImportError> {
        let mut is_headings = true;
        self.each_raw_row(&mut |row| std::mem::take(&mut is_headings) || show(row))
    }

    fn each_raw_row(&mut self, show: &mut dyn FnMut(RawRow) -> bool) -> Result<(), ImportError> {
        match self.form {
            Form::Text(form, delimiter) => each_record(text_of(&mut self.source, form)?, delimiter, show),
            Form::Workbook => workbook::each_row(BufReader::new(&mut self.source), show),
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::io::Cursor;

    /// A roster of these octets.
    pub(in super::super) fn open(bytes: &[u8], name: &str) -> Result<RosterFile, ImportError> {
        RosterFile::open(Cursor::new(bytes.to_vec()), name, &BTreeMap::new())
    }

    /// Its rows.
    pub(in super::super) fn rows(bytes: &[u8]) -> Result<Vec<RawRow>, ImportError> {
        let mut file = open(bytes, "roster.csv")?;
        let mut rows = Vec::new();
        file.each_row(&mut |row| {
            rows.push(row);
            true
        })?;
        Ok(rows)
    }

    fn numbers(text: &str) -> Vec<u32> {
        rows(text.as_bytes()).expect("a roster").iter().map(|row| row.number).collect()
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
        let many: String = (2..20).map(|n| format!("{n},佐藤,a{n}@example.jp\n")).collect();
        let refused = rows(format!("{HEADINGS}\n1,\"鈴木,a@example.jp\n{many}").as_bytes());
        assert_eq!(refused, Err(ImportError::RunawayCell { row: 2 }));
        for end in ["", "\n", "\n\n"] {
            let short = format!("{HEADINGS}\n1,a,a@example.jp\n2,\"b,b@example.jp\n3,c,c@example.jp{end}");
            assert_eq!(rows(short.as_bytes()), Err(ImportError::RunawayCell { row: 3 }), "{end:?}");
        }
    }

    #[test]
    fn a_file_without_rows_is_no_roster() {
        assert_eq!(rows(HEADINGS.as_bytes()), Err(ImportError::NoRows));
        for blank in [&b"\n\n"[..], b" \r\n\n", b"\xef\xbb\xbf"] {
            assert_eq!(rows(blank), Err(ImportError::Empty));
        }
        let page = rows(b"<!DOCTYPE html><html>");
        assert_eq!(page, Err(ImportError::OtherFormat { found: "web-page" }));
    }

    #[test]
    fn the_folder_of_a_file_is_not_kept() {
        let text = format!("{HEADINGS}\n1,a,\n");
        for name in ["C:\\Users\\hanako\\名簿.csv", "/home/hanako/名簿.csv", "名簿.csv"] {
            assert_eq!(open(text.as_bytes(), name).expect("a roster").name(), "名簿.csv");
        }
    }

    #[test]
    fn what_a_heading_means_here_is_remembered() {
        let text = b"No,\xe6\xb0\x8f\xe5\x90\x8d,\xe9\x80\xa3\xe7\xb5\xa1\xe5\x85\x88\n1,a,a@example.jp\n";
        assert!(matches!(open(text, "x"), Err(ImportError::MissingColumn { .. })));
        let meanings = [("no", "member_no"), ("連絡先", "address")];
        let meanings = meanings.map(|(heading, meaning)| (heading.to_owned(), meaning.to_owned()));
        let file = RosterFile::open(Cursor::new(text.to_vec()), "x", &BTreeMap::from(meanings));
        let words: Vec<String> =
            file.expect("a roster").columns().into_iter().map(|(_, word)| word).collect();
        assert_eq!(words, ["member_no", "name", "address"]);
    }
}
