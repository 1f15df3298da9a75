//! The situation page of an exercise and its live fragments.

use super::Shell;
use crate::i18n::Texts;
use askama::Template;
use domain::{BroadcastId, ExerciseId, ExerciseState, InjectState};

/// `/exercises/{id}`.
#[derive(Template)]
#[template(path = "exercise.html")]
pub(crate) struct ExercisePage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) id: ExerciseId,
    pub(crate) title: String,
    pub(crate) state: ExerciseState,
    /// Changes whenever other buttons are due.
    pub(crate) stamp: String,
    pub(crate) chip: &'static str,
    pub(crate) may_start: bool,
    pub(crate) may_stop: bool,
    pub(crate) may_end: bool,
    pub(crate) start_label: String,
    /// There is something to answer.
    pub(crate) has_answers: bool,
    /// Rendered [`Answers`].
    pub(crate) answers: String,
    /// Rendered [`Timeline`].
    pub(crate) timeline: String,
    /// Drawings.
    pub(crate) chart: String,
    pub(crate) map: String,
}

/// One inject.
#[derive(Debug, Clone)]
pub(crate) struct TimelineItem {
    pub(crate) mark: &'static str,
    pub(crate) chip: &'static str,
    pub(crate) due: String,
    pub(crate) state: InjectState,
    pub(crate) title: String,
    pub(crate) broadcast: Option<BroadcastId>,
    pub(crate) note: String,
}

/// The live fragment of the timeline.
#[derive(Template)]
#[template(path = "parts/timeline.html")]
pub(crate) struct Timeline {
    pub(crate) t: Texts,
    pub(crate) items: Vec<TimelineItem>,
}

/// One answer's bar.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) count: u64,
    pub(crate) count_text: String,
    pub(crate) percent: u64,
    /// Never zero: the right end of the bar.
    pub(crate) max: u64,
}

/// One question with a bar per choice.
#[derive(Debug, Clone)]
pub(crate) struct BarQuestion {
    pub(crate) text: String,
    pub(crate) bars: Vec<Bar>,
}

/// The live fragment of the answers.
#[derive(Template)]
#[template(path = "parts/answers.html")]
pub(crate) struct Answers {
    pub(crate) t: Texts,
    pub(crate) answered: String,
    pub(crate) reached: String,
    pub(crate) rate: u64,
    pub(crate) questions: Vec<BarQuestion>,
}
