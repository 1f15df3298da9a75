//! Law 10 and attacks.md 2, 7, 11, 14, 34: what is stored, and when it is said to be.

use crate::peer::{address, expect, start};
use domain::{ReplyClass, TokenKind};
use sea_orm_migration::sea_orm::{ConnectionTrait, Database};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

#[tokio::test]
async fn a_reply_is_durable_byte_for_byte_before_its_250() {
    let sink = start().await;
    let mut peer = sink.greeted().await;
    for size in [0, 1, 1_000, 300_000] {
        let raw = [b"Subject: x\r\n\r\n".to_vec(), b"a\r\n".repeat(size / 3)].concat();
        expect(&peer.delivers("a@b.jp", &address(TokenKind::Reply, 1), &raw).await, "250");
        let stored = sink.stored().await;
        assert_eq!(stored.last().expect("the row is there when the 250 is").raw, raw);
    }
}

#[tokio::test]
async fn a_reply_is_read_and_shown_without_what_it_quotes() {
    let sink = start().await;
    let mut peer = sink.greeted().await;
    let raw = "From: =?utf-8?B?6Iqx5a2Q?= <hanako@b.jp>\r\nSubject: =?utf-8?B?6KiT57e0?=\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\r\n無事です。\r\n\r\n> 安否を\r\n> お知らせください\r\n";
    expect(&peer.delivers("hanako@b.jp", &address(TokenKind::Reply, 42), raw.as_bytes()).await, "250");
    let row = sink.stored().await.pop().expect("a row");
    assert_eq!(row.summary.subject, "訓練");
    assert_eq!(row.summary.from_header, "花子 <hanako@b.jp>");
    assert_eq!(row.body_text, "無事です。");
    assert_eq!(row.summary.class, ReplyClass::HumanReply);
    assert_eq!((row.summary.broadcast.get(), row.summary.member.get()), (9, 42));
    assert_eq!(row.summary.peer, "127.0.0.1");
}

#[tokio::test]
async fn a_forged_from_changes_nothing_about_whose_reply_it_is() {
    let sink = start().await;
    let mut peer = sink.greeted().await;
    let raw = b"From: chair@example.jp\r\nTo: all-members@example.jp\r\nX-Member: 1\r\nSubject: unsubscribe\r\n\r\nerase all\r\n";
    expect(&peer.delivers("chair@example.jp", &address(TokenKind::Reply, 42), raw).await, "250");
    let stored = sink.stored().await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].summary.member.get(), 42);
    assert_eq!(stored[0].summary.class, ReplyClass::Unsubscribe);
}

#[tokio::test]
async fn a_mail_that_goes_round_is_refused_in_the_session() {
    let sink = start().await;
    let mut peer = sink.greeted().await;
    let recipient = address(TokenKind::Bounce, 1);
    let hops = |count| [b"Received: from a by b\r\n".repeat(count), b"\r\nx\r\n".to_vec()].concat();
    expect(&peer.delivers("", &recipient, &hops(1_000)).await, "554 5.4.6");
    expect(&peer.delivers("", &recipient, &hops(51)).await, "554 5.4.6");
    expect(&peer.delivers("", &recipient, &hops(50)).await, "250");
    assert_eq!(sink.stored().await.len(), 1);
}

#[tokio::test]
async fn mime_bombs_are_stored_raw_in_bounded_time() {
    let sink = start().await;
    let mut peer = sink.greeted().await;
    let mut deep = Vec::new();
    for level in 0..1_000 {
        deep.extend_from_slice(
            format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n").as_bytes(),
        );
    }
    let parts = [
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec(),
        b"--b\r\nContent-Type: multipart/mixed; boundary=never\r\n\r\nx\r\n".repeat(100_000),
    ]
    .concat();
    let enclosed = b"Content-Type: message/rfc822\r\n\r\n".repeat(100_000);
    let base64 = [
        b"Content-Transfer-Encoding: base64\r\n\r\n".to_vec(),
        b"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\r\n".repeat(200_000),
    ]
    .concat();
    let header = [b"Subject: ".to_vec(), vec![b'x'; 1_000_000], b"\r\n\r\nbody\r\n".to_vec()].concat();
    for bomb in [deep, parts, enclosed, base64, header] {
        let begun = Instant::now();
        expect(&peer.delivers("a@b.jp", &address(TokenKind::Reply, 1), &bomb).await, "250");
        assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
        assert!(sink.stored().await.pop().expect("a row").raw == bomb);
    }
}

#[tokio::test]
async fn mails_of_many_sessions_do_not_mix() {
    let sink = Arc::new(start().await);
    let mut sessions = JoinSet::new();
    for member in 1..=40 {
        let sink = sink.clone();
        sessions.spawn(async move {
            let mut peer = sink.greeted().await;
            let raw = format!("Subject: {member}\r\n\r\n{}\r\n", "x".repeat(5_000));
            expect(&peer.delivers("a@b.jp", &address(TokenKind::Reply, member), raw.as_bytes()).await, "250");
        });
    }
    sessions.join_all().await;
    let stored = sink.stored().await;
    assert_eq!(stored.len(), 40);
    assert!(stored.iter().all(|r| r.summary.subject == r.summary.member.to_string()));
}

#[tokio::test]
async fn while_the_database_is_locked_senders_are_told_to_come_back_and_then_it_works_again() {
    let sink = start().await;
    let holder = Database::connect(&sink.database.replies_url).await.expect("a second writer");
    holder.execute_unprepared("BEGIN EXCLUSIVE").await.expect("lock");
    let mut peer = sink.greeted().await;
    let recipient = address(TokenKind::Reply, 1);
    expect(&peer.delivers("a@b.jp", &recipient, b"x\r\n").await, "452 4.3.1");
    holder.execute_unprepared("COMMIT").await.expect("unlock");
    assert!(sink.stored().await.is_empty());
    expect(&peer.delivers("a@b.jp", &recipient, b"x\r\n").await, "250");
    assert_eq!(sink.stored().await.len(), 1);
}

#[tokio::test]
async fn a_database_without_its_table_costs_no_reply() {
    let sink = start().await;
    sink.replies.connection().execute_unprepared("ALTER TABLE reply RENAME TO away").await.expect("break");
    let mut peer = sink.greeted().await;
    let recipient = address(TokenKind::Reply, 1);
    expect(&peer.delivers("a@b.jp", &recipient, b"x\r\n").await, "451");
    sink.replies.connection().execute_unprepared("ALTER TABLE away RENAME TO reply").await.expect("mend");
    expect(&peer.delivers("a@b.jp", &recipient, b"x\r\n").await, "250");
}
