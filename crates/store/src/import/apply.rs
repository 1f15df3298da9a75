//! Writing a plan to the registry.

use super::{Import, PLAN_KEPT, plan::MISSING};
use crate::{Engine, Store, StoreError, WriteTx, member::MEMBER_VALUES, sql};
use domain::{Actor, FieldKind, FiscalYear, Refusal, Rule, Timestamp};
use std::collections::BTreeMap;

/// Members written by one statement. PostgreSQL ends a session that is silent inside a transaction,
/// and people want to see that it goes on.
const MEMBERS_PER_STEP: u64 = 10_000;

/// What people saw of a plan and agreed to.
#[derive(Debug, Clone, Copy)]
pub struct SeenPlan<'a> {
    /// Members new, changed and unchanged.
    pub members: u64,
    /// Members who leave the year.
    pub left: u64,
    /// Free fields that the file has columns for, with their kinds.
    pub fields: &'a BTreeMap<String, FieldKind>,
    /// What stays of the report, without anybody's data.
    pub kept: &'a str,
}

impl Store {
    /// Writes a plan in one transaction; the import's id. `shown` hears how many of the plan's members
    /// are written.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the plan does not wait any more, is not what people saw, or the
    /// registry changed since it was made; nothing is written.
    pub async fn apply_import(
        &self,
        actor: Actor,
        plan: i64,
        seen: &SeenPlan<'_>,
        now: Timestamp,
        mut shown: impl FnMut(u64, u64),
    ) -> Result<i64, StoreError> {
        let tx = self.write().await?;
        let found = tx.import_locked(plan).await?;
        found.waits()?;
        if found.created_at < now.minus(PLAN_KEPT) {
            let text = format!("import plan {plan} has waited for more than a day");
            return Err(Refusal::new(Rule::State, text, "plan the import again").into());
        }
        tx.claim_registry(plan).await?;
        tx.is_as_it_was_seen(plan, &found, seen).await?;
        let text = "SELECT COALESCE(MAX(seq), -1) + 1 AS n FROM import_member WHERE plan_id = $1";
        let total = sql::number(&*tx, "measure a plan", text, [plan.into()]).await?.unsigned_abs();
        let mut done = 0;
        while done < total {
            tx.write_members(plan, done, now).await?;
            done = total.min(done + MEMBERS_PER_STEP);
            shown(done, total);
        }
        tx.note_fields(seen.fields).await?;
        if found.mode == "full" {
            tx.end_missing(plan, found.fiscal_year).await?;
        }
        let text = "INSERT INTO roster_import (file_name, sha256, mode, fiscal_year, plan, actor, applied_at) \
                    VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id AS n";
        let values = [
            found.file_name.into(),
            found.sha256.as_str().into(),
            found.mode.as_str().into(),
            i64::from(found.fiscal_year.get()).into(),
            seen.kept.into(),
            actor.to_string().into(),
            now.millis().into(),
        ];
        let id = sql::number(&*tx, "record an import", text, values).await?;
        let text = "UPDATE import_plan SET state = 'applied', report = $2, import_id = $3 WHERE id = $1";
        sql::run(&*tx, "close a plan", text, [plan.into(), seen.kept.into(), id.into()]).await?;
        let detail = format!(
            "mode={} year={} members={} left={} sha256={}",
            found.mode, found.fiscal_year, seen.members, seen.left, found.sha256
        );
        tx.audit(now, actor, "roster-imported", format!("import:{id}"), detail).await?;
        tx.commit().await?;
        // The registry has it now; what is left of the plan is people's data without a use.
        self.drop_staged(plan).await?;
        Ok(id)
    }
}

impl WriteTx {
    /// Moves the registry on from the revision that the plan was made for.
    async fn claim_registry(&self, plan: i64) -> Result<(), StoreError> {
        let text = "UPDATE registry_state SET revision = revision + 1 WHERE id = 1 AND revision = \
                    (SELECT registry_revision FROM import_plan WHERE id = $1)";
        if sql::run(&**self, "claim the registry", text, [plan.into()]).await? == 1 {
            return Ok(());
        }
        let text = "the registry was changed since the import was planned";
        Err(Refusal::new(Rule::Import, text, "plan the import again").into())
    }

    /// Refuses a plan that lost rows since people looked at it: whoever is missing in it would leave.
    async fn is_as_it_was_seen(
        &self,
        plan: i64,
        found: &Import,
        seen: &SeenPlan<'_>,
    ) -> Result<(), StoreError> {
        let text = "SELECT COUNT(*) AS n FROM import_member WHERE plan_id = $1";
        let members = sql::number(&**self, "count a plan", text, [plan.into()]).await?.unsigned_abs();
        let missing = format!("SELECT COUNT(*) AS n {MISSING}");
        let values = [plan.into(), i64::from(found.fiscal_year.get()).into()];
        let left = match found.mode.as_str() {
            "full" => sql::number(&**self, "count who would leave", &missing, values).await?.unsigned_abs(),
            _ => 0,
        };
        if (members, left) == (seen.members, seen.left) {
            return Ok(());
        }
        let text = "the plan is not what it was when it was looked at";
        Err(Refusal::new(Rule::Import, text, "plan the import again").into())
    }

    async fn note_fields(&self, fields: &BTreeMap<String, FieldKind>) -> Result<(), StoreError> {
        for (name, kind) in fields {
            let text = "INSERT INTO member_field (name, kind) VALUES ($1, $2) \
                        ON CONFLICT (name) DO UPDATE SET kind = excluded.kind";
            sql::run(&**self, "note a field", text, [name.as_str().into(), kind.as_str().into()]).await?;
        }
        Ok(())
    }

    /// Refuses what was drawn from a registry that has changed since.
    pub(crate) async fn registry_is_still(&self, revision: i64) -> Result<(), StoreError> {
        if self.hold_registry().await? == revision {
            return Ok(());
        }
        let text = "the registry was changed while the audience was drawn from it";
        Err(Refusal::new(Rule::State, text, "check the notice again").into())
    }

    /// Keeps the registry as it is until this transaction ends; its revision. Before the log, as everybody
    /// locks.
    pub(crate) async fn hold_registry(&self) -> Result<i64, StoreError> {
        let text = format!("SELECT revision AS n FROM registry_state WHERE id = 1{}", self.for_update());
        sql::number(&**self, "hold the registry", &text, []).await
    }

    async fn write_members(&self, plan: i64, from: u64, now: Timestamp) -> Result<(), StoreError> {
        let (from, to) = (from.cast_signed(), (from + MEMBERS_PER_STEP).cast_signed());
        let range = "plan_id = $1 AND seq >= $2 AND seq < $3";
        let with_now = || [plan.into(), from.into(), to.into(), now.millis().into()];
        let add = format!(
            "INSERT INTO member ({MEMBER_VALUES}, revision, created_at, updated_at) \
             SELECT {MEMBER_VALUES}, 1, CAST($4 AS BIGINT), CAST($4 AS BIGINT) FROM import_member \
             WHERE {range} AND change = 'added' ORDER BY seq"
        );
        sql::run(&**self, "add members", &add, with_now()).await?;
        let columns = MEMBER_VALUES.split(", ").map(|column| format!("{column} = i.{column}"));
        let update = format!(
            "UPDATE member SET {}, updated_at = $4, revision = member.revision + 1 FROM import_member i \
             WHERE i.plan_id = $1 AND i.seq >= $2 AND i.seq < $3 AND i.differences <> '[]' \
             AND member.id = i.member_id",
            columns.collect::<Vec<_>>().join(", ")
        );
        sql::run(&**self, "change members", &update, with_now()).await?;
        // How members are searched may have become finer since they were written.
        let search = "UPDATE member SET search = i.search FROM import_member i WHERE i.plan_id = $1 \
                      AND i.seq >= $2 AND i.seq < $3 AND member.id = i.member_id AND member.search <> i.search";
        let range_only = || [plan.into(), from.into(), to.into()];
        sql::run(&**self, "refresh what members are searched by", search, range_only()).await?;
        let (each, year) = match self.engine() {
            Engine::Sqlite => ("json_each(i.years) AS y", "y.value"),
            Engine::Postgres => {
                ("jsonb_array_elements_text(CAST(i.years AS jsonb)) AS y(value)", "CAST(y.value AS BIGINT)")
            }
        };
        let join = format!(
            "INSERT INTO membership (member_id, fiscal_year) SELECT m.id, {year} FROM import_member i \
             JOIN member m ON m.member_no = i.member_no CROSS JOIN {each} \
             WHERE i.plan_id = $1 AND i.seq >= $2 AND i.seq < $3 AND i.years <> '[]' \
             ON CONFLICT (member_id, fiscal_year) DO NOTHING"
        );
        sql::run(&**self, "add memberships", &join, range_only()).await?;
        Ok(())
    }

    async fn end_missing(&self, plan: i64, year: FiscalYear) -> Result<(), StoreError> {
        let text =
            format!("DELETE FROM membership WHERE fiscal_year = $2 AND member_id IN (SELECT m.id {MISSING})");
        sql::run(&**self, "end memberships", &text, [plan.into(), i64::from(year.get()).into()])
            .await
            .map(|_| ())
    }
}
