//! Whether a notice is real. Fixed when the thing is created, never edited (law 6).

use crate::words;

/// The nature of an exercise or a broadcast (CAP 1.2 `status`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nature {
    /// 実災害: it is happening.
    Actual,
    /// 訓練: a planned practice.
    Exercise,
    /// 試験: a technical test; reaches only the test roster.
    Test,
}

words!(Nature, "nature", { Actual => "actual", Exercise => "exercise", Test => "test" });

impl Nature {
    /// The banner that stands first in subject and body; an actual notice carries none, so that
    /// no reader ever learns to skip one.
    #[must_use]
    pub fn banner(self) -> Option<&'static str> {
        match self {
            Self::Actual => None,
            Self::Exercise => Some("【訓練】"),
            Self::Test => Some("【試験】"),
        }
    }

    /// The word an approver types before signing an actual notice: the confirmation of a test
    /// and of the real thing must never look alike (incidents.md C, 2018).
    #[must_use]
    pub fn confirmation_word(self) -> Option<&'static str> {
        match self {
            Self::Actual => Some("実災害"),
            Self::Exercise | Self::Test => None,
        }
    }
}
