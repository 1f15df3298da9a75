//! Rosters: brought in by a form, planned behind the page, looked at, confirmed, written.
//!
//! # Security
//! Files come from desktops; [`registry`] bounds and checks them. A plan shows people's data to those
//! who may see it, and is looked at by others without addresses.

use super::{Fault, events, may_import, of_kind, reply, shell, year};
use crate::{
    filters::{Call, Door, Form, Routes, Upload, get, post, upload},
    i18n::Texts,
    pages::{
        ChangeView, ColumnView, HeadingsForm, ImportCard, ImportLineView, ImportPage, ImportRowView,
        ImportsPage, Tab, Times, grouped, html,
    },
};
use domain::{Actor, FieldKind, FiscalYear, Role};
use registry::{
    COLUMN_MEANINGS, Difference, ImportError, ImportMode, ImportReport, Planner, Progress, RosterFile,
    RowCode, apply, automatic_meaning, check_meaning, heading_key, is_meaning,
};
use std::{collections::BTreeMap, time::Duration};
use store::{Import, ImportLine, ImportLines, ImportState, RowFinding, StoreError};
use tracing::error;
use warp::{Filter, reply::Response};

/// Imports in the list.
const LISTED: u32 = 20;
/// What everybody who confirms a plan may see of a member.
const OPEN_FIELDS: [&str; 6] = ["name", "kana", "prefecture", "facility", "role", "status"];
/// Lines of a plan on one page.
const ROWS: u32 = 100;
/// A small import is done before the page is.
const PATIENCE: Duration = Duration::from_secs(2);

/// Adds the pages of imports.
pub(super) fn add(routes: &mut Routes) {
    let path = || warp::path!("imports").map(|| ());
    routes.add(get("imports", "/imports", Door::Staff), path(), list);
    routes.add(upload("imports.upload", "/imports"), path(), receive);
    let path = warp::path!("imports" / "columns").map(|| ());
    routes.add(post("imports.columns", "/imports/columns", Door::Staff), path, remember);
    let path = || warp::path!("imports" / i64);
    routes.add(get("imports.show", "/imports/{id}", Door::Staff), path(), show);
    let path = warp::path!("imports" / i64 / "events");
    routes.add(get("imports.events", "/imports/{id}/events", Door::Staff), path, live);
    let path = warp::path!("imports" / i64 / "apply");
    routes.add(post("imports.apply", "/imports/{id}/apply", Door::Staff), path, write);
    let path = warp::path!("imports" / i64 / "confirm");
    routes.add(post("imports.confirm", "/imports/{id}/confirm", Door::Staff), path, confirm);
    let path = warp::path!("imports" / i64 / "drop");
    routes.add(post("imports.drop", "/imports/{id}/drop", Door::Staff), path, forget);
}

async fn list(call: Call, (): ()) -> Result<Response, Fault> {
    may_look(&call)?;
    Ok(reply::html(list_page(&call, None, None, taking(&call, &call.query)).await?))
}

/// How a file is to be taken, as it was chosen before; else as a part of this year's roster.
fn taking(call: &Call, chosen: &Form) -> (ImportMode, FiscalYear) {
    let mode = ImportMode::from_word(chosen.get("mode")).unwrap_or(ImportMode::Merge);
    (mode, year_in(chosen).unwrap_or_else(|| year(call)))
}

fn year_in(form: &Form) -> Option<FiscalYear> {
    let number = form.get("year").parse::<i32>().ok()?;
    (1990..=2200).contains(&number).then(|| FiscalYear::new(number))
}

/// The list, and above it what is wrong with a file that was just sent, or with what its headings mean.
async fn list_page(
    call: &Call,
    problem: Option<&ImportError>,
    headings: Option<HeadingsForm>,
    (mode, year): (ImportMode, FiscalYear),
) -> Result<String, Fault> {
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let found = call.app.web.store.imports(LISTED).await?;
    let rows = found.iter().map(|import| ImportCard {
        plan: import.plan,
        file_name: import.file_name.clone(),
        state: import.state.as_str(),
        summary: report_of(import).map(|report| summary(t, &report)).unwrap_or_default(),
        at: times.short(import.created_at),
    });
    let mut s = shell(call, t.get("imports-title"));
    s.here = "members";
    let page = ImportsPage {
        s,
        t,
        may_import: call.role().may_import(),
        mode: mode.as_str(),
        year: year.get(),
        problem: problem.map(|problem| problem_of(t, problem)),
        headings,
        rows: rows.collect(),
    };
    Ok(html(&page))
}

/// What a heading can mean, with labels.
fn meanings(t: Texts) -> Vec<(&'static str, String)> {
    COLUMN_MEANINGS.into_iter().map(|word| (word, meaning_label(t, word))).collect()
}

fn meaning_label(t: Texts, word: &str) -> String {
    match word.parse::<FieldKind>() {
        Ok(kind) => t.word("column", kind),
        Err(_) => field_label(t, word),
    }
}

/// The form that says what headings mean, with `chosen` by [`heading_key`], and what is wrong with that.
async fn headings_form(
    call: &Call,
    headings: &[String],
    chosen: &BTreeMap<String, String>,
    plan: &str,
    (mode, year): (ImportMode, FiscalYear),
) -> Result<HeadingsForm, Fault> {
    let t = call.texts();
    let kinds = call.app.web.store.member_fields().await?;
    let view = |heading: &String| {
        let automatic = automatic_meaning(heading, &kinds);
        let automatic = automatic.map_or_else(|| heading.clone(), |word| meaning_label(t, &word));
        let meaning = chosen.get(&heading_key(heading)).cloned().unwrap_or_default();
        let wrong = if meaning.is_empty() { None } else { check_meaning(heading, &meaning).err() };
        ColumnView {
            heading: heading.clone(),
            automatic: t.with("column-automatic", "now", automatic),
            mistake: wrong.map(|problem| problem_of(t, &problem)),
            meaning,
        }
    };
    let columns = headings.iter().filter(|heading| !heading.trim().is_empty()).map(view).collect();
    let (plan, mode, year) = (plan.to_owned(), mode.as_str(), year.get());
    Ok(HeadingsForm { plan, mode, year, columns, meanings: meanings(t) })
}

/// Takes a file, looks it over, and plans it behind the page that is shown next.
async fn receive(call: Call, (): ()) -> Result<Response, Fault> {
    let actor = may_import(&call)?;
    let Some(Upload { name, file }) = call.upload.clone().filter(|upload| !upload.name.is_empty()) else {
        return again(&call, &ImportError::Empty).await;
    };
    let mode = ImportMode::from_word(call.form.get("mode")).ok_or(Fault::BadForm)?;
    let fiscal_year = year_in(&call.form).ok_or(Fault::BadForm)?;
    let remembered = call.app.web.store.column_meanings().await?;
    let opening = tokio::task::spawn_blocking(move || RosterFile::open(file, &name, &remembered));
    let roster = match opening.await.map_err(|lost| Fault::Internal(Box::new(lost)))? {
        Ok(roster) => roster,
        Err(problem) => return again(&call, &problem).await,
    };
    let web = &call.app.web;
    let planner = Planner { store: &web.store, keyring: &web.keyring, actor, now: call.app.now() };
    let plan = planner.begin(&roster, fiscal_year, mode).await?;
    let app = call.app.clone();
    call.app.note_import(plan, Some(Progress::Reading(0, None)));
    let planning = tokio::spawn(async move {
        let web = &app.web;
        let planner = Planner { store: &web.store, keyring: &web.keyring, actor, now: app.now() };
        let shown = |progress| app.note_import(plan, Some(progress));
        // A file that is none after all is told on the plan's page.
        if let Err(problem) = planner.complete(plan, roster, fiscal_year, mode, shown).await {
            error!(
                error = &problem as &dyn std::error::Error,
                import.plan = plan,
                "an import was not planned"
            );
        }
        app.note_import(plan, None);
    });
    let _small_files_are_done = tokio::time::timeout(PATIENCE, planning).await;
    Ok(reply::see_other(&format!("/imports/{plan}")))
}

async fn again(call: &Call, problem: &ImportError) -> Result<Response, Fault> {
    let taking = taking(call, &call.form);
    let found = match problem {
        ImportError::MissingColumn { found, .. } => found.as_slice(),
        ImportError::ReservedColumn { name } => std::slice::from_ref(name),
        _ => &[],
    };
    let headings = if found.is_empty() {
        None
    } else {
        let remembered = call.app.web.store.column_meanings().await?;
        Some(headings_form(call, found, &remembered, "", taking).await?)
    };
    Ok(reply::unprocessable(list_page(call, Some(problem), headings, taking).await?))
}

/// Keeps what headings mean; the file has to be chosen again, to be taken as before.
async fn remember(call: Call, (): ()) -> Result<Response, Fault> {
    let actor = may_import(&call)?;
    let mut meanings = BTreeMap::new();
    for (heading, meaning) in call.form.all("heading").zip(call.form.all("meaning")) {
        if !meaning.is_empty() && !is_meaning(meaning) {
            return Err(Fault::BadForm);
        }
        meanings.insert(heading_key(heading), meaning.to_owned());
    }
    let (taking, plan) = (taking(&call, &call.form), call.form.get("plan"));
    let found: Vec<String> = call.form.all("heading").map(str::to_owned).collect();
    let headings = headings_form(&call, &found, &meanings, plan, taking).await?;
    if headings.columns.iter().any(|column| column.mistake.is_some()) {
        return Ok(reply::unprocessable(list_page(&call, None, Some(headings), taking).await?));
    }
    let is_dropped = drop_waiting(&call, actor, plan).await?;
    call.app.web.store.remember_columns(actor, &meanings, call.app.now()).await?;
    let said = if is_dropped { "columns-plan-dropped" } else { "columns-remembered" };
    let (mode, year) = (headings.mode, headings.year);
    Ok(reply::see_other(&format!("/imports?said={said}&mode={mode}&year={year}")))
}

/// Drops the plan of this number, if it waits: its file was read as its headings do not mean any more.
async fn drop_waiting(call: &Call, actor: Actor, plan: &str) -> Result<bool, Fault> {
    let Ok(plan) = plan.parse::<i64>() else { return Ok(false) };
    let store = &call.app.web.store;
    let found = store.import(plan).await?;
    let waits = found.is_some_and(|import| import.state == ImportState::Planned) && !is_busy(call, plan);
    if waits {
        store.drop_import(actor, plan, call.app.now()).await?;
    }
    Ok(waits)
}

async fn show(call: Call, plan: i64) -> Result<Response, Fault> {
    may_look(&call)?;
    let import = find(&call, plan).await?;
    let t = call.texts();
    let report = report_of(&import);
    let waits = import.state == ImportState::Planned;
    let wanted = Show::of(call.query.get("show"));
    let tabs = report.as_ref().filter(|_| waits).map(|report| tabs(t, report, wanted)).unwrap_or_default();
    let (rows, next) = if waits { lines(&call, &import, wanted).await? } else { (Vec::new(), None) };
    let mine = call.actor().is_some_and(|actor| actor.to_string() == import.actor);
    let may_confirm = (call.role().may_import() || call.role().may_approve()) && !mine;
    let second = waits && report.as_ref().is_some_and(|report| report.needs_second_person);
    let is_live = is_busy(&call, plan) || import.state == ImportState::Reading;
    let headings = match &report {
        Some(report) if waits && !is_live && call.role().may_import() => {
            Some(headings_of(&call, plan, report).await?)
        }
        _ => None,
    };
    let mut s = shell(&call, import.file_name.clone());
    (s.here, s.live) = ("members", is_live);
    let page = ImportPage {
        s,
        t,
        plan,
        file_name: import.file_name.clone(),
        state: import.state.as_str(),
        stamp: stamp(&call, &import),
        progress: progress(&call, &import),
        problem: import.problem.as_deref().map(|problem| problem_in_words(t, problem)),
        about: about(t, &import),
        notes: report.as_ref().map(|report| remarks(t, report)).unwrap_or_default(),
        unreadable: report.as_ref().map(|report| unreadable(t, report)).unwrap_or_default(),
        headings,
        may_drop: call.role().may_import() && !is_busy(&call, plan) && import.state != ImportState::Applied,
        refused: report.as_ref().is_some_and(|report| taken(report) == 0),
        second: report.as_ref().filter(|_| second).map(|report| reasons(t, report)),
        confirmed: import.confirmed_by.is_some(),
        may_confirm,
        may_import: call.role().may_import(),
        import_id: import.import_id,
        tabs,
        show: wanted.word(),
        rows,
        next,
    };
    Ok(reply::html(html(&page)))
}

/// What the headings of a plan's file mean, to be chosen anew.
async fn headings_of(call: &Call, plan: i64, report: &ImportReport) -> Result<HeadingsForm, Fault> {
    let remembered = call.app.web.store.column_meanings().await?;
    let found: Vec<String> = report.columns.iter().map(|(heading, _)| heading.clone()).collect();
    let taking = (report.mode, report.fiscal_year);
    headings_form(call, &found, &remembered, &plan.to_string(), taking).await
}

async fn live(call: Call, plan: i64) -> Result<Response, Fault> {
    may_look(&call)?;
    let _exists = find(&call, plan).await?;
    events::stream(call, move |call| async move {
        let import = find(&call, plan).await?;
        let parts = vec![("progress", progress(&call, &import))];
        Ok(events::Moment { stamp: stamp(&call, &import), parts })
    })
}

/// Writes a plan to the registry; the page shows how far it is.
async fn write(call: Call, plan: i64) -> Result<Response, Fault> {
    let actor = may_import(&call)?;
    if is_busy(&call, plan) {
        return Ok(reply::see_other(&format!("/imports/{plan}")));
    }
    let app = call.app.clone();
    call.app.note_import(plan, Some(Progress::Writing(0, 0)));
    let mut writing = tokio::spawn(async move {
        let shown = |progress| app.note_import(plan, Some(progress));
        let written = apply(&app.web.store, actor, plan, app.now(), shown).await;
        app.note_import(plan, None);
        if let Err(problem @ (StoreError::Query { .. } | StoreError::Corrupt { .. })) = &written {
            error!(
                error = problem as &dyn std::error::Error,
                import.plan = plan,
                "an import was not written"
            );
        }
        written
    });
    match tokio::time::timeout(PATIENCE, &mut writing).await {
        Ok(done) => {
            done.map_err(|lost| Fault::Internal(Box::new(lost)))??;
            Ok(reply::see_other(&format!("/imports/{plan}?said=imported")))
        }
        Err(_) => Ok(reply::see_other(&format!("/imports/{plan}"))),
    }
}

async fn confirm(call: Call, plan: i64) -> Result<Response, Fault> {
    let actor = call.actor().ok_or(Fault::Forbidden)?;
    if !call.role().may_import() && !call.role().may_approve() {
        return Err(Fault::Forbidden);
    }
    call.app.web.store.confirm_import(actor, plan, call.app.now()).await?;
    Ok(reply::see_other(&format!("/imports/{plan}?said=import-confirmed")))
}

async fn forget(call: Call, plan: i64) -> Result<Response, Fault> {
    let actor = may_import(&call)?;
    if is_busy(&call, plan) {
        return Ok(reply::see_other(&format!("/imports/{plan}")));
    }
    call.app.web.store.drop_import(actor, plan, call.app.now()).await?;
    Ok(reply::see_other("/imports?said=import-dropped"))
}

/// Plans show addresses; whoever confirms one has to see what it changes.
fn may_look(call: &Call) -> Result<(), Fault> {
    if call.role() == Role::Viewer { Err(Fault::Forbidden) } else { Ok(()) }
}

async fn find(call: &Call, plan: i64) -> Result<Import, Fault> {
    call.app.web.store.import(plan).await?.ok_or(Fault::NotFound)
}

fn is_busy(call: &Call, plan: i64) -> bool {
    call.app.import_progress(plan).is_some()
}

/// Other buttons are due when it changes.
fn stamp(call: &Call, import: &Import) -> String {
    format!("{} {}", import.state.as_str(), is_busy(call, import.plan))
}

/// How far it is, as HTML; empty where nothing is under way.
fn progress(call: &Call, import: &Import) -> String {
    let t = call.texts();
    let (step, done, total) = match call.app.import_progress(import.plan) {
        Some(Progress::Reading(done, about)) => ("import-reading", done, about),
        Some(Progress::Comparing(done, most)) => ("import-comparing", done, Some(most)),
        Some(Progress::Writing(done, total)) => ("import-writing", done, Some(total)),
        None if import.state == ImportState::Reading => ("import-elsewhere", 0, None),
        None => return String::new(),
    };
    crate::pages::import_progress(&t.with(step, "n", grouped(done)), done, total)
}

fn report_of(import: &Import) -> Option<ImportReport> {
    serde_json::from_str(&import.report).ok()
}

fn taken(report: &ImportReport) -> u64 {
    report.added + report.updated + report.unchanged
}

fn summary(t: Texts, report: &ImportReport) -> String {
    let parts = [
        ("added", report.added),
        ("updated", report.updated),
        ("left", report.left),
        ("rejected", report.rejected_total),
    ];
    let shown = parts.iter().map(|(word, count)| format!("{} {}", t.word("import", word), grouped(*count)));
    shown.collect::<Vec<_>>().join("　")
}

/// Mode, year and columns in a line each.
fn about(t: Texts, import: &Import) -> Vec<String> {
    let mut lines = vec![t.with2(
        &format!("import-about-{}", import.mode),
        "year",
        import.fiscal_year,
        "sha",
        import.sha256.get(..12).unwrap_or_default(),
    )];
    if let Some(report) = report_of(import) {
        let columns: Vec<String> = report
            .columns
            .iter()
            .map(|(heading, word)| {
                let kind = report.kinds.get(word).copied().unwrap_or_default();
                (heading.trim(), of_kind(t, &field_label(t, word), kind))
            })
            .filter(|(heading, label)| heading != label && !heading.is_empty())
            .map(|(heading, label)| format!("{heading} → {label}"))
            .collect();
        let columns = if columns.is_empty() { t.get("import-columns-plain") } else { columns.join("、") };
        lines.push(t.with2("import-about-columns", "encoding", &report.encoding, "columns", columns));
    }
    lines
}

/// What was done with the file's writing, and who is in no audience.
fn remarks(t: Texts, report: &ImportReport) -> Vec<String> {
    let mut remarks = Vec::new();
    if !report.folded.is_empty() {
        let folded =
            report.folded.iter().map(|(field, n)| format!("{} {}", field_label(t, field), grouped(*n)));
        remarks.push(t.with("import-folded", "fields", folded.collect::<Vec<_>>().join("、")));
    }
    let excluded = &report.excluded;
    let outside = excluded.suspended + excluded.withdrawn + excluded.deceased + excluded.other_years;
    if outside > 0 {
        remarks.push(t.with("import-excluded", "n", grouped(outside)));
    }
    remarks
}

/// Which fields are emptied because their cells are no values of their kind, a field in each line.
fn unreadable(t: Texts, report: &ImportReport) -> Vec<String> {
    let line = |(field, people): (&String, &u64)| {
        t.with2("import-unreadable", "n", grouped(*people), "field", field)
    };
    report.unreadable.iter().map(line).collect()
}

/// Why a second person has to look at a plan, a reason in each line.
fn reasons(t: Texts, report: &ImportReport) -> Vec<String> {
    let mut reasons = Vec::new();
    if report.left > 0 {
        reasons.push(t.with2("import-second-left", "n", grouped(report.left), "year", report.fiscal_year));
    }
    for (id, people) in [
        ("import-second-deactivated", report.deactivated),
        ("import-second-readdressed", report.readdressed),
        ("import-second-nameless", if report.left > 0 { report.nameless } else { 0 }),
    ] {
        if people > 0 {
            reasons.push(t.with(id, "n", grouped(people)));
        }
    }
    reasons.extend(unreadable(t, report));
    reasons
}

/// Which part of a plan is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Show {
    Updated,
    Added,
    Left,
    Rejected,
    Noted,
    Families,
}

impl Show {
    const ALL: [Self; 6] =
        [Self::Updated, Self::Added, Self::Left, Self::Rejected, Self::Noted, Self::Families];

    fn of(word: &str) -> Self {
        Self::ALL.into_iter().find(|show| show.word() == word).unwrap_or(Self::Updated)
    }

    fn word(self) -> &'static str {
        match self {
            Self::Updated => "updated",
            Self::Added => "added",
            Self::Left => "left",
            Self::Rejected => "rejected",
            Self::Noted => "noted",
            Self::Families => "families",
        }
    }

    fn count(self, report: &ImportReport) -> u64 {
        match self {
            Self::Updated => report.updated,
            Self::Added => report.added,
            Self::Left => report.left,
            Self::Rejected => report.rejected_total,
            Self::Noted => report.notes_total,
            Self::Families => report.shared_addresses,
        }
    }
}

fn tabs(t: Texts, report: &ImportReport, wanted: Show) -> Vec<Tab> {
    let tab = |show: Show| Tab {
        word: show.word(),
        label: t.word("import", show.word()),
        count: grouped(show.count(report)),
        chosen: show == wanted,
    };
    Show::ALL.into_iter().map(tab).collect()
}

/// One page of the part that is shown, and where the next one begins.
async fn lines(
    call: &Call,
    import: &Import,
    wanted: Show,
) -> Result<(Vec<ImportRowView>, Option<i64>), Fault> {
    let (t, store, clear) = (call.texts(), &call.app.web.store, call.role().may_see_addresses());
    let after: i64 = call.query.get("after").parse().unwrap_or(-1);
    let which = match wanted {
        Show::Updated => ImportLines::Members("updated"),
        Show::Added => ImportLines::Members("added"),
        Show::Rejected => ImportLines::Rejected,
        Show::Noted => ImportLines::Noted,
        Show::Families => ImportLines::Families,
        Show::Left => {
            if import.mode != ImportMode::Full.as_str() {
                return Ok((Vec::new(), None));
            }
            let leavers = store.leavers(import.plan, import.fiscal_year, after, ROWS).await?;
            let next = (leavers.len() == ROWS as usize).then(|| leavers.last().map(|last| last.id.get()));
            let rows = leavers.into_iter().map(|leaver| ImportRowView {
                line: None,
                member: Some(leaver.id),
                name: format!("{} {}", leaver.member_no, leaver.name),
                details: ImportLineView { texts: vec![leaver.facility], changes: Vec::new() },
            });
            return Ok((rows.collect(), next.flatten()));
        }
    };
    let lines = store.import_lines(import.plan, which, after, ROWS).await?;
    let next = (lines.len() == ROWS as usize).then(|| lines.last().map(|last| last.cursor)).flatten();
    Ok((lines.iter().map(|line| row_view(t, line, clear)).collect(), next))
}

fn row_view(t: Texts, line: &ImportLine, clear: bool) -> ImportRowView {
    let mut texts: Vec<String> = line.findings.iter().map(|finding| finding_in_words(t, finding)).collect();
    if let Some(with) = &line.shares_with {
        texts.push(t.with("import-shares", "with", place(t, with)));
    }
    let years: Vec<i32> = serde_json::from_str(&line.years).unwrap_or_default();
    if !years.is_empty() {
        let years: Vec<String> = years.iter().map(ToString::to_string).collect();
        texts.push(t.with("import-joins", "years", years.join("、")));
    }
    let changes: Vec<Difference> = serde_json::from_str(&line.differences).unwrap_or_default();
    let shown = |field: &str, text: String| match field {
        // Free fields may be telephone numbers and other addresses.
        hidden if !clear && !text.is_empty() && !OPEN_FIELDS.contains(&hidden) => "＊＊＊".to_owned(),
        "status" if !text.is_empty() => t.word("member-status", text),
        _ => text,
    };
    let changes = changes.into_iter().map(|change| ChangeView {
        before: shown(&change.field, change.before),
        after: shown(&change.field, change.after),
        field: field_label(t, &change.field),
    });
    let number = line.member_no.clone().unwrap_or_default();
    ImportRowView {
        line: Some(line.line),
        member: None,
        name: format!("{number} {}", line.name).trim().to_owned(),
        details: ImportLineView { texts, changes: changes.collect() },
    }
}

/// A finding as a sentence; `#3` is a row, all else a member's number.
fn finding_in_words(t: Texts, finding: &RowFinding) -> String {
    let about = finding.about.as_deref().unwrap_or_default();
    match RowCode::from_word(&finding.code) {
        Some(RowCode::BadAddress) => t.word("address-problem", about),
        Some(RowCode::DuplicateAddress) => t.with("row-duplicate-address", "with", place(t, about)),
        Some(_) => t.with(&format!("row-{}", finding.code), "about", about),
        None => finding.code.clone(),
    }
}

fn place(t: Texts, about: &str) -> String {
    match about.strip_prefix('#') {
        Some(row) => t.with("row-of-file", "row", row),
        None => t.with("member-of-registry", "no", about),
    }
}

/// The name of a field as pages call it; a free field keeps its own.
pub(super) fn field_label(t: Texts, field: &str) -> String {
    let id = match field {
        "member_no" => "member-no",
        "name" => "member-name",
        "kana" => "member-kana",
        "address" => "address",
        "prefecture" => "prefecture",
        "facility" => "facility",
        "role" => "duty",
        "fiscal_year" => "fiscal-year",
        "status" => "state",
        "ignore" => "column-ignore",
        free => return free.to_owned(),
    };
    t.get(id)
}

fn problem_of(t: Texts, problem: &ImportError) -> String {
    in_words(t, &serde_json::json!(problem))
}

fn problem_in_words(t: Texts, json: &str) -> String {
    in_words(t, &serde_json::from_str(json).unwrap_or_default())
}

/// What is wrong with a file, from [`ImportError`] as JSON.
fn in_words(t: Texts, problem: &serde_json::Value) -> String {
    let text = |key: &str| match &problem[key] {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(list) => {
            list.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join(" | ")
        }
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    };
    let code = text("code");
    let id = format!("import-problem-{}", if code.is_empty() { "interrupted" } else { &code });
    let found = if code == "other-format" { t.word("format", text("found")) } else { text("found") };
    let args: Vec<(&str, String)> =
        ["why", "encoding", "row", "missing", "first", "second", "name", "people"]
            .into_iter()
            .map(|key| (key, text(key)))
            .chain([("found", found)])
            .collect();
    t.format(&id, &args)
}
