//! Pages for members: no login, no name, one large button.

use super::Shell;
use crate::i18n::Texts;
use askama::Template;
use domain::{BroadcastId, Nature};

/// One choice of a question.
#[derive(Debug, Clone)]
pub(crate) struct ChoiceView {
    pub(crate) value: String,
    pub(crate) label: String,
    pub(crate) chosen: bool,
}

/// One question with what was answered or typed; no choices: free text.
#[derive(Debug, Clone)]
pub(crate) struct QuestionView {
    pub(crate) key: String,
    pub(crate) text: String,
    pub(crate) required: bool,
    pub(crate) choices: Vec<ChoiceView>,
    pub(crate) value: String,
    pub(crate) wrong: bool,
    pub(crate) mistake: String,
}

/// The field for the end of the member's number, with what was typed.
#[derive(Debug, Clone)]
pub(crate) struct ProofView {
    pub(crate) name: &'static str,
    pub(crate) typed: String,
    pub(crate) mistake: Option<String>,
}

/// `/r/{token}`.
#[derive(Template)]
#[template(path = "answer.html")]
pub(crate) struct AnswerPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    /// The notice, as the member got it.
    pub(crate) subject: String,
    /// This page's own path.
    pub(crate) action: String,
    /// When the stored answer was given; `None`: nothing is stored, or the reader may not know.
    pub(crate) answered_at: Option<String>,
    /// Question and stored answer.
    pub(crate) given: Vec<(String, String)>,
    pub(crate) questions: Vec<QuestionView>,
    /// Nothing of the member's is shown before it was filled in.
    pub(crate) proof: Option<ProofView>,
    /// Name and value of the field that keeps a proof.
    pub(crate) kept: Option<(&'static str, String)>,
    pub(crate) mistakes: Vec<String>,
    /// There is something to answer.
    pub(crate) open: bool,
    /// The questions are folded away: they were answered, and nothing is wrong.
    pub(crate) folded: bool,
}

/// A heading, some sentences, at most one button; and a second, quiet one with its sentence.
#[derive(Template)]
#[template(path = "plain.html")]
pub(crate) struct PlainPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) lines: Vec<String>,
    pub(crate) button: Option<(String, String)>,
    pub(crate) quiet: Option<(String, String, String)>,
}

/// One notice that was really sent.
#[derive(Debug, Clone)]
pub(crate) struct VerifyRow {
    pub(crate) id: BroadcastId,
    pub(crate) nature: Nature,
    pub(crate) subject: String,
    pub(crate) at: String,
}

/// `/verify`.
#[derive(Template)]
#[template(path = "verify.html")]
pub(crate) struct VerifyPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) from: String,
    pub(crate) url: String,
    pub(crate) rows: Vec<VerifyRow>,
}
