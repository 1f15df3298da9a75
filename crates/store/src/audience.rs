//! Saved audiences, and the only ways from a filter or a list of ids to people.
//!
//! Guarantees: whoever comes out for [`Reach::Current`] is active and a member of the fiscal year
//! asked for, and whoever comes out for [`Reach::TestRoster`] is active and on the test roster:
//! both stand in the statement itself, and no filter can widen it (incidents.md B, law 6). Notices and
//! injects know an audience by its name, so it keeps the name while any of them can still draw from it; and
//! for good once something was released to it, for the next notice is compared with that one by the name.

use crate::{
    AudienceFilter, Clause, Engine, Member, Store, StoreError, Term, Test, WriteTx,
    erasure::states,
    member::{IDS_PER_QUERY, read_members},
    response::{REACHED, UNANSWERED},
    sql,
};
use domain::{
    Actor, AudienceId, BroadcastId, ExerciseId, FiscalYear, InjectAudience, MemberId, Prefecture, Refusal,
    Rule, Timestamp,
};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

/// The audience that is there from the start: everybody within reach.
pub const EVERYBODY: &str = "all";
/// Fits no row, on either engine.
const NOBODY: &str = "FALSE";
/// Enough to see what is in the way; others come up when these are over.
const OPEN_USES_MAX: u32 = 20;

/// Whom a filter can reach at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Active members of this fiscal year.
    Current(FiscalYear),
    /// Active members on the test roster, of whatever year.
    TestRoster,
}

/// Which of a list of known members to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Among {
    /// Only those within reach.
    Reach(Reach),
    /// Every one who is still in the registry: whoever got a notice is owed its correction.
    Known,
}

/// An audience with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedAudience {
    /// Row id.
    pub id: AudienceId,
    /// Unique.
    pub name: String,
    /// Its conditions.
    pub filter: AudienceFilter,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What can still draw its people from an audience, by the audience's name; the first of each kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenUses {
    /// Not released: also what is frozen can be checked anew, or returned to its author.
    pub broadcasts: Vec<BroadcastId>,
    /// Not over, with an inject to it.
    pub exercises: Vec<ExerciseId>,
}

impl OpenUses {
    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.broadcasts.is_empty() && self.exercises.is_empty()
    }
}

impl SavedAudience {
    /// Whether it can be deleted, and renamed if nothing was released to it, with these open uses.
    ///
    /// # Errors
    /// [`Refusal`] where it cannot: what is in the way.
    pub fn may_change(&self, uses: &OpenUses) -> Result<(), Refusal> {
        if self.name == EVERYBODY {
            let text = format!("the audience {EVERYBODY} is neither renamed nor deleted");
            return Err(Refusal::new(Rule::State, text, "make an audience of your own"));
        }
        if uses.is_empty() {
            return Ok(());
        }
        let broadcasts = uses.broadcasts.iter().map(|id| format!("broadcast {id}"));
        let exercises = uses.exercises.iter().map(|id| format!("exercise {id}"));
        let named: Vec<String> = broadcasts.chain(exercises).collect();
        let text = format!("the audience {} is still to be drawn for {}", self.name, named.join(", "));
        let way_on = "send or cancel these broadcasts; let these exercises run to their end, or stop each and end \
                      it with `hansho drill end ID`";
        Err(Refusal::new(Rule::State, text, way_on))
    }
}

#[derive(FromQueryResult)]
struct AudienceColumns {
    id: i64,
    name: String,
    filter: String,
    created_at: i64,
}

impl TryFrom<AudienceColumns> for SavedAudience {
    type Error = StoreError;

    fn try_from(row: AudienceColumns) -> Result<Self, StoreError> {
        let filter = serde_json::from_str(&row.filter).map_err(|why| StoreError::Corrupt {
            table: "audience",
            column: "filter",
            row: row.id,
            why: why.to_string(),
        })?;
        Ok(Self {
            id: AudienceId::new(row.id),
            name: row.name,
            filter,
            created_at: Timestamp::from_millis(row.created_at),
        })
    }
}

impl Store {
    /// Saves an audience.
    ///
    /// # Errors
    /// [`StoreError::Exists`] for a name already taken.
    pub async fn add_audience(
        &self,
        actor: Actor,
        name: &str,
        filter: &AudienceFilter,
        now: Timestamp,
    ) -> Result<AudienceId, StoreError> {
        let body = serde_json::to_string(filter).expect("invariant: a filter is JSON");
        let tx = self.write().await?;
        let text = "INSERT INTO audience (name, filter, created_at) VALUES ($1, $2, $3) \
                    ON CONFLICT (name) DO NOTHING RETURNING id AS n";
        let values = [name.into(), body.into(), now.millis().into()];
        let made: Option<sql::Number> = sql::row(&*tx, "save an audience", text, values).await?;
        let id = made.ok_or_else(|| StoreError::Exists { what: "audience", name: name.to_owned() })?.n;
        tx.audit(now, actor, "audience-created", format!("audience:{id}"), String::new()).await?;
        tx.commit().await?;
        Ok(AudienceId::new(id))
    }

    /// Gives an audience to which nothing was released another name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Exists`] for a name already taken, and
    /// [`StoreError::Refused`] once something was released to it, and as [`SavedAudience::may_change`] says.
    pub async fn rename_audience(
        &self,
        actor: Actor,
        id: AudienceId,
        name: &str,
        now: Timestamp,
    ) -> Result<SavedAudience, StoreError> {
        let tx = self.write().await?;
        let audience = tx.audience_to_change(id).await?;
        tx.refuse_where_released(&audience.name).await?;
        let text = "UPDATE audience SET name = $2 WHERE id = $1 \
                    AND NOT EXISTS (SELECT 1 FROM audience a WHERE a.name = $2 AND a.id <> $1)";
        if sql::run(&*tx, "rename an audience", text, [id.get().into(), name.into()]).await? == 0 {
            return Err(StoreError::Exists { what: "audience", name: name.to_owned() });
        }
        let detail = format!("from={} to={name}", audience.name);
        tx.audit(now, actor, "audience-renamed", format!("audience:{id}"), detail).await?;
        tx.commit().await?;
        Ok(SavedAudience { name: name.to_owned(), ..audience })
    }

    /// Deletes an audience; what was released keeps its name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], and [`StoreError::Refused`] as [`SavedAudience::may_change`] says.
    pub async fn delete_audience(
        &self,
        actor: Actor,
        id: AudienceId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let audience = tx.audience_to_change(id).await?;
        sql::run(&*tx, "delete an audience", "DELETE FROM audience WHERE id = $1", [id.get().into()]).await?;
        let detail = format!("name={}", audience.name);
        tx.audit(now, actor, "audience-deleted", format!("audience:{id}"), detail).await?;
        tx.commit().await
    }

    /// What keeps an audience of this name as it is.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_uses_of_audience(&self, name: &str) -> Result<OpenUses, StoreError> {
        open_uses(&self.connection, name).await
    }

    /// Moves on whenever [`Store::audience_count`] may be another one than before, for an audience of one
    /// fiscal year that asks about no broadcast: with every import, and with everybody who is erased.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn roster_mark(&self) -> Result<i64, StoreError> {
        let text = "SELECT revision + (SELECT COUNT(*) FROM erasure WHERE core_done_at IS NOT NULL) AS n \
                    FROM registry_state WHERE id = 1";
        sql::number(&self.connection, "read the roster's mark", text, []).await
    }

    /// All saved audiences, in the order of their making; `all` is the first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audiences(&self) -> Result<Vec<SavedAudience>, StoreError> {
        let text = "SELECT id, name, filter, created_at FROM audience ORDER BY id";
        let rows: Vec<AudienceColumns> = sql::rows(&self.connection, "list audiences", text, []).await?;
        rows.into_iter().map(SavedAudience::try_from).collect()
    }

    /// One audience by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audience(&self, name: &str) -> Result<Option<SavedAudience>, StoreError> {
        let text = "SELECT id, name, filter, created_at FROM audience WHERE name = $1";
        let row: Option<AudienceColumns> =
            sql::row(&self.connection, "find an audience", text, [name.into()]).await?;
        row.map(SavedAudience::try_from).transpose()
    }

    /// Members within reach that fit a filter, after `after`, by row id, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audience_page(
        &self,
        filter: &AudienceFilter,
        reach: Reach,
        after: MemberId,
        limit: u32,
    ) -> Result<Vec<Member>, StoreError> {
        let mut values = Vec::new();
        let source = from_reach(reach, &mut values);
        let fits = conditions(self.engine(), filter, &mut values);
        values.push(after.get().into());
        let after = values.len();
        values.push(i64::from(limit).into());
        let id = indexed_id(reach);
        let rest = format!("{source}{fits} AND {id} > ${after} ORDER BY {id} LIMIT ${}", values.len());
        read_members(&self.connection, "draw an audience", &rest, values).await
    }

    /// How many members within reach fit a filter.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn audience_count(&self, filter: &AudienceFilter, reach: Reach) -> Result<u64, StoreError> {
        let mut values = Vec::new();
        let source = from_reach(reach, &mut values);
        let fits = conditions(self.engine(), filter, &mut values);
        let text = format!("SELECT COUNT(*) AS n {source}{fits}");
        Ok(sql::number(&self.connection, "count an audience", &text, values).await?.unsigned_abs())
    }

    /// Those of the given members that may be read, by row id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn members_among(&self, ids: &[MemberId], among: Among) -> Result<Vec<Member>, StoreError> {
        let mut found = Vec::new();
        for chunk in ids.chunks(IDS_PER_QUERY) {
            let mut values = Vec::new();
            let source = match among {
                Among::Reach(reach) => from_reach(reach, &mut values),
                Among::Known => "FROM member m WHERE 1 = 1",
            };
            let list = sql::placeholders(values.len() + 1, chunk.len());
            values.extend(chunk.iter().map(|id| Value::from(id.get())));
            let rest = format!("{source} AND m.id IN ({list})");
            found.extend(read_members(&self.connection, "read listed members", &rest, values).await?);
        }
        found.sort_by_key(|member| member.id);
        found.dedup_by_key(|member| member.id);
        Ok(found)
    }
}

impl WriteTx {
    /// An audience that can be renamed or deleted, and is by nobody else before this transaction ends.
    async fn audience_to_change(&self, id: AudienceId) -> Result<SavedAudience, StoreError> {
        let text =
            format!("SELECT id, name, filter, created_at FROM audience WHERE id = $1{}", self.for_update());
        let row: Option<AudienceColumns> =
            sql::row(&**self, "lock an audience", &text, [id.get().into()]).await?;
        let audience: SavedAudience = row.ok_or_else(|| StoreError::not_found("audience", id))?.try_into()?;
        audience.may_change(&open_uses(&**self, &audience.name).await?)?;
        Ok(audience)
    }

    /// Under another name the next notice would be compared with none, and no second signature be asked for.
    async fn refuse_where_released(&self, name: &str) -> Result<(), StoreError> {
        let text = "SELECT COUNT(*) AS n FROM broadcast WHERE audience = $1 AND released_at IS NOT NULL";
        let released = sql::number(&**self, "look for a release", text, [named(name).into()]).await?;
        if released == 0 {
            return Ok(());
        }
        let text =
            format!("broadcasts were released to the audience {name}: the next is compared with them by it");
        let way_on = "make a new audience from the same conditions; `hansho audience show` prints them";
        Err(Refusal::new(Rule::State, text, way_on).into())
    }
}

/// As `registry::AudienceSpec` is stored.
fn named(name: &str) -> String {
    serde_json::json!({ "named": name }).to_string()
}

async fn open_uses(connection: &impl ConnectionTrait, name: &str) -> Result<OpenUses, StoreError> {
    let text = format!(
        "SELECT id AS n FROM broadcast WHERE audience = $1 AND state IN ({}) \
         ORDER BY id LIMIT {OPEN_USES_MAX}",
        states(|state| !state.is_released() && !state.is_over())
    );
    let broadcasts: Vec<sql::Number> =
        sql::rows(connection, "look for broadcasts to an audience", &text, [named(name).into()]).await?;
    let text = format!(
        "SELECT DISTINCT e.id AS n FROM inject i JOIN exercise e ON e.id = i.exercise_id \
         WHERE i.audience = $1 AND e.state <> 'ended' ORDER BY e.id LIMIT {OPEN_USES_MAX}"
    );
    let audience = InjectAudience::Audience(name.to_owned());
    let audience = serde_json::to_string(&audience).expect("invariant: a name is JSON");
    let exercises: Vec<sql::Number> =
        sql::rows(connection, "look for injects to an audience", &text, [audience.into()]).await?;
    Ok(OpenUses {
        broadcasts: broadcasts.into_iter().map(|row| BroadcastId::new(row.n)).collect(),
        exercises: exercises.into_iter().map(|row| ExerciseId::new(row.n)).collect(),
    })
}

/// The tables and the condition that every audience stands on.
fn from_reach(reach: Reach, values: &mut Vec<Value>) -> &'static str {
    match reach {
        Reach::Current(year) => {
            values.push(i64::from(year.get()).into());
            "FROM membership y JOIN member m ON m.id = y.member_id \
             WHERE y.fiscal_year = $1 AND m.status = 'active'"
        }
        Reach::TestRoster => {
            "FROM test_roster t JOIN member m ON m.id = t.member_id WHERE m.status = 'active'"
        }
    }
}

/// The member's id where the index that is read holds it. By `m.id` SQLite would sort all who are
/// left for every page, and a large audience would take a time that grows with its square.
fn indexed_id(reach: Reach) -> &'static str {
    match reach {
        Reach::Current(_) => "y.member_id",
        Reach::TestRoster => "t.member_id",
    }
}

/// A query for the ids of all members within reach who fit, as `id`; it has to be the first of a
/// statement, whose parameters it begins.
pub(crate) fn ids_of(
    engine: Engine,
    filter: &AudienceFilter,
    reach: Reach,
    values: &mut Vec<Value>,
) -> String {
    let source = from_reach(reach, values);
    let fits = conditions(engine, filter, values);
    format!("SELECT m.id AS id {source}{fits}")
}

/// The filter as further conditions, each beginning with ` AND ` and standing in parentheses, so
/// that no alternative reaches past the conditions before it.
fn conditions(engine: Engine, filter: &AudienceFilter, values: &mut Vec<Value>) -> String {
    let mut text = String::new();
    for Clause { any } in &filter.all {
        let terms: Vec<String> = any.iter().map(|term| condition(engine, term, values)).collect();
        let any = if terms.is_empty() { NOBODY.to_owned() } else { terms.join(" OR ") };
        text += &format!(" AND ({any})");
    }
    text
}

/// Never NULL: whoever has no value does not fit, and fits the contrary.
fn condition(engine: Engine, term: &Term, values: &mut Vec<Value>) -> String {
    let words = |list: &[String]| list.iter().map(|word| word.as_str().into()).collect::<Vec<Value>>();
    let fits = match &term.test {
        Test::Prefecture(codes) => {
            let known = codes.iter().filter_map(|code| Prefecture::from_code(*code));
            one_of("m.prefecture", known.map(|known| i64::from(known.code()).into()).collect(), values)
        }
        Test::Facility(list) => one_of("m.facility", words(list), values),
        Test::Role(list) => one_of("m.duty", words(list), values),
        Test::Attribute { name, values: list } if !list.is_empty() => {
            let expression = attribute(engine, name, values);
            one_of(&expression, words(list), values)
        }
        Test::Attribute { .. } => None,
        Test::NonRespondentsOf(id) => Some(in_ledger(*id, UNANSWERED, values)),
        Test::ReachedBy(id) => Some(in_ledger(*id, REACHED, values)),
    };
    match fits {
        // Nothing to look for is a mistake, which `not` must not turn into everybody.
        None => NOBODY.to_owned(),
        Some(fits) if term.not => format!("NOT {fits}"),
        Some(fits) => fits,
    }
}

fn one_of(expression: &str, list: Vec<Value>, values: &mut Vec<Value>) -> Option<String> {
    if list.is_empty() {
        return None;
    }
    let marks = sql::placeholders(values.len() + 1, list.len());
    values.extend(list);
    Some(format!("COALESCE({expression} IN ({marks}), FALSE)"))
}

/// A free field of member `m` as an expression; nothing where there is no value.
pub(crate) fn attribute(engine: Engine, name: &str, values: &mut Vec<Value>) -> String {
    match engine {
        Engine::Sqlite => {
            values.push(json_path(name).into());
            format!("json_extract(m.attributes, ${})", values.len())
        }
        Engine::Postgres => {
            values.push(name.into());
            format!("(CAST(m.attributes AS jsonb) ->> CAST(${} AS TEXT))", values.len())
        }
    }
}

fn in_ledger(id: BroadcastId, row: &str, values: &mut Vec<Value>) -> String {
    values.push(id.get().into());
    format!(
        "EXISTS (SELECT 1 FROM delivery d WHERE d.broadcast_id = ${} AND d.member_id = m.id AND {row})",
        values.len()
    )
}

/// SQLite's path to one key. Field names hold letters, digits and `_` only; a quotation mark
/// could only come from a hand-edited filter and then names no key.
fn json_path(name: &str) -> String {
    format!("$.\"{}\"", name.replace('"', ""))
}
