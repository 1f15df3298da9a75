//! Writing a planned import.

use super::{
    columns::is_free,
    plan::{ImportReport, Progress},
};
use domain::{Actor, FieldKind, Refusal, Rule, Timestamp};
use std::collections::BTreeMap;
use store::{Import, SeenPlan, Store, StoreError};

/// Details kept with the import; the counts are always complete.
const DETAILS_KEPT_MAX: usize = 1_000;

/// Applies a plan in one transaction.
///
/// # Errors
/// [`StoreError::Refused`] where the actor may not import, a second person has to look at the plan
/// first, no row can be taken, or the registry changed since the plan was made. Then nothing was
/// written.
pub async fn apply(
    store: &Store,
    actor: Actor,
    plan: i64,
    now: Timestamp,
    mut shown: impl FnMut(Progress),
) -> Result<ImportReport, StoreError> {
    if !actor.may_import() {
        let text = "this role does not import rosters";
        return Err(Refusal::new(Rule::Role, text, "ask a coordinator or an engineer").into());
    }
    let import = store.import(plan).await?.ok_or_else(|| StoreError::not_found("import plan", plan))?;
    import.waits()?;
    let report: ImportReport = serde_json::from_str(&import.report).map_err(|why| StoreError::Corrupt {
        table: "import_plan",
        column: "report",
        row: plan,
        why: why.to_string(),
    })?;
    if let Some(refusal) = refusal(&import, &report) {
        return Err(refusal.into());
    }
    let free = report.columns.iter().map(|(_, word)| word).filter(|word| is_free(word));
    let fields: BTreeMap<String, FieldKind> =
        free.map(|word| (word.clone(), report.kinds.get(word).copied().unwrap_or_default())).collect();
    let seen = SeenPlan {
        members: report.added + report.updated + report.unchanged,
        left: report.left,
        fields: &fields,
        kept: &kept(&report),
    };
    let import_id = store
        .apply_import(actor, plan, &seen, now, |done, total| shown(Progress::Writing(done, total)))
        .await?;
    Ok(ImportReport { import_id: Some(import_id), applied: true, ..report })
}

/// Why this plan will not be applied as it stands, where it will not.
fn refusal(import: &Import, report: &ImportReport) -> Option<Refusal> {
    if report.added + report.updated + report.unchanged == 0 {
        let way_on = "correct the rows named in the plan and import again";
        return Some(Refusal::new(Rule::Import, "no row of the file can be taken", way_on));
    }
    if report.needs_second_person && import.confirmed_by.is_none() {
        let emptied = report.unreadable.iter().map(|(field, n)| format!(", {field} of {n} would be empty"));
        let text = format!(
            "{} members of {} would leave, {} would not be active any more, {} would get another address{}",
            report.left,
            report.fiscal_year,
            report.deactivated,
            report.readdressed,
            emptied.collect::<String>()
        );
        let way_on = format!(
            "check that the file is what it should be (a part of a roster is imported with --mode merge, and \
             --column HEADING=text takes a column as texts); then somebody else looks at plan {} in the \
             dashboard and confirms it",
            import.plan
        );
        return Some(Refusal::new(Rule::FourEyes, text, way_on));
    }
    None
}

/// The report as it is kept: rows and reasons, no one's data.
fn kept(report: &ImportReport) -> String {
    let mut kept = report.clone();
    kept.rejected.truncate(DETAILS_KEPT_MAX);
    kept.notes.truncate(DETAILS_KEPT_MAX);
    // A reason may name another member.
    for row in kept.rejected.iter_mut().chain(&mut kept.notes) {
        row.reason = row.code.reason(None);
    }
    kept.applied = true;
    serde_json::to_string(&kept).expect("invariant: a report is JSON")
}
