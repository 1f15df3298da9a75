//! Saved audiences, the form for a new one, and how people differ from those of a broadcast.

use super::Shell;
use crate::i18n::Texts;
use askama::Template;
use domain::{AudienceId, BroadcastId, ExerciseId, MemberId, Nature};

/// A broadcast that went to an audience.
#[derive(Debug, Clone)]
pub(crate) struct UseView {
    pub(crate) id: BroadcastId,
    pub(crate) nature: Nature,
    pub(crate) subject: String,
    pub(crate) at: String,
    pub(crate) recipients: String,
}

/// One line of the list.
#[derive(Debug, Clone)]
pub(crate) struct AudienceRow {
    pub(crate) id: AudienceId,
    pub(crate) name: String,
    /// In words; all have to fit.
    pub(crate) conditions: Vec<String>,
    /// Where the list tells it.
    pub(crate) count: Option<String>,
    pub(crate) used: Option<UseView>,
}

/// `/audiences`.
#[derive(Template)]
#[template(path = "audiences.html")]
pub(crate) struct AudiencesPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) may_define: bool,
    pub(crate) rows: Vec<AudienceRow>,
}

/// A member by number and name.
#[derive(Debug, Clone)]
pub(crate) struct PersonView {
    pub(crate) id: MemberId,
    pub(crate) name: String,
    /// Where the person works; empty where it says nothing.
    pub(crate) place: String,
}

/// The form that renames an audience, and the way to its deletion.
#[derive(Debug, Clone)]
pub(crate) struct ChangeAudience {
    pub(crate) id: AudienceId,
    /// What stands in the field.
    pub(crate) name: String,
    /// Neither is possible before these are released or over.
    pub(crate) broadcasts: Vec<BroadcastId>,
    pub(crate) exercises: Vec<ExerciseId>,
}

/// `/audiences/{id}`.
#[derive(Template)]
#[template(path = "audience.html")]
pub(crate) struct AudiencePage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) conditions: Vec<String>,
    /// As on the command line, one condition each.
    pub(crate) written: String,
    pub(crate) count: String,
    pub(crate) sample: Vec<PersonView>,
    pub(crate) uses: Vec<UseView>,
    /// Rendered [`Differences`].
    pub(crate) differences: String,
    /// What the form for a new audience begins with; empty where it has no room.
    pub(crate) clauses: Vec<ClauseRows>,
    /// For those who may; an audience with uses keeps its name.
    pub(crate) change: Option<ChangeAudience>,
    /// In the new name.
    pub(crate) mistake: Option<String>,
}

/// `/audiences/{id}/delete`: which one, before anything is deleted.
#[derive(Template)]
#[template(path = "audience_delete.html")]
pub(crate) struct DeleteAudiencePage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) id: AudienceId,
    pub(crate) name: String,
    /// In words; they go with it.
    pub(crate) conditions: Vec<String>,
}

/// One row of the form for a new audience.
#[derive(Debug, Clone)]
pub(crate) struct TermRow {
    /// Its place among all rows.
    pub(crate) n: usize,
    pub(crate) field: String,
    pub(crate) negated: bool,
    /// As typed.
    pub(crate) values: String,
}

/// One condition of the form: rows of which one has to fit.
#[derive(Debug, Clone)]
pub(crate) struct ClauseRows {
    pub(crate) rows: Vec<TermRow>,
}

/// Whom the conditions find.
#[derive(Debug, Clone)]
pub(crate) struct Preview {
    pub(crate) conditions: Vec<String>,
    pub(crate) count: String,
    pub(crate) sample: Vec<PersonView>,
    /// Rendered [`Differences`].
    pub(crate) differences: String,
}

/// `/audiences/new`.
#[derive(Template)]
#[template(path = "audience_new.html")]
pub(crate) struct NewAudiencePage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) clauses: Vec<ClauseRows>,
    /// Word and label.
    pub(crate) fields: Vec<(String, String)>,
    /// Name and label of the audiences to compare with.
    pub(crate) audiences: Vec<(String, String)>,
    pub(crate) compare: String,
    pub(crate) name: String,
    pub(crate) mistake: Option<String>,
    pub(crate) preview: Option<Preview>,
}

/// Some of the people of one kind.
#[derive(Debug, Clone)]
pub(crate) struct PeopleView {
    /// Which kind, with their number.
    pub(crate) title: String,
    pub(crate) first: Vec<PersonView>,
    /// How many more there are, in words.
    pub(crate) rest: Option<String>,
}

/// How people differ from those of one broadcast.
#[derive(Debug, Clone)]
pub(crate) struct DifferenceView {
    pub(crate) title: String,
    pub(crate) kinds: Vec<PeopleView>,
}

/// The fragment of differences by name and number.
#[derive(Template)]
#[template(path = "parts/differences.html")]
pub(crate) struct Differences {
    pub(crate) t: Texts,
    pub(crate) all: Vec<DifferenceView>,
}

/// `/broadcasts/{id}/difference`.
#[derive(Template)]
#[template(path = "difference.html")]
pub(crate) struct DifferencePage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) id: BroadcastId,
    pub(crate) subject: String,
    /// Rendered [`Differences`].
    pub(crate) differences: String,
}
