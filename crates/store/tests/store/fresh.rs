//! A store on a fresh database with three people: one who writes, two who sign.

use domain::{
    Actor, Approved, BroadcastId, ContentDigest, DeliveryEvent, DeliveryState, Frozen, HoldReason, MemberId,
    Nature, Role, SmtpReply, StaffId, Tally, Timestamp,
};
use sea_orm::{ConnectionTrait, Statement};
use std::time::Duration;
use store::{
    Broadcast, ClaimedRow, FreezeRow, LedgerFilter, LedgerRow, Limits, NewBroadcast, Outcome, ReleasePolicy,
    Snapshot, Store, StoreError, SubmitPermit, Turn, Worker, WorkerTerms,
};
use testkit::{DatabaseKind, TestDatabase, fresh_databases};

/// The moment in which tests act; the database's own clock goes its own way.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
/// Recipients in 24 hours with one signature.
pub(crate) const CAP: u64 = 3_000;
/// What is signed unless a test says otherwise.
pub(crate) const SIGNED: ContentDigest = ContentDigest::new([7; 32]);
/// Leases that outlast any test.
pub(crate) const TERMS: WorkerTerms = WorkerTerms {
    chunk_size: 100,
    chunk_budget: Duration::from_secs(60),
    submission_max: Duration::from_secs(600),
    limits: Limits::NONE,
};
/// Leases that are over as soon as the database's clock has moved on.
pub(crate) const SHORT: WorkerTerms = WorkerTerms {
    chunk_size: 100,
    chunk_budget: Duration::from_millis(1),
    submission_max: Duration::from_millis(1),
    limits: Limits::NONE,
};

/// A store on one database.
pub(crate) struct Fresh {
    pub(crate) store: Store,
    pub(crate) author: Actor,
    pub(crate) approver: Actor,
    pub(crate) second: Actor,
    database: TestDatabase,
}

impl Fresh {
    /// One per engine at hand.
    pub(crate) async fn each() -> Vec<Self> {
        let mut all = Vec::new();
        for database in fresh_databases().await {
            all.push(Self::on(database).await);
        }
        all
    }

    pub(crate) async fn on(database: TestDatabase) -> Self {
        let store = Store::connect(&database.core_url).await.expect("the database opens");
        let author = add_staff(&store, "author@example.jp", Role::Coordinator).await;
        let approver = add_staff(&store, "approver@example.jp", Role::Approver).await;
        let second = add_staff(&store, "second@example.jp", Role::Approver).await;
        Self { store, author, approver, second, database }
    }

    pub(crate) fn is_postgres(&self) -> bool {
        self.database.kind == DatabaseKind::Postgres
    }

    /// PostgreSQL goes through a small table as it would not through a large one: it is told that
    /// the ledger is large.
    pub(crate) async fn plans_as_for_a_large_ledger(&self) {
        let statistics = "UPDATE pg_class SET reltuples = 1000000, relpages = 1 WHERE relname = 'delivery'";
        self.store.connection().execute_unprepared(statistics).await.expect("the server lets us");
    }

    /// The same database as another process sees it.
    pub(crate) async fn another_process(&self) -> Store {
        Store::connect(&self.database.core_url).await.expect("the database opens twice")
    }

    pub(crate) async fn staff(&self, email: &str, role: Role) -> Actor {
        add_staff(&self.store, email, role).await
    }

    pub(crate) async fn draft(&self, key: &str) -> BroadcastId {
        let notice = self.notice(key);
        self.store.create_broadcast(self.author, &notice, NOW).await.expect("a draft")
    }

    pub(crate) fn notice(&self, key: &str) -> NewBroadcast {
        NewBroadcast {
            nature: Nature::Exercise,
            author: id_of(self.author),
            subject: "訓練開始".into(),
            body: "開始します".into(),
            audience: r#"{"named":"all"}"#.into(),
            questionnaire: None,
            answers_to: None,
            finish_by: None,
            idempotency_key: key.into(),
        }
    }

    pub(crate) async fn freeze(&self, id: BroadcastId, rows: &[FreezeRow], digest: ContentDigest) {
        self.try_freeze(id, rows, digest).await.expect("frozen");
    }

    pub(crate) async fn try_freeze(
        &self,
        id: BroadcastId,
        rows: &[FreezeRow],
        digest: ContentDigest,
    ) -> Result<(), StoreError> {
        self.store
            .freeze(
                self.author,
                id,
                &Snapshot {
                    rows,
                    digest,
                    terms: "{}",
                    findings: r#"["checked"]"#,
                    change: None,
                    registry_revision: self.store.registry_revision().await.expect("read"),
                },
                NOW,
            )
            .await
    }

    /// A frozen broadcast to `people` that waits for its signatures.
    pub(crate) async fn awaiting(&self, key: &str, people: i64) -> BroadcastId {
        let id = self.draft(key).await;
        self.freeze(id, &members(people), SIGNED).await;
        self.store
            .request_approval(self.author, id, &ReleasePolicy::capped_at(CAP), NOW)
            .await
            .expect("asked");
        id
    }

    pub(crate) async fn sign(&self, actor: Actor, id: BroadcastId) -> Result<(u8, u8), StoreError> {
        let gap = self.store.sign(actor, id, SIGNED, &ReleasePolicy::capped_at(CAP), NOW).await?;
        Ok((gap.given, gap.required))
    }

    /// Signed by one approver.
    pub(crate) async fn approved(&self, key: &str, people: i64) -> BroadcastId {
        let id = self.awaiting(key, people).await;
        self.sign(self.approver, id).await.expect("signed");
        id
    }

    pub(crate) async fn release(&self, id: BroadcastId) -> Result<Approved<Frozen>, StoreError> {
        let frozen = self.frozen(id).await;
        Ok(self.store.release(self.author, frozen, &ReleasePolicy::capped_at(CAP), NOW).await?.approved)
    }

    /// Released to the workers.
    pub(crate) async fn sending(&self, people: i64) -> (BroadcastId, Approved<Frozen>) {
        self.sending_as("sending", people).await
    }

    pub(crate) async fn sending_as(&self, key: &str, people: i64) -> (BroadcastId, Approved<Frozen>) {
        let id = self.approved(key, people).await;
        let approved = self.release(id).await.expect("released");
        (id, approved)
    }

    /// What stands in the database, as a release takes it.
    pub(crate) async fn frozen(&self, id: BroadcastId) -> Frozen {
        let broadcast = self.broadcast(id).await;
        broadcast.frozen(broadcast.digest.expect("a frozen broadcast has a digest"))
    }

    pub(crate) async fn broadcast(&self, id: BroadcastId) -> Broadcast {
        self.store.broadcast(id).await.expect("readable").expect("it exists")
    }

    pub(crate) async fn worker(&self) -> Worker {
        self.store.register_worker("test").await.expect("a worker")
    }

    pub(crate) async fn claim(&self, worker: Worker, approved: &Approved<Frozen>) -> Vec<ClaimedRow> {
        self.store.claim(worker, approved, &TERMS).await.expect("a claim")
    }

    pub(crate) async fn turn(&self, worker: Worker, outcomes: &[Outcome], intents: Vec<ClaimedRow>) -> Turn {
        self.store.turn(worker, outcomes, intents, &TERMS).await.expect("a turn")
    }

    /// Claims everything that is due and asks for permits.
    pub(crate) async fn permits(&self, worker: Worker, approved: &Approved<Frozen>) -> Vec<SubmitPermit> {
        let rows = self.claim(worker, approved).await;
        self.turn(worker, &[], rows).await.permits
    }

    /// Sends everything that is due; `event` is what becomes of each.
    pub(crate) async fn send_all(&self, worker: Worker, approved: &Approved<Frozen>, event: &DeliveryEvent) {
        let outcomes = spend(self.permits(worker, approved).await, event);
        let turn = self.turn(worker, &outcomes, Vec::new()).await;
        assert_eq!(turn.fenced, 0);
    }

    pub(crate) async fn tally(&self, id: BroadcastId) -> Tally {
        self.store.tally(id).await.expect("counted")
    }

    pub(crate) async fn count(&self, id: BroadcastId, state: DeliveryState) -> u64 {
        self.tally(id).await.of(state)
    }

    pub(crate) async fn rows(&self, id: BroadcastId) -> Vec<LedgerRow> {
        self.store.ledger_page(id, LedgerFilter::default(), 0, 10_000).await.expect("the ledger")
    }

    /// Changes the database behind the store's back.
    pub(crate) async fn tamper(&self, statement: &str) {
        self.store.connection().execute_unprepared(statement).await.expect("the statement runs");
    }

    /// A query's one number `n`.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let connection = self.store.connection();
        let statement = Statement::from_string(connection.get_database_backend(), query);
        let row = connection.query_one_raw(statement).await.expect("the query runs").expect("a row");
        row.try_get("", "n").expect("a number")
    }

    /// Everything a refused step could have changed.
    pub(crate) async fn fingerprint(&self, id: BroadcastId) -> String {
        format!(
            "{:?} {:?} signatures={} audit={} mails={}",
            self.broadcast(id).await,
            self.tally(id).await,
            self.number("SELECT COUNT(*) AS n FROM signature").await,
            self.number("SELECT COUNT(*) AS n FROM audit").await,
            self.number("SELECT COUNT(*) AS n FROM staff_mail").await,
        )
    }
}

async fn add_staff(store: &Store, email: &str, role: Role) -> Actor {
    let id =
        store.add_staff(Actor::LocalEngineer, email, email, role, "hash", NOW).await.expect("an account");
    Actor::Staff { id, role }
}

pub(crate) fn id_of(actor: Actor) -> StaffId {
    match actor {
        Actor::Staff { id, .. } => id,
        Actor::LocalEngineer | Actor::Scheduler => panic!("not a person"),
    }
}

/// Members 1 to `count` as a snapshot, all with an address.
pub(crate) fn members(count: i64) -> Vec<FreezeRow> {
    (1..=count).map(member).collect()
}

pub(crate) fn member(n: i64) -> FreezeRow {
    FreezeRow {
        member: MemberId::new(n),
        member_no: format!("{n:05}"),
        address: Some(format!("m{n}@example.jp").parse().expect("an address")),
        prefecture: Some(13),
        fields: r#"{"name":"鈴木"}"#.into(),
        message_id: format!("<{n}@example.jp>"),
        held: None,
    }
}

/// The same member without an address.
pub(crate) fn held(n: i64) -> FreezeRow {
    FreezeRow { address: None, held: Some(HoldReason::NoAddress), ..member(n) }
}

pub(crate) fn accepted() -> DeliveryEvent {
    DeliveryEvent::RelayAccepted(SmtpReply::new(250, "2.0.0 queued"))
}

pub(crate) fn rejected() -> DeliveryEvent {
    DeliveryEvent::RelayRejected(SmtpReply::new(550, "5.1.1 no such recipient"))
}

/// Deferred, and due again at once.
pub(crate) fn deferred() -> DeliveryEvent {
    DeliveryEvent::RelayDeferred {
        reply: Some(SmtpReply::new(451, "4.7.1 later")),
        retry_at: Timestamp::from_millis(1),
    }
}

/// Every permit ends with the same event.
pub(crate) fn spend(permits: Vec<SubmitPermit>, event: &DeliveryEvent) -> Vec<Outcome> {
    permits.into_iter().map(|permit| outcome(permit, event)).collect()
}

pub(crate) fn outcome(permit: SubmitPermit, event: &DeliveryEvent) -> Outcome {
    permit.outcome(event, "relay.example.jp:25", NOW).expect("a possible outcome")
}

/// The rule that refused.
pub(crate) fn rule(error: &StoreError) -> Option<domain::Rule> {
    match error {
        StoreError::Refused(refusal) => Some(refusal.rule),
        _ => None,
    }
}
