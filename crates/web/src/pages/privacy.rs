//! Erasing a person, and how long things are kept.

use super::Shell;
use crate::i18n::Texts;
use askama::Template;
use domain::{BroadcastId, MemberId};

/// `/members/{id}/erase`: whom it concerns, by name, before anything is erased.
#[derive(Template)]
#[template(path = "erase.html")]
pub(crate) struct ErasePage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) id: MemberId,
    /// Number and name.
    pub(crate) name: String,
    /// Broadcasts that have to be over first.
    pub(crate) waits_for: Vec<BroadcastId>,
}

/// One thing that is kept for a time.
#[derive(Debug, Clone)]
pub(crate) struct PeriodRow {
    pub(crate) what: String,
    /// How long, in words.
    pub(crate) kept: String,
    /// What was last deleted and when, in words.
    pub(crate) last: String,
}

/// One erasure.
#[derive(Debug, Clone)]
pub(crate) struct ErasureRow {
    /// Number and name, or the pseudonym.
    pub(crate) name: String,
    /// For the link, while there is a page.
    pub(crate) member: Option<MemberId>,
    pub(crate) asked: String,
    /// Where it stands, in words.
    pub(crate) state: String,
    pub(crate) done: bool,
    /// Whom the button keeps, while it can.
    pub(crate) keep: Option<MemberId>,
    pub(crate) waits_for: Vec<BroadcastId>,
}

/// `/retention`.
#[derive(Template)]
#[template(path = "retention.html")]
pub(crate) struct RetentionPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    /// How many erasures are not done.
    pub(crate) under_way: Option<String>,
    pub(crate) periods: Vec<PeriodRow>,
    pub(crate) erasures: Vec<ErasureRow>,
}
