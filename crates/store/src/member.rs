//! Members of the registry, their fiscal years, the test roster, and imported rosters.
//!
//! Guarantees: an import is written in one transaction together with its audit entry, or not at
//! all; a member who was changed after the import was planned stops it. The log holds ids and
//! counts, never a name or an address.

use crate::{Store, StoreError, WriteTx, sql};
use domain::{
    Actor, EmailAddress, FiscalYear, MemberId, MemberNo, MemberStatus, Prefecture, Refusal, Rule, Timestamp,
};
use sea_orm::{FromQueryResult, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};

/// A member has twelve values; SQLite takes 32,766 in one statement.
const ROWS_PER_INSERT: usize = 500;
/// Ids in one `IN` list.
pub(crate) const IDS_PER_QUERY: usize = 500;

pub(crate) const MEMBER_COLUMNS: &str = "m.id, m.member_no, m.name, m.kana, m.address, m.prefecture, \
    m.facility, m.duty, m.status, m.attributes, m.revision, m.created_at, m.updated_at";

/// What a roster says about a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberData {
    /// The society's number.
    pub member_no: MemberNo,
    /// As written by the society.
    pub name: String,
    /// Reading of the name; may be empty.
    pub kana: String,
    /// Where to write; some members have none.
    pub address: Option<EmailAddress>,
    /// Where the member works.
    pub prefecture: Option<Prefecture>,
    /// Name of the workplace; may be empty.
    pub facility: String,
    /// Role in a disaster; may be empty.
    pub duty: String,
    /// Where the member stands with the society.
    pub status: MemberStatus,
    /// The roster's other columns, by field name.
    pub attributes: BTreeMap<String, String>,
}

/// A member as the registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Row id.
    pub id: MemberId,
    /// From the last roster that named the member.
    pub data: MemberData,
    /// Counts the changes of `data`, from 1.
    pub revision: i64,
    /// First imported.
    pub created_at: Timestamp,
    /// Last changed.
    pub updated_at: Timestamp,
}

/// A member with the fiscal years of membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberWithYears {
    /// The member.
    pub member: Member,
    /// In ascending order.
    pub years: BTreeSet<FiscalYear>,
}

/// A member to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMember {
    /// From the roster.
    pub data: MemberData,
    /// Years of membership.
    pub years: BTreeSet<FiscalYear>,
}

/// A member whose data change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberUpdate {
    /// Who.
    pub id: MemberId,
    /// The revision the change was planned on.
    pub revision: i64,
    /// As it will be.
    pub data: MemberData,
}

/// Everything an import changes.
#[derive(Debug, Clone)]
pub struct RosterChanges<'a> {
    /// Name of the file, without its folder.
    pub file_name: &'a str,
    /// Of the file's bytes, hex.
    pub sha256: &'a str,
    /// `merge` or `full`.
    pub mode: &'a str,
    /// The year the roster is for.
    pub fiscal_year: FiscalYear,
    /// Counts and rejected rows as JSON; no names, no addresses.
    pub plan_json: &'a str,
    /// New members.
    pub add: &'a [NewMember],
    /// Members whose data change.
    pub update: &'a [MemberUpdate],
    /// Years of membership that existing members gain.
    pub join: &'a [(MemberId, FiscalYear)],
    /// Members who lose `fiscal_year`.
    pub leave: &'a [MemberId],
}

/// What to look for in the registry.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemberQuery<'a> {
    /// Part of a name, reading, number or workplace; spaces do not count. Empty finds all.
    pub text: &'a str,
    /// Only these.
    pub status: Option<MemberStatus>,
    /// Only members of this year.
    pub fiscal_year: Option<FiscalYear>,
    /// Rows to skip.
    pub offset: u32,
    /// Rows to give.
    pub limit: u32,
}

/// One page of members, in the order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberPage {
    /// The page.
    pub members: Vec<Member>,
    /// How many the query finds in all.
    pub total: u64,
}

/// How many members there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberCounts {
    /// By status, every status once.
    pub by_status: Vec<(MemberStatus, u64)>,
    /// Active members of the fiscal year asked for: the most an audience can hold.
    pub current: u64,
}

#[derive(FromQueryResult)]
pub(crate) struct MemberColumns {
    id: i64,
    member_no: String,
    name: String,
    kana: String,
    address: Option<String>,
    prefecture: Option<i64>,
    facility: String,
    duty: String,
    status: String,
    attributes: String,
    revision: i64,
    created_at: i64,
    updated_at: i64,
}

impl TryFrom<MemberColumns> for Member {
    type Error = StoreError;

    fn try_from(row: MemberColumns) -> Result<Self, StoreError> {
        fn corrupt<E: Display>(row: i64, column: &'static str) -> impl FnOnce(E) -> StoreError {
            move |why| StoreError::Corrupt { table: "member", column, row, why: why.to_string() }
        }
        let prefecture = row
            .prefecture
            .map(|code| {
                u8::try_from(code)
                    .ok()
                    .and_then(Prefecture::from_code)
                    .ok_or_else(|| corrupt(row.id, "prefecture")("not a code from 1 to 47"))
            })
            .transpose()?;
        let address = row
            .address
            .map(|text| EmailAddress::parse(&text))
            .transpose()
            .map_err(corrupt(row.id, "address"))?;
        let data = MemberData {
            member_no: row.member_no.parse().map_err(corrupt(row.id, "member_no"))?,
            name: row.name,
            kana: row.kana,
            address,
            prefecture,
            facility: row.facility,
            duty: row.duty,
            status: row.status.parse().map_err(corrupt(row.id, "status"))?,
            attributes: serde_json::from_str(&row.attributes).map_err(corrupt(row.id, "attributes"))?,
        };
        Ok(Self {
            id: MemberId::new(row.id),
            data,
            revision: row.revision,
            created_at: Timestamp::from_millis(row.created_at),
            updated_at: Timestamp::from_millis(row.updated_at),
        })
    }
}

pub(crate) fn read_members(rows: Vec<MemberColumns>) -> Result<Vec<Member>, StoreError> {
    rows.into_iter().map(Member::try_from).collect()
}

impl Store {
    /// Members after `after`, by row id, at most `limit`, with their years.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn members_with_years(
        &self,
        after: MemberId,
        limit: u32,
    ) -> Result<Vec<MemberWithYears>, StoreError> {
        #[derive(FromQueryResult)]
        struct Year {
            member_id: i64,
            fiscal_year: i64,
        }
        let text = format!("SELECT {MEMBER_COLUMNS} FROM member m WHERE m.id > $1 ORDER BY m.id LIMIT $2");
        let values = [after.get().into(), i64::from(limit).into()];
        let members = read_members(sql::rows(&self.connection, "read members", &text, values).await?)?;
        let Some(last) = members.last() else { return Ok(Vec::new()) };
        let text = "SELECT member_id, fiscal_year FROM membership WHERE member_id > $1 AND member_id <= $2";
        let values = [after.get().into(), last.id.get().into()];
        let rows: Vec<Year> = sql::rows(&self.connection, "read memberships", text, values).await?;
        let mut years: BTreeMap<i64, BTreeSet<FiscalYear>> = BTreeMap::new();
        for row in rows {
            years.entry(row.member_id).or_default().insert(year_from(row.member_id, row.fiscal_year)?);
        }
        let with_years = |member: Member| {
            let years = years.remove(&member.id.get()).unwrap_or_default();
            MemberWithYears { member, years }
        };
        Ok(members.into_iter().map(with_years).collect())
    }

    /// One member by row id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn member(&self, id: MemberId) -> Result<Option<MemberWithYears>, StoreError> {
        let page = self.members_with_years(MemberId::new(id.get().saturating_sub(1)), 1).await?;
        Ok(page.into_iter().find(|found| found.member.id == id))
    }

    /// One member by the society's number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn member_by_no(&self, number: &MemberNo) -> Result<Option<MemberWithYears>, StoreError> {
        let text = "SELECT id AS n FROM member WHERE member_no = $1";
        let found: Option<sql::Number> =
            sql::row(&self.connection, "find a member", text, [number.as_str().into()]).await?;
        match found {
            Some(id) => self.member(MemberId::new(id.n)).await,
            None => Ok(None),
        }
    }

    /// Members that match a query.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn search_members(&self, query: &MemberQuery<'_>) -> Result<MemberPage, StoreError> {
        let mut values: Vec<Value> = Vec::new();
        let mut conditions = vec!["1 = 1".to_owned()];
        let pattern = like_pattern(query.text);
        if let Some(pattern) = pattern {
            values.push(pattern.into());
            let matches = |column| format!("{} LIKE $1 ESCAPE '\\'", without_spaces(column));
            let any: Vec<String> =
                ["name", "kana", "member_no", "facility"].into_iter().map(matches).collect();
            conditions.push(format!("({})", any.join(" OR ")));
        }
        if let Some(status) = query.status {
            values.push(status.as_str().into());
            conditions.push(format!("m.status = ${}", values.len()));
        }
        if let Some(year) = query.fiscal_year {
            values.push(i64::from(year.get()).into());
            conditions.push(format!(
                "EXISTS (SELECT 1 FROM membership y WHERE y.member_id = m.id AND y.fiscal_year = ${})",
                values.len()
            ));
        }
        let conditions = conditions.join(" AND ");
        let text = format!("SELECT COUNT(*) AS n FROM member m WHERE {conditions}");
        let total = sql::number(&self.connection, "count members", &text, values.clone()).await?;
        let text = format!(
            "SELECT {MEMBER_COLUMNS} FROM member m WHERE {conditions} ORDER BY m.member_no LIMIT ${} OFFSET ${}",
            values.len() + 1,
            values.len() + 2
        );
        values.extend([i64::from(query.limit).into(), i64::from(query.offset).into()]);
        let members = read_members(sql::rows(&self.connection, "search members", &text, values).await?)?;
        Ok(MemberPage { members, total: total.unsigned_abs() })
    }

    /// How many members there are by status, and how many an audience of `year` can hold.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn member_counts(&self, year: FiscalYear) -> Result<MemberCounts, StoreError> {
        #[derive(FromQueryResult)]
        struct Group {
            status: String,
            n: i64,
        }
        let text = "SELECT status, COUNT(*) AS n FROM member GROUP BY status";
        let groups: Vec<Group> = sql::rows(&self.connection, "count members by status", text, []).await?;
        let count = |status: &MemberStatus| {
            groups
                .iter()
                .find(|group| group.status == status.as_str())
                .map_or(0, |group| group.n.unsigned_abs())
        };
        let by_status = MemberStatus::ALL.iter().map(|status| (*status, count(status))).collect();
        let text = "SELECT COUNT(*) AS n FROM membership y JOIN member m ON m.id = y.member_id \
                    WHERE y.fiscal_year = $1 AND m.status = 'active'";
        let year = [i64::from(year.get()).into()];
        let current = sql::number(&self.connection, "count current members", text, year).await?;
        Ok(MemberCounts { by_status, current: current.unsigned_abs() })
    }

    /// The field names that imported rosters brought along.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn attribute_names(&self) -> Result<BTreeSet<String>, StoreError> {
        #[derive(FromQueryResult)]
        struct Name {
            name: String,
        }
        let text = match self.engine() {
            crate::Engine::Sqlite => "SELECT DISTINCT e.key AS name FROM member m, json_each(m.attributes) e",
            crate::Engine::Postgres => {
                "SELECT DISTINCT jsonb_object_keys(CAST(attributes AS jsonb)) AS name FROM member"
            }
        };
        let rows: Vec<Name> = sql::rows(&self.connection, "list attribute names", text, []).await?;
        Ok(rows.into_iter().map(|row| row.name).collect())
    }

    /// Writes an import in one transaction; its id.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where a member changed since the plan was made; nothing is written.
    pub async fn apply_roster(
        &self,
        actor: Actor,
        changes: &RosterChanges<'_>,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let tx = self.write().await?;
        for chunk in changes.add.chunks(ROWS_PER_INSERT) {
            tx.insert_members(chunk, now).await?;
        }
        for update in changes.update {
            tx.update_member(update, now).await?;
        }
        for chunk in changes.join.chunks(ROWS_PER_INSERT) {
            tx.insert_memberships(chunk).await?;
        }
        for chunk in changes.leave.chunks(IDS_PER_QUERY) {
            tx.delete_memberships(changes.fiscal_year, chunk).await?;
        }
        let id = tx.insert_roster_import(actor, changes, now).await?;
        let detail = format!(
            "mode={} year={} added={} updated={} joined={} left={} sha256={}",
            changes.mode,
            changes.fiscal_year,
            changes.add.len(),
            changes.update.len(),
            changes.join.len(),
            changes.leave.len(),
            changes.sha256
        );
        tx.audit(now, actor, "roster-imported", format!("import:{id}"), detail).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Puts a member on the test roster; whether they were not on it before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an unknown number.
    pub async fn add_to_test_roster(
        &self,
        actor: Actor,
        number: &MemberNo,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let text = "INSERT INTO test_roster (member_id, added_at) SELECT id, CAST($2 AS BIGINT) FROM member \
                    WHERE member_no = $1 ON CONFLICT (member_id) DO NOTHING";
        let values = vec![number.as_str().into(), now.millis().into()];
        self.change_test_roster(actor, number, "test-member-added", text, values, now).await
    }

    /// Takes a member off the test roster; whether they were on it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an unknown number.
    pub async fn remove_from_test_roster(
        &self,
        actor: Actor,
        number: &MemberNo,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let text = "DELETE FROM test_roster WHERE member_id = (SELECT id FROM member WHERE member_no = $1)";
        let values = vec![number.as_str().into()];
        self.change_test_roster(actor, number, "test-member-removed", text, values, now).await
    }

    async fn change_test_roster(
        &self,
        actor: Actor,
        number: &MemberNo,
        action: &str,
        text: &str,
        values: Vec<Value>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let found = self.member_by_no(number).await?;
        let id = found.ok_or_else(|| StoreError::not_found("member", number))?.member.id;
        let tx = self.write().await?;
        let changed = sql::run(&*tx, "change the test roster", text, values).await? > 0;
        if changed {
            tx.audit(now, actor, action, format!("member:{id}"), String::new()).await?;
        }
        tx.commit().await?;
        Ok(changed)
    }

    /// The test roster, in the order of member numbers: the only people a test can reach.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn test_roster(&self) -> Result<Vec<Member>, StoreError> {
        let text = format!(
            "SELECT {MEMBER_COLUMNS} FROM test_roster t JOIN member m ON m.id = t.member_id ORDER BY m.member_no"
        );
        read_members(sql::rows(&self.connection, "read the test roster", &text, []).await?)
    }
}

impl WriteTx {
    async fn insert_members(&self, members: &[NewMember], now: Timestamp) -> Result<(), StoreError> {
        const COLUMNS: usize = 12;
        let mut values: Vec<Value> = Vec::with_capacity(members.len() * COLUMNS);
        for new in members {
            values.extend(data_values(&new.data));
            values.extend([1i64.into(), now.millis().into(), now.millis().into()]);
        }
        let text = format!(
            "INSERT INTO member (member_no, name, kana, address, prefecture, facility, duty, status, attributes, \
             revision, created_at, updated_at) VALUES {} ON CONFLICT (member_no) DO NOTHING",
            tuples(members.len(), COLUMNS)
        );
        let inserted = sql::run(&**self, "add members", &text, values).await?;
        if inserted != members.len() as u64 {
            return Err(changed_since_planned("a member number was added").into());
        }
        let mut by_year: BTreeMap<FiscalYear, Vec<Value>> = BTreeMap::new();
        for new in members {
            for year in &new.years {
                by_year.entry(*year).or_default().push(new.data.member_no.as_str().into());
            }
        }
        for (year, numbers) in by_year {
            let text = format!(
                "INSERT INTO membership (member_id, fiscal_year) SELECT id, CAST($1 AS BIGINT) FROM member \
                 WHERE member_no IN ({})",
                sql::placeholders(2, numbers.len())
            );
            let values = std::iter::once(i64::from(year.get()).into()).chain(numbers);
            sql::run(&**self, "add memberships", &text, values).await?;
        }
        Ok(())
    }

    async fn update_member(&self, update: &MemberUpdate, now: Timestamp) -> Result<(), StoreError> {
        let mut values: Vec<Value> = data_values(&update.data).collect();
        values.extend([now.millis().into(), update.id.get().into(), update.revision.into()]);
        let text = "UPDATE member SET member_no = $1, name = $2, kana = $3, address = $4, prefecture = $5, \
                    facility = $6, duty = $7, status = $8, attributes = $9, updated_at = $10, \
                    revision = revision + 1 WHERE id = $11 AND revision = $12";
        if sql::run(&**self, "update a member", text, values).await? == 1 {
            Ok(())
        } else {
            Err(changed_since_planned(&format!("member {} was changed", update.id)).into())
        }
    }

    async fn insert_memberships(&self, rows: &[(MemberId, FiscalYear)]) -> Result<(), StoreError> {
        let values = rows.iter().flat_map(|(id, year)| [id.get().into(), i64::from(year.get()).into()]);
        let text = format!(
            "INSERT INTO membership (member_id, fiscal_year) VALUES {} ON CONFLICT (member_id, fiscal_year) \
             DO NOTHING",
            tuples(rows.len(), 2)
        );
        sql::run(&**self, "add memberships", &text, values).await.map(|_| ())
    }

    async fn delete_memberships(&self, year: FiscalYear, ids: &[MemberId]) -> Result<(), StoreError> {
        let text = format!(
            "DELETE FROM membership WHERE fiscal_year = $1 AND member_id IN ({})",
            sql::placeholders(2, ids.len())
        );
        let values =
            std::iter::once(i64::from(year.get()).into()).chain(ids.iter().map(|id| id.get().into()));
        sql::run(&**self, "end memberships", &text, values).await.map(|_| ())
    }

    async fn insert_roster_import(
        &self,
        actor: Actor,
        changes: &RosterChanges<'_>,
        now: Timestamp,
    ) -> Result<i64, StoreError> {
        let text = "INSERT INTO roster_import (file_name, sha256, mode, fiscal_year, plan, actor, applied_at) \
                    VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id AS n";
        let values = [
            changes.file_name.into(),
            changes.sha256.into(),
            changes.mode.into(),
            i64::from(changes.fiscal_year.get()).into(),
            changes.plan_json.into(),
            actor.to_string().into(),
            now.millis().into(),
        ];
        sql::number(&**self, "record an import", text, values).await
    }
}

fn changed_since_planned(what: &str) -> Refusal {
    Refusal::new(Rule::Import, format!("{what} since the import was planned"), "plan the import again")
}

/// The nine values of a member's data, in the order of the columns.
fn data_values(data: &MemberData) -> impl Iterator<Item = Value> {
    let attributes = serde_json::to_string(&data.attributes).expect("invariant: a map of strings is JSON");
    [
        data.member_no.as_str().into(),
        data.name.as_str().into(),
        data.kana.as_str().into(),
        data.address.as_ref().map(EmailAddress::reveal).into(),
        data.prefecture.map(|prefecture| i64::from(prefecture.code())).into(),
        data.facility.as_str().into(),
        data.duty.as_str().into(),
        data.status.as_str().into(),
        attributes.into(),
    ]
    .into_iter()
}

/// `($1, $2), ($3, $4)` for so many rows of so many columns.
fn tuples(rows: usize, columns: usize) -> String {
    (0..rows)
        .map(|row| format!("({})", sql::placeholders(row * columns + 1, columns)))
        .collect::<Vec<_>>()
        .join(", ")
}

fn year_from(row: i64, year: i64) -> Result<FiscalYear, StoreError> {
    i32::try_from(year).map(FiscalYear::new).map_err(|why| StoreError::Corrupt {
        table: "membership",
        column: "fiscal_year",
        row,
        why: why.to_string(),
    })
}

/// Lower case without spaces: people write 鈴木花子 and 鈴木　花子.
fn without_spaces(column: &str) -> String {
    format!("lower(replace(replace(m.{column}, ' ', ''), '　', ''))")
}

fn like_pattern(text: &str) -> Option<String> {
    let mut pattern = String::from("%");
    for c in text.chars().filter(|c| !c.is_whitespace()) {
        if matches!(c, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c.to_ascii_lowercase());
    }
    pattern.push('%');
    (pattern.len() > 2).then_some(pattern)
}
