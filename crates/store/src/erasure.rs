//! Erasing a person, step by step: asked for, waiting for broadcasts that are not over, gone from
//! this database, gone from the replies, gone from the files.
//!
//! Guarantees: nobody is erased out of a broadcast that is not over, for its rows are what was
//! signed (law 5); ledger rows stay and lose whom they name, so that the counts add up (law 3); what
//! is left to recognise the person by, when a roster brings them again, is a keyed hash; what this
//! module writes about an erasure are ids and times. Until it happens it takes nothing away: withdrawn,
//! it leaves what kept notices from the person before.

use crate::{
    Engine, Store, StoreError, WriteTx,
    member::{IDS_PER_QUERY, read_members},
    request::{AUDIT_FIRST, may_decide},
    sql,
};
use domain::{
    Actor, Answers, BroadcastId, BroadcastState, EmailAddress, ErasedKey, Keyring, MemberId, QuestionKind,
    Questionnaire, Refusal, Rule, Timestamp,
};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

/// Whom only the clock asked for waits this long: time to see that a roster was wrong.
const SECOND_THOUGHTS: Duration = Duration::from_secs(14 * 86_400);

/// A member `m` who has left: by status, or without a membership since the year before the last one
/// that anybody is a member of. Nobody leaves because nobody imported a roster, nor from the test
/// roster.
pub(crate) const HAS_LEFT: &str = "((m.status IN ('withdrawn', 'deceased') OR NOT EXISTS \
    (SELECT 1 FROM membership y WHERE y.member_id = m.id \
    AND y.fiscal_year >= (SELECT MAX(fiscal_year) FROM membership) - 1)) \
    AND NOT EXISTS (SELECT 1 FROM test_roster t WHERE t.member_id = m.id))";

/// The member `$2` was not erased.
pub(crate) const NOT_ERASED: &str =
    "NOT EXISTS (SELECT 1 FROM erasure e WHERE e.member_id = $2 AND e.core_done_at IS NOT NULL)";

/// An erasure that is under way or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Whose.
    pub member: MemberId,
    /// Number and name, while the registry knows them.
    pub known_as: Option<(String, String)>,
    /// When it was asked for.
    pub asked_at: Timestamp,
    /// No person asked: who left was kept long enough.
    pub by_clock: bool,
    /// Not before this.
    pub due_at: Timestamp,
    /// Broadcasts the person stands in that are not over.
    pub waits_for: Vec<BroadcastId>,
    /// Gone from this database.
    pub core_done_at: Option<Timestamp>,
    /// Gone from the reply database.
    pub replies_done_at: Option<Timestamp>,
    /// What was deleted is no longer in the database's file either.
    pub files_done_at: Option<Timestamp>,
}

#[derive(FromQueryResult)]
struct ErasureRow {
    member_id: i64,
    member_no: Option<String>,
    name: Option<String>,
    asked_by: String,
    asked_at: i64,
    core_done_at: Option<i64>,
    replies_done_at: Option<i64>,
    files_done_at: Option<i64>,
}

impl From<ErasureRow> for Erasure {
    fn from(row: ErasureRow) -> Self {
        let asked_at = Timestamp::from_millis(row.asked_at);
        let by_clock = row.asked_by == Actor::Scheduler.to_string();
        Self {
            member: MemberId::new(row.member_id),
            known_as: row.member_no.zip(row.name),
            due_at: if by_clock { asked_at.plus(SECOND_THOUGHTS) } else { asked_at },
            asked_at,
            by_clock,
            waits_for: Vec::new(),
            core_done_at: row.core_done_at.map(Timestamp::from_millis),
            replies_done_at: row.replies_done_at.map(Timestamp::from_millis),
            files_done_at: row.files_done_at.map(Timestamp::from_millis),
        }
    }
}

const COLUMNS: &str = "SELECT e.member_id, m.member_no, m.name, e.asked_by, e.asked_at, \
    e.core_done_at, e.replies_done_at, e.files_done_at FROM erasure e LEFT JOIN member m ON m.id = e.member_id";

impl Store {
    /// Asks for a member to be erased: nothing is sent to them from now on, and everything else
    /// follows by [`Store::erase`]. False where it was asked for before.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or [`StoreError::Refused`] where the actor may not.
    pub async fn ask_erasure(
        &self,
        actor: Actor,
        member: MemberId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let tx = self.decide(actor).await?;
        let text = "SELECT id AS n FROM member WHERE id = $1";
        let known: Option<sql::Number> = sql::row(&*tx, "find a member", text, [member.get().into()]).await?;
        known.ok_or_else(|| StoreError::not_found("member", member))?;
        let asked = tx.ask_erasure(actor, member, None, now).await?;
        tx.commit().await?;
        Ok(asked)
    }

    /// Takes back what was asked for and has not happened; false where there is no such thing. What kept
    /// notices from the member before does so on.
    ///
    /// # Errors
    /// [`StoreError`], also where the actor may not.
    pub async fn withdraw_erasure(
        &self,
        actor: Actor,
        member: MemberId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        may_decide(actor)?;
        let tx = self.write().await?;
        // An import holds members before the log.
        tx.hold_registry().await?;
        tx.exclusive(AUDIT_FIRST).await?;
        let text = "DELETE FROM erasure WHERE member_id = $1 AND core_done_at IS NULL";
        if sql::run(&*tx, "withdraw an erasure", text, [member.get().into()]).await? == 0 {
            return Ok(false);
        }
        // Where the clock had asked, it would ask again within the hour: the period begins anew.
        let text = "UPDATE member SET updated_at = $2 WHERE id = $1";
        sql::run(&*tx, "keep a member", text, [member.get().into(), now.millis().into()]).await?;
        tx.audit(now, actor, "erasure-withdrawn", format!("member:{member}"), String::new()).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Erases a member for whom that was asked. Gives the broadcasts it has to wait for: none where
    /// it is done.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] where nobody asked, [`StoreError::Refused`] where the actor may not.
    pub async fn erase(
        &self,
        actor: Actor,
        keyring: &Keyring,
        member: MemberId,
        now: Timestamp,
    ) -> Result<Vec<BroadcastId>, StoreError> {
        may_decide(actor)?;
        let waits_for = self.erasure_waits_for(member).await?;
        if !waits_for.is_empty() {
            return Ok(waits_for);
        }
        let tx = self.write().await?;
        // First broadcasts, then the registry, then the log, as everybody locks. What is frozen meanwhile looks for
        // erased members under the log's lock.
        for id in broadcasts_of(&*tx, member, "1 = 1").await? {
            tx.hold_broadcast(id).await?;
        }
        tx.hold_registry().await?;
        tx.exclusive(AUDIT_FIRST).await?;
        let waits_for = broadcasts_of(&*tx, member, &not_over()).await?;
        if !waits_for.is_empty() {
            return Ok(waits_for);
        }
        let by_clock = tx.is_asked_by_clock(member).await?;
        if by_clock {
            tx.still_has_left(member).await?;
        }
        if tx.core_is_done(member, now).await? {
            // Whoever only left may come back as anybody does.
            if !by_clock {
                tx.keep_keys(keyring, member, now).await?;
            }
            let rows = tx.clear_ledger_of(member, now).await?;
            tx.keep_choices_of(member).await?;
            tx.forget(member, now).await?;
            tx.audit(now, actor, "member-erased", format!("member:{member}"), format!("rows={rows}")).await?;
        }
        tx.commit().await?;
        Ok(Vec::new())
    }

    /// Broadcasts this member stands in that are not over: an erasure waits for them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erasure_waits_for(&self, member: MemberId) -> Result<Vec<BroadcastId>, StoreError> {
        broadcasts_of(&self.connection, member, &not_over()).await
    }

    /// Notes that so many replies of an erased member were deleted, and that none is left.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn replies_erased(
        &self,
        actor: Actor,
        member: MemberId,
        replies: u64,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        tx.exclusive(AUDIT_FIRST).await?;
        // An answer that was being stored while the member was erased.
        tx.keep_choices_of(member).await?;
        let text = "UPDATE erasure SET replies_done_at = $2 \
                    WHERE member_id = $1 AND core_done_at IS NOT NULL AND replies_done_at IS NULL";
        let values = [member.get().into(), now.millis().into()];
        if sql::run(&*tx, "note erased replies", text, values).await? > 0 {
            let detail = format!("rows={replies}");
            tx.audit(now, actor, "member-replies-erased", format!("member:{member}"), detail).await?;
        }
        tx.commit().await
    }

    /// Rewrites a SQLite file, so that what was deleted is not left in its unused parts, nor in its
    /// log; PostgreSQL does that by itself. Nobody else writes meanwhile, and the disk needs room for
    /// the file once more. False where it has to wait: while a broadcast is being sent, where one was
    /// released after `quiet_since` and answers come in, and where somebody reads.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn rewrite_file(&self, quiet_since: Timestamp) -> Result<bool, StoreError> {
        #[derive(FromQueryResult)]
        struct Checkpoint {
            busy: i64,
        }
        if self.engine() == Engine::Postgres {
            return Ok(true);
        }
        if !self.broadcasts_in(BroadcastState::Sending).await?.is_empty() {
            return Ok(false);
        }
        let text = "SELECT COUNT(*) AS n FROM broadcast WHERE released_at > $1";
        let values = [quiet_since.millis().into()];
        if sql::number(&self.connection, "look for recent broadcasts", text, values).await? > 0 {
            return Ok(false);
        }
        self.write_at_once("rewrite the database", "VACUUM", []).await?;
        let text = "PRAGMA wal_checkpoint(TRUNCATE)";
        let done: Option<Checkpoint> = sql::row(&self.connection, "empty the log", text, []).await?;
        Ok(done.is_none_or(|done| done.busy == 0))
    }

    /// Notes that the file no longer holds what was deleted of these members.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn file_is_rewritten(&self, members: &[MemberId], now: Timestamp) -> Result<(), StoreError> {
        let tx = self.write().await?;
        for member in members {
            let text = "UPDATE erasure SET files_done_at = $2 WHERE member_id = $1 AND files_done_at IS NULL";
            sql::run(&*tx, "note a rewritten file", text, [member.get().into(), now.millis().into()]).await?;
        }
        tx.commit().await
    }

    /// Erasures, those that are not done first, then the newest, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erasures(&self, limit: u32) -> Result<Vec<Erasure>, StoreError> {
        let end = "ORDER BY CASE WHEN e.files_done_at IS NULL THEN 0 ELSE 1 END, e.asked_at DESC, e.member_id \
                   LIMIT $1";
        self.erasure_rows(end, vec![i64::from(limit).into()]).await
    }

    /// Whether a member was erased from this database.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_erased(&self, member: MemberId) -> Result<bool, StoreError> {
        let text = "SELECT COUNT(*) AS n FROM erasure WHERE member_id = $1 AND core_done_at IS NOT NULL";
        Ok(sql::number(&self.connection, "look for an erased member", text, [member.get().into()]).await? > 0)
    }

    /// The erasure of one member, where it was asked for.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erasure(&self, member: MemberId) -> Result<Option<Erasure>, StoreError> {
        let found = self.erasure_rows("WHERE e.member_id = $1", vec![member.get().into()]).await?;
        Ok(found.into_iter().next())
    }

    /// Members to be erased now, or whose replies are, the oldest wish first, at most `limit`. Those
    /// who wait for a broadcast are not among them.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erasures_due(&self, now: Timestamp, limit: u32) -> Result<Vec<MemberId>, StoreError> {
        let text = format!(
            "SELECT e.member_id AS n FROM erasure e WHERE e.replies_done_at IS NULL \
             AND (e.core_done_at IS NOT NULL OR ((e.asked_by <> 'scheduler' OR e.asked_at <= $1) \
             AND NOT EXISTS (SELECT 1 FROM delivery d JOIN broadcast b ON b.id = d.broadcast_id \
             WHERE d.member_id = e.member_id AND {}))) ORDER BY e.asked_at, e.member_id LIMIT $2",
            not_over()
        );
        let asked_before = now.minus(SECOND_THOUGHTS);
        let values = [asked_before.millis().into(), i64::from(limit).into()];
        self.member_ids("list erasures that are due", &text, values).await
    }

    /// Erased members of whom the database's file may still hold something.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erasures_left_in_the_file(&self) -> Result<Vec<MemberId>, StoreError> {
        let text = "SELECT member_id AS n FROM erasure \
                    WHERE replies_done_at IS NOT NULL AND files_done_at IS NULL";
        self.member_ids("list erasures left in the file", text, []).await
    }

    /// How many erasures are under way.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erasures_under_way(&self) -> Result<u64, StoreError> {
        let text = "SELECT COUNT(*) AS n FROM erasure WHERE files_done_at IS NULL";
        Ok(sql::number(&self.connection, "count erasures", text, []).await?.unsigned_abs())
    }

    /// Takes back what only the clock asked for, of members who are in the roster again.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn withdraw_of_the_returned(&self, now: Timestamp) -> Result<(), StoreError> {
        let text = format!(
            "SELECT e.member_id AS n FROM erasure e JOIN member m ON m.id = e.member_id \
             WHERE e.asked_by = 'scheduler' AND e.core_done_at IS NULL AND NOT {HAS_LEFT}"
        );
        for member in self.member_ids("look for members who are back", &text, []).await? {
            let tx = self.write().await?;
            tx.hold_registry().await?;
            tx.exclusive(AUDIT_FIRST).await?;
            let text = "DELETE FROM erasure WHERE member_id = $1 AND asked_by = 'scheduler' \
                        AND core_done_at IS NULL";
            if sql::run(&*tx, "withdraw an erasure", text, [member.get().into()]).await? > 0 {
                let object = format!("member:{member}");
                tx.audit(now, Actor::Scheduler, "erasure-withdrawn", object, "back".to_owned()).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Members by the column `n` of a query.
    pub(crate) async fn member_ids(
        &self,
        operation: &'static str,
        text: &str,
        values: impl IntoIterator<Item = Value>,
    ) -> Result<Vec<MemberId>, StoreError> {
        let rows: Vec<sql::Number> = sql::rows(&self.connection, operation, text, values).await?;
        Ok(rows.into_iter().map(|row| MemberId::new(row.n)).collect())
    }

    async fn erasure_rows(&self, end: &str, values: Vec<Value>) -> Result<Vec<Erasure>, StoreError> {
        let text = format!("{COLUMNS} {end}");
        let rows: Vec<ErasureRow> = sql::rows(&self.connection, "list erasures", &text, values).await?;
        let mut erasures: Vec<Erasure> = rows.into_iter().map(Erasure::from).collect();
        let mut waits_for = self.waiting_erasures().await?;
        for erasure in &mut erasures {
            erasure.waits_for = waits_for.remove(&erasure.member).unwrap_or_default();
        }
        Ok(erasures)
    }

    /// Whom erasures that are not done wait for, by member.
    async fn waiting_erasures(&self) -> Result<HashMap<MemberId, Vec<BroadcastId>>, StoreError> {
        #[derive(FromQueryResult)]
        struct Row {
            member_id: i64,
            broadcast_id: i64,
        }
        let text = format!(
            "SELECT d.member_id, b.id AS broadcast_id FROM erasure e \
             JOIN delivery d ON d.member_id = e.member_id JOIN broadcast b ON b.id = d.broadcast_id \
             WHERE e.core_done_at IS NULL AND {} ORDER BY b.id",
            not_over()
        );
        let rows: Vec<Row> = sql::rows(&self.connection, "list what erasures wait for", &text, []).await?;
        let mut waits_for: HashMap<MemberId, Vec<BroadcastId>> = HashMap::new();
        for row in rows {
            waits_for
                .entry(MemberId::new(row.member_id))
                .or_default()
                .push(BroadcastId::new(row.broadcast_id));
        }
        Ok(waits_for)
    }

    /// Members for whom somebody asked and who still stand in the registry: nothing new is frozen of
    /// them. Whom only the clock asked for is in no audience, or is back.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn members_to_erase(&self) -> Result<HashSet<MemberId>, StoreError> {
        let text =
            "SELECT member_id AS n FROM erasure WHERE core_done_at IS NULL AND asked_by <> 'scheduler'";
        Ok(self.member_ids("list members to erase", text, []).await?.into_iter().collect())
    }

    /// Which of these keys ([`ErasedKey::as_str`]) belong to people who were erased.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn erased_among(&self, keys: &[String]) -> Result<HashSet<String>, StoreError> {
        let mut found = HashSet::new();
        for chunk in keys.chunks(IDS_PER_QUERY) {
            let text = format!(
                "SELECT key AS text FROM erased WHERE key IN ({})",
                sql::placeholders(1, chunk.len())
            );
            let values = chunk.iter().map(|key| key.as_str().into());
            let rows: Vec<sql::Text> =
                sql::rows(&self.connection, "look for erased people", &text, values).await?;
            found.extend(rows.into_iter().filter_map(|row| row.text));
        }
        Ok(found)
    }

    /// Whether anybody was erased at all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn is_anybody_erased(&self) -> Result<bool, StoreError> {
        let text = "SELECT COUNT(*) AS n FROM (SELECT 1 FROM erased LIMIT 1) AS one";
        Ok(sql::number(&self.connection, "look for erased people", text, []).await? > 0)
    }

    /// Lets a roster bring somebody again who was erased; how many keys were known.
    ///
    /// # Errors
    /// [`StoreError`], also where the actor may not.
    pub async fn readmit(&self, actor: Actor, keys: &[ErasedKey], now: Timestamp) -> Result<u64, StoreError> {
        may_decide(actor)?;
        let tx = self.write().await?;
        let mut known = 0;
        for key in keys {
            let text = "DELETE FROM erased WHERE key = $1";
            known += sql::run(&*tx, "readmit somebody", text, [key.as_str().into()]).await?;
        }
        if known > 0 {
            tx.audit(now, actor, "readmitted", "erased".to_owned(), format!("keys={known}")).await?;
        }
        tx.commit().await?;
        Ok(known)
    }

    /// Rows of a broadcast that no longer hold what was frozen, because persons were erased or their
    /// data kept long enough: its digest can no longer be computed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn cleared_rows(&self, id: BroadcastId) -> Result<u64, StoreError> {
        cleared_rows(&self.connection, id).await
    }
}

/// The states in which nothing leaves any more, for an `IN` list.
pub(crate) fn over_states() -> String {
    states(BroadcastState::is_over)
}

/// The states of which this holds, for an `IN` list.
pub(crate) fn states(holds: impl Fn(BroadcastState) -> bool) -> String {
    let found = BroadcastState::ALL.iter().filter(|state| holds(**state));
    found.map(|state| format!("'{state}'")).collect::<Vec<_>>().join(", ")
}

/// Of a broadcast `b` with a row `d`. A row of a cancelled one may still be on its way.
fn not_over() -> String {
    format!("(b.state NOT IN ({}) OR d.state = 'submitting')", over_states())
}

async fn broadcasts_of(
    connection: &impl ConnectionTrait,
    member: MemberId,
    condition: &str,
) -> Result<Vec<BroadcastId>, StoreError> {
    let text = format!(
        "SELECT b.id AS n FROM delivery d JOIN broadcast b ON b.id = d.broadcast_id \
         WHERE d.member_id = $1 AND {condition} ORDER BY b.id"
    );
    let rows: Vec<sql::Number> =
        sql::rows(connection, "find a member's broadcasts", &text, [member.get().into()]).await?;
    Ok(rows.into_iter().map(|row| BroadcastId::new(row.n)).collect())
}

pub(crate) async fn cleared_rows(
    connection: &impl ConnectionTrait,
    id: BroadcastId,
) -> Result<u64, StoreError> {
    let text = "SELECT COUNT(*) AS n FROM delivery WHERE broadcast_id = $1 AND cleared_at IS NOT NULL";
    Ok(sql::number(connection, "count cleared rows", text, [id.get().into()]).await?.unsigned_abs())
}

impl WriteTx {
    /// Under the log's lock. A person who asks does not wait for what the clock asked for before.
    pub(crate) async fn ask_erasure(
        &self,
        actor: Actor,
        member: MemberId,
        request: Option<i64>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let text = "INSERT INTO erasure (member_id, request_id, asked_by, asked_at) VALUES ($1, $2, $3, $4) \
                    ON CONFLICT (member_id) DO UPDATE SET request_id = excluded.request_id, \
                    asked_by = excluded.asked_by, asked_at = excluded.asked_at \
                    WHERE erasure.asked_by = 'scheduler' AND excluded.asked_by <> 'scheduler' \
                    AND erasure.core_done_at IS NULL";
        let values = [member.get().into(), request.into(), actor.to_string().into(), now.millis().into()];
        if sql::run(&**self, "ask for an erasure", text, values).await? == 0 {
            return Ok(false);
        }
        self.audit(now, actor, "erasure-asked", format!("member:{member}"), String::new()).await?;
        Ok(true)
    }

    /// Under the log's lock, as an erasure is: nobody is frozen who was erased meanwhile.
    pub(crate) async fn nobody_is_erased(&self, id: BroadcastId) -> Result<(), StoreError> {
        let text = "SELECT e.member_id AS n FROM erasure e JOIN delivery d ON d.member_id = e.member_id \
                    WHERE d.broadcast_id = $1 AND e.core_done_at IS NOT NULL LIMIT 1";
        let erased: Option<sql::Number> =
            sql::row(&**self, "look for erased members", text, [id.get().into()]).await?;
        if erased.is_none() {
            return Ok(());
        }
        let text = format!("a member whom broadcast {id} addresses was erased in this moment");
        Err(Refusal::new(Rule::State, text, "run preflight again").into())
    }

    async fn is_asked_by_clock(&self, member: MemberId) -> Result<bool, StoreError> {
        let text = "SELECT COUNT(*) AS n FROM erasure WHERE member_id = $1 AND asked_by = 'scheduler'";
        Ok(sql::number(&**self, "look who asked", text, [member.get().into()]).await? > 0)
    }

    /// Whoever came back since the clock asked is not erased by it.
    async fn still_has_left(&self, member: MemberId) -> Result<(), StoreError> {
        let text = format!("SELECT COUNT(*) AS n FROM member m WHERE m.id = $1 AND NOT {HAS_LEFT}");
        if sql::number(&**self, "look whether a member is back", &text, [member.get().into()]).await? == 0 {
            return Ok(());
        }
        let text = format!("member {member} is in the roster again");
        Err(Refusal::new(Rule::State, text, "the next look withdraws the erasure").into())
    }

    /// Whether it is this transaction that erases.
    async fn core_is_done(&self, member: MemberId, now: Timestamp) -> Result<bool, StoreError> {
        let text = "UPDATE erasure SET core_done_at = $2 WHERE member_id = $1 AND core_done_at IS NULL";
        let values = [member.get().into(), now.millis().into()];
        if sql::run(&**self, "begin an erasure", text, values).await? > 0 {
            return Ok(true);
        }
        let text = "SELECT member_id AS n FROM erasure WHERE member_id = $1";
        let asked: Option<sql::Number> =
            sql::row(&**self, "find an erasure", text, [member.get().into()]).await?;
        asked.map(|_| false).ok_or_else(|| StoreError::not_found("erasure of member", member))
    }

    /// What the person is recognised by later. A mailbox that others read too stays theirs.
    async fn keep_keys(&self, keyring: &Keyring, id: MemberId, now: Timestamp) -> Result<(), StoreError> {
        let rest = "FROM member m WHERE m.id = $1";
        let found = read_members(&**self, "read a member", rest, [id.get().into()]).await?;
        let Some(member) = found.first() else { return Ok(()) };
        let mut keys: Vec<ErasedKey> = Vec::new();
        keys.extend(keyring.erased_numbers(&member.data.member_no).into_iter().next());
        if let Some(address) = &member.data.address
            && !self.others_read(id, address).await?
        {
            keys.extend(keyring.erased_mailboxes(address).into_iter().next());
        }
        for key in keys {
            let text =
                "INSERT INTO erased (key, what, erased_at) VALUES ($1, $2, $3) ON CONFLICT (key) DO NOTHING";
            let values = [key.as_str().into(), key.what().into(), now.millis().into()];
            sql::run(&**self, "keep what an erased member is recognised by", text, values).await?;
        }
        Ok(())
    }

    async fn others_read(&self, id: MemberId, address: &EmailAddress) -> Result<bool, StoreError> {
        let text = "SELECT COUNT(*) AS n FROM member WHERE id <> $1 AND mailbox = $2";
        let values = [id.get().into(), address.key().into()];
        Ok(sql::number(&**self, "look for others at a mailbox", text, values).await? > 0)
    }

    /// The row's own id already names the person to whoever has the registry; without it, nobody.
    async fn clear_ledger_of(&self, member: MemberId, now: Timestamp) -> Result<u64, StoreError> {
        for (operation, text) in [
            (
                "clear earlier attempts",
                "UPDATE attempt SET reply = NULL \
                 WHERE delivery_id IN (SELECT id FROM delivery WHERE member_id = $1)",
            ),
            (
                "clear domains",
                "UPDATE pace SET domain = '' WHERE delivery_id IN (SELECT id FROM delivery WHERE member_id = $1)",
            ),
        ] {
            sql::run(&**self, operation, text, [member.get().into()]).await?;
        }
        let text = "UPDATE delivery SET member_no = $2, address = '', fields = '{}', reply = NULL, \
                    cleared_at = $3 WHERE member_id = $1";
        let values = [member.get().into(), format!("erased-{member}").into(), now.millis().into()];
        sql::run(&**self, "clear a member's rows", text, values).await
    }

    /// What was chosen counts in figures and names nobody; what was written may.
    async fn keep_choices_of(&self, member: MemberId) -> Result<(), StoreError> {
        #[derive(FromQueryResult)]
        struct Sheet {
            broadcast_id: i64,
            answers: String,
            body: Option<String>,
        }
        let text = "SELECT r.broadcast_id, r.answers, q.body FROM response r \
                    JOIN broadcast b ON b.id = r.broadcast_id \
                    LEFT JOIN questionnaire q ON q.id = b.questionnaire_id WHERE r.member_id = $1";
        let sheets: Vec<Sheet> =
            sql::rows(&**self, "read a member's answers", text, [member.get().into()]).await?;
        for sheet in sheets {
            let kept = choices_only(&sheet.answers, sheet.body.as_deref());
            let text = "UPDATE response SET answers = $3 WHERE broadcast_id = $1 AND member_id = $2";
            let values = [sheet.broadcast_id.into(), member.get().into(), kept.into()];
            sql::run(&**self, "clear written answers", text, values).await?;
        }
        Ok(())
    }

    async fn forget(&self, member: MemberId, now: Timestamp) -> Result<(), StoreError> {
        let text = "UPDATE request SET state = CASE WHEN kind = 'erasure' THEN 'granted' ELSE 'superseded' END, \
                    settled_at = $2 WHERE member_id = $1 AND state = 'open'";
        sql::run(&**self, "settle a member's requests", text, [member.get().into(), now.millis().into()])
            .await?;
        // A plan that was not written holds them, too, and would bring them back.
        for (operation, text) in [
            (
                "delete planned rows",
                "DELETE FROM import_row WHERE plan_id IN (SELECT id FROM import_plan WHERE state <> 'applied') \
                 AND member_no = (SELECT member_no FROM member WHERE id = $1)",
            ),
            (
                "delete planned members",
                "DELETE FROM import_member WHERE plan_id IN (SELECT id FROM import_plan WHERE state <> 'applied') \
                 AND member_no = (SELECT member_no FROM member WHERE id = $1)",
            ),
            ("delete a suppression", "DELETE FROM suppression WHERE member_id = $1"),
            ("delete a test member", "DELETE FROM test_roster WHERE member_id = $1"),
            ("delete memberships", "DELETE FROM membership WHERE member_id = $1"),
            ("delete a member", "DELETE FROM member WHERE id = $1"),
        ] {
            sql::run(&**self, operation, text, [member.get().into()]).await?;
        }
        Ok(())
    }
}

/// What cannot be read holds no choice.
fn choices_only(answers: &str, sheet: Option<&str>) -> String {
    let answers: Answers = serde_json::from_str(answers).unwrap_or_default();
    let sheet: Option<Questionnaire> = sheet.and_then(|body| serde_json::from_str(body).ok());
    let questions = sheet.map(|sheet| sheet.questions).unwrap_or_default();
    let is_choice = |key: &str| {
        questions
            .iter()
            .any(|question| question.key == key && matches!(question.kind, QuestionKind::Choice { .. }))
    };
    let kept: Answers = answers.into_iter().filter(|(key, _)| is_choice(key)).collect();
    serde_json::to_string(&kept).expect("invariant: answers are plain texts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_choices_are_kept() {
        let sheet = r#"{"title":"t","questions":[
            {"key":"safety","text":"?","kind":"choice","choices":[{"value":"safe","label":"無事"}]},
            {"key":"note","text":"?","kind":"text"}]}"#;
        let answers = r#"{"safety":"safe","note":"携帯は090です","stray":"x"}"#;
        assert_eq!(choices_only(answers, Some(sheet)), r#"{"safety":"safe"}"#);
        assert_eq!(choices_only(answers, None), "{}");
        assert_eq!(choices_only("not json", Some(sheet)), "{}");
    }
}
