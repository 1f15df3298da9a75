//! A refusal by a safety rule: names the rule and the way on. The CLI exits with 3 on it.

use crate::words;

/// The rules that can refuse an action. The word is stable; pages translate it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// The author never approves (law 5).
    FourEyes,
    /// The actor's role does not allow this.
    Role,
    /// Signatures are missing or no longer match the content (law 5).
    Approval,
    /// Over the daily cap: one more signature (law 7).
    DailyCap,
    /// What was signed is not what stands here now (law 5).
    Digest,
    /// Preflight found something that blocks.
    Preflight,
    /// A test reaches only the test roster (law 6).
    TestRoster,
    /// The step is not possible in the present state.
    State,
    /// An actual notice wants its confirmation word.
    Confirmation,
    /// A reason has to be given.
    Reason,
    /// The import would change too much, or the file is not what it claims.
    Import,
}

words!(Rule, "rule", {
    FourEyes => "four-eyes",
    Role => "role",
    Approval => "approval",
    DailyCap => "daily-cap",
    Digest => "digest",
    Preflight => "preflight",
    TestRoster => "test-roster",
    State => "state",
    Confirmation => "confirmation",
    Reason => "reason",
    Import => "import",
});

/// An action was refused; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused by rule {rule}: {text} → {way_on}")]
pub struct Refusal {
    /// Which rule refused.
    pub rule: Rule,
    /// What was refused and why, in one sentence.
    pub text: String,
    /// What to do next.
    pub way_on: String,
}

impl Refusal {
    /// A refusal by `rule`.
    pub fn new(rule: Rule, text: impl Into<String>, way_on: impl Into<String>) -> Self {
        Self { rule, text: text.into(), way_on: way_on.into() }
    }
}
