//! The reply box through its public face, on SQLite and, where `HANSHO_TEST_PG` names a server,
//! on PostgreSQL.

use domain::{BroadcastId, MemberId, ReplyClass, ReplyId, Timestamp};
use replybox::{ArrivedBy, NewReply, ReplyBox, ReplyFilter};
use sea_orm_migration::{
    MigratorTrait,
    sea_orm::{ConnectionTrait, Database},
};

fn reply(broadcast: i64, member: i64, class: ReplyClass) -> NewReply {
    NewReply {
        received_at: Timestamp::from_millis(1_790_000_000_000 + member),
        broadcast: BroadcastId::new(broadcast),
        member: MemberId::new(member),
        arrived_by: ArrivedBy::Reply,
        envelope_from: "abc..def@docomo.ne.jp".to_owned(),
        peer: "192.0.2.1".to_owned(),
        class,
        reason: None,
        status: None,
        subject: "Re: 【訓練】安否確認".to_owned(),
        from_header: "鈴木 花子".to_owned(),
        body_text: "無事です。".to_owned(),
        raw: b"Subject: x\r\n\r\n\x00\xff\r\n".as_slice().into(),
    }
}

async fn open(url: &str) -> ReplyBox {
    let replies = ReplyBox::connect(url).await.expect("open");
    migrations::replies::Migrator::up(replies.connection(), None).await.expect("migrate");
    replies.check_schema().await.expect("schema");
    replies
}

async fn on_sqlite<F: Future<Output = ()>>(promise: impl FnOnce(ReplyBox) -> F) {
    let folder = tempfile::tempdir().expect("a folder");
    let url = format!("sqlite://{}", folder.path().join("replies.db").display());
    promise(open(&url).await).await;
}

async fn on_postgres<F: Future<Output = ()>>(name: &str, promise: impl FnOnce(ReplyBox) -> F) {
    let Ok(server) = std::env::var("HANSHO_TEST_PG") else { return };
    let admin = Database::connect(&server).await.expect("the server");
    let name = format!("replybox_{name}");
    admin.execute_unprepared(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.expect("drop");
    admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.expect("create");
    let (host, _) = server.rsplit_once('/').expect("postgres://host/database");
    promise(open(&format!("{host}/{name}")).await).await;
}

/// Runs one promise on each engine.
macro_rules! on_both {
    ($($promise:ident),+ $(,)?) => {
        mod sqlite { $(#[tokio::test] async fn $promise() { super::on_sqlite(super::$promise).await })+ }
        mod postgres {
            $(#[tokio::test] async fn $promise() {
                super::on_postgres(stringify!($promise), super::$promise).await
            })+
        }
    };
}

on_both!(
    what_goes_in_comes_out_byte_for_byte,
    a_nul_in_a_header_loses_no_reply,
    lists_go_backwards_by_class_and_broadcast,
    the_rows_of_one_mail_are_stored_together,
    a_second_migration_changes_nothing,
);

async fn what_goes_in_comes_out_byte_for_byte(replies: ReplyBox) {
    let given = NewReply {
        arrived_by: ArrivedBy::Bounce,
        class: ReplyClass::BounceHard,
        reason: Some("user-unknown".to_owned()),
        status: Some("5.1.1".to_owned()),
        raw: (0..=255).cycle().take(300_000).collect::<Vec<u8>>().into(),
        ..reply(i64::from(i32::MAX) + 7, i64::from(i32::MAX) + 8, ReplyClass::BounceHard)
    };
    let id = replies.insert(&given).await.expect("insert");
    let found = replies.get(id).await.expect("get").expect("the row");
    assert_eq!(found.raw, given.raw.to_vec());
    assert_eq!(found.sha256.len(), 64);
    assert_eq!(found.body_text, given.body_text);
    let line = &found.summary;
    assert_eq!((line.id, line.size, line.arrived_by), (id, 300_000, ArrivedBy::Bounce));
    assert_eq!((line.broadcast, line.member), (given.broadcast, given.member));
    assert_eq!((line.class, line.status.as_deref()), (ReplyClass::BounceHard, Some("5.1.1")));
    assert_eq!((&line.subject, &line.from_header), (&given.subject, &given.from_header));
    assert_eq!((&line.envelope_from, &line.peer), (&given.envelope_from, &given.peer));
    assert_eq!(line.received_at, given.received_at);
    assert!(replies.get(ReplyId::new(id.get() + 1)).await.expect("get").is_none());
}

async fn a_nul_in_a_header_loses_no_reply(replies: ReplyBox) {
    let given = NewReply { subject: "a\0b".to_owned(), ..reply(1, 1, ReplyClass::HumanReply) };
    let id = replies.insert(&given).await.expect("insert");
    let found = replies.get(id).await.expect("get").expect("the row");
    assert_eq!(found.summary.subject, "a\u{fffd}b");
    assert_eq!(found.raw, given.raw.to_vec());
}

async fn lists_go_backwards_by_class_and_broadcast(replies: ReplyBox) {
    for member in 1..=6 {
        let class = if member % 2 == 0 { ReplyClass::AutoReply } else { ReplyClass::HumanReply };
        replies.insert(&reply(member % 3, member, class)).await.expect("insert");
    }
    let members = |page: Vec<replybox::ReplySummary>| page.iter().map(|r| r.member.get()).collect::<Vec<_>>();

    let first = replies.page(ReplyFilter::default(), None, 4).await.expect("page");
    let last = first.last().expect("a line").id;
    assert_eq!(first[0].excerpt, "無事です。");
    assert_eq!(members(first), [6, 5, 4, 3]);
    let rest = replies.page(ReplyFilter::default(), Some(last), 4).await.expect("page");
    assert_eq!(members(rest), [2, 1]);

    let human = ReplyFilter { class: Some(ReplyClass::HumanReply), broadcast: None };
    assert_eq!(members(replies.page(human, None, 10).await.expect("page")), [5, 3, 1]);
    let both = ReplyFilter { class: Some(ReplyClass::AutoReply), broadcast: Some(BroadcastId::new(1)) };
    assert_eq!(members(replies.page(both, None, 10).await.expect("page")), [4]);

    let counts = replies.counts().await.expect("counts");
    assert_eq!(counts.len(), ReplyClass::ALL.len());
    assert_eq!(counts[0], (ReplyClass::HumanReply, 3));
    assert_eq!(counts[1], (ReplyClass::AutoReply, 3));
    assert_eq!(counts[2], (ReplyClass::BounceHard, 0));
    assert_eq!(replies.count_for(BroadcastId::new(2)).await.expect("count"), 2);
}

async fn the_rows_of_one_mail_are_stored_together(replies: ReplyBox) {
    let rows = [reply(1, 1, ReplyClass::HumanReply), reply(1, 2, ReplyClass::HumanReply)];
    let ids = replies.insert_all(&rows).await.expect("insert");
    assert_eq!(ids.len(), 2);
    let second = replies.get(ids[1]).await.expect("get").expect("the row");
    assert_eq!(second.summary.member, MemberId::new(2));
}

async fn a_second_migration_changes_nothing(replies: ReplyBox) {
    replies.insert(&reply(1, 1, ReplyClass::Other)).await.expect("insert");
    migrations::replies::Migrator::up(replies.connection(), None).await.expect("migrate");
    assert_eq!(replies.count_for(BroadcastId::new(1)).await.expect("count"), 1);
}

#[tokio::test]
async fn another_process_reads_the_file_while_and_after_its_writer_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("replies.db");
    let replies = open(&format!("sqlite://{}", path.display())).await;
    replies.insert(&reply(1, 1, ReplyClass::HumanReply)).await.expect("insert");
    assert!(!path.with_extension("db-wal").exists());
    let read_only = format!("sqlite://{}?mode=ro", path.display());
    let reader = Database::connect(&read_only).await.expect("a reader");
    reader
        .query_one_raw(sea_orm_migration::sea_orm::Statement::from_string(
            sea_orm_migration::sea_orm::DbBackend::Sqlite,
            "SELECT count(*) AS n FROM reply",
        ))
        .await
        .expect("read")
        .expect("a row");
}
