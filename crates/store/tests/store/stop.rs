//! Stop and resume (law 8).

use crate::fresh::{Fresh, NOW, TERMS, accepted, deferred, id_of, rule, spend};
use domain::{Actor, Approved, BroadcastState, DeliveryState, Frozen, Role, Rule, SignaturesRequired};
use std::time::{Duration, Instant};
use store::{StopAnswer, Store, WorkerTerms};
use tokio::sync::watch;

#[tokio::test]
async fn everyone_but_an_onlooker_may_stop() {
    for fresh in Fresh::each().await {
        let (id, _) = fresh.sending(2).await;
        let viewer = fresh.staff("v", Role::Viewer).await;
        let before = fresh.fingerprint(id).await;
        for actor in [viewer, Actor::Scheduler] {
            let refused = fresh.store.stop_broadcast(actor, id, NOW).await.expect_err("refused");
            assert_eq!(rule(&refused), Some(Rule::Role));
        }
        assert_eq!(fresh.fingerprint(id).await, before);
        let engineer = fresh.staff("e", Role::Engineer).await;
        for actor in [fresh.author, fresh.approver, engineer, Actor::LocalEngineer] {
            fresh.store.stop_broadcast(actor, id, NOW).await.expect("stopped");
            assert_eq!(fresh.broadcast(id).await.state, BroadcastState::Stopped);
            fresh.store.resume_broadcast(fresh.second, id, "確認", NOW).await.expect("resumed");
        }
    }
}

#[tokio::test]
async fn only_an_approver_who_is_not_the_author_resumes_and_says_why() {
    for fresh in Fresh::each().await {
        let (id, _) = fresh.sending(2).await;
        fresh.store.stop_broadcast(fresh.author, id, NOW).await.expect("stopped");
        let before = fresh.fingerprint(id).await;
        let author = Actor::Staff { id: id_of(fresh.author), role: Role::Approver };
        let cases = [
            (author, "理由", Rule::FourEyes),
            (fresh.staff("c", Role::Coordinator).await, "理由", Rule::Role),
            (Actor::LocalEngineer, "理由", Rule::Role),
            (Actor::Scheduler, "理由", Rule::Role),
            (fresh.approver, " \n", Rule::Reason),
        ];
        let before = before.replace("audit=", "");
        for (actor, reason, expected) in cases {
            let refused = fresh.store.resume_broadcast(actor, id, reason, NOW).await.expect_err("refused");
            assert_eq!(rule(&refused), Some(expected), "{actor}");
            assert_eq!(fresh.broadcast(id).await.state, BroadcastState::Stopped, "{before}");
        }
        fresh.store.resume_broadcast(fresh.approver, id, "宛先を確認した", NOW).await.expect("resumed");
        let kept = "SELECT COUNT(*) AS n FROM audit WHERE action = 'broadcast-resumed' AND detail = '宛先を確認した'";
        assert_eq!(fresh.number(kept).await, 1);
    }
}

#[tokio::test]
async fn the_parts_of_a_stop_answer_sum_to_the_snapshot() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(6).await;
        let worker = fresh.worker().await;
        let four = WorkerTerms { chunk_size: 4, ..TERMS };
        let rows = fresh.store.claim(worker, &approved, &four).await.expect("a claim");
        let mut permits = fresh.turn(worker, &[], rows).await.permits;
        let events = [accepted(), deferred(), crate::fresh::rejected()];
        for event in &events {
            let outcomes = spend(vec![permits.pop().expect("four permits")], event);
            fresh.turn(worker, &outcomes, Vec::new()).await;
        }
        fresh.store.stop_broadcast(fresh.author, id, NOW).await.expect("stopped");
        let answer = StopAnswer::from(fresh.tally(id).await);
        let expected =
            StopAnswer { accepted: 1, prevented: 3, unknown: 1, rejected: 1, held: 0, gave_up: 0, total: 6 };
        assert_eq!(answer, expected, "the one in flight counts as unknown");
    }
}

/// Many workers write turns without a pause, each of which looks at the broadcast. The stop has
/// to get between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stop_takes_effect_within_a_second_however_many_workers_send() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(3_000).await;
        if fresh.is_postgres() {
            slow_disk(&fresh).await;
        }
        let (going, keep_going) = watch::channel(true);
        let mut workers = Vec::new();
        for n in 0..12 {
            let store = if fresh.is_postgres() && n % 3 == 0 {
                fresh.another_process().await
            } else {
                fresh.store.clone()
            };
            let evidence = verify(&store, approved.get().clone()).await;
            workers.push(tokio::spawn(send_one_by_one(store, evidence, keep_going.clone())));
        }
        while fresh.count(id, DeliveryState::Accepted).await < 100 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let machine = fresh.another_process().await;
        let asked = Instant::now();
        machine.stop_broadcast(fresh.author, id, NOW).await.expect("stopped");
        let took = asked.elapsed();
        going.send_replace(false);
        for worker in workers {
            worker.await.expect("no panic");
        }
        let tally = fresh.tally(id).await;
        assert!(took < Duration::from_secs(1), "the stop took {took:?}, with {tally:?}");
        assert!(tally.pending > 0 && tally.submitting == 0, "stopped in the middle: {tally:?}");
        assert_eq!(tally.total(), 3_000);
    }
}

/// Every turn takes thirty milliseconds longer, as on a disk that takes its time to be durable:
/// then some turn is always open.
async fn slow_disk(fresh: &Fresh) {
    fresh
        .tamper(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN PERFORM pg_sleep(0.03); RETURN NULL; END $$",
        )
        .await;
    let trigger = "CREATE TRIGGER slow AFTER UPDATE ON delivery FOR EACH STATEMENT EXECUTE FUNCTION slow()";
    fresh.tamper(trigger).await;
}

async fn verify(store: &Store, frozen: Frozen) -> Approved<Frozen> {
    let signatures = store.signatures(frozen.broadcast).await.expect("read");
    Approved::verify(frozen, &signatures, SignaturesRequired::for_release(false)).expect("signed")
}

async fn send_one_by_one(store: Store, approved: Approved<Frozen>, going: watch::Receiver<bool>) {
    let worker = store.register_worker("one by one").await.expect("a worker");
    let mut outcomes = Vec::new();
    let mut rows = Vec::new();
    while *going.borrow() || !outcomes.is_empty() {
        if rows.is_empty() && *going.borrow() {
            rows = store.claim(worker, &approved, &TERMS).await.expect("a claim");
        }
        let intents: Vec<_> = if *going.borrow() { rows.pop().into_iter().collect() } else { Vec::new() };
        let turn = store.turn(worker, &outcomes, intents, &TERMS).await.expect("a turn");
        assert_eq!(turn.fenced, 0);
        outcomes = spend(turn.permits, &accepted());
    }
}
