//! What a dead worker leaves behind.

use crate::fresh::{Fresh, NOW, TERMS, accepted, spend};
use domain::DeliveryState;
use store::{SILENCE_MAX, WorkerTerms};

#[tokio::test]
async fn rows_of_a_dead_worker_become_unknown_and_its_late_outcome_is_refused() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(5).await;
        let dead = fresh.worker().await;
        let two = WorkerTerms { chunk_size: 2, ..TERMS };
        let rows = fresh.store.claim(dead, &approved, &two).await.expect("a claim");
        let permits = fresh.turn(dead, &[], rows).await.permits;
        assert_eq!(permits.len(), 2);
        lease_over(&fresh).await;
        assert_eq!(fresh.store.recover(dead).await.expect("recovered"), 0, "its own rows are in flight");
        let heir = fresh.worker().await;
        assert_eq!(fresh.store.recover(heir).await.expect("recovered"), 2);
        assert_eq!(fresh.store.recover(heir).await.expect("recovered"), 0, "once");
        let tally = fresh.tally(id).await;
        assert_eq!((tally.unknown, tally.pending, tally.total()), (2, 3, 5));

        let late = fresh.turn(dead, &spend(permits, &accepted()), Vec::new()).await;
        assert_eq!(late.fenced, 2, "what was declared unknown stays unknown");
        assert_eq!(fresh.count(id, DeliveryState::Unknown).await, 2);
        assert_eq!(fresh.claim(heir, &approved).await.len(), 3, "unknown rows are not tried again");
    }
}

/// So much time has passed that every submission's lease is over.
async fn lease_over(fresh: &Fresh) {
    fresh.tamper("UPDATE delivery SET lease_until = 1 WHERE state = 'submitting'").await;
}

#[tokio::test]
async fn a_live_lease_is_respected_where_others_may_be_alive() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(4).await;
        let (first, other) = (fresh.worker().await, fresh.worker().await);
        let two = WorkerTerms { chunk_size: 2, ..TERMS };
        let rows = fresh.store.claim(first, &approved, &two).await.expect("a claim");
        let permits = fresh.turn(first, &[], rows).await.permits;
        fresh.claim(first, &approved).await;
        let lost = fresh.store.recover(other).await.expect("recovered");
        if fresh.is_postgres() {
            assert_eq!(lost, 0, "the first worker may be alive on another machine");
            assert_eq!(fresh.turn(first, &spend(permits, &accepted()), Vec::new()).await.fenced, 0);
            assert!(fresh.claim(other, &approved).await.is_empty(), "claimed rows stay claimed");
        } else {
            assert_eq!(lost, 2, "whoever holds the file's lock is alone");
            assert_eq!(fresh.turn(first, &spend(permits, &accepted()), Vec::new()).await.fenced, 2);
            assert_eq!(fresh.claim(other, &approved).await.len(), 2, "claimed rows are free at once");
        }
        assert_eq!(fresh.tally(id).await.total(), 4);
    }
}

/// A stopped or cancelled broadcast has rows in flight as well.
#[tokio::test]
async fn rows_in_flight_at_a_stop_are_recovered_too() {
    for fresh in Fresh::each().await {
        for (key, cancelled) in [("stopped", false), ("cancelled", true)] {
            let (id, approved) = fresh.sending_as(key, 1).await;
            let (dead, heir) = (fresh.worker().await, fresh.worker().await);
            let rows = fresh.claim(dead, &approved).await;
            drop(fresh.turn(dead, &[], rows).await);
            if cancelled {
                fresh.store.cancel_broadcast(fresh.author, id, "", NOW).await.expect("cancelled");
            } else {
                fresh.store.stop_broadcast(fresh.author, id, NOW).await.expect("stopped");
            }
            lease_over(&fresh).await;
            assert_eq!(fresh.store.recover(heir).await.expect("recovered"), 1);
            assert_eq!(fresh.count(id, DeliveryState::Unknown).await, 1);
        }
    }
}

/// A submission may take as long as its steps' timeouts together: its lease outlasts them.
#[tokio::test]
async fn a_submissions_lease_is_never_shorter_than_a_submission_may_take() {
    for fresh in Fresh::each().await {
        let (_, approved) = fresh.sending(1).await;
        let worker = fresh.worker().await;
        let rows = fresh.claim(worker, &approved).await;
        let before = fresh.store.now().await.expect("the clock");
        drop(fresh.turn(worker, &[], rows).await);
        let lease = fresh.number("SELECT lease_until AS n FROM delivery").await;
        let shortest = before.plus(TERMS.submission_max).millis();
        let longest = before.plus(TERMS.submission_max + TERMS.chunk_budget).millis();
        assert!((shortest..=longest).contains(&lease), "{shortest} {lease} {longest}");
    }
}

/// Nobody waits for the lease of a worker that is not heard of, and it cannot come back under its name.
#[tokio::test]
async fn a_silent_worker_is_taken_over_long_before_its_submissions_lease_is_over() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(5).await;
        let silent = fresh.worker().await;
        let rows = fresh.claim(silent, &approved).await;
        let (submitted, claimed) = rows.split_at(2);
        let permits = fresh.turn(silent, &[], submitted.to_vec()).await.permits;
        let heir = fresh.worker().await;
        if fresh.is_postgres() {
            assert_eq!(fresh.store.recover(heir).await.expect("recovered"), 0, "it was heard of");
            assert!(fresh.store.beat(silent).await.expect("a beat"));
        }
        let silence = i64::try_from(SILENCE_MAX.as_millis()).expect("seconds") + 1;
        fresh
            .tamper(&format!("UPDATE worker SET seen_at = seen_at - {silence} WHERE id = {}", silent.id()))
            .await;
        assert_eq!(fresh.store.recover(heir).await.expect("recovered"), 2);
        assert_eq!(fresh.count(id, DeliveryState::Unknown).await, 2);
        assert_eq!(fresh.claim(heir, &approved).await.len(), 3, "what it had only claimed goes on");

        assert!(!fresh.store.beat(silent).await.expect("a beat"), "it is told");
        assert_eq!(fresh.turn(silent, &spend(permits, &accepted()), claimed.to_vec()).await.fenced, 2);
        assert_eq!(fresh.count(id, DeliveryState::Unknown).await, 2);
        assert!(fresh.claim(silent, &approved).await.is_empty());
    }
}
