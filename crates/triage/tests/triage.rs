//! Stored replies and what they mean for others, on both engines.

use domain::{
    Actor, Approved, BroadcastId, Clock, Decision, DeliveryEvent, Frozen, MemberId, ReplyClass, ReplyId,
    Role, SmtpReply, Timestamp,
};
use replybox::{ArrivedBy, NewReply, ReplyBox};
use std::{sync::Arc, time::Duration};
use store::{FreezeRow, LedgerFilter, LedgerRow, Limits, Store, WorkerTerms};
use testkit::{SystemClock, TestDatabase, exercise_notice, fresh_databases, release};
use triage::{SuppressPolicy, Triage};

const PEOPLE: i64 = 4;

struct Desk {
    store: Store,
    replybox: ReplyBox,
    broadcast: BroadcastId,
    _database: TestDatabase,
}

impl Desk {
    /// One per engine at hand, with a broadcast that the relay took for members 1 to 4.
    async fn each() -> Vec<Self> {
        let mut all = Vec::new();
        for database in fresh_databases().await {
            let store = Store::connect(&database.core_url).await.expect("the database opens");
            let replybox = ReplyBox::connect(&database.replies_url).await.expect("the reply box opens");
            let broadcast = delivered(&store).await;
            all.push(Self { store, replybox, broadcast, _database: database });
        }
        all
    }

    async fn triage(&self) -> Triage {
        self.triage_by(SuppressPolicy::Ask).await
    }

    async fn triage_by(&self, policy: SuppressPolicy) -> Triage {
        let (store, replybox) = (self.store.clone(), self.replybox.clone());
        Triage::resume(store, replybox, Arc::new(SystemClock), policy).await.expect("resumed")
    }

    /// Who asks what, of the requests nobody has settled.
    async fn open(&self) -> Vec<(&'static str, i64)> {
        let open = self.store.open_requests(None, 100).await.expect("listed");
        open.iter().map(|request| (request.kind.as_str(), request.member.get())).collect()
    }

    /// Looks until nothing is left.
    async fn look(&self, triage: &mut Triage) -> usize {
        let mut seen = 0;
        loop {
            match triage.step().await.expect("looked") {
                0 => return seen,
                replies => seen += replies,
            }
        }
    }

    fn reply(&self, member: i64, class: ReplyClass, status: Option<&str>) -> NewReply {
        let arrived_by =
            if class.as_str().starts_with("bounce") { ArrivedBy::Bounce } else { ArrivedBy::Reply };
        NewReply {
            received_at: SystemClock.now(),
            broadcast: self.broadcast,
            member: MemberId::new(member),
            arrived_by,
            envelope_from: String::new(),
            peer: "192.0.2.1".into(),
            class,
            reason: None,
            status: status.map(str::to_owned),
            subject: "件名".into(),
            from_header: "x@example.jp".into(),
            body_text: "本文".into(),
            raw: Arc::from(b"raw".as_slice()),
        }
    }

    async fn receive(&self, member: i64, class: ReplyClass, status: Option<&str>) -> ReplyId {
        self.replybox.insert(self.reply(member, class, status)).await.expect("stored")
    }

    async fn ledger(&self) -> Vec<LedgerRow> {
        self.store.ledger_page(self.broadcast, LedgerFilter::default(), 0, 100).await.expect("the ledger")
    }
}

async fn delivered(store: &Store) -> BroadcastId {
    let now = SystemClock.now();
    let add = async |email: &str, role: Role| {
        let id =
            store.add_staff(Actor::LocalEngineer, email, email, role, "h", now).await.expect("an account");
        (id, Actor::Staff { id, role })
    };
    let (author_id, author) = add("author@example.jp", Role::Coordinator).await;
    let (_, approver) = add("approver@example.jp", Role::Approver).await;
    let id = store.create_broadcast(author, &exercise_notice(author_id), now).await.expect("a draft");
    let rows: Vec<FreezeRow> = (1..=PEOPLE).map(row).collect();
    let released = release(store, (author, approver), id, &rows, now).await;
    send_all(store, &released.approved, now).await;
    id
}

async fn send_all(store: &Store, approved: &Approved<Frozen>, now: Timestamp) {
    let minute = Duration::from_secs(60);
    let terms =
        WorkerTerms { chunk_size: 100, chunk_budget: minute, submission_max: minute, limits: Limits::NONE };
    let worker = store.register_worker("test").await.expect("a worker");
    let rows = store.claim(worker, approved, &terms).await.expect("a claim");
    let permits = store.turn(worker, &[], rows, &terms).await.expect("a turn").permits;
    let taken = DeliveryEvent::RelayAccepted(SmtpReply::new(250, "2.0.0 queued"));
    let outcomes: Vec<_> = permits
        .into_iter()
        .map(|permit| permit.outcome(&taken, "relay", now).expect("a possible outcome"))
        .collect();
    store.turn(worker, &outcomes, Vec::new(), &terms).await.expect("a turn");
}

fn row(n: i64) -> FreezeRow {
    FreezeRow {
        member: MemberId::new(n),
        member_no: n.to_string(),
        address: Some(format!("m{n}@example.jp").parse().expect("an address")),
        prefecture: None,
        fields: "{}".into(),
        message_id: format!("<{n}@example.jp>"),
        held: None,
    }
}

#[tokio::test]
async fn a_bounce_is_noted_at_its_row_and_the_ledger_stays_as_it_is() {
    for desk in Desk::each().await {
        let before = desk.ledger().await;
        assert!(before.iter().all(|row| row.state == "accepted"));
        let hard = desk.receive(1, ReplyClass::BounceHard, Some("5.1.1")).await;
        let soft = desk.receive(3, ReplyClass::BounceSoft, None).await;
        let mut triage = desk.triage().await;
        assert_eq!(desk.look(&mut triage).await, 2);
        let noted = desk.store.bounces(desk.broadcast).await.expect("listed");
        let noted: Vec<_> = noted
            .iter()
            .map(|bounce| {
                (bounce.reply_id, bounce.member_id, bounce.class.as_str(), bounce.status.as_deref())
            })
            .collect();
        let expected = [(hard.get(), 1, "bounce-hard", Some("5.1.1")), (soft.get(), 3, "bounce-soft", None)];
        assert_eq!(noted, expected);
        assert_eq!(desk.ledger().await, before, "that the relay took it stays true");
        assert_eq!(desk.open().await, [("bounce", 1)], "a passing failure proposes nothing");
        assert!(desk.store.suppressions().await.expect("read").is_empty(), "a person decides");
    }
}

#[tokio::test]
async fn a_wish_to_receive_nothing_more_opens_one_request() {
    for desk in Desk::each().await {
        for member in [2, 2, 99] {
            desk.receive(member, ReplyClass::Unsubscribe, None).await;
        }
        let mut triage = desk.triage().await;
        desk.look(&mut triage).await;
        assert_eq!(desk.open().await, [("unsubscribe", 2)], "twice is once, and a stranger has none");
    }
}

#[tokio::test]
async fn a_wish_to_be_erased_is_told_from_one_to_receive_nothing() {
    for desk in Desk::each().await {
        let wish =
            NewReply { reason: Some("erasure".into()), ..desk.reply(3, ReplyClass::Unsubscribe, None) };
        desk.replybox.insert(wish).await.expect("stored");
        let mut triage = desk.triage().await;
        desk.look(&mut triage).await;
        assert_eq!(desk.open().await, [("erasure", 3)]);
    }
}

#[tokio::test]
async fn where_the_policy_says_so_dead_addresses_and_complaints_wait_for_nobody_and_wishes_do() {
    for desk in Desk::each().await {
        desk.receive(1, ReplyClass::BounceHard, Some("5.1.1")).await;
        desk.receive(2, ReplyClass::Complaint, None).await;
        desk.receive(3, ReplyClass::Unsubscribe, None).await;
        let mut triage = desk.triage_by(SuppressPolicy::Automatic).await;
        desk.look(&mut triage).await;
        assert_eq!(desk.open().await, [("unsubscribe", 3)]);
        let suppressed = desk.store.suppressions().await.expect("read");
        let mut members: Vec<i64> = suppressed.keys().map(|member| member.get()).collect();
        members.sort_unstable();
        assert_eq!(members, [1, 2]);
    }
}

#[tokio::test]
async fn what_was_settled_is_not_asked_again_when_replies_are_looked_at_again() {
    for desk in Desk::each().await {
        desk.receive(1, ReplyClass::Unsubscribe, None).await;
        desk.receive(1, ReplyClass::Unsubscribe, None).await;
        let mut first = desk.triage().await;
        let mut second = desk.triage().await;
        desk.look(&mut first).await;
        let open = desk.store.open_requests(None, 100).await.expect("listed");
        let settled = desk
            .store
            .settle_requests(Actor::LocalEngineer, &[open[0].id], Decision::Declined, SystemClock.now())
            .await;
        assert_eq!(settled.expect("settled"), 1);
        assert_eq!(desk.look(&mut second).await, 2);
        assert_eq!(desk.open().await, [], "neither of the two");
        desk.receive(1, ReplyClass::Unsubscribe, None).await;
        desk.look(&mut second).await;
        assert_eq!(desk.open().await, [("unsubscribe", 1)], "a new mail is a new wish");
    }
}

#[tokio::test]
async fn what_people_write_leaves_no_trace_in_the_core_database() {
    for desk in Desk::each().await {
        let audit = desk.store.audit_entries(0, 1_000).await.expect("read");
        for class in [ReplyClass::HumanReply, ReplyClass::AutoReply, ReplyClass::Other] {
            desk.receive(1, class, None).await;
        }
        let mut triage = desk.triage().await;
        assert_eq!(desk.look(&mut triage).await, 3);
        assert_eq!(desk.store.bounces(desk.broadcast).await.expect("listed"), []);
        assert_eq!(desk.open().await, []);
        assert_eq!(desk.store.audit_entries(0, 1_000).await.expect("read"), audit);
    }
}

#[tokio::test]
async fn a_storm_longer_than_a_page_is_looked_at_to_its_end_and_only_once() {
    for desk in Desk::each().await {
        let storm: Vec<NewReply> = (0..450)
            .map(|n| {
                let class = if n % 3 == 0 { ReplyClass::BounceSoft } else { ReplyClass::HumanReply };
                desk.reply(1 + n % PEOPLE, class, None)
            })
            .collect();
        desk.replybox.insert_all(storm).await.expect("stored");
        let mut triage = desk.triage().await;
        assert_eq!(desk.look(&mut triage).await, 450);
        assert_eq!(desk.store.bounces(desk.broadcast).await.expect("listed").len(), 150);
        assert_eq!(desk.look(&mut triage).await, 0);
    }
}

#[tokio::test]
async fn a_new_process_goes_on_where_the_last_one_was_sure_and_notes_nothing_twice() {
    for desk in Desk::each().await {
        desk.receive(1, ReplyClass::BounceHard, Some("5.1.1")).await;
        desk.receive(2, ReplyClass::HumanReply, None).await;
        let mut first = desk.triage().await;
        assert_eq!(desk.look(&mut first).await, 2);
        // The first time nothing has been there for long; the second time it has.
        first.look_again().await.expect("looked");
        first.look_again().await.expect("looked");
        desk.receive(3, ReplyClass::BounceHard, Some("5.1.2")).await;
        let mut second = desk.triage().await;
        assert_eq!(desk.look(&mut second).await, 1, "what came after the last one that is sure");
        assert_eq!(desk.look(&mut first).await, 1, "two processes at once do no harm");
        assert_eq!(desk.store.bounces(desk.broadcast).await.expect("listed").len(), 2);
    }
}
