//! The after-action page of an exercise.

use super::{BarQuestion, Shell};
use crate::i18n::Texts;
use askama::Template;
use domain::{BroadcastId, ExerciseId};

/// One notice of the exercise with its figures.
#[derive(Debug, Clone)]
pub(crate) struct ReportRow {
    pub(crate) id: BroadcastId,
    pub(crate) title: String,
    pub(crate) cells: Vec<String>,
}

/// `/exercises/{id}/report`.
#[derive(Template)]
#[template(path = "report.html")]
pub(crate) struct ReportPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) id: ExerciseId,
    pub(crate) title: String,
    pub(crate) period: String,
    pub(crate) figures: Vec<(String, String)>,
    /// Heading of the title's column, then one per cell.
    pub(crate) heads: Vec<String>,
    pub(crate) rows: Vec<ReportRow>,
    pub(crate) questions: Vec<BarQuestion>,
    pub(crate) has_map: bool,
    pub(crate) chart: String,
    pub(crate) map: String,
}
