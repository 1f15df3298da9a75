//! Members of the registry.

use crate::words;
use std::{fmt, str::FromStr};
use unicode_normalization::UnicodeNormalization;

/// So many characters at the end of a number show that somebody knows it: few enough to type on a
/// telephone, and too many for a handful of guesses.
const SHOWN_CHARS: usize = 4;

/// Where a member stands with the society. Only `Active` can be in an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberStatus {
    /// 正会員, 賛助会員.
    Active,
    /// 休会.
    Suspended,
    /// 退会.
    Withdrawn,
    /// 逝去.
    Deceased,
}

words!(MemberStatus, "member status", {
    Active => "active",
    Suspended => "suspended",
    Withdrawn => "withdrawn",
    Deceased => "deceased",
});

/// What the values of a free field are: of a roster's column that is none of the registry's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// As the office writes it.
    #[default]
    Text,
    /// A day, kept as `2026-04-01`.
    Date,
    /// A number, kept as `1200`, `-3` or `1.5`.
    Number,
}

words!(FieldKind, "kind of field", { Text => "text", Date => "date", Number => "number" });

/// The society's own number for a member: 1 to 32 printable characters without spaces.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct MemberNo(String);

impl MemberNo {
    /// The number as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `typed` shows that somebody knows this number: its last four letters and digits (all of
    /// a shorter one), or the whole. Width, letter case, spaces and dashes of any kind make no
    /// difference.
    #[must_use]
    pub fn is_shown_by(&self, typed: &str) -> bool {
        let (number, typed) = (folded(&self.0), folded(typed));
        let before = number.chars().count().saturating_sub(SHOWN_CHARS);
        typed == number || typed.chars().eq(number.chars().skip(before))
    }
}

fn folded(text: &str) -> String {
    text.nfkc().filter(|c| c.is_alphanumeric() && *c != 'ー').flat_map(char::to_lowercase).collect()
}

impl fmt::Display for MemberNo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A text is not a usable member number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a member number has 1 to 32 letters, digits or signs and no spaces")]
pub struct MemberNoError;

impl FromStr for MemberNo {
    type Err = MemberNoError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.chars().count();
        let plain = text.chars().all(|c| !c.is_whitespace() && !c.is_control());
        if plain && (1..=32).contains(&length) { Ok(Self(text.to_owned())) } else { Err(MemberNoError) }
    }
}

/// Whether two names look like two people of one family: the same word before the first space, and
/// another one after it. Names written without a space tell nothing.
#[must_use]
pub fn is_of_one_family(one: &str, other: &str) -> bool {
    let parts = |name: &str| {
        let (family, given) = name.trim().split_once(char::is_whitespace)?;
        Some((family.to_owned(), given.split_whitespace().collect::<String>()))
    };
    match (parts(one), parts(other)) {
        (Some((family, given)), Some((same, another))) => family == same && given != another,
        _ => false,
    }
}

/// The 47 prefectures in the order of their JIS X 0401 code (1 = 北海道 … 47 = 沖縄県).
pub const PREFECTURES: [&str; 47] = [
    "北海道",
    "青森県",
    "岩手県",
    "宮城県",
    "秋田県",
    "山形県",
    "福島県",
    "茨城県",
    "栃木県",
    "群馬県",
    "埼玉県",
    "千葉県",
    "東京都",
    "神奈川県",
    "新潟県",
    "富山県",
    "石川県",
    "福井県",
    "山梨県",
    "長野県",
    "岐阜県",
    "静岡県",
    "愛知県",
    "三重県",
    "滋賀県",
    "京都府",
    "大阪府",
    "兵庫県",
    "奈良県",
    "和歌山県",
    "鳥取県",
    "島根県",
    "岡山県",
    "広島県",
    "山口県",
    "徳島県",
    "香川県",
    "愛媛県",
    "高知県",
    "福岡県",
    "佐賀県",
    "長崎県",
    "熊本県",
    "大分県",
    "宮崎県",
    "鹿児島県",
    "沖縄県",
];

/// A prefecture by its JIS X 0401 code, 1 to 47.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefecture(u8);

impl Prefecture {
    /// By code 1 to 47.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        (1..=47).contains(&code).then_some(Self(code))
    }

    /// The JIS X 0401 code.
    #[must_use]
    pub fn code(self) -> u8 {
        self.0
    }

    /// The full name, e.g. 宮城県.
    #[must_use]
    pub fn name(self) -> &'static str {
        PREFECTURES[usize::from(self.0) - 1]
    }
}

impl FromStr for Prefecture {
    type Err = crate::UnknownWord;

    /// Accepts the full name (宮城県) and the short one (宮城).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        PREFECTURES
            .iter()
            .zip(1u8..)
            .find(|(name, _)| **name == text || (!text.is_empty() && short_name(name) == text))
            .map(|(_, code)| Self(code))
            .ok_or_else(|| crate::UnknownWord {
                what: "prefecture",
                given: text.to_owned(),
                known: "北海道 青森県 … 沖縄県".to_owned(),
            })
    }
}

fn short_name(full: &str) -> &str {
    if full == "北海道" { full } else { full.strip_suffix(['県', '府', '都']).unwrap_or(full) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_is_told_from_one_person_who_stands_there_twice() {
        assert!(is_of_one_family("鈴木 花子", "鈴木　一郎"));
        assert!(!is_of_one_family("鈴木 花子", "鈴木　花子"));
        assert!(!is_of_one_family("鈴木 花子", "佐藤 花子"));
        assert!(!is_of_one_family("鈴木花子", "鈴木一郎"));
    }

    #[test]
    fn the_end_of_a_number_shows_it_in_any_width_and_case() {
        let number: MemberNo = "K0012ab".parse().expect("a number");
        for right in ["12ab", "12AB", "１２ａＢ", " 12ab ", "k0012AB", "Ｋ００１２ａｂ　"] {
            assert!(number.is_shown_by(right), "{right:?}");
        }
        for wrong in ["", " ", "2ab", "012ab", "0012", "12ac", "K001"] {
            assert!(!number.is_shown_by(wrong), "{wrong:?}");
        }
        let short: MemberNo = "７".parse().expect("a number");
        let dashed: MemberNo = "123456-7".parse().expect("a number");
        for right in ["4567", "456-7", "456ー7", "456−7", "123456-7", "1234567"] {
            assert!(dashed.is_shown_by(right), "{right:?}");
        }
        assert!(short.is_shown_by("7") && !short.is_shown_by("") && !short.is_shown_by("0007"));
    }

    #[test]
    fn prefectures_are_known_by_full_and_short_name() {
        assert_eq!("京都".parse::<Prefecture>().map(Prefecture::code), Ok(26));
        assert_eq!("京都府".parse::<Prefecture>().map(Prefecture::code), Ok(26));
        assert_eq!("東京都".parse::<Prefecture>().map(Prefecture::name), Ok("東京都"));
        assert!("".parse::<Prefecture>().is_err());
        assert!("江戸".parse::<Prefecture>().is_err());
    }
}
