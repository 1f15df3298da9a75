//! From staged rows to planned changes of members, and who claims which mailbox.

use super::stage::{RowFinding, text_of};
use crate::{
    MemberData, MemberWithYears, Store, StoreError,
    audience::attribute,
    member::{MEMBER_VALUES, member_values},
    sql,
};
use domain::{FiscalYear, MemberId, MemberNo, MemberStatus};
use sea_orm::FromQueryResult;
use std::collections::{BTreeMap, HashMap};

/// Those who read a mailbox. A person who withdrew or died holds none: somebody may come back under
/// a new number.
const ALIVE: &str = "IN ('active', 'suspended')";

/// A row that was taken, as it was staged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedCells {
    /// As a spreadsheet shows it.
    pub line: u32,
    /// The year it speaks of.
    pub fiscal_year: FiscalYear,
    /// By field.
    pub cells: BTreeMap<String, Option<String>>,
}

/// One member of a file with all rows that were taken, the latest year first.
#[derive(Debug, Clone)]
pub struct StagedMember {
    /// The society's number.
    pub member_no: MemberNo,
    /// At least one.
    pub rows: Vec<StagedCells>,
    /// What the registry knows.
    pub known: Option<MemberWithYears>,
}

#[derive(FromQueryResult, serde::Deserialize)]
struct RowColumns {
    line: i64,
    member_no: String,
    fiscal_year: i64,
    cells: String,
}

/// Rows in the order of numbers, by member.
fn by_member(rows: Vec<RowColumns>) -> Result<Vec<StagedMember>, StoreError> {
    let mut members: Vec<StagedMember> = Vec::new();
    for row in rows {
        let corrupt =
            |column, why: String| StoreError::Corrupt { table: "import_row", column, row: row.line, why };
        let cells = StagedCells {
            line: u32::try_from(row.line).unwrap_or(u32::MAX),
            fiscal_year: i32::try_from(row.fiscal_year)
                .map(FiscalYear::new)
                .map_err(|why| corrupt("fiscal_year", why.to_string()))?,
            cells: serde_json::from_str(&row.cells).map_err(|why| corrupt("cells", why.to_string()))?,
        };
        match members.last_mut() {
            Some(last) if last.member_no.as_str() == row.member_no => last.rows.push(cells),
            _ => members.push(StagedMember {
                member_no: row
                    .member_no
                    .parse()
                    .map_err(|why: domain::MemberNoError| corrupt("member_no", why.to_string()))?,
                rows: vec![cells],
                known: None,
            }),
        }
    }
    Ok(members)
}

/// What an import makes of one member.
#[derive(Debug, Clone)]
pub struct PlannedMember {
    /// `added`, `updated` or `unchanged`.
    pub change: &'static str,
    /// The row that says what is true now.
    pub line: u32,
    /// In the registry already.
    pub member: Option<MemberId>,
    /// As it will be.
    pub data: MemberData,
    /// Years that the member gains.
    pub years: Vec<FiscalYear>,
    /// Field by field, as JSON that pages read.
    pub differences: String,
    /// The mailbox is the member's own already.
    pub keeps_mailbox: bool,
    /// A member of the plan's fiscal year, afterwards.
    pub is_current: bool,
}

/// Somebody who has a mailbox that somebody else has or wants, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailboxClaim {
    /// Its key.
    pub mailbox: String,
    /// Who.
    pub member_no: MemberNo,
    /// To tell a family from a person who stands there twice.
    pub name: String,
    /// The row of the file; none for a member who does not stand in it.
    pub line: Option<u32>,
    /// Has it already.
    pub keeps: bool,
}

#[derive(FromQueryResult)]
struct ClaimColumns {
    mailbox: String,
    member_no: String,
    name: String,
    line: Option<i64>,
    keeps: bool,
}

impl TryFrom<ClaimColumns> for MailboxClaim {
    type Error = StoreError;

    fn try_from(row: ClaimColumns) -> Result<Self, StoreError> {
        let corrupt = |why: domain::MemberNoError| StoreError::Corrupt {
            table: "import_member",
            column: "member_no",
            row: row.line.unwrap_or_default(),
            why: why.to_string(),
        };
        Ok(Self {
            member_no: row.member_no.parse().map_err(corrupt)?,
            mailbox: row.mailbox,
            name: row.name,
            line: row.line.and_then(|line| u32::try_from(line).ok()),
            keeps: row.keeps,
        })
    }
}

/// Everybody who has or wants a mailbox, by plan `$1`: those of the plan, and those outside the file.
fn claims() -> String {
    format!(
        "SELECT c.mailbox, c.member_no, c.name, c.line, c.keeps FROM \
         (SELECT i.mailbox, i.member_no, i.name, i.line, i.keeps_mailbox AS keeps FROM import_member i \
         WHERE i.plan_id = $1 AND i.status {ALIVE} UNION ALL \
         SELECT m.mailbox, m.member_no, m.name, CAST(NULL AS BIGINT) AS line, 1 = 1 AS keeps \
         FROM member m WHERE m.status {ALIVE} AND m.mailbox IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM import_member i WHERE i.plan_id = $1 AND i.member_no = m.member_no)) AS c"
    )
}

/// The one who has the best right first.
const CLAIMS_ORDER: &str =
    "ORDER BY c.mailbox, CASE WHEN c.line IS NULL THEN 0 WHEN c.keeps THEN 1 ELSE 2 END, c.line";

/// How members change, their status, whether they are of the plan's year, and how many they are.
pub type PlannedGroup = (String, MemberStatus, bool, u64);

/// A plan in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportTally {
    /// How many members change in which way.
    pub members: Vec<PlannedGroup>,
    /// Members of a family that shares a mailbox.
    pub shared: u64,
    /// Members of the plan's year who do not stand in the file.
    pub missing: u64,
    /// Members of the plan's year in all, before the import.
    pub of_year: u64,
    /// Rows that were not taken.
    pub rejected: u64,
    /// Those of them whose member number could not be read: whoever is meant may seem to be missing.
    pub nameless: u64,
    /// Active members who would not be active any more.
    pub deactivated: u64,
    /// Members who would get another address.
    pub readdressed: u64,
}

impl Store {
    /// The next members of a file in the order of their numbers, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn staged_members(
        &self,
        plan: i64,
        after: Option<&MemberNo>,
        limit: u32,
    ) -> Result<Vec<StagedMember>, StoreError> {
        let end = "SELECT MAX(member_no) AS text FROM (SELECT DISTINCT member_no FROM import_row \
                   WHERE plan_id = $1 AND member_no > $2 ORDER BY member_no LIMIT $3) AS page";
        let columns = "line, member_no, fiscal_year, cells";
        let rest = "FROM import_row \
                    WHERE plan_id = $1 AND code IS NULL AND member_no > $2 AND member_no <= $3 \
                    ORDER BY member_no, fiscal_year DESC, line";
        let mut after = after.map(MemberNo::as_str).unwrap_or_default().to_owned();
        // A page of numbers none of whose rows was taken is not the end.
        loop {
            let values = [plan.into(), after.as_str().into(), i64::from(limit).into()];
            let last: Option<sql::Text> =
                sql::row(&self.connection, "find a page of numbers", end, values).await?;
            let Some(last) = last.and_then(|found| found.text) else { return Ok(Vec::new()) };
            let values = [plan.into(), after.as_str().into(), last.as_str().into()];
            let rows: Vec<RowColumns> =
                sql::page(&self.connection, "read staged rows", columns, rest, values).await?;
            if rows.is_empty() {
                after = last;
                continue;
            }
            let mut members = by_member(rows)?;
            let numbers: Vec<&str> = members.iter().map(|member| member.member_no.as_str()).collect();
            let mut known: HashMap<MemberNo, MemberWithYears> = self
                .members_by_no(&numbers)
                .await?
                .into_iter()
                .map(|known| (known.member.data.member_no.clone(), known))
                .collect();
            for member in &mut members {
                member.known = known.remove(&member.member_no);
            }
            return Ok(members);
        }
    }

    /// Adds planned members, numbered from `first`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn plan_members(
        &self,
        plan: i64,
        first: u64,
        members: &[PlannedMember],
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        tx.touch_plan(plan).await?;
        let text = format!(
            "INSERT INTO import_member (plan_id, seq, change, line, keeps_mailbox, is_current, member_id, \
             years, differences, {MEMBER_VALUES}) \
             SELECT CAST($2 AS BIGINT), CAST(row.value ->> 0 AS BIGINT), row.value ->> 1, \
             CAST(row.value ->> 2 AS BIGINT), (row.value ->> 3) = '1', (row.value ->> 4) = '1', \
             CAST(row.value ->> 5 AS BIGINT), row.value ->> 6, row.value ->> 7, row.value ->> 8, \
             row.value ->> 9, row.value ->> 10, row.value ->> 11, row.value ->> 12, \
             CAST(row.value ->> 13 AS BIGINT), row.value ->> 14, row.value ->> 15, row.value ->> 16, \
             row.value ->> 17, row.value ->> 18 FROM {}",
            sql::json_wide_rows(tx.engine(), 1)
        );
        let rows: Vec<serde_json::Value> = members
            .iter()
            .zip(first..)
            .map(|(member, seq)| {
                let flag = |set: bool| if set { "1" } else { "0" };
                let own: [serde_json::Value; 8] = [
                    seq.into(),
                    member.change.into(),
                    member.line.into(),
                    flag(member.keeps_mailbox).into(),
                    flag(member.is_current).into(),
                    member.member.map(MemberId::get).into(),
                    text_of(&member.years).into(),
                    member.differences.as_str().into(),
                ];
                own.into_iter().chain(member_values(&member.data)).collect()
            })
            .collect();
        sql::run(&*tx, "plan members", &text, [sql::json(&rows), plan.into()]).await?;
        tx.commit().await
    }

    /// Mailboxes after `after` that more than one living member would have, each with all who claim
    /// it: those outside the file first, then those who have it already, then by row. Of at most
    /// `limit` mailboxes.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn contested_mailboxes(
        &self,
        plan: i64,
        after: &str,
        limit: u32,
    ) -> Result<Vec<MailboxClaim>, StoreError> {
        // Only mailboxes that the plan wants; two members outside the file are none of its business.
        let text = format!(
            "WITH contested AS (SELECT w.mailbox FROM (SELECT DISTINCT i.mailbox FROM import_member i \
             WHERE i.plan_id = $1 AND i.status {ALIVE} AND i.mailbox > $2) AS w \
             WHERE (SELECT COUNT(*) FROM import_member i WHERE i.plan_id = $1 AND i.mailbox = w.mailbox \
             AND i.status {ALIVE}) + (SELECT COUNT(*) FROM member m \
             WHERE m.mailbox = w.mailbox AND m.status {ALIVE} AND NOT EXISTS (SELECT 1 FROM import_member i \
             WHERE i.plan_id = $1 AND i.member_no = m.member_no)) > 1 ORDER BY w.mailbox LIMIT $3) \
             {} WHERE c.mailbox IN (SELECT mailbox FROM contested) {CLAIMS_ORDER}",
            claims()
        );
        let values = [plan.into(), after.into(), i64::from(limit).into()];
        let rows: Vec<ClaimColumns> =
            sql::rows(&self.connection, "look for contested mailboxes", &text, values).await?;
        rows.into_iter().map(MailboxClaim::try_from).collect()
    }

    /// The same of these mailboxes only.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claims_on(&self, plan: i64, mailboxes: &[String]) -> Result<Vec<MailboxClaim>, StoreError> {
        let list = sql::placeholders(2, mailboxes.len());
        let text = format!("{} WHERE c.mailbox IN ({list}) {CLAIMS_ORDER}", claims());
        let values = std::iter::once(plan.into()).chain(mailboxes.iter().map(|key| key.as_str().into()));
        let rows: Vec<ClaimColumns> =
            sql::rows(&self.connection, "look who claims a mailbox", &text, values).await?;
        rows.into_iter().map(MailboxClaim::try_from).collect()
    }

    /// How many members of a plan would get the address that another member has now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn taken_over(&self, plan: i64) -> Result<u64, StoreError> {
        let text = format!(
            "SELECT COUNT(*) AS n FROM import_member i JOIN member m ON m.mailbox = i.mailbox \
             WHERE i.plan_id = $1 AND i.member_id IS NOT NULL AND NOT i.keeps_mailbox \
             AND m.id <> i.member_id AND m.status {ALIVE}"
        );
        Ok(sql::number(&self.connection, "count addresses that move", &text, [plan.into()])
            .await?
            .unsigned_abs())
    }

    /// Shows what members who do not stand in a plan have in a free field.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn each_value_of_others(
        &self,
        plan: i64,
        field: &str,
        mut show: impl FnMut(&str),
    ) -> Result<(), StoreError> {
        let mut values = vec![plan.into()];
        let value = attribute(self.engine(), field, &mut values);
        let text = format!(
            "SELECT {value} AS text FROM member m WHERE {value} IS NOT NULL AND NOT EXISTS \
             (SELECT 1 FROM import_member i WHERE i.plan_id = $1 AND i.member_no = m.member_no)"
        );
        let show = |row: sql::Text| row.text.iter().for_each(|text| show(text));
        sql::each(&self.connection, "read values of a field", &text, values, show).await
    }

    /// Takes members out of a plan: all their rows become rejected ones. Gives the mailboxes that they
    /// keep by that.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn reject_members(
        &self,
        plan: i64,
        members: &[(MemberNo, RowFinding)],
    ) -> Result<Vec<String>, StoreError> {
        let tx = self.write().await?;
        let mut kept = Vec::new();
        for (number, finding) in members {
            let text = format!("SELECT mailbox AS text FROM member WHERE member_no = $1 AND status {ALIVE}");
            let own: Option<sql::Text> =
                sql::row(&*tx, "find a member's mailbox", &text, [number.as_str().into()]).await?;
            kept.extend(own.and_then(|own| own.text));
            let values = [
                plan.into(),
                number.as_str().into(),
                finding.code.as_str().into(),
                finding.about.clone().into(),
            ];
            let text = "UPDATE import_row SET code = $3, about = $4 \
                        WHERE plan_id = $1 AND member_no = $2 AND code IS NULL";
            sql::run(&*tx, "reject a member's rows", text, values).await?;
            let text = "DELETE FROM import_member WHERE plan_id = $1 AND member_no = $2";
            sql::run(&*tx, "reject a member", text, [plan.into(), number.as_str().into()]).await?;
        }
        tx.commit().await?;
        Ok(kept)
    }

    /// Notes that members share a mailbox with somebody of their family.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_families(&self, plan: i64, members: &[(MemberNo, String)]) -> Result<(), StoreError> {
        let tx = self.write().await?;
        for (number, with) in members {
            let text = "UPDATE import_member SET shares_with = $3 WHERE plan_id = $1 AND member_no = $2";
            let values = [plan.into(), number.as_str().into(), with.as_str().into()];
            sql::run(&*tx, "note a family", text, values).await?;
        }
        tx.commit().await
    }

    async fn planned_groups(&self, plan: i64) -> Result<Vec<PlannedGroup>, StoreError> {
        #[derive(FromQueryResult)]
        struct Group {
            change: String,
            status: String,
            is_current: bool,
            n: i64,
        }
        let text = "SELECT change, status, is_current, COUNT(*) AS n FROM import_member \
                    WHERE plan_id = $1 GROUP BY change, status, is_current";
        let groups: Vec<Group> = sql::rows(&self.connection, "count a plan", text, [plan.into()]).await?;
        let members = groups.into_iter().map(|group| {
            let status = group.status.parse().map_err(|why: domain::UnknownWord| StoreError::Corrupt {
                table: "import_member",
                column: "status",
                row: plan,
                why: why.to_string(),
            })?;
            Ok((group.change, status, group.is_current, group.n.unsigned_abs()))
        });
        members.collect()
    }

    /// A plan in numbers.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn import_tally(&self, plan: i64, year: FiscalYear) -> Result<ImportTally, StoreError> {
        let count = async |operation, text: &str, values: Vec<sea_orm::Value>| {
            sql::number(&self.connection, operation, text, values).await.map(i64::unsigned_abs)
        };
        let year = i64::from(year.get());
        let of_plan = || vec![plan.into()];
        Ok(ImportTally {
            members: self.planned_groups(plan).await?,
            shared: count(
                "count families",
                "SELECT COUNT(*) AS n FROM import_member WHERE plan_id = $1 AND shares_with IS NOT NULL",
                of_plan(),
            )
            .await?,
            missing: count(
                "count who would leave",
                &format!("SELECT COUNT(*) AS n {MISSING}"),
                vec![plan.into(), year.into()],
            )
            .await?,
            of_year: count(
                "count a year's members",
                "SELECT COUNT(*) AS n FROM membership WHERE fiscal_year = $1",
                vec![year.into()],
            )
            .await?,
            nameless: count(
                "count rows without a number",
                "SELECT COUNT(*) AS n FROM import_row \
                 WHERE plan_id = $1 AND code IS NOT NULL AND member_no IS NULL",
                of_plan(),
            )
            .await?,
            deactivated: count(
                "count who would not be active",
                "SELECT COUNT(*) AS n FROM import_member i JOIN member m ON m.id = i.member_id \
                 WHERE i.plan_id = $1 AND m.status = 'active' AND i.status <> 'active'",
                of_plan(),
            )
            .await?,
            readdressed: count(
                "count new addresses",
                "SELECT COUNT(*) AS n FROM import_member i JOIN member m ON m.id = i.member_id \
                 WHERE i.plan_id = $1 AND m.mailbox <> i.mailbox",
                of_plan(),
            )
            .await?,
            rejected: count(
                "count rejected rows",
                "SELECT COUNT(*) AS n FROM import_row WHERE plan_id = $1 AND code IS NOT NULL",
                of_plan(),
            )
            .await?,
        })
    }
}

/// Members of a year (`$2`) whose number stands in no row of that year in a plan (`$1`), nor in one
/// that was not taken: nobody leaves because of a bad cell.
pub(super) const MISSING: &str = "FROM membership y JOIN member m ON m.id = y.member_id \
    WHERE y.fiscal_year = $2 AND NOT EXISTS \
    (SELECT 1 FROM import_row r WHERE r.plan_id = $1 AND r.member_no = m.member_no \
    AND (r.code IS NOT NULL OR r.fiscal_year = $2))";
