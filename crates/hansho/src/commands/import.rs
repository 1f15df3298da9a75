//! `hansho member import`: a roster's plan, and its writing.

use crate::{
    cli::{ImportArgs, ImportModeArg},
    installation::Installation,
};
use anyhow::{Context, Result, bail};
use domain::{Actor, FiscalYear};
use indicatif::{ProgressBar, ProgressStyle};
use registry::{
    COLUMN_MEANINGS, ImportMode, ImportReport, Planner, Progress, RosterFile, apply, check_meaning,
    heading_key, is_meaning,
};
use std::{collections::BTreeMap, fmt::Write, fs::File, path::Path};
use store::StoreError;

/// Rows shown to people; the JSON has more.
const ROWS_SHOWN_MAX: usize = 20;

/// Plans an import or takes up a plan; confirms and applies it where asked.
pub(super) async fn run(
    installation: &Installation,
    actor: Actor,
    args: &ImportArgs,
) -> Result<ImportReport> {
    let (store, now) = (&installation.store, installation.clock.now());
    if !args.columns.is_empty() {
        store.remember_columns(actor, &meanings(&args.columns)?, now).await?;
    }
    let report = match (&args.file, args.plan) {
        (Some(file), _) => {
            let year = args.fiscal_year.map(FiscalYear::new);
            planned(installation, actor, file, year, mode(args.mode)).await?
        }
        (None, Some(plan)) => {
            let kept = store.import(plan).await?.ok_or_else(|| StoreError::not_found("import plan", plan))?;
            if kept.report.is_empty() {
                kept.waits()?;
            }
            if args.confirm {
                store.confirm_import(actor, plan, now).await?;
            }
            serde_json::from_str(&kept.report)
                .with_context(|| format!("plan {plan} cannot be read; plan the import again"))?
        }
        (None, None) => bail!("give a file, or --plan"),
    };
    if args.apply { applied(installation, actor, report.plan).await } else { Ok(report) }
}

/// Plans an import. The demonstration imports the same way.
pub(crate) async fn planned(
    installation: &Installation,
    actor: Actor,
    file: &Path,
    fiscal_year: Option<FiscalYear>,
    mode: ImportMode,
) -> Result<ImportReport> {
    let (store, now) = (&installation.store, installation.clock.now());
    let year = fiscal_year.unwrap_or_else(|| installation.config.calendar().year_at(now));
    let remembered = store.column_meanings().await?;
    let opened = File::open(file).with_context(|| format!("the roster {} cannot be read", file.display()))?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let roster = tokio::task::spawn_blocking(move || RosterFile::open(opened, &name, &remembered)).await??;
    let bar = Bar::new();
    let planner = Planner { store, keyring: &installation.keyring, actor, now };
    Ok(planner.plan(roster, year, mode, |progress| bar.show(progress)).await?)
}

/// Applies a plan.
pub(crate) async fn applied(installation: &Installation, actor: Actor, plan: i64) -> Result<ImportReport> {
    let bar = Bar::new();
    let now = installation.clock.now();
    Ok(apply(&installation.store, actor, plan, now, |progress| bar.show(progress)).await?)
}

fn mode(word: ImportModeArg) -> ImportMode {
    match word {
        ImportModeArg::Merge => ImportMode::Merge,
        ImportModeArg::Full => ImportMode::Full,
    }
}

fn meanings(columns: &[String]) -> Result<BTreeMap<String, String>> {
    let mut meanings = BTreeMap::new();
    for column in columns {
        let (heading, meaning) = column.rsplit_once('=').unwrap_or((column, ""));
        if heading.trim().is_empty() || !(meaning.is_empty() || is_meaning(meaning)) {
            bail!("--column is HEADING=MEANING; meanings are: {}", COLUMN_MEANINGS.join(" "));
        }
        // Whatever it is called, a heading's meaning can be forgotten.
        if !meaning.is_empty() {
            check_meaning(heading, meaning)?;
        }
        meanings.insert(heading_key(heading), meaning.to_owned());
    }
    Ok(meanings)
}

/// How far it is, on a terminal; elsewhere nothing is drawn.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template("{prefix:>10} {wide_bar} {human_pos}/{human_len}");
        bar.set_style(style.expect("invariant: the template is well-formed"));
        Self(bar)
    }

    fn show(&self, progress: Progress) {
        let (step, done, total) = match progress {
            Progress::Reading(done, about) => ("reading", done, about),
            Progress::Comparing(done, most) => ("comparing", done, Some(most)),
            Progress::Writing(done, total) => ("writing", done, Some(total)),
        };
        self.0.set_prefix(step);
        if let Some(total) = total {
            self.0.set_length(total.max(done));
        }
        self.0.set_position(done);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A report as people read it.
pub(crate) fn show_report(report: &ImportReport) -> String {
    let mut out = String::new();
    let verb = if report.applied { "imported" } else { "plan (nothing was changed; --apply does it)" };
    let _infallible = writeln!(
        out,
        "{verb}: {} added, {} updated, {} unchanged, {} left, {} rejected [{}]",
        report.added, report.updated, report.unchanged, report.left, report.rejected_total, report.encoding
    );
    let excluded = &report.excluded;
    let _infallible = writeln!(
        out,
        "in no audience: {} withdrawn, {} suspended, {} deceased, {} of other years only",
        excluded.withdrawn, excluded.suspended, excluded.deceased, excluded.other_years
    );
    let column = |(heading, word): &(String, String)| {
        let kind = report.kinds.get(word).map(|kind| format!(" ({kind})")).unwrap_or_default();
        format!("{}={word}{kind}", heading.trim())
    };
    let columns: Vec<String> = report.columns.iter().map(column).collect();
    let _infallible = writeln!(out, "columns: {}", columns.join(", "));
    show_cells(&mut out, report);
    if report.shared_addresses > 0 {
        let _infallible = writeln!(out, "families that share a mailbox: {}", report.shared_addresses);
    }
    for rejected in report.rejected.iter().take(ROWS_SHOWN_MAX) {
        let _infallible = writeln!(out, "  row {:>5}: {}", rejected.row, rejected.reason);
    }
    show_rest(&mut out, report.rejected_total);
    for note in report.notes.iter().take(ROWS_SHOWN_MAX) {
        let _infallible = writeln!(out, "  row {:>5}: taken; {}", note.row, note.reason);
    }
    show_rest(&mut out, report.notes_total);
    if !report.applied {
        let _infallible = writeln!(
            out,
            "the plan is kept for a day: hansho member import --plan {} --apply, or the dashboard{}",
            report.plan,
            if report.needs_second_person { "; a second person has to confirm it first" } else { "" }
        );
    }
    out
}

fn show_cells(out: &mut String, report: &ImportReport) {
    if !report.folded.is_empty() {
        let folded: Vec<String> = report.folded.iter().map(|(field, n)| format!("{field} {n}")).collect();
        let _infallible =
            writeln!(out, "written in another way (width, kana, spaces, eras): {}", folded.join(", "));
    }
    for (field, n) in &report.unreadable {
        let kind = report.kinds.get(field).copied().unwrap_or_default();
        let column = report.columns.iter().find(|(_, word)| word == field);
        let heading = column.map_or(field.as_str(), |(heading, _)| heading.trim());
        let _infallible = writeln!(
            out,
            "careful: {field} is left empty for {n} members, for their cells cannot be read as a {kind}; \
             --column '{heading}=text' takes them as they are"
        );
    }
}

fn show_rest(out: &mut String, total: u64) {
    let more = total.saturating_sub(ROWS_SHOWN_MAX as u64);
    if more > 0 {
        let _infallible = writeln!(out, "  … and {more} more (--json and the dashboard list them)");
    }
}
