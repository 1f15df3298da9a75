//! Rows of a file on their way into a plan.

use crate::{Store, StoreError, member::IDS_PER_QUERY, sql};
use domain::{FiscalYear, MemberNo};
use std::collections::BTreeMap;

/// What is to be said about a row: a code that pages translate, and what it is about (another row, a
/// member number, a domain, a column), never a cell of the file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RowFinding {
    /// The code's word.
    pub code: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

/// One row of a file, understood or rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedRow {
    /// As a spreadsheet shows it.
    pub line: u32,
    /// Where at least that was understood.
    pub member_no: Option<MemberNo>,
    /// Where at least that was understood.
    pub fiscal_year: Option<FiscalYear>,
    /// Why it was not taken.
    pub rejected: Option<RowFinding>,
    /// What wants a look.
    pub notes: Vec<RowFinding>,
    /// By field: a text, or nothing where the cell is blank; an empty text where the cell is no value of
    /// the field's kind, which clears the field. A field without a column is not there.
    pub cells: BTreeMap<String, Option<String>>,
}

impl Store {
    /// Adds rows to a plan.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stage_rows(&self, plan: i64, rows: &[StagedRow]) -> Result<(), StoreError> {
        let tx = self.write().await?;
        tx.touch_plan(plan).await?;
        let text = format!(
            "INSERT INTO import_row (plan_id, line, member_no, fiscal_year, code, about, notes, cells) \
             SELECT CAST($2 AS BIGINT), CAST(row.value ->> 0 AS BIGINT), row.value ->> 1, \
             CAST(row.value ->> 2 AS BIGINT), row.value ->> 3, row.value ->> 4, row.value ->> 5, \
             row.value ->> 6 FROM {}",
            sql::json_wide_rows(tx.engine(), 1)
        );
        let rows: Vec<_> = rows.iter().map(columns).collect();
        sql::run(&*tx, "stage rows", &text, [sql::json(&rows), plan.into()]).await?;
        tx.commit().await
    }

    /// Adds a note to rows.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_rows(&self, plan: i64, lines: &[u32], note: &RowFinding) -> Result<(), StoreError> {
        if lines.is_empty() {
            return Ok(());
        }
        let tx = self.write().await?;
        for chunk in lines.chunks(IDS_PER_QUERY) {
            let text = format!(
                "UPDATE import_row SET notes = CASE WHEN notes = '[]' THEN '[' || $2 || ']' \
                 ELSE substr(notes, 1, length(notes) - 1) || ',' || $2 || ']' END \
                 WHERE plan_id = $1 AND line IN ({})",
                sql::placeholders(3, chunk.len())
            );
            let lines = chunk.iter().map(|line| i64::from(*line).into());
            let values = [plan.into(), text_of(note).into()].into_iter().chain(lines);
            sql::run(&*tx, "note rows", &text, values).await?;
        }
        tx.commit().await
    }

    /// Rejects rows by what stands in other rows: the same member twice in a year, and members whose
    /// row of a later year was rejected, so that the older one would be out of date. `codes` are the
    /// words for the two.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reject_by_other_rows(&self, plan: i64, codes: [&str; 2]) -> Result<(), StoreError> {
        let [repeated, outdated] = codes;
        // Told by the index alone; in most files nobody stands twice.
        let text = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM import_row WHERE plan_id = $1 \
                    AND member_no IS NOT NULL GROUP BY member_no HAVING COUNT(*) > 1 LIMIT 1) AS twice";
        if sql::number(&self.connection, "look for repeated rows", text, [plan.into()]).await? == 0 {
            return Ok(());
        }
        let tx = self.write().await?;
        let first = "SELECT MIN(o.line) FROM import_row o WHERE o.plan_id = r.plan_id \
                     AND o.member_no = r.member_no AND o.fiscal_year = r.fiscal_year AND o.code IS NULL";
        // What to reject is read before anything is: no row counts as first because the one before it was
        // rejected just now.
        let text = format!(
            "WITH repeated AS (SELECT line, first FROM (SELECT r.line, ({first}) AS first FROM import_row r \
             WHERE r.plan_id = $1 AND r.code IS NULL) AS rows WHERE line > first) \
             UPDATE import_row SET code = $2, about = CAST(repeated.first AS TEXT) FROM repeated \
             WHERE import_row.plan_id = $1 AND import_row.line = repeated.line"
        );
        sql::run(&*tx, "reject repeated rows", &text, [plan.into(), repeated.into()]).await?;
        // A row whose year cannot be read may be the latest.
        let text = "UPDATE import_row SET code = $2 WHERE plan_id = $1 AND code IS NULL AND member_no IN \
                    (SELECT member_no FROM import_row WHERE plan_id = $1 AND member_no IS NOT NULL \
                    AND (code IS NULL OR code <> $3) GROUP BY member_no \
                    HAVING MAX(CASE WHEN code IS NULL THEN NULL ELSE COALESCE(fiscal_year, 99999) END) \
                    > MAX(CASE WHEN code IS NULL THEN fiscal_year END))";
        let values = [plan.into(), outdated.into(), repeated.into()];
        sql::run(&*tx, "reject outdated rows", text, values).await?;
        tx.commit().await
    }
}

/// In the order of the columns above.
fn columns(row: &StagedRow) -> impl serde::Serialize {
    (
        row.line,
        row.member_no.as_ref().map(MemberNo::as_str).map(str::to_owned),
        row.fiscal_year.map(FiscalYear::get),
        row.rejected.as_ref().map(|found| found.code.clone()),
        row.rejected.as_ref().and_then(|found| found.about.clone()),
        text_of(&row.notes),
        text_of(&row.cells),
    )
}

pub(super) fn text_of(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("invariant: lists and maps of texts are JSON")
}
