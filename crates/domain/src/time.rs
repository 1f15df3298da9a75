//! Points in time, the clock as a parameter, and Japan's fiscal year.

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use chrono_tz::Tz;
use std::time::Duration;

/// A point in time, in whole milliseconds since the Unix epoch (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// This much later; saturates at the end of time.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This much earlier; saturates at the beginning of time.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with milliseconds, as in every export.
    #[must_use]
    pub fn to_rfc3339(self) -> String {
        self.utc().to_rfc3339_opts(SecondsFormat::Millis, true)
    }

    /// Parses RFC 3339 with any offset.
    ///
    /// # Errors
    /// Where the text is not a full RFC 3339 date and time.
    pub fn parse_rfc3339(text: &str) -> Result<Self, chrono::ParseError> {
        DateTime::parse_from_rfc3339(text).map(|t| Self(t.timestamp_millis()))
    }

    /// The local calendar view, for pages and mail.
    #[must_use]
    pub fn in_zone(self, zone: Tz) -> DateTime<Tz> {
        self.utc().with_timezone(&zone)
    }

    fn utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }
}

/// Where "now" comes from. Injected everywhere, so that a test can set it.
pub trait Clock: Send + Sync + 'static {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// When fiscal years begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FiscalCalendar {
    /// Whose midnight counts.
    pub zone: Tz,
    /// From 1; most societies of Japan begin in April.
    pub first_month: u32,
}

impl FiscalCalendar {
    /// April to March, by Japan's clocks.
    pub const JAPAN: Self = Self { zone: Tz::Asia__Tokyo, first_month: 4 };

    /// The fiscal year that a moment falls into.
    #[must_use]
    pub fn year_at(self, moment: Timestamp) -> FiscalYear {
        let local = moment.in_zone(self.zone);
        let year = local.year();
        FiscalYear::new(if local.month() >= self.first_month { year } else { year - 1 })
    }
}

/// A fiscal year, named by the calendar year of its first month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct FiscalYear(i32);

impl FiscalYear {
    /// The fiscal year that begins in `year`.
    #[must_use]
    pub const fn new(year: i32) -> Self {
        Self(year)
    }

    /// The calendar year of its first month.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl std::fmt::Display for FiscalYear {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fiscal_year_turns_at_midnight_of_the_first_of_april_in_japan() {
        let before = Timestamp::parse_rfc3339("2026-03-31T23:59:59.999+09:00").expect("a time");
        let after = Timestamp::parse_rfc3339("2026-04-01T00:00:00+09:00").expect("a time");
        assert_eq!(FiscalCalendar::JAPAN.year_at(before).get(), 2025);
        assert_eq!(FiscalCalendar::JAPAN.year_at(after).get(), 2026);
        let by_calendar = FiscalCalendar { first_month: 1, ..FiscalCalendar::JAPAN };
        assert_eq!(by_calendar.year_at(before).get(), 2026);
        let from_july = FiscalCalendar { first_month: 7, ..FiscalCalendar::JAPAN };
        assert_eq!(from_july.year_at(after).get(), 2025);
    }
}
