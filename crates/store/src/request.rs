//! Requests of members and mail systems, settled by the office, and whom nothing is sent to.
//!
//! A request changes nothing by itself. Granted, it suppresses: whoever is suppressed is held in
//! every later audience, with the reason, until a person lifts it. A bounce suppresses an address,
//! and is over when the roster has another one; everything else concerns the person. A wish to be
//! erased is carried out too (see `erasure`); while it waits it suppresses, beside what else does.

use crate::{Member, Store, StoreError, WriteTx, erasure::NOT_ERASED, sql};
use domain::{
    Actor, BroadcastId, Decision, EmailAddress, MemberId, Refusal, ReplyId, RequestKind, Rule, Timestamp,
};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use std::collections::HashMap;

/// What is asked, by whom, and what shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRequest {
    /// What for.
    pub kind: RequestKind,
    /// The notice it came after.
    pub broadcast: BroadcastId,
    /// Who.
    pub member: MemberId,
    /// The stored reply it was read from; none where a page was used.
    pub reply: Option<ReplyId>,
}

/// A request nobody has settled yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRequest {
    /// Id.
    pub id: i64,
    /// What for.
    pub kind: RequestKind,
    /// The notice it came after.
    pub broadcast: BroadcastId,
    /// Who.
    pub member: MemberId,
    /// Number and name, while the registry knows them.
    pub known_as: Option<(String, String)>,
    /// The reply that shows it.
    pub reply: Option<ReplyId>,
    /// When it came.
    pub opened_at: Timestamp,
}

/// Why nothing is sent to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// Why.
    pub kind: RequestKind,
    /// The address it concerns; none where it concerns the person, whatever the address.
    pub address: Option<EmailAddress>,
    /// Since when.
    pub since: Timestamp,
}

impl Suppression {
    /// Whether it holds for a person who is reached at `address`.
    #[must_use]
    pub fn holds_for(&self, address: Option<&EmailAddress>) -> bool {
        match (&self.address, address) {
            (None, _) => true,
            (Some(suppressed), Some(address)) => suppressed.key() == address.key(),
            (Some(_), None) => false,
        }
    }
}

/// Somebody to whom nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressedMember {
    /// Who.
    pub member: MemberId,
    /// Number and name, while the registry knows them.
    pub known_as: Option<(String, String)>,
    /// Why.
    pub kind: RequestKind,
    /// Since when.
    pub since: Timestamp,
}

#[derive(FromQueryResult)]
struct SuppressedRow {
    member_id: i64,
    kind: String,
    since: i64,
    member_no: Option<String>,
    name: Option<String>,
}

#[derive(FromQueryResult)]
struct RequestRow {
    id: i64,
    kind: String,
    broadcast_id: i64,
    member_id: i64,
    member_no: Option<String>,
    name: Option<String>,
    reply_id: Option<i64>,
    opened_at: i64,
}

#[derive(FromQueryResult)]
struct SuppressionRow {
    member_id: i64,
    kind: String,
    address: Option<String>,
    since: i64,
}

#[derive(FromQueryResult)]
struct KindCount {
    kind: String,
    n: i64,
}

/// What keeps notices from members, as a table. An erasure that a person asked for is none of the rows
/// that others are written over: withdrawn, it leaves them as they are.
const SUPPRESSED: &str = "(SELECT e.member_id, 'erasure' AS kind, CAST(NULL AS TEXT) AS address, \
    e.asked_at AS since FROM erasure e WHERE e.core_done_at IS NULL AND e.asked_by <> 'scheduler' \
    UNION ALL SELECT p.member_id, p.kind, p.address, p.since FROM suppression p) AS s";

/// Whoever cares for the roster; the scheduler carries a policy out.
pub(crate) fn may_decide(actor: Actor) -> Result<(), Refusal> {
    match actor {
        Actor::LocalEngineer | Actor::Scheduler => Ok(()),
        Actor::Staff { role, .. } if role.may_import() => Ok(()),
        Actor::Staff { .. } => {
            let text = "only a coordinator or an engineer decides to whom nothing is sent";
            Err(Refusal::new(Rule::Role, text, "ask a coordinator"))
        }
    }
}

fn kind_of(table: &'static str, row: i64, kind: &str) -> Result<RequestKind, StoreError> {
    kind.parse().map_err(|why: domain::UnknownWord| StoreError::Corrupt {
        table,
        column: "kind",
        row,
        why: why.to_string(),
    })
}

impl TryFrom<RequestRow> for OpenRequest {
    type Error = StoreError;

    fn try_from(row: RequestRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.id,
            kind: kind_of("request", row.id, &row.kind)?,
            broadcast: BroadcastId::new(row.broadcast_id),
            member: MemberId::new(row.member_id),
            known_as: row.member_no.zip(row.name),
            reply: row.reply_id.map(ReplyId::new),
            opened_at: Timestamp::from_millis(row.opened_at),
        })
    }
}

impl TryFrom<SuppressionRow> for Suppression {
    type Error = StoreError;

    fn try_from(row: SuppressionRow) -> Result<Self, StoreError> {
        let address = row.address.map(|address| {
            EmailAddress::parse(&address).map_err(|why| StoreError::Corrupt {
                table: "suppression",
                column: "address",
                row: row.member_id,
                why: why.to_string(),
            })
        });
        Ok(Self {
            kind: kind_of("suppression", row.member_id, &row.kind)?,
            address: address.transpose()?,
            since: Timestamp::from_millis(row.since),
        })
    }
}

impl Store {
    /// Begins what whoever cares for the roster decides, under the log's lock.
    pub(crate) async fn decide(&self, actor: Actor) -> Result<WriteTx, StoreError> {
        may_decide(actor)?;
        let tx = self.write().await?;
        tx.exclusive(AUDIT_FIRST).await?;
        Ok(tx)
    }

    /// Opens a request, once for each reply, and one of a kind for a member: beside an open one it is
    /// noted as superseded. Only where it concerns an address the newer one counts, for the roster may
    /// have another address by now. False where the broadcast has no such recipient, or the person was
    /// erased.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_request(&self, new: NewRequest, now: Timestamp) -> Result<bool, StoreError> {
        let tx = self.write().await?;
        let values = [new.broadcast.get().into(), new.member.get().into()];
        let text = format!(
            "SELECT id AS n FROM delivery WHERE broadcast_id = $1 AND member_id = $2 AND {NOT_ERASED}"
        );
        let known: Option<sql::Number> = sql::row(&*tx, "find a recipient", &text, values).await?;
        if known.is_none() {
            return Ok(false);
        }
        if !tx.is_known(&new).await? {
            tx.open(&new, now).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Open requests, of one kind or of all, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_requests(
        &self,
        kind: Option<RequestKind>,
        limit: u32,
    ) -> Result<Vec<OpenRequest>, StoreError> {
        let mut values: Vec<Value> = vec![i64::from(limit).into()];
        let only = kind.map_or("", |kind| {
            values.push(kind.as_str().into());
            "AND r.kind = $2 "
        });
        let text = format!(
            "SELECT r.id, r.kind, r.broadcast_id, r.member_id, r.reply_id, r.opened_at, m.member_no, m.name \
             FROM request r LEFT JOIN member m ON m.id = r.member_id \
             WHERE r.state = 'open' {only}ORDER BY r.id LIMIT $1"
        );
        let rows: Vec<RequestRow> = sql::rows(&self.connection, "list requests", &text, values).await?;
        rows.into_iter().map(OpenRequest::try_from).collect()
    }

    /// How many are open of each kind; kinds without any are left out.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open_request_counts(&self) -> Result<Vec<(RequestKind, u64)>, StoreError> {
        let text = "SELECT kind, COUNT(*) AS n FROM request WHERE state = 'open' GROUP BY kind ORDER BY kind";
        let rows: Vec<KindCount> = sql::rows(&self.connection, "count requests", text, []).await?;
        rows.into_iter()
            .map(|row| Ok((kind_of("request", 0, &row.kind)?, u64::try_from(row.n).unwrap_or(0))))
            .collect()
    }

    /// Settles open requests; how many were still open. Granted ones suppress.
    ///
    /// # Errors
    /// [`StoreError`], also where the actor may not; then none is settled.
    pub async fn settle_requests(
        &self,
        actor: Actor,
        ids: &[i64],
        decision: Decision,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let tx = self.decide(actor).await?;
        let mut settled = 0;
        for id in ids {
            settled += u64::from(tx.settle(actor, *id, decision, now).await?);
        }
        tx.commit().await?;
        Ok(settled)
    }

    /// Settles a member's open request of this kind, where there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle_request_of(
        &self,
        actor: Actor,
        kind: RequestKind,
        member: MemberId,
        decision: Decision,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if let Some(id) = open_id(&self.connection, kind, member).await? {
            self.settle_requests(actor, &[id], decision, now).await?;
        }
        Ok(())
    }

    /// Nothing is sent to this member any more, by a decision of the office.
    ///
    /// # Errors
    /// [`StoreError`], also where the actor may not.
    pub async fn suppress(&self, actor: Actor, member: MemberId, now: Timestamp) -> Result<(), StoreError> {
        let tx = self.decide(actor).await?;
        tx.suppress(member, RequestKind::Office, None, now).await?;
        tx.audit(now, actor, "member-suppressed", format!("member:{member}"), "office".to_owned()).await?;
        tx.commit().await
    }

    /// Notices are sent to this member again; false where they were all along. An erasure that was
    /// asked for is another matter: [`Store::withdraw_erasure`].
    ///
    /// # Errors
    /// [`StoreError`], also where the actor may not.
    pub async fn lift_suppression(
        &self,
        actor: Actor,
        member: MemberId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let tx = self.decide(actor).await?;
        let text = "DELETE FROM suppression WHERE member_id = $1";
        let lifted = sql::run(&*tx, "lift a suppression", text, [member.get().into()]).await? > 0;
        if lifted {
            tx.audit(now, actor, "suppression-lifted", format!("member:{member}"), String::new()).await?;
        }
        tx.commit().await?;
        Ok(lifted)
    }

    /// Why nothing is sent to a member: an erasure that a person asked for, then what stands beside it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn suppressions_of(&self, member: MemberId) -> Result<Vec<Suppression>, StoreError> {
        let rows = self.suppression_rows("WHERE member_id = $1", vec![member.get().into()]).await?;
        rows.into_iter().map(Suppression::try_from).collect()
    }

    /// The first of these that holds for the member now: at the address the registry has.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn suppression_of(&self, member: &Member) -> Result<Option<Suppression>, StoreError> {
        let found = self.suppressions_of(member.id).await?;
        Ok(found.into_iter().find(|found| found.holds_for(member.data.address.as_ref())))
    }

    /// Those to whom nothing is sent, with number and name while the registry knows them, newest
    /// first; whoever is to be erased may stand there for another reason, too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn suppressed_members(&self, limit: u32) -> Result<Vec<SuppressedMember>, StoreError> {
        let text = format!(
            "SELECT s.member_id, s.kind, s.since, m.member_no, m.name \
             FROM {SUPPRESSED} LEFT JOIN member m ON m.id = s.member_id \
             ORDER BY s.since DESC, s.member_id, s.kind LIMIT $1"
        );
        let values = [i64::from(limit).into()];
        let rows: Vec<SuppressedRow> =
            sql::rows(&self.connection, "list suppressions", &text, values).await?;
        rows.into_iter()
            .map(|row| {
                Ok(SuppressedMember {
                    member: MemberId::new(row.member_id),
                    known_as: row.member_no.zip(row.name),
                    kind: kind_of("suppression", row.member_id, &row.kind)?,
                    since: Timestamp::from_millis(row.since),
                })
            })
            .collect()
    }

    /// Everybody to whom nothing is sent, with every reason, an erasure first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn suppressions(&self) -> Result<HashMap<MemberId, Vec<Suppression>>, StoreError> {
        let mut found: HashMap<MemberId, Vec<Suppression>> = HashMap::new();
        for row in self.suppression_rows("", Vec::new()).await? {
            found.entry(MemberId::new(row.member_id)).or_default().push(row.try_into()?);
        }
        Ok(found)
    }

    /// Erasures before what else suppresses.
    async fn suppression_rows(
        &self,
        condition: &str,
        values: Vec<Value>,
    ) -> Result<Vec<SuppressionRow>, StoreError> {
        let text = format!(
            "SELECT member_id, kind, address, since FROM {SUPPRESSED} {condition} \
             ORDER BY CASE kind WHEN 'erasure' THEN 0 ELSE 1 END"
        );
        sql::rows(&self.connection, "read suppressions", &text, values).await
    }
}

/// A member's request of this kind that nobody has settled.
async fn open_id(
    connection: &impl ConnectionTrait,
    kind: RequestKind,
    member: MemberId,
) -> Result<Option<i64>, StoreError> {
    let text = "SELECT id AS n FROM request WHERE kind = $1 AND member_id = $2 AND state = 'open'";
    let values = [kind.as_str().into(), member.get().into()];
    let open: Option<sql::Number> = sql::row(connection, "find an open request", text, values).await?;
    Ok(open.map(|open| open.n))
}

/// Locked before any row of a request: of two who decide at once, one would otherwise hold the log
/// and wait for a row, the other hold the row and wait for the log.
pub(crate) const AUDIT_FIRST: &str = "audit";

/// Of the request that is settled.
#[derive(FromQueryResult)]
struct Settled {
    kind: String,
    member_id: i64,
    address: Option<String>,
}

impl WriteTx {
    /// Whether its reply was looked at before; a wish from a page, whether one is open.
    async fn is_known(&self, new: &NewRequest) -> Result<bool, StoreError> {
        let Some(reply) = new.reply else {
            return Ok(open_id(&**self, new.kind, new.member).await?.is_some());
        };
        let text = "SELECT id AS n FROM request WHERE reply_id = $1";
        let known: Option<sql::Number> =
            sql::row(&**self, "find a reply's request", text, [reply.get().into()]).await?;
        Ok(known.is_some())
    }

    async fn open(&self, new: &NewRequest, now: Timestamp) -> Result<(), StoreError> {
        let (kind, member) = (new.kind.as_str(), new.member.get());
        if new.kind.concerns_address() {
            let text = "UPDATE request SET state = 'superseded', settled_at = $3 \
                        WHERE kind = $1 AND member_id = $2 AND state = 'open'";
            let values = [kind.into(), member.into(), now.millis().into()];
            sql::run(&**self, "supersede a request", text, values).await?;
        }
        for state in ["open", "superseded"] {
            let text = "INSERT INTO request (kind, broadcast_id, member_id, reply_id, opened_at, state) \
                        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
            let values = [
                kind.into(),
                new.broadcast.get().into(),
                member.into(),
                new.reply.map(ReplyId::get).into(),
                now.millis().into(),
                state.into(),
            ];
            if sql::run(&**self, "open a request", text, values).await? > 0 {
                break;
            }
        }
        Ok(())
    }

    async fn settle(
        &self,
        actor: Actor,
        id: i64,
        decision: Decision,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        // The address is the one the notice went to: the roster may have another one by now.
        let text = "UPDATE request SET state = $2, settled_at = $3 WHERE id = $1 AND state = 'open' \
                    RETURNING kind, member_id, (SELECT d.address FROM delivery d \
                    WHERE d.broadcast_id = request.broadcast_id AND d.member_id = request.member_id) AS address";
        let values = [id.into(), decision.as_str().into(), now.millis().into()];
        let Some(settled) = sql::row::<Settled>(&**self, "settle a request", text, values).await? else {
            return Ok(false);
        };
        let kind = kind_of("request", id, &settled.kind)?;
        let member = MemberId::new(settled.member_id);
        if decision == Decision::Granted {
            self.grant(actor, (id, kind, member), settled.address, now).await?;
        }
        let detail = format!("kind={kind} member={member}");
        self.audit(now, actor, &format!("request-{decision}"), format!("request:{id}"), detail).await?;
        Ok(true)
    }

    async fn grant(
        &self,
        actor: Actor,
        (request, kind, member): (i64, RequestKind, MemberId),
        address: Option<String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if kind == RequestKind::Erasure {
            return self.ask_erasure(actor, member, Some(request), now).await.map(|_| ());
        }
        if !kind.concerns_address() {
            return self.suppress(member, kind, None, now).await;
        }
        // An address that was kept long enough is gone, and with it what there was to suppress.
        match address.filter(|address| !address.is_empty()) {
            Some(address) => self.suppress(member, kind, Some(address), now).await,
            None => Ok(()),
        }
    }

    /// What concerns the person is not replaced, and replaces what concerns an address.
    async fn suppress(
        &self,
        member: MemberId,
        kind: RequestKind,
        address: Option<String>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let text = "INSERT INTO suppression (member_id, kind, address, since) VALUES ($1, $2, $3, $4) \
                    ON CONFLICT (member_id) DO UPDATE SET kind = excluded.kind, address = excluded.address, \
                    since = excluded.since WHERE suppression.address IS NOT NULL";
        let values = [member.get().into(), kind.as_str().into(), address.into(), now.millis().into()];
        sql::run(&**self, "suppress a member", text, values).await.map(|_| ())
    }
}
