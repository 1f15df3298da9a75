//! Nothing of an erased person is left in either database, and everything else stays, on both
//! engines.

use domain::{
    Actor, Approved, BroadcastId, Clock, Decision, DeliveryEvent, FiscalCalendar, Frozen, Keyring, MemberId,
    MemberStatus, Prefecture, ReplyClass, RequestKind, RetentionPeriods, Role, SmtpReply, Span, StaffId,
    Timestamp, TokenKey,
};
use replybox::{ArrivedBy, NewReply, ReplyBox, ReplyEraser};
use sea_orm::{ConnectionTrait, Statement};
use std::{collections::HashSet, sync::Arc, time::Duration};
use store::{FreezeRow, LedgerFilter, Limits, MemberData, NewRequest, Store, WorkerTerms};
use testkit::{
    DatabaseKind, ManualClock, SystemClock, TestDatabase, exercise_notice, fresh_databases, import_roster,
    release,
};
use triage::Retention;

const DAY: Duration = Duration::from_secs(86_400);
/// Everything that names the person, in every place it may stand.
const PERSON: [&str; 9] = [
    "HK-7741",
    "鈴木花子",
    "スズキハナコ",
    "hanako.suzuki",
    "第七中央病院",
    "災害看護係長",
    "090-1111-2222",
    "花子より",
    "花子の返信",
];

/// A society of two, a notice to both, and what came back.
struct House {
    store: Store,
    replies: ReplyBox,
    retention: Retention,
    clock: Arc<ManualClock>,
    office: Actor,
    broadcast: BroadcastId,
    approved: Approved<Frozen>,
    /// Who is erased, and who stays.
    hanako: MemberId,
    taro: MemberId,
    database: TestDatabase,
}

impl House {
    async fn each(periods: RetentionPeriods) -> Vec<Self> {
        let mut all = Vec::new();
        for database in fresh_databases().await {
            all.push(Self::on(database, periods).await);
        }
        all
    }

    async fn on(database: TestDatabase, periods: RetentionPeriods) -> Self {
        let store = Store::connect(&database.core_url).await.expect("the database opens");
        let replies = ReplyBox::connect(&database.replies_url).await.expect("the reply box opens");
        let eraser = ReplyEraser::connect(&database.replies_url).await.expect("the reply box opens");
        let clock = Arc::new(ManualClock::new(SystemClock.now()));
        let now = clock.now();
        let retention = Retention::new(store.clone(), eraser, keyring(), periods, clock.clone());
        let (hanako, taro) = roster(&store, now).await;
        let (author, office) = staff(&store, "office@example.jp", Role::Coordinator, now).await;
        let (_, approver) = staff(&store, "approver@example.jp", Role::Approver, now).await;
        let broadcast = store.create_broadcast(office, &exercise_notice(author), now).await.expect("a draft");
        let rows = [row(hanako, &person()), row(taro, &other())];
        let approved = release(&store, (office, approver), broadcast, &rows, now).await.approved;
        let house =
            Self { store, replies, retention, clock, office, broadcast, approved, hanako, taro, database };
        house.hears_back().await;
        house
    }

    /// An answer and a reply of each, the test roster, and a wish to be erased that was granted.
    async fn hears_back(&self) {
        let now = self.clock.now();
        for (member, says) in [(self.hanako, "花子より"), (self.taro, "太郎より")] {
            let answers = [("note".to_owned(), says.to_owned())].into();
            assert!(self.store.save_response(self.broadcast, member, &answers, now).await.expect("stored"));
        }
        self.store
            .add_to_test_roster(self.office, &person().member_no, now)
            .await
            .expect("on the test roster");
        self.replies.insert(self.reply(self.taro, &other(), "太郎の返信")).await.expect("stored");
        let reply = self.reply(self.hanako, &person(), "花子の返信");
        let reply = self.replies.insert(reply).await.expect("stored");
        let (broadcast, member) = (self.broadcast, self.hanako);
        let wish = NewRequest { kind: RequestKind::Erasure, broadcast, member, reply: Some(reply) };
        assert!(self.store.open_request(wish, now).await.expect("opened"));
        let (kind, granted) = (RequestKind::Erasure, Decision::Granted);
        self.store.settle_request_of(self.office, kind, member, granted, now).await.expect("granted");
    }

    fn reply(&self, member: MemberId, from: &MemberData, text: &str) -> NewReply {
        let address = from.address.as_ref().expect("an address").reveal();
        NewReply {
            received_at: self.clock.now(),
            broadcast: self.broadcast,
            member,
            arrived_by: ArrivedBy::Reply,
            envelope_from: address.clone(),
            peer: "192.0.2.1".into(),
            class: ReplyClass::HumanReply,
            reason: None,
            status: None,
            subject: text.into(),
            from_header: format!("{} <{address}>", from.name),
            body_text: text.into(),
            raw: text.repeat(4_000).into_bytes().into(),
        }
    }

    /// A first try is put off, the second one taken; the relay repeats the address each time.
    async fn delivers(&self) {
        self.sends(|address| DeliveryEvent::RelayDeferred {
            reply: Some(SmtpReply::new(451, &format!("4.7.1 <{address}> later"))),
            retry_at: Timestamp::from_millis(1),
        })
        .await;
        self.sends(|address| DeliveryEvent::RelayAccepted(SmtpReply::new(250, &format!("2.0.0 {address}"))))
            .await;
        let now = self.clock.now();
        assert!(self.store.complete_if_drained(self.broadcast, now).await.expect("looked"));
    }

    async fn sends(&self, event: impl Fn(&str) -> DeliveryEvent) {
        let minute = Duration::from_secs(60);
        let terms = WorkerTerms {
            chunk_size: 100,
            chunk_budget: minute,
            submission_max: minute,
            limits: Limits::NONE,
        };
        let worker = self.store.register_worker("test").await.expect("a worker");
        let rows = self.store.claim(worker, &self.approved, &terms).await.expect("a claim");
        assert_eq!(rows.len(), 2);
        let permits = self.store.turn(worker, &[], rows, &terms).await.expect("a turn").permits;
        let outcomes: Vec<_> = permits
            .into_iter()
            .map(|permit| {
                let event = event(&permit.row().address.reveal());
                permit.outcome(&event, "relay", self.clock.now()).expect("a possible outcome")
            })
            .collect();
        self.store.turn(worker, &outcomes, Vec::new(), &terms).await.expect("a turn");
    }

    /// Everything that stands in the databases: the files' bytes, or every row of every table.
    async fn dump(&self) -> Vec<u8> {
        match self.database.kind {
            DatabaseKind::Sqlite => {
                let mut bytes = Vec::new();
                for entry in std::fs::read_dir(self.database.folder()).expect("a folder") {
                    bytes.extend(std::fs::read(entry.expect("an entry").path()).expect("a file"));
                }
                bytes
            }
            DatabaseKind::Postgres => {
                let tables = self.texts("SELECT tablename AS n FROM pg_tables WHERE schemaname = 'public'");
                let mut text = String::new();
                for table in tables.await {
                    let rows = self.texts(&format!("SELECT CAST(t AS TEXT) AS n FROM {table} t")).await;
                    text += &rows.join("\n");
                }
                text.into_bytes()
            }
        }
    }

    async fn texts(&self, query: &str) -> Vec<String> {
        let connection = self.store.connection();
        let statement = Statement::from_string(connection.get_database_backend(), query);
        let rows = connection.query_all_raw(statement).await.expect("the query runs");
        rows.iter().map(|row| row.try_get("", "n").expect("a text")).collect()
    }

    /// Imports these rows for the present fiscal year.
    async fn imports(&self, rows: &str) {
        let (now, file) = (self.clock.now(), format!("会員番号,氏名,メールアドレス\n{rows}"));
        import_roster(&self.store, &file, FiscalCalendar::JAPAN.year_at(now), now).await;
    }

    fn is_postgres(&self) -> bool {
        matches!(self.database.kind, DatabaseKind::Postgres)
    }

    async fn replies_of(&self, member: MemberId) -> usize {
        let from = domain::ReplyId::new(0);
        self.replies.of_member_in_full(member, from).await.expect("read").len()
    }
}

fn keyring() -> Keyring {
    Keyring::new(TokenKey::new(1, [7; 32]), vec![])
}

fn person() -> MemberData {
    MemberData {
        member_no: "HK-7741".parse().expect("a number"),
        name: "鈴木花子".into(),
        kana: "スズキハナコ".into(),
        address: Some("hanako.suzuki@example.jp".parse().expect("an address")),
        prefecture: Prefecture::from_code(4),
        facility: "第七中央病院".into(),
        duty: "災害看護係長".into(),
        status: MemberStatus::Active,
        attributes: [("phone".to_owned(), "090-1111-2222".to_owned())].into(),
    }
}

fn other() -> MemberData {
    MemberData {
        member_no: "T-1".parse().expect("a number"),
        name: "佐藤太郎".into(),
        kana: "サトウタロウ".into(),
        address: Some("taro@example.jp".parse().expect("an address")),
        facility: "東病院".into(),
        duty: String::new(),
        attributes: [].into(),
        ..person()
    }
}

async fn roster(store: &Store, now: Timestamp) -> (MemberId, MemberId) {
    let mut file = "会員番号,氏名,フリガナ,メールアドレス,都道府県,施設名,役割,phone\n".to_owned();
    for data in [person(), other()] {
        let address = data.address.as_ref().map(domain::EmailAddress::reveal).unwrap_or_default();
        let prefecture = data.prefecture.map(Prefecture::name).unwrap_or_default();
        let phone = data.attributes.get("phone").map(String::as_str).unwrap_or_default();
        let MemberData { member_no, name, kana, facility, duty, .. } = &data;
        file += &format!("{member_no},{name},{kana},{address},{prefecture},{facility},{duty},{phone}\n");
    }
    import_roster(store, &file, FiscalCalendar::JAPAN.year_at(now), now).await;
    let members = store.members_with_years(MemberId::new(0), 10).await.expect("members");
    let id = |number: &str| {
        let found = members.iter().find(|known| known.member.data.member_no.as_str() == number);
        found.expect("a member").member.id
    };
    (id("HK-7741"), id("T-1"))
}

async fn staff(store: &Store, email: &str, role: Role, now: Timestamp) -> (StaffId, Actor) {
    let id = store.add_staff(Actor::LocalEngineer, email, email, role, "h", now).await.expect("an account");
    (id, Actor::Staff { id, role })
}

fn row(member: MemberId, data: &MemberData) -> FreezeRow {
    FreezeRow {
        member,
        member_no: data.member_no.to_string(),
        address: data.address.clone(),
        prefecture: data.prefecture.map(Prefecture::code),
        fields: format!(
            r#"{{"name":"{}","kana":"{}","facility":"{}"}}"#,
            data.name, data.kana, data.facility
        ),
        message_id: format!("<{member}@example.jp>"),
        held: None,
    }
}

fn holds(dump: &[u8], word: &str) -> bool {
    dump.windows(word.len()).any(|part| part == word.as_bytes())
}

fn days(days: u32) -> Option<Span> {
    Some(Span::new(DAY * days))
}

#[tokio::test]
async fn nothing_of_an_erased_person_is_left_and_every_count_stays() {
    for house in House::each(RetentionPeriods::default()).await {
        house.retention.erase_due().await.expect("looked");
        let waiting = house.store.erasure(house.hanako).await.expect("read").expect("asked");
        assert_eq!(waiting.waits_for, [house.broadcast], "what was signed stays while it is sent");
        assert!(house.store.member(house.hanako).await.expect("read").is_some());

        house.delivers().await;
        let before = house.store.tally(house.broadcast).await.expect("counted");
        assert!(holds(&house.dump().await, "taro@example.jp"), "the search finds what is there");
        house.retention.erase_due().await.expect("erased");
        assert!(
            !house.retention.rewrite_file().await.expect("looked") || house.is_postgres(),
            "answers come in"
        );
        house.clock.advance(Duration::from_secs(13 * 3_600));
        house.retention.rewrite_file().await.expect("rewritten");

        let dump = house.dump().await;
        for word in PERSON {
            assert!(!holds(&dump, word), "{word} is left on {}", house.database.kind);
        }
        for word in ["taro@example.jp", "佐藤太郎", "太郎より"] {
            assert!(holds(&dump, word), "{word} stays");
        }
        assert_eq!(house.replies_of(house.hanako).await, 0);
        assert_eq!(house.replies_of(house.taro).await, 1);
        assert_eq!(house.store.tally(house.broadcast).await.expect("counted"), before);
        let rows =
            house.store.ledger_page(house.broadcast, LedgerFilter::default(), 0, 9).await.expect("read");
        assert_eq!(rows[0].member_no, format!("erased-{}", house.hanako));
        assert_eq!((rows[0].state.as_str(), rows[0].smtp_code), ("accepted", Some(250)));
        assert!(house.store.verify_audit().await.expect("read").is_ok());
        let done = house.store.erasure(house.hanako).await.expect("read").expect("kept");
        assert!(done.files_done_at.is_some(), "{done:?}");
        assert!(house.store.suppressions().await.expect("read").is_empty());
    }
}

#[tokio::test]
async fn an_erased_person_is_recognised_and_may_be_readmitted() {
    for house in House::each(RetentionPeriods::default()).await {
        house.delivers().await;
        house.retention.erase_due().await.expect("erased");
        let ring = keyring();
        let person = person();
        let mut keys = ring.erased_numbers(&person.member_no);
        keys.extend(ring.erased_mailboxes(person.address.as_ref().expect("an address")));
        keys.extend(ring.erased_numbers(&other().member_no));
        let texts: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let known = house.store.erased_among(&texts).await.expect("looked");
        let expected: HashSet<String> = texts[..2].iter().cloned().collect();
        assert_eq!(known, expected);
        let now = house.clock.now();
        assert_eq!(house.store.readmit(house.office, &keys, now).await.expect("readmitted"), 2);
        assert!(house.store.erased_among(&texts).await.expect("looked").is_empty());
    }
}

#[tokio::test]
async fn what_was_kept_long_enough_goes_and_nothing_before() {
    let periods = RetentionPeriods { replies: days(100), recipients: days(200), left_members: None };
    for house in House::each(periods).await {
        house.delivers().await;
        house.store.withdraw_erasure(house.office, house.hanako, house.clock.now()).await.expect("withdrawn");
        house.clock.advance(DAY * 99);
        house.retention.sweep().await.expect("swept");
        assert_eq!(house.replies_of(house.taro).await, 1);
        house.clock.advance(DAY * 2);
        house.retention.sweep().await.expect("swept");
        assert_eq!(house.replies_of(house.taro).await, 0);
        assert_eq!(house.store.cleared_rows(house.broadcast).await.expect("counted"), 0);
        house.clock.advance(DAY * 100);
        house.retention.sweep().await.expect("swept");
        assert_eq!(house.store.cleared_rows(house.broadcast).await.expect("counted"), 2);
        let rows =
            house.store.ledger_page(house.broadcast, LedgerFilter::default(), 0, 9).await.expect("read");
        assert!(rows.iter().all(|row| row.address.is_empty() && row.state == "accepted"), "{rows:?}");
        assert_eq!(rows[1].member_no, "T-1", "a number is no address");
        let last = house.store.last_deleted(store::Kept::Recipients).await.expect("read");
        assert_eq!(last.map(|(_, rows)| rows), Some(2));
        assert!(house.store.verify_audit().await.expect("read").is_ok());
    }
}

#[tokio::test]
async fn whoever_has_left_is_shown_for_two_weeks_and_then_erased() {
    let periods = RetentionPeriods { replies: None, recipients: None, left_members: days(400) };
    for house in House::each(periods).await {
        house.delivers().await;
        house.store.withdraw_erasure(house.office, house.hanako, house.clock.now()).await.expect("withdrawn");
        house
            .store
            .remove_from_test_roster(house.office, &person().member_no, house.clock.now())
            .await
            .expect("off it");
        house.clock.advance(DAY * 800);
        house.retention.sweep().await.expect("swept");
        let asked = async || house.store.erasures(9).await.expect("read").len();
        assert_eq!(asked().await, 0, "nobody leaves because nobody imported a roster");

        house.imports("N-1,新人 一郎,n1@example.jp\nN-2,新人 二郎,n2@example.jp\n").await;
        house.retention.sweep().await.expect("swept");
        assert_eq!(asked().await, 2, "both have left");
        assert!(house.store.suppressions().await.expect("read").is_empty(), "and may come back");
        house.imports("T-1,佐藤太郎,taro@example.jp\n").await;
        house.clock.advance(DAY * 15);
        house.retention.erase_due().await.expect("erased");
        assert!(house.store.member(house.hanako).await.expect("read").is_none());
        assert!(house.store.member(house.taro).await.expect("read").is_some(), "is back");
        let keys = keyring().erased_numbers(&person().member_no);
        let keys: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        assert!(
            house.store.erased_among(&keys).await.expect("looked").is_empty(),
            "only left: may come back"
        );
    }
}

#[tokio::test]
async fn whom_somebody_keeps_is_not_erased_for_having_left() {
    let periods = RetentionPeriods { replies: None, recipients: None, left_members: days(400) };
    for house in House::each(periods).await {
        house.delivers().await;
        let keeps = async || {
            let now = house.clock.now();
            assert!(house.store.withdraw_erasure(house.office, house.hanako, now).await.expect("withdrawn"));
        };
        keeps().await;
        let now = house.clock.now();
        let off = house.store.remove_from_test_roster(house.office, &person().member_no, now).await;
        off.expect("off it");
        house.clock.advance(DAY * 800);
        house.imports("N-1,新人 一郎,n1@example.jp\nN-2,新人 二郎,n2@example.jp\n").await;
        house.retention.sweep().await.expect("swept");
        let asked = house.store.erasure(house.hanako).await.expect("read").expect("asked");
        assert!(asked.by_clock && asked.due_at > house.clock.now(), "{asked:?}");
        keeps().await;
        house.retention.sweep().await.expect("swept");
        house.clock.advance(DAY * 15);
        house.retention.erase_due().await.expect("erased");
        assert!(house.store.member(house.hanako).await.expect("read").is_some(), "the period began anew");
        assert!(house.store.member(house.taro).await.expect("read").is_none(), "nobody kept him");
        let log = house.store.audit_entries(0, 1_000).await.expect("read");
        let kept = log.iter().filter(|entry| entry.action == "erasure-withdrawn");
        assert!(kept.map(|entry| &entry.actor).eq([&house.office.to_string(); 2]), "{log:?}");
    }
}

#[tokio::test]
async fn a_tenth_of_the_members_is_never_erased_at_once() {
    let periods = RetentionPeriods { replies: None, recipients: None, left_members: days(400) };
    for house in House::each(periods).await {
        let rows = |range: std::ops::Range<u32>| -> String {
            range.map(|n| format!("M-{n},会員 {n},m{n}@example.jp\n")).collect()
        };
        house.imports(&rows(0..40)).await;
        house.clock.advance(DAY * 800);
        house.imports(&rows(0..28)).await;
        house.retention.sweep().await.expect("swept");
        let asked: Vec<MemberId> =
            house.store.erasures(99).await.expect("read").iter().map(|erasure| erasure.member).collect();
        assert_eq!(asked, [house.hanako], "who asked, and nobody else");
    }
}
