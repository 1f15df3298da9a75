//! Values of each kind of free field: how a cell or a condition is understood, and how a notice says it.
//!
//! Guarantees: one value is kept in one writing, so that equal values are equal texts; a text that is no
//! value of its field's kind is not said.

use crate::import::day;
use chrono::NaiveDate;
use domain::FieldKind;
use unicode_normalization::UnicodeNormalization;

/// Shift_JIS has the yen sign where ASCII has the backslash.
const YEN: [char; 2] = ['¥', '\\'];
/// The second is what Japanese keyboards write.
const MINUS: [char; 2] = ['-', '−'];

/// A text as a value of this kind, in the writing that is kept; `None` where it is none.
pub(crate) fn value_of(kind: FieldKind, text: &str) -> Option<String> {
    let folded = || text.nfkc().collect::<String>();
    match kind {
        FieldKind::Text => Some(text.to_owned()),
        FieldKind::Date => day(&folded()),
        FieldKind::Number => number(folded().trim()),
    }
}

/// A kept text as a notice says it; `None` where it is no value of this kind: the field may have got its
/// kind after the text was kept.
pub(crate) fn said(kind: FieldKind, kept: &str) -> Option<String> {
    let value = value_of(kind, kept)?;
    match kind {
        FieldKind::Text | FieldKind::Number => Some(value),
        FieldKind::Date => {
            let date: NaiveDate = value.parse().ok()?;
            Some(date.format("%Y年%-m月%-d日").to_string())
        }
    }
}

/// `1200` of `1,200`, `¥1,200` or `1200.0`. A comma that parts no thousands may be a decimal one; a zero
/// before other digits is part of a telephone number or a postal code, which would lose it.
fn number(text: &str) -> Option<String> {
    let amount = text.strip_prefix(YEN).unwrap_or(text);
    let unsigned = amount.strip_prefix(MINUS);
    let amount = unsigned.unwrap_or(amount);
    let amount = amount.strip_prefix(YEN).unwrap_or(amount);
    let (whole, fraction) = amount.split_once('.').unwrap_or((amount, "0"));
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let thousands: Vec<&str> = groups.collect();
    let is_grouped = thousands.is_empty() || first.len() <= 3;
    if !is_grouped || thousands.iter().any(|group| group.len() != 3) {
        return None;
    }
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let whole = [first, &thousands.concat()].concat();
    if !are_digits(first) || !are_digits(&whole) || !are_digits(fraction) {
        return None;
    }
    if whole.len() > 1 && whole.starts_with('0') {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    let minus = if unsigned.is_some() && (whole.as_str(), fraction) != ("0", "") { "-" } else { "" };
    Some(format!("{minus}{whole}{point}{fraction}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_kept_in_one_writing() {
        for (text, kept) in [
            ("1200", "1200"),
            ("1,200", "1200"),
            ("１，２３４，５６７", "1234567"),
            ("¥1,200", "1200"),
            ("￥１，２００", "1200"),
            ("\\1,200", "1200"),
            ("¥-1,200", "-1200"),
            ("-¥1,200", "-1200"),
            ("－3", "-3"),
            ("−3", "-3"),
            ("1.50", "1.5"),
            (" 7.0 ", "7"),
            ("0", "0"),
            ("0.5", "0.5"),
            ("-0.0", "0"),
            ("-0.5", "-0.5"),
        ] {
            assert_eq!(value_of(FieldKind::Number, text).as_deref(), Some(kept), "{text}");
        }
    }

    #[test]
    fn what_is_no_number_or_may_be_two_is_none() {
        for text in [
            "",
            "-",
            "¥",
            "12人",
            "1,5",
            "12,34",
            "1234,567",
            ",200",
            "1,200,",
            "1.",
            ".5",
            "1.2.3",
            "--3",
            "1e3",
            "1 200",
            "NaN",
            "03-1234-5678",
            "09012345678",
            "０１２０",
            "0,123",
            "-007.0",
            "00",
        ] {
            assert_eq!(value_of(FieldKind::Number, text), None, "{text}");
        }
    }

    #[test]
    fn a_notice_says_a_day_in_words_and_nothing_of_what_is_none() {
        for (kind, kept, words) in [
            (FieldKind::Date, "2026-04-01", Some("2026年4月1日")),
            (FieldKind::Date, "1985-12-31", Some("1985年12月31日")),
            (FieldKind::Date, "来月", None),
            (FieldKind::Date, "1200", None),
            (FieldKind::Number, "-1.5", Some("-1.5")),
            (FieldKind::Number, "2026-04-01", None),
            (FieldKind::Text, "2026-04-01", Some("2026-04-01")),
        ] {
            assert_eq!(said(kind, kept).as_deref(), words, "{kind} {kept}");
        }
    }
}
