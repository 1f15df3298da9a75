//! A sending limit: so many messages in so long a window.

use std::{fmt, str::FromStr, time::Duration};

/// At most `count` messages in any window of `per`. Written `10/s`, `600/m`, `1500/h`, `3000/d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Rate {
    count: u32,
    per: Duration,
}

impl Rate {
    /// Messages allowed in one window; at least one.
    #[must_use]
    pub fn count(self) -> u32 {
        self.count
    }

    /// Length of the window.
    #[must_use]
    pub fn per(self) -> Duration {
        self.per
    }

    /// The even spacing between two messages at this rate.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.per / self.count
    }
}

/// Why a text is not a rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rate; write it as COUNT/s, COUNT/m, COUNT/h or COUNT/d, for example \"10/s\"")]
pub struct RateError(String);

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || RateError(text.to_owned());
        let (count, unit) = text.trim().split_once('/').ok_or_else(bad)?;
        let count: u32 = count.trim().parse().map_err(|_| bad())?;
        let seconds = match unit.trim() {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(bad()),
        };
        if count == 0 {
            return Err(bad());
        }
        Ok(Self { count, per: Duration::from_secs(seconds) })
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Rate> for String {
    fn from(rate: Rate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            3_600 => "h",
            _ => "d",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_as_they_are_written() {
        for text in ["10/s", "600/m", "1500/h", "3000/d"] {
            assert_eq!(text.parse::<Rate>().expect("a rate").to_string(), text);
        }
        for text in ["", "10", "0/s", "-1/s", "10/week", "ten/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text} must be refused");
        }
    }
}
