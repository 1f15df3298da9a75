//! A desk over a fresh registry, and the people at it.

use domain::{
    Actor, Approved, BroadcastId, BroadcastState, Clock, DeliveryEvent, FiscalCalendar, Frozen, Keyring,
    Nature, Rate, Role, SignaturesRequired, SmtpReply, StaffId, Timestamp, TokenKey,
};
use registry::AudienceSpec;
use scheduler::{Desk, DeskError, DeskSettings, NewNotice, PreflightAnswer};
use sea_orm::{ConnectionTrait, Statement};
use std::{sync::Arc, time::Duration};
use store::{Broadcast, LedgerFilter, LedgerRow, Limits, Store, WorkerTerms};
use testkit::{ManualClock, SystemClock, TestDatabase, fresh_databases, import_roster};

/// Four members with an address each; the fourth has no workplace. `YEAR` is the present one.
const ROSTER: &str = "会員番号,氏名,フリガナ,メールアドレス,都道府県,施設名,役割,年度,状態\n\
    001,鈴木 花子,スズキ ハナコ,m1@example.jp,宮城県,中央病院,看護師,YEAR,正会員\n\
    002,佐藤 太郎,サトウ タロウ,m2@example.jp,宮城県,中央病院,看護師,YEAR,正会員\n\
    003,高橋 実,タカハシ ミノル,m3@example.jp,東京都,東病院,保健師,YEAR,正会員\n\
    004,田中 恵,タナカ メグミ,m4@example.jp,東京都,,保健師,YEAR,正会員\n";

const TERMS: WorkerTerms = WorkerTerms {
    chunk_size: 100,
    chunk_budget: Duration::from_secs(60),
    submission_max: Duration::from_secs(60),
    limits: Limits::NONE,
};

/// A desk with its people.
pub(crate) struct Office {
    pub(crate) desk: Desk,
    /// Where the clock starts: at the machine's time, which the database goes by.
    pub(crate) start: Timestamp,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) author: Actor,
    pub(crate) approver: Actor,
    database: TestDatabase,
}

impl Office {
    /// One per engine at hand, with the roster imported.
    pub(crate) async fn each() -> Vec<Self> {
        let mut all = Vec::new();
        for database in fresh_databases().await {
            let store = Store::connect(&database.core_url).await.expect("the database opens");
            let author = staff(&store, "author@example.jp", Role::Coordinator).await;
            let approver = staff(&store, "approver@example.jp", Role::Approver).await;
            let start = SystemClock.now();
            let clock = Arc::new(ManualClock::new(start));
            let desk = Desk::new(store, keyring(), settings(), clock.clone());
            let office = Self { desk, start, clock, author, approver, database };
            office.import(ROSTER).await;
            all.push(office);
        }
        all
    }

    pub(crate) fn store(&self) -> &Store {
        self.desk.store()
    }

    pub(crate) async fn staff(&self, email: &str, role: Role) -> Actor {
        staff(self.store(), email, role).await
    }

    /// A desk of the same installation under another configuration.
    pub(crate) fn desk_with(&self, change: impl FnOnce(&mut DeskSettings)) -> Desk {
        let mut changed = settings();
        change(&mut changed);
        Desk::new(self.store().clone(), keyring(), changed, self.clock.clone())
    }

    /// A desk in another process.
    pub(crate) async fn another_process(&self) -> Desk {
        let store = Store::connect(&self.database.core_url).await.expect("the database opens twice");
        Desk::new(store, keyring(), settings(), self.clock.clone())
    }

    pub(crate) async fn import(&self, roster: &str) {
        let year = FiscalCalendar::JAPAN.year_at(self.start);
        let file = roster.replace("YEAR", &year.to_string());
        import_roster(self.store(), &file, year, self.start).await;
    }

    /// A draft of the author's.
    pub(crate) async fn draft(&self, notice: &NewNotice) -> BroadcastId {
        self.desk.draft(self.author, notice).await.expect("a draft")
    }

    pub(crate) async fn preflight(&self, id: BroadcastId) -> PreflightAnswer {
        self.desk.preflight(self.author, id).await.expect("checked")
    }

    /// Drafted, checked and waiting for its signature.
    pub(crate) async fn awaiting(&self, notice: &NewNotice) -> BroadcastId {
        let id = self.draft(notice).await;
        let answer = self.preflight(id).await;
        assert!(answer.ok, "{:?}", answer.findings);
        self.desk.request_approval(self.author, id).await.expect("asked");
        id
    }

    pub(crate) async fn approve(&self, id: BroadcastId) {
        self.desk.approve(self.approver, id, None, &[]).await.expect("signed");
    }

    pub(crate) async fn approved(&self, notice: &NewNotice) -> BroadcastId {
        let id = self.awaiting(notice).await;
        self.approve(id).await;
        id
    }

    pub(crate) async fn sending(&self, notice: &NewNotice) -> BroadcastId {
        let id = self.approved(notice).await;
        self.desk.send(self.author, id).await.expect("released");
        id
    }

    /// The relay takes everything that is due, and the broadcast is over.
    pub(crate) async fn deliver(&self, id: BroadcastId) {
        self.deliver_as(id, &accepted()).await;
        assert!(self.store().complete_if_drained(id, self.start).await.expect("looked"));
    }

    pub(crate) async fn deliver_as(&self, id: BroadcastId, event: &DeliveryEvent) {
        let store = self.store();
        let worker = store.register_worker("test").await.expect("a worker");
        let approved = self.evidence(id).await;
        let rows = store.claim(worker, &approved, &TERMS).await.expect("a claim");
        let permits = store.turn(worker, &[], rows, &TERMS).await.expect("a turn").permits;
        let outcomes: Vec<_> = permits
            .into_iter()
            .map(|permit| permit.outcome(event, "relay", self.start).expect("a possible outcome"))
            .collect();
        store.turn(worker, &outcomes, Vec::new(), &TERMS).await.expect("a turn");
    }

    async fn evidence(&self, id: BroadcastId) -> Approved<Frozen> {
        let broadcast = self.broadcast(id).await;
        let frozen = broadcast.frozen(broadcast.digest.expect("frozen"));
        let signatures = self.store().signatures(id).await.expect("read");
        Approved::verify(frozen, &signatures, SignaturesRequired::for_release(false)).expect("signed")
    }

    pub(crate) async fn broadcast(&self, id: BroadcastId) -> Broadcast {
        self.store().broadcast(id).await.expect("readable").expect("it exists")
    }

    pub(crate) async fn state(&self, id: BroadcastId) -> BroadcastState {
        self.broadcast(id).await.state
    }

    pub(crate) async fn rows(&self, id: BroadcastId) -> Vec<LedgerRow> {
        self.store().ledger_page(id, LedgerFilter::default(), 0, 1_000).await.expect("the ledger")
    }

    /// Member numbers in the ledger of a broadcast.
    pub(crate) async fn addressed(&self, id: BroadcastId) -> Vec<String> {
        self.rows(id).await.into_iter().map(|row| row.member_no).collect()
    }

    /// Changes the database behind the desk's back.
    pub(crate) async fn tamper(&self, statement: &str) {
        self.store().connection().execute_unprepared(statement).await.expect("the statement runs");
    }

    /// A query's one number `n`.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        let connection = self.store().connection();
        let statement = Statement::from_string(connection.get_database_backend(), query);
        let row = connection.query_one_raw(statement).await.expect("the query runs").expect("a row");
        row.try_get("", "n").expect("a number")
    }

    /// What a step that does nothing leaves as it was.
    pub(crate) async fn fingerprint(&self) -> String {
        let mut counts = Vec::new();
        for table in ["audit", "broadcast", "delivery", "inject", "signature", "staff_mail"] {
            counts.push(self.number(&format!("SELECT COUNT(*) AS n FROM {table}")).await);
        }
        format!("{counts:?} {:?}", self.store().broadcasts(100).await.expect("listed"))
    }
}

pub(crate) fn accepted() -> DeliveryEvent {
    DeliveryEvent::RelayAccepted(SmtpReply::new(250, "2.0.0 queued"))
}

/// To all members.
pub(crate) fn notice(body: &str) -> NewNotice {
    to("all", body)
}

pub(crate) fn to(audience: &str, body: &str) -> NewNotice {
    NewNotice {
        nature: Nature::Exercise,
        subject: "訓練開始".into(),
        body: body.into(),
        audience: AudienceSpec::Named(audience.into()),
        questionnaire: None,
        finish_by: None,
        idempotency_key: format!("{audience} {body}"),
    }
}

pub(crate) fn settings() -> DeskSettings {
    DeskSettings {
        from: "訓練本部 <drill@example.jp>".into(),
        organization: "訓練の会".into(),
        contact: "事務局 03-0000-0000".into(),
        public_url: "https://drill.example.jp".into(),
        sink_domain: "reply.example.jp".into(),
        policy: store::ReleasePolicy::capped_at(3_000),
        rates: vec!["10/s".parse::<Rate>().expect("a rate")],
        connections: 8,
        one_click_unsubscribe: false,
        calendar: FiscalCalendar::JAPAN,
    }
}

pub(crate) fn person(actor: Actor) -> StaffId {
    match actor {
        Actor::Staff { id, .. } => id,
        Actor::LocalEngineer | Actor::Scheduler => panic!("not a person"),
    }
}

/// The rule that refused.
pub(crate) fn rule(outcome: Result<impl Sized, DeskError>) -> domain::Rule {
    match outcome {
        Ok(_) => panic!("it has to be refused"),
        Err(error) => error.refusal().unwrap_or_else(|| panic!("no refusal: {error}")).rule,
    }
}

fn keyring() -> Keyring {
    Keyring::new(TokenKey::new(1, [9; 32]), Vec::new())
}

async fn staff(store: &Store, email: &str, role: Role) -> Actor {
    let now = SystemClock.now();
    let id = store.add_staff(Actor::LocalEngineer, email, email, role, "h", now).await.expect("an account");
    Actor::Staff { id, role }
}
