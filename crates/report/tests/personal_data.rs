//! What one person gets who asks for their data, on both engines.

use data_encoding::BASE64;
use domain::{Actor, Clock, FiscalCalendar, MemberId, ReplyClass, Role};
use replybox::{ArrivedBy, NewReply, ReplyBox};
use report::{PersonalData, PersonalDocument};
use serde_json::{Value, json};
use std::sync::Arc;
use store::{FreezeRow, Store};
use testkit::{SystemClock, TestDatabase, exercise_notice, fresh_databases, import_roster, release};

/// A society of two, a notice to both, and what came back to the first.
struct House {
    store: Store,
    replies: ReplyBox,
    member: MemberId,
    mails: Vec<Arc<[u8]>>,
    _database: TestDatabase,
}

impl House {
    async fn each() -> Vec<Self> {
        let mut all = Vec::new();
        for database in fresh_databases().await {
            let store = Store::connect(&database.core_url).await.expect("the database opens");
            let replies = ReplyBox::connect(&database.replies_url).await.expect("the reply box opens");
            let now = SystemClock.now();
            let file =
                "会員番号,氏名,メールアドレス\n1,鈴木花子,hanako@example.jp\n2,佐藤太郎,taro@example.jp\n";
            import_roster(&store, file, FiscalCalendar::JAPAN.year_at(now), now).await;
            let members = store.members_with_years(MemberId::new(0), 9).await.expect("members");
            let member = members[0].member.id;
            let author = staff(&store, "author@example.jp", Role::Coordinator).await;
            let approver = staff(&store, "approver@example.jp", Role::Approver).await;
            let Actor::Staff { id, .. } = author else { panic!("a person") };
            let draft = store.create_broadcast(author, &exercise_notice(id), now).await.expect("a draft");
            let rows = [row(member, "鈴木花子"), row(members[1].member.id, "佐藤太郎")];
            let _released = release(&store, (author, approver), draft, &rows, now).await;
            // A photograph is not text.
            let mails = [b"Subject: 1\r\n\r\n\xff\xd8\x00photograph".as_slice(), b"Subject: 2\r\n\r\nsecond"];
            let mails: Vec<Arc<[u8]>> = mails.into_iter().map(Arc::from).collect();
            for raw in &mails {
                let (received_at, raw) = (now, Arc::clone(raw));
                let reply = NewReply { received_at, broadcast: draft, member, raw, ..reply() };
                replies.insert(reply).await.expect("stored");
            }
            all.push(Self { store, replies, member, mails, _database: database });
        }
        all
    }

    async fn read(&self, replies: Option<&ReplyBox>) -> PersonalData {
        let read = PersonalData::read(&self.store, replies, self.member, SystemClock.now()).await;
        read.expect("read").expect("a member")
    }
}

/// The whole document.
async fn written(mut document: PersonalDocument<'_>) -> Value {
    let mut text = String::new();
    while let Some(piece) = document.next_piece().await.expect("read") {
        text += &piece;
    }
    serde_json::from_str(&text).unwrap_or_else(|problem| panic!("one JSON document ({problem}): {text}"))
}

async fn staff(store: &Store, email: &str, role: Role) -> Actor {
    let now = SystemClock.now();
    let id = store.add_staff(Actor::LocalEngineer, email, email, role, "h", now).await.expect("an account");
    Actor::Staff { id, role }
}

fn row(member: MemberId, name: &str) -> FreezeRow {
    FreezeRow {
        member,
        member_no: member.to_string(),
        address: Some(format!("m{member}@example.jp").parse().expect("an address")),
        prefecture: None,
        fields: json!({ "name": name, "facility": "第一病院" }).to_string(),
        message_id: format!("<{member}@example.jp>"),
        held: None,
    }
}

fn reply() -> NewReply {
    NewReply {
        received_at: SystemClock.now(),
        broadcast: domain::BroadcastId::new(0),
        member: MemberId::new(0),
        arrived_by: ArrivedBy::Reply,
        envelope_from: String::new(),
        peer: "192.0.2.1".into(),
        class: ReplyClass::HumanReply,
        reason: None,
        status: None,
        subject: "件名".into(),
        from_header: String::new(),
        body_text: "本文".into(),
        raw: Arc::from(b"".as_slice()),
    }
}

#[tokio::test]
async fn it_holds_what_was_put_into_notices_and_every_mail_byte_for_byte() {
    for house in House::each().await {
        let data = house.read(Some(&house.replies)).await;
        let document = written(PersonalDocument::new(&data, Some(&house.replies))).await;
        let fields = &document["notices"][0]["fields"];
        assert_eq!(fields, &json!({ "name": "鈴木花子", "facility": "第一病院" }));
        let mails = document["mails"].as_array().expect("a list");
        let replies = document["replies"].as_array().expect("a list");
        assert_eq!((mails.len(), replies.len()), (2, 2), "{document}");
        for ((mail, reply), raw) in mails.iter().zip(replies).zip(&house.mails) {
            assert_eq!(mail["reply"], reply["id"]);
            let octets = BASE64.decode(mail["base64"].as_str().expect("a text").as_bytes());
            assert_eq!(octets.expect("base64"), raw.to_vec());
        }
        assert!(!document.to_string().contains("佐藤太郎"), "nobody else's: {document}");
    }
}

#[tokio::test]
async fn it_is_a_document_without_a_mail_too() {
    for house in House::each().await {
        let data = house.read(None).await;
        let document = written(PersonalDocument::new(&data, None)).await;
        assert_eq!((&document["mails"], &document["replies"]), (&json!([]), &json!([])));
    }
}

#[tokio::test]
async fn it_says_everything_that_keeps_notices_from_the_person() {
    for house in House::each().await {
        let (office, now) = (Actor::LocalEngineer, SystemClock.now());
        let document = written(PersonalDocument::new(&house.read(None).await, None)).await;
        assert_eq!((&document["suppressed"], &document["suppressions"]), (&json!(null), &json!([])));
        house.store.suppress(office, house.member, now).await.expect("suppressed");
        assert!(house.store.ask_erasure(office, house.member, now).await.expect("asked"));
        let document = written(PersonalDocument::new(&house.read(None).await, None)).await;
        assert_eq!(document["suppressed"]["kind"], "erasure", "what holds now");
        let all = document["suppressions"].as_array().expect("a list");
        let kinds: Vec<&Value> = all.iter().map(|found| &found["kind"]).collect();
        assert_eq!(kinds, ["erasure", "office"]);
    }
}
