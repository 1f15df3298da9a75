//! One JSON document on stdout with `--json`, sentences for people without.

use anyhow::Result;
use serde::Serialize;

/// How to print an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For scripts.
    Json,
}

impl Format {
    /// Prints `value` for scripts, or what `text` makes of it for people.
    pub(crate) fn print<T: Serialize>(self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        match self {
            Self::Json => println!("{}", serde_json::to_string(value)?),
            Self::Text => println!("{}", text(value).trim_end()),
        }
        Ok(())
    }
}
