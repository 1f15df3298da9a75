//! Imports of rosters.

use super::Shell;
use crate::i18n::Texts;
use askama::Template;
use domain::MemberId;

/// One import in the list.
#[derive(Debug, Clone)]
pub(crate) struct ImportCard {
    pub(crate) plan: i64,
    pub(crate) file_name: String,
    pub(crate) state: &'static str,
    pub(crate) summary: String,
    pub(crate) at: String,
}

/// A heading and what it means here.
#[derive(Debug, Clone)]
pub(crate) struct ColumnView {
    pub(crate) heading: String,
    /// The chosen meaning, or empty.
    pub(crate) meaning: String,
    /// What it is taken for where none is chosen.
    pub(crate) automatic: String,
    /// Why it cannot have the chosen one.
    pub(crate) mistake: Option<String>,
}

/// The form that says what a file's headings mean.
#[derive(Debug, Clone)]
pub(crate) struct HeadingsForm {
    /// The plan from whose page it is; empty where there is none.
    pub(crate) plan: String,
    pub(crate) mode: &'static str,
    pub(crate) year: i32,
    pub(crate) columns: Vec<ColumnView>,
    /// What a heading can mean, with labels.
    pub(crate) meanings: Vec<(&'static str, String)>,
}

/// `/imports`.
#[derive(Template)]
#[template(path = "imports.html")]
pub(crate) struct ImportsPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) may_import: bool,
    /// How the next file is taken, as it was chosen before.
    pub(crate) mode: &'static str,
    /// The same; else the present fiscal year.
    pub(crate) year: i32,
    /// What is wrong with the file that was just sent.
    pub(crate) problem: Option<String>,
    /// Its headings, where some of them have to be explained.
    pub(crate) headings: Option<HeadingsForm>,
    pub(crate) rows: Vec<ImportCard>,
}

/// A part of a plan that can be chosen.
#[derive(Debug, Clone)]
pub(crate) struct Tab {
    pub(crate) word: &'static str,
    pub(crate) label: String,
    pub(crate) count: String,
    pub(crate) chosen: bool,
}

/// One field before and after.
#[derive(Debug, Clone)]
pub(crate) struct ChangeView {
    pub(crate) field: String,
    pub(crate) before: String,
    pub(crate) after: String,
}

/// What a plan says about one member or row.
#[derive(Debug, Clone)]
pub(crate) struct ImportLineView {
    pub(crate) texts: Vec<String>,
    pub(crate) changes: Vec<ChangeView>,
}

/// One line of a plan.
#[derive(Debug, Clone)]
pub(crate) struct ImportRowView {
    /// The row of the file.
    pub(crate) line: Option<u32>,
    /// A member of the registry, to be looked at.
    pub(crate) member: Option<MemberId>,
    pub(crate) name: String,
    pub(crate) details: ImportLineView,
}

/// `/imports/{id}`.
#[derive(Template)]
#[template(path = "import.html")]
pub(crate) struct ImportPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) plan: i64,
    pub(crate) file_name: String,
    pub(crate) state: &'static str,
    pub(crate) stamp: String,
    /// HTML; empty where nothing is under way.
    pub(crate) progress: String,
    pub(crate) problem: Option<String>,
    pub(crate) about: Vec<String>,
    pub(crate) notes: Vec<String>,
    /// Fields that are emptied because of cells that cannot be read.
    pub(crate) unreadable: Vec<String>,
    /// The file's headings, for those who may say what they mean.
    pub(crate) headings: Option<HeadingsForm>,
    /// Not one row can be taken.
    pub(crate) refused: bool,
    /// Why a second person has to look at it.
    pub(crate) second: Option<Vec<String>>,
    pub(crate) may_drop: bool,
    pub(crate) confirmed: bool,
    pub(crate) may_confirm: bool,
    pub(crate) may_import: bool,
    pub(crate) import_id: Option<i64>,
    pub(crate) tabs: Vec<Tab>,
    pub(crate) show: &'static str,
    pub(crate) rows: Vec<ImportRowView>,
    /// Where the next page begins.
    pub(crate) next: Option<i64>,
}

/// How far an import is.
#[derive(Template)]
#[template(path = "parts/import_progress.html")]
struct ImportProgress<'a> {
    text: &'a str,
    done: u64,
    total: Option<u64>,
}

/// How far an import is, as HTML.
pub(crate) fn import_progress(text: &str, done: u64, total: Option<u64>) -> String {
    super::html(&ImportProgress { text, done, total: total.map(|total| total.max(done)) })
}
