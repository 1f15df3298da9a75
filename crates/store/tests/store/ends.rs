//! The ends of a broadcast: settled by a person, drained, out of time.

use crate::fresh::{Fresh, NOW, accepted, deferred, rule, spend};
use domain::{Actor, BroadcastId, BroadcastState, DeliveryEvent, DeliveryState, Rule, Timestamp};
use std::time::Duration;
use store::{Settlement, TimeLimit};

/// A sending broadcast with as many unknown rows.
async fn with_unknown(fresh: &Fresh, key: &str, people: i64) -> BroadcastId {
    let (id, approved) = fresh.sending_as(key, people).await;
    let worker = fresh.worker().await;
    fresh.send_all(worker, &approved, &DeliveryEvent::OutcomeLost).await;
    assert_eq!(fresh.count(id, DeliveryState::Unknown).await, people as u64);
    id
}

#[tokio::test]
async fn a_person_settles_unknown_rows_as_accepted_or_orders_them_again() {
    for fresh in Fresh::each().await {
        let id = with_unknown(&fresh, "a", 3).await;
        let one = ["00002".to_owned()];
        let settled = fresh.store.settle(fresh.author, id, Settlement::Accepted, &one, NOW).await;
        assert_eq!(settled.expect("settled"), 1);
        assert_eq!(fresh.rows(id).await[1].state, "accepted");
        let settled = fresh.store.settle(fresh.author, id, Settlement::Resend, &[], NOW).await;
        assert_eq!(settled.expect("settled"), 2, "no member named: all that are left");
        let tally = fresh.tally(id).await;
        assert_eq!((tally.accepted, tally.deferred, tally.unknown), (1, 2, 0));
        assert!(fresh.rows(id).await.iter().all(|row| row.attempts == 1));
    }
}

#[tokio::test]
async fn a_resend_keeps_message_id_and_counts_the_attempt() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(1).await;
        let worker = fresh.worker().await;
        fresh.send_all(worker, &approved, &DeliveryEvent::OutcomeLost).await;
        let before = fresh.rows(id).await.remove(0).message_id;
        let database_now = fresh.store.now().await.expect("the clock");
        fresh.store.settle(fresh.author, id, Settlement::Resend, &[], database_now).await.expect("settled");
        let permits = fresh.permits(worker, &approved).await;
        assert_eq!(permits.len(), 1);
        assert_eq!((permits[0].row().message_id.as_str(), permits[0].attempt().get()), (before.as_str(), 2));
        fresh.turn(worker, &spend(permits, &accepted()), Vec::new()).await;
    }
}

#[tokio::test]
async fn a_number_without_an_unknown_row_refuses_the_whole_settlement() {
    for fresh in Fresh::each().await {
        let id = with_unknown(&fresh, "a", 2).await;
        let before = fresh.fingerprint(id).await;
        for stranger in ["99999", "", "2", "00001 "] {
            let names = ["00001".to_owned(), stranger.to_owned()];
            let refused = fresh.store.settle(fresh.author, id, Settlement::Accepted, &names, NOW).await;
            assert_eq!(rule(&refused.expect_err("refused")), Some(Rule::State));
        }
        assert_eq!(fresh.fingerprint(id).await, before);
    }
}

#[tokio::test]
async fn a_resend_after_the_end_reopens_and_a_cancelled_broadcast_stays_closed() {
    for fresh in Fresh::each().await {
        let id = with_unknown(&fresh, "a", 1).await;
        assert!(fresh.store.complete_if_drained(id, NOW).await.expect("looked"));
        fresh.store.settle(fresh.author, id, Settlement::Resend, &[], NOW).await.expect("settled");
        assert_eq!(fresh.broadcast(id).await.state, BroadcastState::Sending);
        assert!(!fresh.store.complete_if_drained(id, NOW).await.expect("looked"), "one row is open again");

        let id = with_unknown(&fresh, "b", 1).await;
        fresh.store.cancel_broadcast(fresh.author, id, "", NOW).await.expect("cancelled");
        let before = fresh.fingerprint(id).await;
        assert!(fresh.store.settle(fresh.author, id, Settlement::Resend, &[], NOW).await.is_err());
        assert_eq!(fresh.fingerprint(id).await, before);
        fresh
            .store
            .settle(fresh.author, id, Settlement::Accepted, &[], NOW)
            .await
            .expect("facts can be noted");
    }
}

/// The stated policy `retry`: a relay that keeps breaking off must not become a flood.
#[tokio::test]
async fn the_policy_orders_unknown_rows_again_after_a_wait_that_doubles() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(2).await;
        let worker = fresh.worker().await;
        let policy = Settlement::ResendLater { first_wait: Duration::from_secs(60) };
        for wait in [60, 120, 240] {
            fresh.send_all(worker, &approved, &DeliveryEvent::OutcomeLost).await;
            assert!(fresh.store.has_unknown(id).await.expect("looked"));
            let settled = fresh.store.settle(Actor::Scheduler, id, policy, &[], NOW).await;
            assert_eq!(settled.expect("settled"), 2);
            assert!(!fresh.store.has_unknown(id).await.expect("looked"));
            let due = Timestamp::from_millis(fresh.number("SELECT MIN(due_at) AS n FROM delivery").await);
            assert_eq!(due, NOW.plus(Duration::from_secs(wait)));
            fresh.tamper("UPDATE delivery SET due_at = 1").await;
        }
    }
}

#[tokio::test]
async fn a_broadcast_completes_only_when_no_row_is_open() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(2).await;
        let worker = fresh.worker().await;
        assert!(!fresh.store.complete_if_drained(id, NOW).await.expect("looked"), "pending");
        let mut permits = fresh.permits(worker, &approved).await;
        let last = vec![permits.pop().expect("two")];
        fresh.turn(worker, &spend(permits, &accepted()), Vec::new()).await;
        assert!(!fresh.store.complete_if_drained(id, NOW).await.expect("looked"), "submitting");
        fresh.turn(worker, &spend(last, &deferred()), Vec::new()).await;
        assert!(!fresh.store.complete_if_drained(id, NOW).await.expect("looked"), "deferred");
        let permits = fresh.permits(worker, &approved).await;
        fresh.turn(worker, &spend(permits, &DeliveryEvent::OutcomeLost), Vec::new()).await;
        assert!(fresh.store.complete_if_drained(id, NOW).await.expect("looked"), "unknown is not open");
        let done = fresh.broadcast(id).await;
        assert_eq!((done.state, done.completed_at), (BroadcastState::Completed, Some(NOW)));
        assert!(!fresh.store.complete_if_drained(id, NOW).await.expect("looked"), "once");
        let completed = "SELECT COUNT(*) AS n FROM audit WHERE action = 'broadcast-completed'";
        assert_eq!(fresh.number(completed).await, 1);
    }
}

#[tokio::test]
async fn the_end_of_a_notice_gives_up_all_that_is_open_and_the_end_of_retries_only_what_was_tried() {
    for fresh in Fresh::each().await {
        for (key, limit, given_up, left) in
            [("finish", TimeLimit::FinishBy, 3, 0), ("retry", TimeLimit::RetryFor, 1, 2)]
        {
            let (id, approved) = fresh.sending_as(key, 5).await;
            let worker = fresh.worker().await;
            let mut rows = fresh.claim(worker, &approved).await;
            let not_tried = rows.split_off(3);
            let mut permits = fresh.turn(worker, &[], rows).await.permits;
            let in_flight = permits.pop().expect("three");
            let once_more = spend(vec![permits.pop().expect("three")], &deferred());
            let done = spend(permits, &accepted());
            fresh.turn(worker, &[once_more, done].concat(), Vec::new()).await;

            assert_eq!(fresh.store.run_out_of_time(id, limit, NOW).await.expect("given up"), given_up);
            assert_eq!(fresh.store.run_out_of_time(id, limit, NOW).await.expect("given up"), 0, "once");
            let tally = fresh.tally(id).await;
            assert_eq!((tally.gave_up, tally.pending), (given_up, left), "{key}");
            assert_eq!((tally.accepted, tally.submitting, tally.total()), (1, 1, 5), "{key}");
            let permits = fresh.turn(worker, &spend(vec![in_flight], &accepted()), not_tried).await.permits;
            assert_eq!(permits.len() as u64, left, "{key}: what was given up is not sent");
        }
    }
}
