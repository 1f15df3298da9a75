//! A plan page by page, for people to look at.

use super::{plan::MISSING, stage::RowFinding};
use crate::{Store, StoreError, sql};
use domain::{FiscalYear, MemberId};
use sea_orm::{FromQueryResult, Value};

/// Where a page of a plan begins: after this row, sequence number or member id.
pub type ImportCursor = i64;

/// Which lines of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportLines<'a> {
    /// Planned members with this change: `added`, `updated` or `unchanged`.
    Members(&'a str),
    /// Members of a family that shares a mailbox.
    Families,
    /// Rows that were not taken.
    Rejected,
    /// Rows that were taken and want a look.
    Noted,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportLine {
    /// Where it stands.
    pub cursor: ImportCursor,
    /// The row of the file.
    pub line: u32,
    /// The member's number, where it was understood.
    pub member_no: Option<String>,
    /// The member's name; empty for rejected rows.
    pub name: String,
    /// Years of membership that are new, as JSON.
    pub years: String,
    /// Field by field, as JSON.
    pub differences: String,
    /// With whom the mailbox is shared.
    pub shares_with: Option<String>,
    /// Why it was rejected, or what wants a look.
    pub findings: Vec<RowFinding>,
}

/// A member who would leave the year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaver {
    /// Row id.
    pub id: MemberId,
    /// The society's number.
    pub member_no: String,
    /// As written by the society.
    pub name: String,
    /// Workplace.
    pub facility: String,
}

#[derive(FromQueryResult)]
struct LineColumns {
    cursor: i64,
    line: i64,
    member_no: Option<String>,
    name: String,
    years: String,
    differences: String,
    shares_with: Option<String>,
    code: Option<String>,
    about: Option<String>,
    notes: String,
}

impl TryFrom<LineColumns> for ImportLine {
    type Error = StoreError;

    fn try_from(row: LineColumns) -> Result<Self, StoreError> {
        let mut findings: Vec<RowFinding> = serde_json::from_str(&row.notes).map_err(|why| {
            StoreError::Corrupt { table: "import_row", column: "notes", row: row.line, why: why.to_string() }
        })?;
        if let Some(code) = row.code {
            findings = vec![RowFinding { code, about: row.about }];
        }
        Ok(Self {
            cursor: row.cursor,
            line: u32::try_from(row.line).unwrap_or(u32::MAX),
            member_no: row.member_no,
            name: row.name,
            years: row.years,
            differences: row.differences,
            shares_with: row.shares_with,
            findings,
        })
    }
}

impl Store {
    /// Lines of a plan after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn import_lines(
        &self,
        plan: i64,
        which: ImportLines<'_>,
        after: ImportCursor,
        limit: u32,
    ) -> Result<Vec<ImportLine>, StoreError> {
        let mut values: Vec<Value> = vec![plan.into(), after.into(), i64::from(limit).into()];
        let member = "SELECT seq AS cursor, line, member_no, name, years, differences, shares_with, \
                      NULL AS code, NULL AS about, '[]' AS notes FROM import_member \
                      WHERE plan_id = $1 AND seq > $2";
        let row = "SELECT line AS cursor, line, member_no, '' AS name, '[]' AS years, '[]' AS differences, \
                   NULL AS shares_with, code, about, notes FROM import_row WHERE plan_id = $1 AND line > $2";
        let text = match which {
            ImportLines::Members(change) => {
                values.push(change.into());
                format!("{member} AND change = $4 ORDER BY seq LIMIT $3")
            }
            ImportLines::Families => format!("{member} AND shares_with IS NOT NULL ORDER BY seq LIMIT $3"),
            ImportLines::Rejected => format!("{row} AND code IS NOT NULL ORDER BY line LIMIT $3"),
            ImportLines::Noted => {
                format!("{row} AND code IS NULL AND notes <> '[]' ORDER BY line LIMIT $3")
            }
        };
        let rows: Vec<LineColumns> =
            sql::rows(&self.connection, "read lines of a plan", &text, values).await?;
        rows.into_iter().map(ImportLine::try_from).collect()
    }

    /// How many rows were taken and want a look.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn noted_rows(&self, plan: i64) -> Result<u64, StoreError> {
        let text =
            "SELECT COUNT(*) AS n FROM import_row WHERE plan_id = $1 AND code IS NULL AND notes <> '[]'";
        Ok(sql::number(&self.connection, "count noted rows", text, [plan.into()]).await?.unsigned_abs())
    }

    /// Members who would leave `year`, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn leavers(
        &self,
        plan: i64,
        year: FiscalYear,
        after: ImportCursor,
        limit: u32,
    ) -> Result<Vec<Leaver>, StoreError> {
        #[derive(FromQueryResult)]
        struct Row {
            id: i64,
            member_no: String,
            name: String,
            facility: String,
        }
        let text = format!(
            "SELECT m.id, m.member_no, m.name, m.facility {MISSING} AND m.id > $3 ORDER BY m.id LIMIT $4"
        );
        let values = [plan.into(), i64::from(year.get()).into(), after.into(), i64::from(limit).into()];
        let rows: Vec<Row> = sql::rows(&self.connection, "read who would leave", &text, values).await?;
        let leaver = |row: Row| Leaver {
            id: MemberId::new(row.id),
            member_no: row.member_no,
            name: row.name,
            facility: row.facility,
        };
        Ok(rows.into_iter().map(leaver).collect())
    }
}
