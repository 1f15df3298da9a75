//! Days as Japanese offices write them, in both calendars.

use chrono::{Datelike, NaiveDate};

/// Year, month and day.
type Day = (i32, u32, u32);

/// An era's name, its letter, and the day it begins.
const ERAS: [(&str, char, Day); 5] = [
    ("令和", 'R', (2019, 5, 1)),
    ("平成", 'H', (1989, 1, 8)),
    ("昭和", 'S', (1926, 12, 25)),
    ("大正", 'T', (1912, 7, 30)),
    ("明治", 'M', (1868, 1, 25)),
];

/// The calendar year of an era's year: `令和8`, `R8`, `令和元`.
pub(super) fn year_of_era(text: &str) -> Option<i32> {
    let (count, (begins, ..)) = era_of(text)?;
    let count = if count == "元" { 1 } else { count.parse::<i32>().ok()? };
    (1..=99).contains(&count).then(|| begins + count - 1)
}

/// `2026-04-01` of a day in an era, or of one written `2026/4/1` or `2026年4月1日`.
pub(crate) fn day(text: &str) -> Option<String> {
    let folded: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let signs = |c: char| matches!(c, '年' | '月' | '/' | '.' | '-');
    let body = folded.strip_suffix('日').unwrap_or(&folded);
    let parts: Vec<&str> = body.split(signs).collect();
    let [year, month, day] = parts[..] else { return None };
    let era = era_of(year);
    let year = match era {
        Some(_) => year_of_era(year)?,
        None if year.len() == 4 => year.parse().ok()?,
        None => return None,
    };
    let date = NaiveDate::from_ymd_opt(year, month.parse().ok()?, day.parse().ok()?)?;
    // A day before its era is a slip of the pen, and not ours to mend.
    if era.is_some_and(|(_, (y, m, d))| date < NaiveDate::from_ymd_opt(y, m, d).unwrap_or(date)) {
        return None;
    }
    (date.year() >= 1868).then(|| date.to_string())
}

/// What follows an era's name, and the day the era begins.
fn era_of(text: &str) -> Option<(&str, Day)> {
    ERAS.iter().find_map(|(name, letter, begins)| {
        let rest = text.strip_prefix(name).or_else(|| text.strip_prefix(*letter))?;
        Some((rest.trim(), *begins))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_read_in_both_calendars() {
        for (text, iso) in [
            ("令和8年4月1日", "2026-04-01"),
            ("令和元年5月1日", "2019-05-01"),
            ("R8.4.1", "2026-04-01"),
            ("昭和60年12月31日", "1985-12-31"),
            ("S60/12/31", "1985-12-31"),
            ("H31.4.30", "2019-04-30"),
            ("2026/4/1", "2026-04-01"),
            ("2026年 4月 1日", "2026-04-01"),
            ("2026-04-01", "2026-04-01"),
        ] {
            assert_eq!(day(text).as_deref(), Some(iso), "{text}");
        }
    }

    #[test]
    fn what_is_no_day_stays_as_it_is_written() {
        for text in [
            "03-1234-5678",
            "令和元年4月30日",
            "令和8年",
            "8.4.1",
            "2026/13/1",
            "R8.2.30",
            "1.2.3",
            "病院",
            "",
        ] {
            assert_eq!(day(text), None, "{text}");
        }
    }
}
