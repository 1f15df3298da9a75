//! Broadcasts as drafts and through their states. Freezing, releasing and stopping have their
//! own files; every step goes through [`domain::BroadcastState::next`].

use crate::{Store, StoreError, WriteTx, entity, opening::Canary, sql};
use domain::{
    Actor, AudienceChange, BroadcastEvent, BroadcastId, BroadcastState, ContentDigest, Frozen, Nature,
    QuestionnaireId, Refusal, Rule, StaffId, Timestamp,
};

/// What a draft has before its first preflight; a preflight always finds something to say.
const NO_FINDINGS: &str = "[]";

/// A notice and its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broadcast {
    /// Id.
    pub id: BroadcastId,
    /// Fixed at creation.
    pub nature: Nature,
    /// Where it stands.
    pub state: BroadcastState,
    /// Who wrote it.
    pub author: StaffId,
    /// As written, without banner.
    pub subject: String,
    /// As written, without banner and footer.
    pub body: String,
    /// The audience's description as JSON (`registry::AudienceSpec`).
    pub audience: String,
    /// Questions its link asks.
    pub questionnaire: Option<QuestionnaireId>,
    /// A reminder collects the answers of this earlier broadcast.
    pub answers_to: Option<BroadcastId>,
    /// Nothing is sent after this.
    pub finish_by: Option<Timestamp>,
    /// Everything that was signed besides the rows, as canonical JSON; empty before freezing.
    pub terms: String,
    /// Set when frozen.
    pub digest: Option<ContentDigest>,
    /// Ledger rows to be tried.
    pub recipients: u64,
    /// Ledger rows held back.
    pub held: u64,
    /// Preflight findings as JSON.
    pub findings: String,
    /// How many signatures the release needed; 0 before.
    pub signatures_required: u8,
    /// Created.
    pub created_at: Timestamp,
    /// Snapshot taken.
    pub frozen_at: Option<Timestamp>,
    /// Released to the workers (database clock).
    pub released_at: Option<Timestamp>,
    /// Last stop.
    pub stopped_at: Option<Timestamp>,
    /// No open row any more.
    pub completed_at: Option<Timestamp>,
    /// Against the broadcast before, where there was one.
    pub change: Option<AudienceChange>,
    /// What the registry was when the audience was drawn from it.
    pub registry_revision: Option<i64>,
    /// While it is being sent: a first batch that the rest waits for.
    pub canary: Option<Canary>,
}

impl Broadcast {
    /// What its signatures are verified for, under the digest of what stands in the rows.
    #[must_use]
    pub fn frozen(&self, digest: ContentDigest) -> Frozen {
        Frozen {
            broadcast: self.id,
            author: self.author,
            nature: self.nature,
            digest,
            recipients: self.recipients,
            held: self.held,
        }
    }

    /// No preflight has looked at this draft yet.
    #[must_use]
    pub fn was_never_checked(&self) -> bool {
        self.findings == NO_FINDINGS
    }

    /// The broadcast whose responses this one's link collects.
    #[must_use]
    pub fn collects_for(&self) -> BroadcastId {
        self.answers_to.unwrap_or(self.id)
    }
}

/// What a new draft consists of.
#[derive(Debug, Clone)]
pub struct NewBroadcast {
    /// Actual, exercise or test; never changes.
    pub nature: Nature,
    /// Who writes it.
    pub author: StaffId,
    /// Without banner.
    pub subject: String,
    /// Without banner and footer.
    pub body: String,
    /// `registry::AudienceSpec` as JSON.
    pub audience: String,
    /// Questions its link asks.
    pub questionnaire: Option<QuestionnaireId>,
    /// Collect answers of this earlier broadcast.
    pub answers_to: Option<BroadcastId>,
    /// Nothing is sent after this.
    pub finish_by: Option<Timestamp>,
    /// The same key twice is the same draft.
    pub idempotency_key: String,
}

impl TryFrom<entity::broadcast::Model> for Broadcast {
    type Error = StoreError;

    fn try_from(row: entity::broadcast::Model) -> Result<Self, StoreError> {
        let corrupt = |column: &'static str, why: String| StoreError::Corrupt {
            table: "broadcast",
            column,
            row: row.id,
            why,
        };
        Ok(Self {
            id: BroadcastId::new(row.id),
            canary: Canary::read(&row),
            nature: row.nature.parse().map_err(|e: domain::UnknownWord| corrupt("nature", e.to_string()))?,
            state: row.state.parse().map_err(|e: domain::UnknownWord| corrupt("state", e.to_string()))?,
            digest: row
                .digest
                .map(|text| text.parse::<ContentDigest>())
                .transpose()
                .map_err(|e| corrupt("digest", e.to_string()))?,
            author: StaffId::new(row.author_id),
            subject: row.subject,
            body: row.body,
            audience: row.audience,
            questionnaire: row.questionnaire_id.map(QuestionnaireId::new),
            answers_to: row.answers_to.map(BroadcastId::new),
            finish_by: row.finish_by.map(Timestamp::from_millis),
            terms: row.terms,
            recipients: row.recipients.unsigned_abs(),
            held: row.held.unsigned_abs(),
            findings: row.findings,
            signatures_required: u8::try_from(row.signatures_required).unwrap_or(u8::MAX),
            created_at: Timestamp::from_millis(row.created_at),
            frozen_at: row.frozen_at.map(Timestamp::from_millis),
            released_at: row.released_at.map(Timestamp::from_millis),
            stopped_at: row.stopped_at.map(Timestamp::from_millis),
            completed_at: row.completed_at.map(Timestamp::from_millis),
            registry_revision: row.registry_revision,
            change: row
                .comparison
                .map(|text| serde_json::from_str(&text))
                .transpose()
                .map_err(|e| corrupt("comparison", e.to_string()))?,
        })
    }
}

impl Store {
    /// Keeps a new draft; with a key already used, the draft made with it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_broadcast(
        &self,
        actor: Actor,
        new: &NewBroadcast,
        now: Timestamp,
    ) -> Result<BroadcastId, StoreError> {
        let tx = self.write().await?;
        let id = tx.insert_broadcast(actor, new, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// One broadcast.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn broadcast(&self, id: BroadcastId) -> Result<Option<Broadcast>, StoreError> {
        let text = "SELECT * FROM broadcast WHERE id = $1";
        let row: Option<entity::broadcast::Model> =
            sql::row(&self.connection, "read a broadcast", text, [id.get().into()]).await?;
        row.map(Broadcast::try_from).transpose()
    }

    /// The newest broadcasts first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn broadcasts(&self, limit: i64) -> Result<Vec<Broadcast>, StoreError> {
        let text = "SELECT * FROM broadcast ORDER BY id DESC LIMIT $1";
        self.broadcast_rows(text, vec![limit.into()]).await
    }

    /// All broadcasts in one state, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn broadcasts_in(&self, state: BroadcastState) -> Result<Vec<Broadcast>, StoreError> {
        let text = "SELECT * FROM broadcast WHERE state = $1 ORDER BY id";
        self.broadcast_rows(text, vec![state.as_str().into()]).await
    }

    /// Changes a draft's text and audience. A frozen one falls back to draft: its snapshot and
    /// signatures are void.
    ///
    /// # Errors
    /// [`StoreError::BroadcastStep`] once it was released.
    pub async fn edit_broadcast(
        &self,
        actor: Actor,
        id: BroadcastId,
        new: &NewBroadcast,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let old = tx.broadcast_locked(id).await?;
        if old.nature != new.nature {
            return Err(Refusal::new(
                Rule::State,
                "the nature of a notice never changes",
                "write a new notice with the other nature",
            )
            .into());
        }
        if old.state != BroadcastState::Draft {
            tx.step(&old, BroadcastEvent::Returned).await?;
            tx.drop_snapshot(id).await?;
        }
        sql::run(
            &*tx,
            "edit a draft",
            "UPDATE broadcast SET subject = $2, body = $3, audience = $4, questionnaire_id = $5, finish_by = $6 \
             WHERE id = $1",
            [
                id.get().into(),
                new.subject.clone().into(),
                new.body.clone().into(),
                new.audience.clone().into(),
                new.questionnaire.map(QuestionnaireId::get).into(),
                new.finish_by.map(Timestamp::millis).into(),
            ],
        )
        .await?;
        tx.audit(now, actor, "broadcast-edited", format!("broadcast:{id}"), String::new()).await?;
        tx.commit().await
    }

    /// Sends a frozen notice back to its author: snapshot and signatures are void.
    ///
    /// # Errors
    /// [`StoreError::BroadcastStep`] once it was released.
    pub async fn return_broadcast(
        &self,
        actor: Actor,
        id: BroadcastId,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let old = tx.broadcast_locked(id).await?;
        tx.step(&old, BroadcastEvent::Returned).await?;
        tx.drop_snapshot(id).await?;
        tx.audit(now, actor, "broadcast-returned", format!("broadcast:{id}"), reason.to_owned()).await?;
        tx.commit().await
    }

    pub(crate) async fn broadcast_rows(
        &self,
        text: &str,
        values: Vec<sea_orm::Value>,
    ) -> Result<Vec<Broadcast>, StoreError> {
        let rows: Vec<entity::broadcast::Model> =
            sql::rows(&self.connection, "list broadcasts", text, values).await?;
        rows.into_iter().map(Broadcast::try_from).collect()
    }
}

impl WriteTx {
    pub(crate) async fn insert_broadcast(
        &self,
        actor: Actor,
        new: &NewBroadcast,
        now: Timestamp,
    ) -> Result<BroadcastId, StoreError> {
        let made: Option<sql::Number> = sql::row(
            &**self,
            "keep a draft",
            "INSERT INTO broadcast (nature, state, author_id, subject, body, audience, questionnaire_id, \
             answers_to, finish_by, terms, recipients, held, findings, signatures_required, idempotency_key, \
             created_at) VALUES ($1, 'draft', $2, $3, $4, $5, $6, $7, $8, '', 0, 0, $11, 0, $9, $10) \
             ON CONFLICT (idempotency_key) DO NOTHING RETURNING id AS n",
            [
                new.nature.as_str().into(),
                new.author.get().into(),
                new.subject.clone().into(),
                new.body.clone().into(),
                new.audience.clone().into(),
                new.questionnaire.map(QuestionnaireId::get).into(),
                new.answers_to.map(BroadcastId::get).into(),
                new.finish_by.map(Timestamp::millis).into(),
                new.idempotency_key.clone().into(),
                now.millis().into(),
                NO_FINDINGS.into(),
            ],
        )
        .await?;
        if let Some(made) = made {
            let object = format!("broadcast:{}", made.n);
            self.audit(now, actor, "broadcast-created", object, new.nature.to_string()).await?;
            return Ok(BroadcastId::new(made.n));
        }
        let text = "SELECT id AS n FROM broadcast WHERE idempotency_key = $1";
        sql::number(&**self, "find a draft", text, [new.idempotency_key.clone().into()])
            .await
            .map(BroadcastId::new)
    }

    /// Reads a broadcast so that nobody else can move it before this transaction ends.
    pub(crate) async fn broadcast_locked(&self, id: BroadcastId) -> Result<Broadcast, StoreError> {
        self.hold_broadcast(id).await?;
        let text = format!("SELECT * FROM broadcast WHERE id = $1{}", self.for_update());
        let row: Option<entity::broadcast::Model> =
            sql::row(&**self, "lock a broadcast", &text, [id.get().into()]).await?;
        row.ok_or(StoreError::not_found("broadcast", id))?.try_into()
    }

    /// Moves a locked broadcast; the domain decides whether it can.
    pub(crate) async fn step(
        &self,
        broadcast: &Broadcast,
        event: BroadcastEvent,
    ) -> Result<BroadcastState, StoreError> {
        let next = broadcast.state.next(event)?;
        let values = [broadcast.id.get().into(), next.as_str().into()];
        sql::run(&**self, "move a broadcast", "UPDATE broadcast SET state = $2 WHERE id = $1", values)
            .await?;
        Ok(next)
    }

    /// Throws away the ledger rows and signatures of a broadcast that was never released.
    pub(crate) async fn drop_snapshot(&self, id: BroadcastId) -> Result<(), StoreError> {
        let id = [id.get().into()];
        sql::run(&**self, "drop rows", "DELETE FROM delivery WHERE broadcast_id = $1", id.clone()).await?;
        sql::run(&**self, "drop signatures", "DELETE FROM signature WHERE broadcast_id = $1", id.clone())
            .await?;
        let text = "UPDATE broadcast SET digest = NULL, terms = '', recipients = 0, held = 0, frozen_at = NULL, \
                    comparison = NULL, registry_revision = NULL WHERE id = $1";
        sql::run(&**self, "void a snapshot", text, id).await?;
        Ok(())
    }
}
