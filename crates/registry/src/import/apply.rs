//! Writing a planned import.

use super::plan::{ImportPlan, ImportReport};
use domain::{Actor, Refusal, Rule, Timestamp};
use store::{RosterChanges, Store, StoreError};

/// Details kept with the import; the counts are always complete.
const DETAILS_KEPT_MAX: usize = 1_000;

/// Applies a plan in one transaction.
///
/// # Errors
/// [`StoreError::Refused`] where the actor may not import, the plan would change too much, or the
/// registry changed since the plan was made. Then nothing was written.
pub async fn apply(
    store: &Store,
    actor: Actor,
    plan: &ImportPlan,
    now: Timestamp,
) -> Result<ImportReport, StoreError> {
    if !actor.may_import() {
        let text = "this role does not import rosters";
        return Err(Refusal::new(Rule::Role, text, "ask a coordinator or an engineer").into());
    }
    if let Some(refusal) = plan.refusal() {
        return Err(refusal.into());
    }
    let changes = RosterChanges {
        file_name: &plan.file_name,
        sha256: &plan.sha256,
        mode: plan.report.mode.as_str(),
        fiscal_year: plan.report.fiscal_year,
        plan_json: &kept(&plan.report),
        add: &plan.add,
        update: &plan.update,
        join: &plan.join,
        leave: &plan.leave,
    };
    let import_id = store.apply_roster(actor, &changes, now).await?;
    Ok(ImportReport { import_id: Some(import_id), applied: true, ..plan.report.clone() })
}

/// The report as it is kept: rows and reasons, no one's data.
fn kept(report: &ImportReport) -> String {
    let mut kept = report.clone();
    kept.rejected.truncate(DETAILS_KEPT_MAX);
    kept.notes.truncate(DETAILS_KEPT_MAX);
    let mut json = serde_json::json!(kept);
    json["rejected_total"] = report.rejected.len().into();
    json["applied"] = true.into();
    json.to_string()
}
