//! What is durable at which moment, and what an orderly end, a second start and an absent relay do.

use crate::evidence::{Evidence, the_books_hold};
use domain::{BroadcastState, DeliveryState};
use hansho_tests::{Broadcast, PATIENCE, Society};
use rehearsal::relay::{Script, Verdict, Watch};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use store::LedgerFilter;
use tokio::{runtime::Handle, task::block_in_place};

const SENDING_MAX: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_outcome_is_durable_before_its_connections_next_dot() {
    for connections in [1, 8] {
        let plan = Society::plan().members(160).set("HANSHO_RELAY__CONNECTIONS", &connections.to_string());
        let society = plan.found().await;
        let notice = society.released("訓練開始のお知らせ").await;
        let broken: Arc<Mutex<Vec<String>>> = Arc::default();
        let hook = ledger_read_at_every_dot(&society, &notice, connections, broken.clone()).await;
        society.relay.set_script(Script::accept_all().watch_dots(hook));

        let serve = society.serve(&["broadcaster"]).await;
        notice.becomes(BroadcastState::Completed, SENDING_MAX).await;
        let broken = broken.lock().expect("nothing panics while noting").clone();
        assert!(broken.is_empty(), "on {connections} connections: {broken:#?}");
        Evidence::of(&society, &notice).await.shows_everyone_mailed_once_but_the_unknown();
        let _ended = serve.terminate().await.with_code(0);
    }
}

/// While the relay holds the recipient's dot unanswered, its row is `submitting`, and no more rows
/// are than there are connections: every connection's mail before is settled.
async fn ledger_read_at_every_dot(
    society: &Society,
    notice: &Broadcast<'_>,
    connections: u64,
    broken: Arc<Mutex<Vec<String>>>,
) -> Watch {
    let (store, id) = (society.store().clone(), notice.id());
    let members: std::collections::HashMap<String, i64> =
        notice.ledger().await.into_iter().map(|row| (row.address, row.member_id)).collect();
    Arc::new(move |recipient| {
        let member = Some(domain::MemberId::new(members[recipient]));
        let filter = LedgerFilter { member, state: None };
        let (row, tally) = block_in_place(|| {
            Handle::current().block_on(async {
                let rows = store.ledger_page(id, filter, 0, 1).await.expect("the ledger can be read");
                (rows[0].clone(), store.tally(id).await.expect("the ledger can be counted"))
            })
        });
        let intent = row.state == DeliveryState::Submitting.as_str();
        if !intent || tally.submitting > connections {
            let found = format!("{recipient} is {}, {} rows are submitting", row.state, tally.submitting);
            broken.lock().expect("nothing panics while noting").push(found);
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sigterm_finishes_what_is_in_flight_and_leaves_nothing_unknown() {
    let slowly = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_millis(150)));
    let society = Society::plan().members(200).relay(slowly).found().await;
    let notice = society.released("訓練開始のお知らせ").await;
    let serve = society.serve(&[]).await;
    assert!(society.relay.wait_for(40, PATIENCE).await, "mails leave");
    // Mail 40 is being answered: something is in flight now.
    let ended = serve.terminate().await.with_code(0);
    assert!(ended.stderr.contains("broadcaster drained"), "{}", ended.stderr);

    let tally = notice.tally().await;
    assert_eq!((tally.submitting, tally.unknown), (0, 0), "{tally:?}");
    assert_eq!(tally.accepted, society.relay.count(), "every mail that left was recorded");
    assert!(tally.pending > 0, "the end came on the way: {tally:?}");

    society.relay.set_script(Script::accept_all());
    let serve = society.serve(&["broadcaster"]).await;
    // Claims were given back: nothing waits for a lease of a minute to end.
    notice.becomes(BroadcastState::Completed, Duration::from_secs(30)).await;
    Evidence::of(&society, &notice).await.shows_everyone_mailed_once_but_the_unknown();
    let _ended = serve.terminate().await.with_code(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_serve_on_the_same_file_is_refused_and_harms_nothing() {
    let slowly = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_millis(50)));
    let society = Society::plan().members(300).relay(slowly).found().await;
    let notice = society.released("訓練開始のお知らせ").await;
    let first = society.serve(&["broadcaster"]).await;
    assert!(society.relay.wait_for(20, PATIENCE).await, "mails leave");
    let second = society.hansho(&["serve", "--role", "broadcaster"]).within(PATIENCE).await.with_code(1);
    assert!(second.stderr.contains("another `hansho serve` already works"), "{}", second.stderr);
    assert!(second.stderr.contains("use PostgreSQL"), "the way on is named: {}", second.stderr);
    assert_eq!(notice.state().await, BroadcastState::Sending, "the refusal came on the way");

    notice.becomes(BroadcastState::Completed, SENDING_MAX).await;
    let evidence = Evidence::of(&society, &notice).await;
    evidence.shows_everyone_mailed_once_but_the_unknown();
    assert!(evidence.addresses("unknown").is_empty(), "the first one's rows stayed its own");
    let _ended = first.terminate().await.with_code(0);
    the_books_hold(&society).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_relay_that_is_away_loses_nothing() {
    const MEMBERS: u64 = 120;
    let society = Society::of(120).await;
    let notice = society.released("訓練開始のお知らせ").await;
    society.relay.stop().await;
    let mut serve = society.serve(&["broadcaster"]).await;
    serve.logs("the relay cannot be reached; nothing is lost, trying again").await;
    assert_eq!(notice.tally().await.pending, MEMBERS, "nobody is left out and nobody is mailed");

    let relay = society.another_relay(Script::accept_all()).await;
    notice.becomes(BroadcastState::Completed, SENDING_MAX).await;
    let evidence = Evidence::at(&relay, &notice).await;
    evidence.shows_everyone_mailed_once_but_the_unknown();
    assert_eq!(evidence.addresses("accepted").len() as u64, MEMBERS);
    let spent = notice.ledger().await.into_iter().filter(|row| row.attempts != 1).count();
    assert_eq!(spent, 0, "nobody's attempt was spent on an absent relay");
    let _ended = serve.terminate().await.with_code(0);
}
