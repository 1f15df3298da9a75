//! The reply box through its public face, on SQLite and, where `HANSHO_TEST_PG` names a server,
//! on PostgreSQL.

use domain::{BroadcastId, MemberId, ReplyClass, ReplyId, Timestamp};
use replybox::{ArrivedBy, NewReply, ReplyBox, ReplyEraser, ReplyFilter};
use sea_orm_migration::sea_orm::ConnectionTrait;
use testkit::{fresh_databases, fresh_postgres, fresh_sqlite};
use tokio::task::JoinSet;

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

/// Runs a promise once on each engine that is at hand.
async fn on_each_engine<F: Future<Output = ()>>(promise: impl Fn(ReplyBox) -> F) {
    for database in fresh_databases().await {
        eprintln!("on {}", database.kind);
        let replies = ReplyBox::connect(&database.replies_url).await.expect("open");
        replies.check_schema().await.expect("schema");
        promise(replies).await;
    }
}

#[tokio::test]
async fn what_goes_in_comes_out_byte_for_byte() {
    on_each_engine(|replies| async move {
        let given = NewReply {
            arrived_by: ArrivedBy::Bounce,
            class: ReplyClass::BounceHard,
            reason: Some("user-unknown".to_owned()),
            status: Some("5.1.1".to_owned()),
            raw: (0..=255).cycle().take(300_000).collect::<Vec<u8>>().into(),
            ..reply(i64::from(i32::MAX) + 7, i64::from(i32::MAX) + 8, ReplyClass::BounceHard)
        };
        let id = replies.insert(given.clone()).await.expect("insert");
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
    })
    .await;
}

#[tokio::test]
async fn a_nul_in_a_header_loses_no_reply() {
    on_each_engine(|replies| async move {
        let given = NewReply { subject: "a\0b".to_owned(), ..reply(1, 1, ReplyClass::HumanReply) };
        let id = replies.insert(given.clone()).await.expect("insert");
        let found = replies.get(id).await.expect("get").expect("the row");
        assert_eq!(found.summary.subject, "a\u{fffd}b");
        assert_eq!(found.raw, given.raw.to_vec());
    })
    .await;
}

#[tokio::test]
async fn lists_go_backwards_by_class_and_broadcast() {
    on_each_engine(|replies| async move {
        for member in 1..=6 {
            let class = if member % 2 == 0 { ReplyClass::AutoReply } else { ReplyClass::HumanReply };
            replies.insert(reply(member % 3, member, class)).await.expect("insert");
        }
        let members =
            |page: Vec<replybox::ReplySummary>| page.iter().map(|r| r.member.get()).collect::<Vec<_>>();

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

        let newer = replies.after(last, 2).await.expect("newer");
        assert_eq!(members(newer), [4, 5]);

        let counts = replies.counts().await.expect("counts");
        assert_eq!(counts.len(), ReplyClass::ALL.len());
        assert_eq!(counts[0], (ReplyClass::HumanReply, 3));
        assert_eq!(counts[1], (ReplyClass::AutoReply, 3));
        assert_eq!(counts[2], (ReplyClass::BounceHard, 0));
        assert_eq!(replies.count_for(BroadcastId::new(2)).await.expect("count"), 2);
    })
    .await;
}

#[tokio::test]
async fn the_rows_of_one_mail_are_stored_together() {
    on_each_engine(|replies| async move {
        let rows = vec![reply(1, 1, ReplyClass::HumanReply), reply(1, 2, ReplyClass::HumanReply)];
        let ids = replies.insert_all(rows).await.expect("insert");
        assert_eq!(ids.len(), 2);
        let second = replies.get(ids[1]).await.expect("get").expect("the row");
        assert_eq!(second.summary.member, MemberId::new(2));
    })
    .await;
}

#[tokio::test]
async fn each_of_a_crowd_that_comes_at_once_is_told_its_own_rows() {
    on_each_engine(|replies| async move {
        let mut crowd = JoinSet::new();
        for member in 1..=500 {
            let (replies, mail) = (replies.clone(), reply(1, member, ReplyClass::HumanReply));
            crowd.spawn(async move { (member, replies.insert(mail).await.expect("stored")) });
        }
        while let Some(told) = crowd.join_next().await {
            let (member, id) = told.expect("no panic");
            let stored = replies.get(id).await.expect("get").expect("the row");
            assert_eq!(stored.summary.member, MemberId::new(member));
        }
        assert_eq!(replies.count_for(BroadcastId::new(1)).await.expect("count"), 500);
    })
    .await;
}

#[tokio::test]
async fn a_mail_that_cannot_be_stored_does_not_cost_those_beside_it() {
    on_each_engine(|replies| async move {
        // No database takes a row twice.
        let index = "CREATE UNIQUE INDEX no_thirteenth ON reply (member_id)";
        replies.connection().execute_unprepared(index).await.expect("an index");
        replies.insert(reply(1, 13, ReplyClass::HumanReply)).await.expect("the first");
        let mut crowd = JoinSet::new();
        for member in 1..=40 {
            let (replies, mail) = (replies.clone(), reply(1, member, ReplyClass::HumanReply));
            crowd.spawn(async move { (member, replies.insert(mail).await) });
        }
        while let Some(told) = crowd.join_next().await {
            let (member, stored) = told.expect("no panic");
            assert_eq!(stored.is_ok(), member != 13, "{member}: {stored:?}");
        }
        assert_eq!(replies.count_for(BroadcastId::new(1)).await.expect("count"), 40);
    })
    .await;
}

#[tokio::test]
async fn the_file_keeps_a_rollback_journal_so_that_another_os_user_can_read_it() {
    let database = fresh_sqlite().await;
    let replies = ReplyBox::connect(&database.replies_url).await.expect("open");
    replies.insert(reply(1, 1, ReplyClass::HumanReply)).await.expect("insert");
    let path = database.folder().join("replies.db");
    let header = std::fs::read(&path).expect("the file");
    // <https://www.sqlite.org/fileformat.html> §1.3.3: 1 = rollback journal, 2 = WAL.
    assert_eq!(header[18..20], [1, 1]);
    let reader = ReplyBox::connect(&format!("sqlite://{}?mode=ro", path.display())).await.expect("a reader");
    assert_eq!(reader.count_for(BroadcastId::new(1)).await.expect("count"), 1);
}

#[tokio::test]
async fn who_only_reads_cannot_write_whatever_they_say() {
    for database in fresh_databases().await {
        let writer = ReplyBox::connect(&database.replies_url).await.expect("open");
        let id = writer.insert(reply(1, 2, ReplyClass::HumanReply)).await.expect("insert");
        let reader = ReplyBox::connect_to_read(&database.replies_url).await.expect("open");
        assert!(reader.get(id).await.expect("read").is_some());
        let refused = reader.insert(reply(1, 3, ReplyClass::HumanReply)).await;
        assert!(refused.is_err(), "on {}", database.kind);
        for statement in ["UPDATE reply SET class = 'other'", "DELETE FROM reply", "DROP TABLE reply"] {
            assert!(reader.connection().execute_unprepared(statement).await.is_err(), "{statement}");
        }
        assert_eq!(reader.count_for(BroadcastId::new(1)).await.expect("count"), 1);
    }
}

#[tokio::test]
async fn replies_of_one_member_and_old_ones_are_deleted_and_no_others() {
    for database in fresh_databases().await {
        let replies = ReplyBox::connect(&database.replies_url).await.expect("open");
        let eraser = ReplyEraser::connect(&database.replies_url).await.expect("open");
        for member in (1..=300).map(|n| n % 3) {
            replies.insert(reply(1, member, ReplyClass::HumanReply)).await.expect("insert");
        }
        let left = async || replies.count_for(BroadcastId::new(1)).await.expect("count");
        assert_eq!(eraser.erase_member(MemberId::new(1)).await.expect("deleted"), 100);
        assert_eq!(left().await, 200, "on {}", database.kind);
        // A reply is as old as its member's id.
        let time = Timestamp::from_millis(1_790_000_000_000 + 2);
        assert_eq!(eraser.erase_some_before(time).await.expect("deleted"), 100);
        assert_eq!(eraser.erase_some_before(time).await.expect("looked"), 0);
        assert_eq!(left().await, 100, "on {}", database.kind);
    }
}

/// The roles of `deploy/roles.sql`, as an engineer makes them.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the engineer's psql")]
async fn on_postgresql_the_role_of_the_sink_can_store_replies_and_nothing_else() {
    let Some(database) = fresh_postgres().await else { return };
    let roles = concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/roles.sql");
    for _twice in 0..2 {
        let made = std::process::Command::new("psql")
            .args([
                &database.replies_url,
                "-q",
                "-v",
                "sink_password=s",
                "-v",
                "retention_password=r",
                "-f",
                roles,
            ])
            .output()
            .expect("psql runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let (_, server) = database.replies_url.rsplit_once('@').expect("a user in the URL");
    let sink =
        ReplyBox::connect(&format!("postgres://hansho_sink:s@{server}")).await.expect("the role signs in");
    sink.check_schema().await.expect("it sees that there is a table");
    let given = reply(1, 2, ReplyClass::HumanReply);
    let ids = sink.insert_all(vec![given.clone(), given]).await.expect("it stores");
    assert!(sink.get(ids[0]).await.is_err(), "it reads no reply");
    for beyond in [
        "SELECT subject FROM reply",
        "SELECT raw FROM reply",
        "UPDATE reply SET class = 'other'",
        "DELETE FROM reply",
        "TRUNCATE reply",
        "SELECT * FROM member",
        "SELECT * FROM delivery",
        "SELECT * FROM broadcast",
        "SELECT * FROM staff",
        "INSERT INTO staff_mail DEFAULT VALUES",
        "CREATE TABLE mine (x int)",
    ] {
        let refused = sink.connection().execute_unprepared(beyond).await.expect_err(beyond).to_string();
        assert!(refused.contains("permission denied"), "{beyond}: {refused}");
    }
    let office = ReplyBox::connect(&database.replies_url).await.expect("open");
    assert_eq!(office.count_for(BroadcastId::new(1)).await.expect("count"), 2);
    let retention = format!("postgres://hansho_retention:r@{server}");
    let eraser = ReplyEraser::connect(&retention).await.expect("the role signs in");
    assert_eq!(eraser.erase_member(MemberId::new(2)).await.expect("it deletes"), 2);
    assert_eq!(office.count_for(BroadcastId::new(1)).await.expect("count"), 0);
}
