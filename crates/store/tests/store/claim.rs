//! Claims: who may try which rows.

use crate::fresh::{Fresh, NOW, SHORT, SIGNED, TERMS, accepted, deferred, held, member, outcome};
use domain::{Approved, DeliveryEvent, DeliveryId, Frozen, SignaturesRequired, Timestamp};
use std::{collections::BTreeSet, time::Duration};
use store::{ClaimedRow, Store, Worker, WorkerTerms};

#[tokio::test]
async fn only_a_sending_broadcast_gives_rows() {
    for fresh in Fresh::each().await {
        let id = fresh.approved("a", 3).await;
        let worker = fresh.worker().await;
        let signatures = fresh.store.signatures(id).await.expect("read");
        let evidence =
            Approved::verify(fresh.frozen(id).await, &signatures, SignaturesRequired::for_release(false))
                .expect("signed");
        assert!(fresh.claim(worker, &evidence).await.is_empty(), "approved is not released");
        fresh.release(id).await.expect("released");
        let one = WorkerTerms { chunk_size: 1, ..TERMS };
        let first = fresh.store.claim(worker, &evidence, &one).await.expect("a claim");
        assert_eq!(first.len(), 1);
        fresh.store.stop_broadcast(fresh.author, id, NOW).await.expect("stopped");
        assert!(fresh.claim(worker, &evidence).await.is_empty(), "stopped");
        fresh.store.resume_broadcast(fresh.approver, id, "確認済み", NOW).await.expect("resumed");
        assert_eq!(fresh.claim(worker, &evidence).await.len(), 3, "also what was claimed before the stop");
    }
}

#[tokio::test]
async fn a_claim_carries_the_row_as_frozen_and_never_a_held_one() {
    for fresh in Fresh::each().await {
        let id = fresh.draft("a").await;
        fresh.freeze(id, &[held(1), member(2)], SIGNED).await;
        fresh.sign(fresh.approver, id).await.expect("signed");
        let approved = fresh.release(id).await.expect("released");
        let rows = fresh.claim(fresh.worker().await, &approved).await;
        assert_eq!(rows.len(), 1);
        assert_eq!((rows[0].broadcast, rows[0].member.get()), (id, 2));
        assert_eq!(rows[0].address.reveal(), "m2@example.jp");
        assert_eq!(rows[0].message_id, "<2@example.jp>");
        assert_eq!(rows[0].fields.get("name").map(String::as_str), Some("鈴木"));
        assert_eq!(rows[0].attempts().get(), 0);
    }
}

#[tokio::test]
async fn deferred_rows_go_first_and_not_before_their_time() {
    for fresh in Fresh::each().await {
        let (_, approved) = fresh.sending(6).await;
        let worker = fresh.worker().await;
        let three = WorkerTerms { chunk_size: 3, ..TERMS };
        let rows = fresh.store.claim(worker, &approved, &three).await.expect("a claim");
        let mut permits = fresh.turn(worker, &[], rows).await.permits;
        let next_year = Timestamp::from_millis(NOW.millis() + 400 * 86_400_000);
        let later = DeliveryEvent::RelayDeferred { reply: None, retry_at: next_year };
        let not_due = outcome(permits.remove(0), &later);
        let due: Vec<_> = permits.into_iter().map(|permit| outcome(permit, &deferred())).collect();
        fresh.turn(worker, &[vec![not_due], due].concat(), Vec::new()).await;

        let four = WorkerTerms { chunk_size: 4, ..TERMS };
        let rows = fresh.store.claim(worker, &approved, &four).await.expect("a claim");
        let mut attempts: Vec<i32> = rows.iter().map(|row| row.attempts().get()).collect();
        attempts.sort_unstable();
        assert_eq!(attempts, [0, 0, 1, 1], "both that are due, then new ones");
        let left = fresh.claim(worker, &approved).await;
        assert_eq!(left.len(), 1, "the one that is not due stays where it is");
        let waiting = format!("SELECT COUNT(*) AS n FROM delivery WHERE due_at = {}", next_year.millis());
        assert_eq!(fresh.number(&waiting).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_at_the_same_time_never_share_a_row() {
    for fresh in Fresh::each().await {
        let (_, approved) = fresh.sending(400).await;
        let mut claims = Vec::new();
        for n in 0..4 {
            let store = if fresh.is_postgres() { fresh.another_process().await } else { fresh.store.clone() };
            let worker = store.register_worker(&format!("w{n}")).await.expect("a worker");
            let evidence = Approved::verify(
                approved.get().clone(),
                &store.signatures(approved.get().broadcast).await.expect("read"),
                SignaturesRequired::for_release(false),
            )
            .expect("signed");
            claims.push(tokio::spawn(claim_until_empty(store, worker, evidence)));
        }
        let mut all: Vec<DeliveryId> = Vec::new();
        for claim in claims {
            all.extend(claim.await.expect("no panic"));
        }
        let distinct: BTreeSet<DeliveryId> = all.iter().copied().collect();
        assert_eq!((all.len(), distinct.len()), (400, 400));
    }
}

async fn claim_until_empty(store: Store, worker: Worker, approved: Approved<Frozen>) -> Vec<DeliveryId> {
    let terms = WorkerTerms { chunk_size: 7, ..TERMS };
    let (mut mine, mut empty) = (Vec::new(), 0);
    // An empty claim may only mean that the others held every row locked at that moment.
    while empty < 20 && mine.len() <= 400 {
        let rows = store.claim(worker, &approved, &terms).await.expect("a claim");
        empty = if rows.is_empty() { empty + 1 } else { 0 };
        mine.extend(rows.into_iter().map(|row| row.id));
    }
    mine
}

#[tokio::test]
async fn a_row_is_claimed_again_once_its_lease_is_over() {
    for fresh in Fresh::each().await {
        let (_, approved) = fresh.sending(2).await;
        let (first, second) = (fresh.worker().await, fresh.worker().await);
        assert_eq!(fresh.claim(first, &approved).await.len(), 2);
        assert!(fresh.claim(second, &approved).await.is_empty(), "leased");
        fresh.store.release_claims(second).await.expect("gives nothing back");
        assert!(fresh.claim(second, &approved).await.is_empty(), "they are not the second worker's");
        fresh.store.release_claims(first).await.expect("given back");
        let short = fresh.store.claim(second, &approved, &SHORT).await.expect("a claim");
        assert_eq!(short.len(), 2);
        assert_eq!(claim_when_free(&fresh, first, &approved).await.len(), 2, "the short lease ended");
    }
}

/// A stale copy of a claim must not be worth a second permit: two connections would send the same
/// mail (a relay that was away for longer than a lease left such copies behind).
#[tokio::test]
async fn a_claim_whose_lease_ended_gives_no_permit_beside_the_newer_claim() {
    for fresh in Fresh::each().await {
        let (_, approved) = fresh.sending(1).await;
        let worker = fresh.worker().await;
        let stale = fresh.store.claim(worker, &approved, &SHORT).await.expect("a claim");
        let newer = claim_when_free(&fresh, worker, &approved).await;
        assert_eq!((stale[0].id, stale.len(), newer.len()), (newer[0].id, 1, 1), "the same row twice");

        assert!(fresh.turn(worker, &[], stale.clone()).await.permits.is_empty(), "before the newer one");
        let both = fresh.turn(worker, &[], [stale.clone(), newer.clone()].concat()).await;
        assert_eq!((both.permits.len(), both.refused.len()), (1, 1), "in the same commit");
        let after = fresh.turn(worker, &[], stale).await;
        assert_eq!((after.permits.len(), after.refused.len()), (0, 1), "while the newer one is submitted");
        let twice = fresh.turn(worker, &[], [newer.clone(), newer].concat()).await;
        assert_eq!(twice.permits.len(), 1, "two copies of one claim are one permit");
        let done: Vec<_> = both.permits.into_iter().map(|permit| outcome(permit, &accepted())).collect();
        assert_eq!(fresh.turn(worker, &done, Vec::new()).await.fenced, 0);
    }
}

pub(crate) async fn claim_when_free(
    fresh: &Fresh,
    worker: Worker,
    approved: &Approved<Frozen>,
) -> Vec<ClaimedRow> {
    for _ in 0..1_000 {
        let rows = fresh.claim(worker, approved).await;
        if !rows.is_empty() {
            return rows;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("the rows were never free again");
}
