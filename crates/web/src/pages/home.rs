//! Home, sign-in, stop of everything, and what could not be done.

use super::Shell;
use crate::i18n::Texts;
use askama::Template;
use domain::{BroadcastId, BroadcastState, ExerciseId, ExerciseState, Nature};

/// `/login`.
#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct LoginPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) to: String,
    pub(crate) email: String,
    pub(crate) mistake: Option<String>,
}

/// What could not be done, why, and the way on.
#[derive(Template)]
#[template(path = "fault.html")]
pub(crate) struct FaultPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) text: String,
    pub(crate) way_on: String,
    /// Stable word of the rule that refused, or empty.
    pub(crate) rule: String,
    pub(crate) back: String,
    pub(crate) back_label: String,
}

/// A notice that waits for the reader's signature.
#[derive(Debug, Clone)]
pub(crate) struct WaitingNotice {
    pub(crate) id: BroadcastId,
    pub(crate) nature: Nature,
    pub(crate) subject: String,
    pub(crate) author: String,
    pub(crate) recipients: String,
}

/// An exercise on the home page; figures only while it runs.
#[derive(Debug, Clone)]
pub(crate) struct ExerciseCard {
    pub(crate) id: ExerciseId,
    pub(crate) nature: Nature,
    pub(crate) title: String,
    pub(crate) state: ExerciseState,
    pub(crate) started: String,
    pub(crate) answered: String,
    pub(crate) reached: String,
    pub(crate) rate: u64,
}

/// A broadcast on the home page.
#[derive(Debug, Clone)]
pub(crate) struct NoticeRow {
    pub(crate) id: BroadcastId,
    pub(crate) nature: Nature,
    pub(crate) subject: String,
    pub(crate) state: BroadcastState,
    pub(crate) chip: &'static str,
    pub(crate) author: String,
    pub(crate) at: String,
    /// Rows no longer open, of `total`.
    pub(crate) settled: u64,
    pub(crate) total: u64,
    pub(crate) accepted: String,
    pub(crate) total_text: String,
    /// Rows a person has to settle, if any.
    pub(crate) unknown: Option<String>,
}

/// `/`.
#[derive(Template)]
#[template(path = "home.html")]
pub(crate) struct HomePage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) may_author: bool,
    pub(crate) may_stop: bool,
    /// Broadcasts being sent now.
    pub(crate) sending: usize,
    pub(crate) waiting: Vec<WaitingNotice>,
    pub(crate) exercises: Vec<ExerciseCard>,
    pub(crate) past: Vec<ExerciseCard>,
    pub(crate) broadcasts: Vec<NoticeRow>,
}

/// `/stop`.
#[derive(Template)]
#[template(path = "stop_all.html")]
pub(crate) struct StopAllPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) sending: Vec<NoticeRow>,
    /// Running exercises: their timelines stop, too.
    pub(crate) running: Vec<(Nature, String)>,
}
