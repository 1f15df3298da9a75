//! Headings: Japanese or English, in any order; what is unknown becomes a free field.

use super::ImportError;
use domain::FieldKind;
use std::collections::BTreeMap;
use unicode_normalization::UnicodeNormalization;

/// A spreadsheet with more columns is something else.
pub(super) const COLUMNS_MAX: usize = 100;
/// As long as a template's field name can be.
const FIELD_CHARS_MAX: usize = 64;
/// Names that templates fill from elsewhere, and words that say what a column is.
const RESERVED: [&str; 11] = [
    "name",
    "kana",
    "member_no",
    "prefecture",
    "facility",
    "role",
    "status",
    "link",
    "address",
    "fiscal_year",
    "ignore",
];

/// What an installation can say that a heading means: a field of the registry's own, nothing, or a free
/// field of a kind.
pub const COLUMN_MEANINGS: [&str; 13] = [
    "member_no",
    "name",
    "kana",
    "address",
    "prefecture",
    "facility",
    "role",
    "fiscal_year",
    "status",
    "ignore",
    "text",
    "date",
    "number",
];

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Column {
    MemberNo,
    Name,
    Kana,
    Address,
    Prefecture,
    Facility,
    Duty,
    FiscalYear,
    Status,
    /// A free field by its name; without a kind it has the one that the registry knows.
    Attribute(String, Option<FieldKind>),
    /// Without a heading, which is not ours to guess; or not wanted.
    Ignored,
}

impl Column {
    fn of_word(word: &str) -> Option<Self> {
        Some(match word {
            "member_no" => Self::MemberNo,
            "name" => Self::Name,
            "kana" => Self::Kana,
            "address" => Self::Address,
            "prefecture" => Self::Prefecture,
            "facility" => Self::Facility,
            "role" => Self::Duty,
            "fiscal_year" => Self::FiscalYear,
            "status" => Self::Status,
            "ignore" => Self::Ignored,
            _ => return None,
        })
    }

    /// Whether both fill one field.
    fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Attribute(one, _), Self::Attribute(another, _)) => one == another,
            _ => self == other && *self != Self::Ignored,
        }
    }

    /// Its name as a field, or `ignore`.
    pub(super) fn word(&self) -> String {
        match self {
            Self::MemberNo => "member_no",
            Self::Name => "name",
            Self::Kana => "kana",
            Self::Address => "address",
            Self::Prefecture => "prefecture",
            Self::Facility => "facility",
            Self::Duty => "role",
            Self::FiscalYear => "fiscal_year",
            Self::Status => "status",
            Self::Attribute(name, _) => name,
            Self::Ignored => "ignore",
        }
        .to_owned()
    }
}

/// Whether a word is one of [`COLUMN_MEANINGS`].
#[must_use]
pub fn is_meaning(word: &str) -> bool {
    COLUMN_MEANINGS.contains(&word)
}

/// Whether a heading can have one of [`COLUMN_MEANINGS`].
///
/// # Errors
/// [`ImportError::ReservedColumn`], where it would be a free field under a name that means something else.
pub fn check_meaning(heading: &str, word: &str) -> Result<(), ImportError> {
    column_meant(word, heading).map(|_| ())
}

/// Which of [`COLUMN_MEANINGS`] a heading has as long as nothing is remembered of it; a free field has the kind
/// that the registry knows. None where the heading cannot be taken.
#[must_use]
pub fn automatic_meaning(heading: &str, known: &BTreeMap<String, FieldKind>) -> Option<String> {
    let column = column_of(heading).ok()?;
    let Column::Attribute(name, _) = &column else { return Some(column.word()) };
    Some(known.get(name).copied().unwrap_or_default().to_string())
}

/// Whether a column's word is the name of a free field.
pub(super) fn is_free(word: &str) -> bool {
    Column::of_word(word).is_none()
}

/// What two writings of a heading have in common: width, capitals, spaces and dashes do not count.
#[must_use]
pub fn heading_key(heading: &str) -> String {
    let folded = heading.nfkc().flat_map(char::to_lowercase);
    folded.filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-')).collect()
}

const REQUIRED: [(Column, &str); 3] = [
    (Column::MemberNo, "会員番号 (member_no)"),
    (Column::Name, "氏名 (name)"),
    (Column::Address, "メールアドレス (email)"),
];

/// The columns in the order of the file. What the installation remembers comes before what is known.
pub(super) fn read_headings(
    headings: &[String],
    meanings: &BTreeMap<String, String>,
) -> Result<Vec<Column>, ImportError> {
    if headings.len() > COLUMNS_MAX {
        return Err(ImportError::TooManyColumns);
    }
    if headings.iter().any(|heading| heading.contains(['@', '＠'])) {
        return Err(ImportError::NoHeadings);
    }
    let mut columns: Vec<Column> = Vec::with_capacity(headings.len());
    for (at, heading) in headings.iter().enumerate() {
        let column = match meanings.get(&heading_key(heading)) {
            Some(word) => column_meant(word, heading)?,
            None => column_of(heading)?,
        };
        if let Some(before) = columns.iter().position(|other| other.is_same_as(&column)) {
            return Err(ImportError::DuplicateColumn {
                first: shown(&headings[before]),
                second: shown(&headings[at]),
            });
        }
        columns.push(column);
    }
    for (column, missing) in REQUIRED {
        if !columns.contains(&column) {
            let found = headings.iter().map(|heading| shown(heading)).collect();
            return Err(ImportError::MissingColumn { missing, found });
        }
    }
    Ok(columns)
}

/// By one of [`COLUMN_MEANINGS`]; a later version may remember others.
fn column_meant(word: &str, heading: &str) -> Result<Column, ImportError> {
    let Ok(kind) = word.parse::<FieldKind>() else {
        return Column::of_word(word).map_or_else(|| column_of(heading), Ok);
    };
    match column_of(heading)? {
        Column::Attribute(name, _) => Ok(Column::Attribute(name, Some(kind))),
        Column::Ignored => Ok(Column::Ignored),
        // Conditions would find the registry's own field under that name.
        Column::MemberNo
        | Column::Name
        | Column::Kana
        | Column::Address
        | Column::Prefecture
        | Column::Facility
        | Column::Duty
        | Column::FiscalYear
        | Column::Status => Err(ImportError::ReservedColumn { name: shown(heading) }),
    }
}

fn column_of(heading: &str) -> Result<Column, ImportError> {
    Ok(match heading_key(heading).as_str() {
        "" => Column::Ignored,
        "会員番号" | "会員no" | "会員no." | "memberno" | "membernumber" => Column::MemberNo,
        "氏名" | "名前" | "会員氏名" | "name" | "fullname" => Column::Name,
        "フリガナ" | "ふりがな" | "カナ" | "氏名カナ" | "氏名(カナ)" | "氏名フリガナ" | "kana" => {
            Column::Kana
        }
        "メールアドレス"
        | "メール"
        | "eメール"
        | "email"
        | "emailaddress"
        | "mail"
        | "mailaddress"
        | "address" => Column::Address,
        "都道府県" | "都道府県名" | "prefecture" => Column::Prefecture,
        "施設名" | "施設" | "所属施設" | "所属施設名" | "facility" => Column::Facility,
        "役割" | "role" | "duty" => Column::Duty,
        "年度" | "会員年度" | "fiscalyear" => Column::FiscalYear,
        "状態" | "会員種別" | "status" => Column::Status,
        _ => Column::Attribute(field_name(heading)?, None),
    })
}

/// The heading as a template can write it: letters, digits and `_`, beginning with a letter.
fn field_name(heading: &str) -> Result<String, ImportError> {
    let folded = heading.nfkc().collect::<String>().trim().to_lowercase();
    let mut name: String =
        folded.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).take(FIELD_CHARS_MAX).collect();
    if !name.starts_with(char::is_alphabetic) {
        name = format!("c_{name}").chars().take(FIELD_CHARS_MAX).collect();
    }
    if RESERVED.contains(&name.as_str()) {
        return Err(ImportError::ReservedColumn { name: shown(heading) });
    }
    Ok(name)
}

/// A heading in a message: bounded, on one line.
fn shown(heading: &str) -> String {
    heading.trim().chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headings: &str) -> Result<Vec<Column>, ImportError> {
        read_headings(&headings.split(',').map(str::to_owned).collect::<Vec<_>>(), &BTreeMap::new())
    }

    #[test]
    fn headings_are_known_in_both_languages_and_any_order() {
        use Column as C;
        let all = [
            C::MemberNo,
            C::Name,
            C::Kana,
            C::Address,
            C::Prefecture,
            C::Facility,
            C::Duty,
            C::FiscalYear,
            C::Status,
        ];
        let japanese = read("会員番号,氏名,フリガナ,メールアドレス,都道府県,施設名,役割,年度,状態");
        let english = read("Member No,name,kana,E-mail,prefecture,facility,role,fiscal_year,STATUS");
        assert_eq!(japanese.as_deref(), Ok(&all[..]));
        assert_eq!(english.as_deref(), Ok(&all[..]));
        assert_eq!(read("ﾒｰﾙｱﾄﾞﾚｽ, 氏　名 ,会員番号"), Ok(vec![C::Address, C::Name, C::MemberNo]));
    }

    #[test]
    fn unknown_headings_become_fields_that_a_template_can_name() {
        let columns = read("会員番号,氏名,メールアドレス,電話番号（携帯）,DMAT,2024参加,,").expect("columns");
        let names: Vec<&Column> = columns[3..].iter().collect();
        let field = |name: &str| Column::Attribute(name.to_owned(), None);
        assert_eq!(
            names,
            [
                &field("電話番号_携帯_"),
                &field("dmat"),
                &field("c_2024参加"),
                &Column::Ignored,
                &Column::Ignored
            ]
        );
    }

    #[test]
    fn a_heading_that_holds_a_kind_is_a_free_field_of_that_kind() {
        let meanings = [("更新期限", "date"), ("会費", "number"), ("date", "text")];
        let meanings = meanings.map(|(heading, word)| (heading.to_owned(), word.to_owned()));
        let headings = ["会員番号", "氏名", "メールアドレス", "更新 期限", "会費", "Date"].map(str::to_owned);
        let columns = read_headings(&headings, &BTreeMap::from(meanings)).expect("columns");
        let field = |name: &str, kind| Column::Attribute(name.to_owned(), Some(kind));
        assert_eq!(
            columns[3..],
            [
                field("更新_期限", FieldKind::Date),
                field("会費", FieldKind::Number),
                field("date", FieldKind::Text)
            ]
        );
        assert!(columns[3..].iter().all(|column| is_free(&column.word())), "whatever they are called");
    }

    #[test]
    fn a_heading_of_the_registry_s_own_is_no_free_field() {
        for (heading, word) in [("施設名", "text"), ("年 度", "number"), ("Status", "date"), ("link", "text")]
        {
            let reserved = ImportError::ReservedColumn { name: heading.into() };
            assert_eq!(check_meaning(heading, word), Err(reserved.clone()), "{heading}");
            let meanings = BTreeMap::from([(heading_key(heading), word.to_owned())]);
            let headings = ["会員番号", "氏名", "メールアドレス", heading].map(str::to_owned);
            assert_eq!(read_headings(&headings, &meanings), Err(reserved), "{heading}");
        }
        assert_eq!(check_meaning("施設名", "ignore"), Ok(()));
        assert_eq!(check_meaning("更新期限", "date"), Ok(()));
    }

    #[test]
    fn a_heading_says_what_it_means_by_itself() {
        let known = BTreeMap::from([("更新期限".to_owned(), FieldKind::Date)]);
        for (heading, word) in [
            ("会員番号", Some("member_no")),
            ("ﾒｰﾙｱﾄﾞﾚｽ", Some("address")),
            ("更新期限", Some("date")),
            ("備考", Some("text")),
            ("link", None),
        ] {
            assert_eq!(automatic_meaning(heading, &known).as_deref(), word, "{heading}");
        }
    }

    #[test]
    fn one_field_has_one_column_whatever_its_kind() {
        let meanings = BTreeMap::from([("期限(新)".to_owned(), "date".to_owned())]);
        let headings = ["会員番号", "氏名", "メールアドレス", "期限(新)", "期限[新]"].map(str::to_owned);
        let double =
            ImportError::DuplicateColumn { first: "期限(新)".into(), second: "期限[新]".into() };
        assert_eq!(read_headings(&headings, &meanings), Err(double));
    }

    #[test]
    fn what_is_missing_double_or_reserved_is_named() {
        assert_eq!(
            read("番号,氏名,メール"),
            Err(ImportError::MissingColumn {
                missing: "会員番号 (member_no)",
                found: ["番号", "氏名", "メール"].map(str::to_owned).to_vec()
            })
        );
        assert_eq!(
            read("会員番号,氏名,メール,email"),
            Err(ImportError::DuplicateColumn { first: "メール".into(), second: "email".into() })
        );
        assert_eq!(
            read("会員番号,氏名,メール,Link"),
            Err(ImportError::ReservedColumn { name: "Link".into() })
        );
        assert_eq!(read("100,鈴木 花子,hanako＠example.jp"), Err(ImportError::NoHeadings));
        assert_eq!(read(&"x,".repeat(101)), Err(ImportError::TooManyColumns));
    }
}
