//! A released broadcast, a relay and a broadcaster between them.

use broadcaster::{Broadcaster, Settings, Tcp, UnknownPolicy};
use domain::{
    Actor, BroadcastId, Clock, EmailAddress, Keyring, MemberId, Nature, Role, StaffId, Tally, Timestamp,
    TokenKey,
};
use notice::{DigestBuilder, NoticeText, Terms, message_id};
use rehearsal::relay::{CaptureRelay, Captured, Script};
use sea_orm::{ConnectionTrait, Statement};
use std::{sync::Arc, time::Duration};
use store::{
    FreezeRow, LedgerFilter, LedgerRow, Limits, NewBroadcast, ReleasePolicy, Snapshot, Store, StoreError,
};
use testkit::{SystemClock, TestDatabase, fresh_databases};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Slow machines are slow; a hang is longer.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const CAP: u64 = 3_000;

/// Author, approver and a fresh database.
pub(crate) struct Office {
    pub(crate) store: Store,
    author: Actor,
    approver: Actor,
    _database: TestDatabase,
}

/// A running broadcaster.
pub(crate) struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), StoreError>>,
}

impl Running {
    /// Ends it and waits until it has drained.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.expect("no panic").expect("drained");
    }
}

impl Office {
    /// One per engine at hand.
    pub(crate) async fn each() -> Vec<Self> {
        let mut all = Vec::new();
        for database in fresh_databases().await {
            let store = Store::connect(&database.core_url).await.expect("the database opens");
            let author = staff(&store, "author@example.jp", Role::Coordinator).await;
            let approver = staff(&store, "approver@example.jp", Role::Approver).await;
            all.push(Self { store, author, approver, _database: database });
        }
        all
    }

    /// Released to these addresses, in this order as members 1, 2, ….
    pub(crate) async fn release(&self, addresses: &[String]) -> BroadcastId {
        self.release_until(addresses, None).await
    }

    /// The same with an end.
    pub(crate) async fn release_until(
        &self,
        addresses: &[String],
        finish_by: Option<Timestamp>,
    ) -> BroadcastId {
        let now = SystemClock.now();
        let draft = NewBroadcast {
            nature: Nature::Exercise,
            author: person(self.author),
            subject: "訓練開始".into(),
            body: "{{name}} 様\n開始します。\n".into(),
            audience: r#"{"named":"all"}"#.into(),
            questionnaire: None,
            answers_to: None,
            finish_by,
            idempotency_key: format!("{now:?}"),
        };
        let id = self.store.create_broadcast(self.author, &draft, now).await.expect("a draft");
        let terms = terms(&draft);
        let rows: Vec<FreezeRow> = (1..).zip(addresses).map(|(n, address)| row(id, n, address)).collect();
        let mut digest = DigestBuilder::new(&terms);
        rows.iter().for_each(|row| digest.row(&row.snapshot()));
        let digest = digest.finish();
        let signed = serde_json::to_string(&terms).expect("terms are JSON");
        let store = &self.store;
        store
            .freeze(
                self.author,
                id,
                &Snapshot {
                    rows: &rows,
                    digest,
                    terms: &signed,
                    findings: "[1]",
                    change: None,
                    registry_revision: store.registry_revision().await.expect("read"),
                },
                now,
            )
            .await
            .expect("frozen");
        store.sign(self.approver, id, digest, &ReleasePolicy::capped_at(CAP), now).await.expect("signed");
        let frozen = domain::Frozen {
            broadcast: id,
            author: person(self.author),
            nature: Nature::Exercise,
            digest,
            recipients: rows.len() as u64,
            held: 0,
        };
        store.release(self.author, frozen, &ReleasePolicy::capped_at(CAP), now).await.expect("released");
        id
    }

    /// Starts a broadcaster.
    pub(crate) fn run(&self, settings: Settings) -> Running {
        let shutdown = CancellationToken::new();
        let broadcaster =
            Broadcaster::new(self.store.clone(), Tcp, settings, keyring(), Arc::new(SystemClock));
        Running { task: tokio::spawn(broadcaster.run(shutdown.clone())), shutdown }
    }

    pub(crate) async fn stop_broadcast(&self, id: BroadcastId) {
        self.store.stop_broadcast(self.author, id, SystemClock.now()).await.expect("stopped");
    }

    pub(crate) async fn tally(&self, id: BroadcastId) -> Tally {
        self.store.tally(id).await.expect("counted")
    }

    pub(crate) async fn rows(&self, id: BroadcastId) -> Vec<LedgerRow> {
        self.store.ledger_page(id, LedgerFilter::default(), 0, 10_000).await.expect("the ledger")
    }

    /// Waits until no row is open and the broadcast says so.
    pub(crate) async fn completed(&self, id: BroadcastId) -> Tally {
        self.wait_for("the end of the broadcast", async || {
            self.store.broadcast(id).await.expect("read").expect("it exists").completed_at.is_some()
        })
        .await;
        self.tally(id).await
    }

    /// Waits for a condition.
    pub(crate) async fn wait_for(&self, what: &str, condition: impl AsyncFn() -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !condition().await {
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        });
        assert!(waited.await.is_ok(), "waited in vain for {what}");
    }

    /// Changes the database behind everybody's back.
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
}

/// A relay that follows `script`.
pub(crate) async fn relay(script: Script) -> CaptureRelay {
    let any_port = "127.0.0.1:0".parse().expect("an address");
    CaptureRelay::start(any_port, script, Arc::new(SystemClock)).await.expect("a relay")
}

/// Quick and without limits.
pub(crate) fn settings(relay_url: &str) -> Settings {
    Settings {
        relays: vec![relay_url.parse().expect("a relay URL")],
        connections: 4,
        messages_per_connection: None,
        limits: Limits::NONE,
        manners: Default::default(),
        step_timeout: Duration::from_secs(5),
        dot_timeout: Duration::from_secs(5),
        chunk_size: 50,
        chunk_budget: Duration::from_secs(60),
        retry_first: Duration::from_millis(100),
        retry_for: Duration::from_secs(3_600),
        unknown: UnknownPolicy::Hold,
        from: "訓練本部 <drill@example.jp>".into(),
        public_url: "https://drill.example.jp".into(),
        operators: Vec::new(),
        dkim: None,
        worker_name: "test".into(),
    }
}

/// `m1@domain`, `m2@domain`, ….
pub(crate) fn addresses(count: usize, domain: &str) -> Vec<String> {
    (1..=count).map(|n| format!("m{n}@{domain}")).collect()
}

/// The value of a header of a captured mail.
pub(crate) fn header(mail: &Captured, name: &str) -> String {
    let text = String::from_utf8_lossy(&mail.raw);
    let line = text.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")));
    line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

fn terms(draft: &NewBroadcast) -> Terms {
    Terms {
        nature: draft.nature,
        text: NoticeText { subject: draft.subject.clone(), body: draft.body.clone() },
        questionnaire: None,
        from: "訓練本部 <drill@example.jp>".into(),
        organization: "訓練の会".into(),
        contact: "事務局".into(),
        public_url: "https://drill.example.jp".into(),
        sink_domain: "reply.example.jp".into(),
        audience: draft.audience.clone(),
        finish_by: draft.finish_by,
        daily_cap: CAP,
        rates: Vec::new(),
        connections: 4,
        one_click_unsubscribe: false,
    }
}

fn row(id: BroadcastId, n: i64, address: &str) -> FreezeRow {
    let from: EmailAddress = "drill@example.jp".parse().expect("an address");
    FreezeRow {
        member: MemberId::new(n),
        member_no: format!("{n:05}"),
        address: Some(address.parse().expect("an address")),
        prefecture: None,
        fields: format!(r#"{{"name":"会員{n}"}}"#),
        message_id: message_id(id, MemberId::new(n), &from).to_string(),
        held: None,
    }
}

fn keyring() -> Keyring {
    Keyring::new(TokenKey::new(1, [9; 32]), Vec::new())
}

async fn staff(store: &Store, email: &str, role: Role) -> Actor {
    let now = SystemClock.now();
    let id =
        store.add_staff(Actor::LocalEngineer, email, email, role, "hash", now).await.expect("an account");
    Actor::Staff { id, role }
}

fn person(actor: Actor) -> StaffId {
    match actor {
        Actor::Staff { id, .. } => id,
        Actor::LocalEngineer | Actor::Scheduler => panic!("not a person"),
    }
}
