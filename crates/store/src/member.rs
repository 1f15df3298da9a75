//! Members of the registry, their fiscal years and the test roster.
//!
//! Guarantees: members change by an import and by an erasure only.

use crate::{Store, StoreError, sql};
use domain::{
    Actor, EmailAddress, FieldKind, FiscalYear, MemberId, MemberNo, MemberStatus, Prefecture, Timestamp,
    UnknownWord,
};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
};
use unicode_normalization::UnicodeNormalization;

/// PostgreSQL's index takes entries of less than 2,700 octets.
const SEARCHED_CHARS_MAX: usize = 100;
/// More words narrow a search no further.
const WORDS_MAX: usize = 8;
/// Ids in one `IN` list.
pub(crate) const IDS_PER_QUERY: usize = 500;

const MEMBER_COLUMNS: &str = "m.id, m.member_no, m.name, m.kana, m.address, m.prefecture, \
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

/// What to look for in the registry.
#[derive(Debug, Clone, Copy, Default)]
pub struct MemberQuery<'a> {
    /// Parts of a name, reading, number or workplace, all of which have to be there. Empty finds all.
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

#[derive(FromQueryResult, serde::Deserialize)]
struct MemberColumns {
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

/// Members as `m`, by what stands behind the columns of a SELECT, in its order.
pub(crate) async fn read_members(
    connection: &impl ConnectionTrait,
    operation: &'static str,
    rest: &str,
    values: impl IntoIterator<Item = Value>,
) -> Result<Vec<Member>, StoreError> {
    let rows: Vec<MemberColumns> = sql::page(connection, operation, MEMBER_COLUMNS, rest, values).await?;
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
        let rest = "FROM member m WHERE m.id > $1 ORDER BY m.id LIMIT $2";
        let values = [after.get().into(), i64::from(limit).into()];
        let members = read_members(&self.connection, "read members", rest, values).await?;
        self.with_years(members).await
    }

    async fn with_years(&self, members: Vec<Member>) -> Result<Vec<MemberWithYears>, StoreError> {
        #[derive(FromQueryResult, serde::Deserialize)]
        struct Year {
            member_id: i64,
            fiscal_year: i64,
        }
        let mut years: BTreeMap<i64, BTreeSet<FiscalYear>> = BTreeMap::new();
        for chunk in members.chunks(IDS_PER_QUERY) {
            let list = sql::placeholders(1, chunk.len());
            let rest = format!("FROM membership WHERE member_id IN ({list})");
            let ids = chunk.iter().map(|member| Value::from(member.id.get()));
            let columns = "member_id, fiscal_year";
            let rows: Vec<Year> =
                sql::page(&self.connection, "read memberships", columns, &rest, ids).await?;
            for row in rows {
                years.entry(row.member_id).or_default().insert(year_from(row.member_id, row.fiscal_year)?);
            }
        }
        let with_years = |member: Member| {
            let years = years.remove(&member.id.get()).unwrap_or_default();
            MemberWithYears { member, years }
        };
        Ok(members.into_iter().map(with_years).collect())
    }

    /// Members by the society's numbers, as many as there are.
    pub(crate) async fn members_by_no(&self, numbers: &[&str]) -> Result<Vec<MemberWithYears>, StoreError> {
        let mut members = Vec::with_capacity(numbers.len());
        for chunk in numbers.chunks(IDS_PER_QUERY) {
            let list = sql::placeholders(1, chunk.len());
            let rest = format!("FROM member m WHERE m.member_no IN ({list})");
            let values = chunk.iter().map(|number| Value::from(*number));
            members.extend(read_members(&self.connection, "read members", &rest, values).await?);
        }
        self.with_years(members).await
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
        for pattern in like_patterns(query.text) {
            values.push(pattern.into());
            conditions.push(format!("m.search LIKE ${} ESCAPE '\\'", values.len()));
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
        // The search text begins with the number: its index alone finds the page, in order.
        let rest = format!(
            "FROM member m JOIN (SELECT m.id FROM member m WHERE {conditions} \
             ORDER BY m.search LIMIT ${} OFFSET ${}) AS page ON page.id = m.id ORDER BY m.search",
            values.len() + 1,
            values.len() + 2
        );
        values.extend([i64::from(query.limit).into(), i64::from(query.offset).into()]);
        let members = read_members(&self.connection, "search members", &rest, values).await?;
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

    /// The free fields that imported rosters brought along, each with its kind.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn member_fields(&self) -> Result<BTreeMap<String, FieldKind>, StoreError> {
        #[derive(FromQueryResult)]
        struct Field {
            name: String,
            kind: String,
        }
        let text = "SELECT name, kind FROM member_field";
        let rows: Vec<Field> = sql::rows(&self.connection, "list members' fields", text, []).await?;
        let mut fields = BTreeMap::new();
        for Field { name, kind } in rows {
            // Rows of this table have a name and no number.
            let corrupt = |why: UnknownWord| StoreError::Corrupt {
                table: "member_field",
                column: "kind",
                row: 0,
                why: format!("{name}: {why}"),
            };
            let kind = kind.parse::<FieldKind>().map_err(corrupt)?;
            fields.insert(name, kind);
        }
        Ok(fields)
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
        let rest = "FROM test_roster t JOIN member m ON m.id = t.member_id ORDER BY m.member_no";
        read_members(&self.connection, "read the test roster", rest, []).await
    }
}

/// The columns of a member's data and of what is derived from it, in the order of [`member_values`].
pub(crate) const MEMBER_VALUES: &str = "member_no, name, kana, address, mailbox, prefecture, facility, duty, \
    status, attributes, search";

/// The values of a member's data.
pub(crate) fn member_values(data: &MemberData) -> [serde_json::Value; 11] {
    let attributes = serde_json::to_string(&data.attributes).expect("invariant: a map of strings is JSON");
    [
        data.member_no.as_str().into(),
        data.name.as_str().into(),
        data.kana.as_str().into(),
        data.address.as_ref().map(EmailAddress::reveal).into(),
        data.address.as_ref().map(EmailAddress::key).into(),
        data.prefecture.map(Prefecture::code).into(),
        data.facility.as_str().into(),
        data.duty.as_str().into(),
        data.status.as_str().into(),
        attributes.into(),
        search_text(data).into(),
    ]
}

/// What a member is searched by: the number first, which is the order of lists.
fn search_text(data: &MemberData) -> String {
    let parts = [data.member_no.as_str(), &data.name, &data.kana, &data.facility];
    let part = |text: &str| searchable(text).chars().take(SEARCHED_CHARS_MAX).collect::<String>();
    parts.map(part).join("|")
}

/// Full-width and half-width, capitals and spaces make no difference: people write 鈴木花子 and
/// 鈴木　花子.
fn searchable(text: &str) -> String {
    text.nfkc().filter(|c| !c.is_whitespace()).flat_map(char::to_lowercase).collect()
}

fn year_from(row: i64, year: i64) -> Result<FiscalYear, StoreError> {
    i32::try_from(year).map(FiscalYear::new).map_err(|why| StoreError::Corrupt {
        table: "membership",
        column: "fiscal_year",
        row,
        why: why.to_string(),
    })
}

/// `%word%` for every word looked for; none where nothing is.
fn like_patterns(text: &str) -> Vec<String> {
    let pattern = |word: &str| {
        let mut pattern = String::from("%");
        for c in searchable(word).chars() {
            if matches!(c, '%' | '_' | '\\') {
                pattern.push('\\');
            }
            pattern.push(c);
        }
        pattern + "%"
    };
    text.split_whitespace().take(WORDS_MAX).map(pattern).collect()
}
