//! Members of the registry.

use crate::words;
use std::{fmt, str::FromStr};

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
    fn prefectures_are_known_by_full_and_short_name() {
        assert_eq!("京都".parse::<Prefecture>().map(Prefecture::code), Ok(26));
        assert_eq!("京都府".parse::<Prefecture>().map(Prefecture::code), Ok(26));
        assert_eq!("東京都".parse::<Prefecture>().map(Prefecture::name), Ok("東京都"));
        assert!("".parse::<Prefecture>().is_err());
        assert!("江戸".parse::<Prefecture>().is_err());
    }
}
