//! The disk is full, the database goes away: sending waits, says so, and goes on by itself.

use crate::evidence::{Evidence, the_books_hold};
use domain::BroadcastState;
use hansho_tests::{Broadcast, PATIENCE, Plan, Post, Serve, Society, until};
use rehearsal::relay::{Script, Verdict};
use std::{collections::BTreeSet, time::Duration};
use testkit::{Outage, TestDatabase, fresh_postgres, fresh_postgres_to_crash};
use tokio::task::JoinSet;

const MEMBERS: usize = 600;
const SENDING_MAX: Duration = Duration::from_secs(60);
/// Less than the database's journal has grown to by the time a hundred mails are out.
const FULL_AT_OCTETS: u64 = 64 * 1024;
/// Room for two large replies and not for three.
const REPLIES_FULL_AT_OCTETS: u64 = 12 * 1024 * 1024;
/// About 5 MB.
const LARGE_LINES: usize = 200_000;
/// Many times as long as the relay takes for a mail.
const STILL: Duration = Duration::from_millis(1_500);

/// Its relay takes its time over each mail, so that there is a middle to be interrupted in.
async fn sending_slowly(plan: Plan) -> Society {
    let slowly = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_millis(30)));
    plan.members(MEMBERS).relay(slowly).found().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_holds_up_the_sending_and_costs_nobody_anything() {
    let society = sending_slowly(Society::plan()).await;
    let notice = society.released("訓練開始のお知らせ").await;
    let mut serve = society.serve_on_a_limited_disk(&["broadcaster"]).await;
    assert!(society.relay.wait_for(100, PATIENCE).await, "mails leave");

    serve.limit_files_to(Some(FULL_AT_OCTETS));
    serve.logs("check the database and the space on its disk").await;
    let evidence = Evidence::of(&society, &notice).await;
    evidence.shows_no_mailed_row_as_unsent();
    assert!(society.relay.count() < MEMBERS as u64, "the disk was full before the last mail");

    serve.limit_files_to(None);
    goes_on_and_costs_nobody_anything(&society, &notice, serve).await;
}

/// Mails far larger than what SQLite keeps in memory, until the disk is full; and those after it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_reply_that_was_answered_250_is_lost_to_a_full_disk() {
    let society = Society::of(1).await;
    let notice = society.released("訓練開始のお知らせ").await;
    let serve = society.serve(&["broadcaster"]).await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let _ended = serve.terminate().await.with_code(0);
    let mail = notice.dots().await.swap_remove(0);

    let serve = society.serve_on_a_limited_disk(&["sink"]).await;
    serve.limit_files_to(Some(REPLIES_FULL_AT_OCTETS));
    let mut kept = BTreeSet::new();
    // Several times in vain: what a failure leaves behind shows at the next.
    for (round, lines) in [LARGE_LINES, LARGE_LINES, 20_000, LARGE_LINES, 1, 1].into_iter().enumerate() {
        if lines == 1 {
            serve.limit_files_to(None);
        }
        let mut posts = JoinSet::new();
        for n in 0..4 {
            let (sink, mail, subject) = (society.sink(), mail.clone(), format!("reply {round}.{n}"));
            posts.spawn(async move {
                let mut post = Post::connect(sink).await.expect("the sink listens");
                let body = "病院は無事です。\n".repeat(lines);
                let text = format!("From: <{}>\nSubject: {subject}\n\n{body}", mail.to[0]);
                (subject, post.deliver(&mail.to[0], &mail.reply_to, &text).await)
            });
        }
        while let Some(answered) = posts.join_next().await {
            let (subject, answer) = answered.expect("no panic");
            let taken = answer.starts_with("250");
            assert!(taken || (lines > 1 && answer.starts_with("45")), "{subject}: {answer}");
            kept.extend(taken.then_some(subject));
        }
    }
    assert!(kept.len() < 16, "the disk was full");
    serve.kill_9();
    let stored = society.hansho(&["reply", "list"]).await.done();
    let stored: BTreeSet<String> = stored
        .as_array()
        .expect("a list")
        .iter()
        .map(|reply| reply["subject"].as_str().expect("a subject").to_owned())
        .collect();
    assert_eq!(stored, kept, "what was answered with 250, and nothing else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_that_goes_away_and_comes_back_costs_nobody_anything() {
    let Some(database) = fresh_postgres().await else { return };
    struck_three_times(database, async |outage, serve, society| {
        outage.begins().await;
        serve.logs("the database does not answer").await;
        // What had its permit arrives; then no more does.
        let seen = until("the sending to stand still", PATIENCE, async || {
            let seen = society.relay.count();
            (!society.relay.wait_for(seen + 1, STILL).await).then_some(seen)
        })
        .await;
        assert!(seen < MEMBERS as u64, "the database was away before the last mail");
        outage.ends().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_database_server_that_crashes_and_recovers_costs_nobody_anything() {
    let Some(database) = fresh_postgres_to_crash().await else { return };
    struck_three_times(database, async |outage, serve, society| {
        outage.crashes().await;
        serve.logs("the database does not answer").await;
        // The sessions this test held are gone as well.
        until("a session to read the evidence in", PATIENCE, async || society.store().ping().await.ok())
            .await;
    })
    .await;
}

/// A broadcast whose database is struck again and again on the way.
async fn struck_three_times(database: TestDatabase, strike: impl AsyncFn(&Outage, &mut Serve, &Society)) {
    let outage = database.outage();
    let society = sending_slowly(Society::plan().on(database)).await;
    let notice = society.released("訓練開始のお知らせ").await;
    let mut serve = society.serve(&["broadcaster"]).await;
    for mails in [60, 160, 260] {
        assert!(society.relay.wait_for(mails, PATIENCE).await, "mails leave");
        strike(&outage, &mut serve, &society).await;
    }
    goes_on_and_costs_nobody_anything(&society, &notice, serve).await;
}

async fn goes_on_and_costs_nobody_anything(society: &Society, notice: &Broadcast<'_>, serve: Serve) {
    notice.becomes(BroadcastState::Completed, SENDING_MAX).await;
    let evidence = Evidence::of(society, notice).await;
    evidence.shows_everyone_mailed_once_but_the_unknown();
    assert!(evidence.addresses("unknown").is_empty(), "every outcome was kept until it could be written");
    let _ended = serve.terminate().await.with_code(0);
    the_books_hold(society).await;
}
