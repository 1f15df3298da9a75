//! Imports of rosters: staged row by row, compared with the registry, and written in one
//! transaction. Everything between the file and the registry lives in tables of its own, so that a
//! file of any size passes through and a plan can be looked at for a day.
//!
//! Guarantees: until [`Store::apply_import`] the registry is as it was; a plan is written only to
//! the registry it was made for (its revision), whole or not at all; rows of a plan are gone once it
//! was written or dropped. Whoever reads for a plan notes with every batch that they are there.

mod apply;
mod plan;
mod stage;
mod view;

pub use apply::SeenPlan;
pub use plan::{ImportTally, MailboxClaim, PlannedGroup, PlannedMember, StagedCells, StagedMember};
pub use stage::{RowFinding, StagedRow};
pub use view::{ImportCursor, ImportLine, ImportLines, Leaver};

use crate::{Engine, Store, StoreError, WriteTx, sql};
use domain::{Actor, FiscalYear, Refusal, Rule, Timestamp};
use sea_orm::FromQueryResult;
use std::{collections::BTreeMap, time::Duration};

/// How long a plan may be looked at. It holds people's data, and the registry moves on.
const PLAN_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// A reader of whom nothing was heard for so long has died: a million rows are planned and written in
/// half of it, and no batch takes longer than a fraction of that.
const READER_SILENCE_MAX: Duration = Duration::from_secs(5 * 60);
/// Rows deleted in one transaction.
const ROWS_PER_DELETE: i64 = 10_000;

/// What is known of a file before its rows are read.
#[derive(Debug, Clone)]
pub struct NewImport {
    /// Name of the file, without its folder.
    pub file_name: String,
    /// Of the file's octets, hex.
    pub sha256: String,
    /// `merge` or `full`.
    pub mode: String,
    /// The year the roster is for.
    pub fiscal_year: FiscalYear,
}

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportState {
    /// Rows are being read and compared.
    Reading,
    /// The same, but nothing is heard of the reader any more. Not a word of the database: a reader who was
    /// only slow goes on.
    Interrupted,
    /// To be looked at, confirmed where it needs it, and applied.
    Planned,
    /// Written to the registry.
    Applied,
    /// The file turned out not to be a roster.
    Failed,
}

impl ImportState {
    /// The word of the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reading => "reading",
            Self::Interrupted => "interrupted",
            Self::Planned => "planned",
            Self::Applied => "applied",
            Self::Failed => "failed",
        }
    }
}

impl std::str::FromStr for ImportState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Reading, Self::Interrupted, Self::Planned, Self::Applied, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("`{text}` is no state of an import"))
    }
}

/// An import by its plan.
#[derive(Debug, Clone)]
pub struct Import {
    /// The plan's row id.
    pub plan: i64,
    /// Name of the file, without its folder.
    pub file_name: String,
    /// Of the file's octets, hex.
    pub sha256: String,
    /// `merge` or `full`.
    pub mode: String,
    /// The year the roster is for.
    pub fiscal_year: FiscalYear,
    /// Where it stands.
    pub state: ImportState,
    /// The report as JSON; empty until it is planned.
    pub report: String,
    /// Why it failed, as JSON.
    pub problem: Option<String>,
    /// Who planned it, as the audit log names people.
    pub actor: String,
    /// The second person who looked at it.
    pub confirmed_by: Option<String>,
    /// Set once applied.
    pub import_id: Option<i64>,
    /// When it was planned.
    pub created_at: Timestamp,
}

impl Import {
    /// Refuses where the plan does not wait to be written.
    ///
    /// # Errors
    /// [`Refusal`] names what it is instead.
    pub fn waits(&self) -> Result<(), Refusal> {
        match self.state {
            ImportState::Planned => Ok(()),
            ImportState::Interrupted => {
                let text = format!("the reading of import plan {} was interrupted", self.plan);
                Err(Refusal::new(Rule::State, text, "import the file again"))
            }
            ImportState::Reading => {
                let text = format!("the file of import plan {} is still being read", self.plan);
                Err(Refusal::new(Rule::State, text, "wait until it has been read"))
            }
            ImportState::Applied | ImportState::Failed => Err(self.is_already("plan the import again")),
        }
    }

    fn is_already(&self, way_on: &str) -> Refusal {
        Refusal::new(Rule::State, format!("import plan {} is {}", self.plan, self.state.as_str()), way_on)
    }
}

#[derive(FromQueryResult)]
struct ImportColumns {
    id: i64,
    file_name: String,
    sha256: String,
    mode: String,
    fiscal_year: i64,
    state: String,
    report: String,
    problem: Option<String>,
    actor: String,
    confirmed_by: Option<String>,
    import_id: Option<i64>,
    created_at: i64,
}

impl TryFrom<ImportColumns> for Import {
    type Error = StoreError;

    fn try_from(row: ImportColumns) -> Result<Self, StoreError> {
        let corrupt = |column, why| StoreError::Corrupt { table: "import_plan", column, row: row.id, why };
        Ok(Self {
            plan: row.id,
            state: row.state.parse().map_err(|why| corrupt("state", why))?,
            fiscal_year: i32::try_from(row.fiscal_year)
                .map(FiscalYear::new)
                .map_err(|why| corrupt("fiscal_year", why.to_string()))?,
            file_name: row.file_name,
            sha256: row.sha256,
            mode: row.mode,
            report: row.report,
            problem: row.problem,
            actor: row.actor,
            confirmed_by: row.confirmed_by,
            import_id: row.import_id,
            created_at: Timestamp::from_millis(row.created_at),
        })
    }
}

/// Who reads may be another process on another machine: the database's clock counts.
fn import_columns(engine: Engine) -> String {
    format!(
        "id, file_name, sha256, mode, fiscal_year, CASE WHEN state = 'reading' AND touched_at < {} - {} \
         THEN 'interrupted' ELSE state END AS state, report, problem, actor, confirmed_by, import_id, created_at",
        sql::now_expression(engine),
        READER_SILENCE_MAX.as_millis()
    )
}

impl Store {
    /// Begins a plan for the registry as it is now; its id. Plans nobody applied are dropped after a
    /// day.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn begin_import(
        &self,
        actor: Actor,
        new: &NewImport,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        self.drop_old_imports(now).await?;
        let tx = self.write().await?;
        let text = format!(
            "INSERT INTO import_plan (file_name, sha256, mode, fiscal_year, state, \
             registry_revision, report, actor, created_at, touched_at) \
             SELECT $1, $2, $3, CAST($4 AS BIGINT), 'reading', revision, '', $5, CAST($6 AS BIGINT), {} \
             FROM registry_state WHERE id = 1 RETURNING id AS n",
            sql::now_expression(tx.engine())
        );
        let values = [
            new.file_name.as_str().into(),
            new.sha256.as_str().into(),
            new.mode.as_str().into(),
            i64::from(new.fiscal_year.get()).into(),
            actor.to_string().into(),
            now.millis().into(),
        ];
        let plan = sql::number(&*tx, "begin an import", &text, values).await?;
        tx.commit().await?;
        Ok(plan)
    }

    /// The plan is complete: its report as JSON.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn finish_plan(
        &self,
        actor: Actor,
        plan: i64,
        report: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let text =
            "UPDATE import_plan SET state = 'planned', report = $2 WHERE id = $1 AND state = 'reading'";
        let tx = self.write().await?;
        if sql::run(&*tx, "finish a plan", text, [plan.into(), report.into()]).await? == 0 {
            return Err(StoreError::not_found("import plan", plan));
        }
        tx.audit(now, actor, "import-planned", format!("import-plan:{plan}"), String::new()).await?;
        tx.commit().await
    }

    /// Notes what stood in the way of writing a plan, as JSON; it waits on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_import_problem(&self, plan: i64, problem: &str) -> Result<(), StoreError> {
        let text = "UPDATE import_plan SET problem = $2 WHERE id = $1 AND state = 'planned'";
        let tx = self.write().await?;
        sql::run(&*tx, "note a problem of a plan", text, [plan.into(), problem.into()]).await?;
        tx.commit().await
    }

    /// The file is no roster: why, as JSON. What was staged is dropped.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn fail_import(&self, plan: i64, problem: &str) -> Result<(), StoreError> {
        let text = "UPDATE import_plan SET state = 'failed', problem = $2 WHERE id = $1";
        let tx = self.write().await?;
        sql::run(&*tx, "note a failed import", text, [plan.into(), problem.into()]).await?;
        tx.commit().await?;
        self.drop_staged(plan).await
    }

    /// One import by its plan.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn import(&self, plan: i64) -> Result<Option<Import>, StoreError> {
        let text = format!("SELECT {} FROM import_plan WHERE id = $1", import_columns(self.engine()));
        let row: Option<ImportColumns> =
            sql::row(&self.connection, "read an import", &text, [plan.into()]).await?;
        row.map(Import::try_from).transpose()
    }

    /// The last imports, the latest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn imports(&self, limit: u32) -> Result<Vec<Import>, StoreError> {
        let columns = import_columns(self.engine());
        let text = format!("SELECT {columns} FROM import_plan ORDER BY id DESC LIMIT $1");
        let rows: Vec<ImportColumns> =
            sql::rows(&self.connection, "list imports", &text, [i64::from(limit).into()]).await?;
        rows.into_iter().map(Import::try_from).collect()
    }

    /// Forgets a plan that was not applied; a reader that still reads for it stops.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where it was applied.
    pub async fn drop_import(&self, actor: Actor, plan: i64, now: Timestamp) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let found = tx.import_locked(plan).await?;
        if found.state == ImportState::Applied {
            return Err(found.is_already("what was imported stays").into());
        }
        tx.close_plan(plan).await?;
        tx.audit(now, actor, "import-dropped", format!("import-plan:{plan}"), String::new()).await?;
        tx.commit().await?;
        self.drop_closed(plan).await
    }

    /// A second person has looked at a plan that changes much.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for whoever planned it, and for those who neither import nor approve.
    pub async fn confirm_import(&self, actor: Actor, plan: i64, now: Timestamp) -> Result<(), StoreError> {
        let Actor::Staff { role, .. } = actor else {
            let text = "the second person has to be somebody with a name";
            return Err(Refusal::new(Rule::FourEyes, text, "sign in to the dashboard").into());
        };
        if !role.may_import() && !role.may_approve() {
            let way_on = "ask a coordinator, an approver or an engineer";
            return Err(Refusal::new(Rule::Role, "this role does not confirm imports", way_on).into());
        }
        let tx = self.write().await?;
        let found = tx.import_locked(plan).await?;
        if found.actor == actor.to_string() {
            let text = "whoever planned an import does not confirm it";
            return Err(Refusal::new(Rule::FourEyes, text, "ask somebody else to look at it").into());
        }
        found.waits()?;
        let text = "UPDATE import_plan SET confirmed_by = $2 WHERE id = $1";
        sql::run(&*tx, "confirm an import", text, [plan.into(), actor.to_string().into()]).await?;
        tx.audit(now, actor, "import-confirmed", format!("import-plan:{plan}"), String::new()).await?;
        tx.commit().await
    }

    /// Counts the imports of rosters that were written.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn registry_revision(&self) -> Result<i64, StoreError> {
        let text = "SELECT revision AS n FROM registry_state WHERE id = 1";
        sql::number(&self.connection, "read the registry's revision", text, []).await
    }

    /// What headings of files mean in this installation, beyond those that are known anyway.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn column_meanings(&self) -> Result<BTreeMap<String, String>, StoreError> {
        #[derive(FromQueryResult)]
        struct Meaning {
            heading: String,
            meaning: String,
        }
        let text = "SELECT heading, meaning FROM column_meaning";
        let rows: Vec<Meaning> = sql::rows(&self.connection, "read meanings of columns", text, []).await?;
        Ok(rows.into_iter().map(|row| (row.heading, row.meaning)).collect())
    }

    /// Remembers what headings mean; an empty meaning forgets.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remember_columns(
        &self,
        actor: Actor,
        meanings: &BTreeMap<String, String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        for (heading, meaning) in meanings {
            let (text, values) = if meaning.is_empty() {
                ("DELETE FROM column_meaning WHERE heading = $1", vec![heading.as_str().into()])
            } else {
                (
                    "INSERT INTO column_meaning (heading, meaning) VALUES ($1, $2) \
                     ON CONFLICT (heading) DO UPDATE SET meaning = excluded.meaning",
                    vec![heading.as_str().into(), meaning.as_str().into()],
                )
            };
            sql::run(&*tx, "remember a column", text, values).await?;
        }
        let detail = format!("headings={}", meanings.len());
        tx.audit(now, actor, "columns-remembered", "registry".to_owned(), detail).await?;
        tx.commit().await
    }

    /// Drops plans that waited for a day, those whose reader died, and what a crash left of one that was
    /// written: they hold people's data.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn drop_old_imports(&self, now: Timestamp) -> Result<(), StoreError> {
        let has = |table| format!("EXISTS (SELECT 1 FROM {table} s WHERE s.plan_id = p.id)");
        let text = format!(
            "SELECT id AS n FROM import_plan p WHERE (state <> 'applied' AND created_at < $1) \
             OR (state = 'applied' AND ({} OR {}))",
            has("import_row"),
            has("import_member")
        );
        let before = now.minus(PLAN_KEPT).millis();
        let old: Vec<sql::Number> =
            sql::rows(&self.connection, "look for old plans", &text, [before.into()]).await?;
        for plan in old {
            let tx = self.write().await?;
            tx.close_plan(plan.n).await?;
            tx.commit().await?;
            self.drop_closed(plan.n).await?;
        }
        Ok(())
    }

    /// A plan that was not written goes after the last of its rows: until then they are found by it.
    async fn drop_closed(&self, plan: i64) -> Result<(), StoreError> {
        self.drop_staged(plan).await?;
        let tx = self.write().await?;
        let text = "DELETE FROM import_plan WHERE id = $1 AND state = 'failed'";
        sql::run(&*tx, "drop a plan", text, [plan.into()]).await?;
        tx.commit().await
    }

    /// Deletes what was staged: at once where SQLite can, else in steps that let others write in between.
    async fn drop_staged(&self, plan: i64) -> Result<(), StoreError> {
        for (table, key) in [("import_row", "line"), ("import_member", "seq")] {
            let text = format!(
                "DELETE FROM {table} WHERE plan_id = $1 AND {key} IN \
                 (SELECT {key} FROM {table} WHERE plan_id = $1 ORDER BY {key} LIMIT $2)"
            );
            loop {
                let tx = self.write().await?;
                let gone = if tx.engine() == Engine::Sqlite && !tx.holds_other_plans(table, plan).await? {
                    // Without a condition SQLite forgets a table at once, rows and indexes.
                    sql::run(&*tx, "drop all planned rows", &format!("DELETE FROM {table}"), []).await?
                } else {
                    let values = [plan.into(), ROWS_PER_DELETE.into()];
                    sql::run(&*tx, "drop a plan's rows", &text, values).await?
                };
                tx.commit().await?;
                if gone < ROWS_PER_DELETE.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl WriteTx {
    async fn holds_other_plans(&self, table: &str, plan: i64) -> Result<bool, StoreError> {
        let text = format!(
            "SELECT (EXISTS (SELECT 1 FROM {table} WHERE plan_id < $1)) \
             + (EXISTS (SELECT 1 FROM {table} WHERE plan_id > $1)) AS n"
        );
        Ok(sql::number(&**self, "look for other plans", &text, [plan.into()]).await? > 0)
    }

    /// Notes that somebody reads for this plan; they stop where it was dropped.
    async fn touch_plan(&self, plan: i64) -> Result<(), StoreError> {
        let text = format!(
            "UPDATE import_plan SET touched_at = {} WHERE id = $1 AND state = 'reading'",
            sql::now_expression(self.engine())
        );
        match sql::run(&**self, "note that a plan is read for", &text, [plan.into()]).await? {
            0 => Err(StoreError::not_found("import plan", plan)),
            _ => Ok(()),
        }
    }

    /// Nobody writes a plan of which some rows are gone already.
    async fn close_plan(&self, plan: i64) -> Result<(), StoreError> {
        let text = "UPDATE import_plan SET state = 'failed' WHERE id = $1 AND state <> 'applied'";
        sql::run(&**self, "close a plan", text, [plan.into()]).await.map(|_| ())
    }

    /// One import, which nobody else changes before this transaction ends.
    async fn import_locked(&self, plan: i64) -> Result<Import, StoreError> {
        let columns = import_columns(self.engine());
        let text = format!("SELECT {columns} FROM import_plan WHERE id = $1{}", self.for_update());
        let row: Option<ImportColumns> = sql::row(&**self, "lock an import", &text, [plan.into()]).await?;
        row.ok_or_else(|| StoreError::not_found("import plan", plan))?.try_into()
    }
}
