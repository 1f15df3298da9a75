//! One commit of outcomes and intents (law 4).

use crate::fresh::{Fresh, NOW, SHORT, TERMS, accepted, deferred, outcome, rejected, spend};
use domain::{DeliveryEvent, DeliveryState};
use sea_orm::ConnectionTrait;
use store::{ClaimedRow, SubmitPermit, WorkerTerms};

#[tokio::test]
async fn an_outcome_and_the_next_intent_share_a_commit() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(2).await;
        let worker = fresh.worker().await;
        let mut rows = fresh.claim(worker, &approved).await;
        let (next, first) = (rows.pop().expect("two rows"), rows.pop().expect("two rows"));
        let permit = only(fresh.turn(worker, &[], vec![first]).await.permits);
        assert_eq!(permit.attempt().get(), 1);
        assert_eq!(fresh.count(id, DeliveryState::Submitting).await, 1);

        let turn = fresh.turn(worker, &[outcome(permit, &accepted())], vec![next]).await;
        let tally = fresh.tally(id).await;
        assert_eq!(
            (tally.accepted, tally.submitting),
            (1, 1),
            "never two open submissions on one connection"
        );
        assert_eq!(turn.fenced, 0);
        fresh.turn(worker, &spend(turn.permits, &rejected()), Vec::new()).await;
        let ledger = fresh.rows(id).await;
        assert_eq!((ledger[0].smtp_code, ledger[1].smtp_code), (Some(250), Some(550)));
        assert_eq!(ledger[1].enhanced_code.as_deref(), Some("5.1.1"));
        assert_eq!(ledger[1].reply.as_deref(), Some("no such recipient"));
        for row in ledger {
            assert_eq!((row.attempts, row.settled_at), (1, Some(NOW.millis())));
            assert_eq!(row.relay.as_deref(), Some("relay.example.jp:25"));
            assert!(row.submitted_at.is_some());
        }
    }
}

#[tokio::test]
async fn every_outcome_finds_its_column() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(4).await;
        let worker = fresh.worker().await;
        let events = [accepted(), deferred(), rejected(), DeliveryEvent::OutcomeLost];
        let permits = fresh.permits(worker, &approved).await;
        let outcomes: Vec<_> =
            permits.into_iter().zip(&events).map(|(permit, event)| outcome(permit, event)).collect();
        assert_eq!(fresh.turn(worker, &outcomes, Vec::new()).await.fenced, 0);
        let tally = fresh.tally(id).await;
        assert_eq!((tally.accepted, tally.deferred, tally.rejected, tally.unknown), (1, 1, 1, 1));
        assert_eq!(fresh.number("SELECT MAX(due_at) AS n FROM delivery").await, 1, "due again at once");
    }
}

/// A commit whose answer was lost may have happened: the same turn again finds its own traces.
#[tokio::test]
async fn repeating_a_turn_is_the_same_as_one_turn() {
    for fresh in Fresh::each().await {
        for (key, event) in
            [("a", accepted()), ("d", deferred()), ("r", rejected()), ("l", DeliveryEvent::OutcomeLost)]
        {
            let (id, approved) = fresh.sending_as(key, 2).await;
            let worker = fresh.worker().await;
            let mut rows = fresh.claim(worker, &approved).await;
            let next = vec![rows.pop().expect("two rows")];
            let outcomes = spend(fresh.turn(worker, &[], rows).await.permits, &event);
            let lost = fresh.turn(worker, &outcomes, next.clone()).await;
            let once = (fresh.tally(id).await, settled(fresh.rows(id).await));
            let again = fresh.turn(worker, &outcomes, next).await;
            assert_eq!((lost.fenced, again.fenced), (0, 0), "{key}: an outcome already written is no loss");
            assert_eq!((fresh.tally(id).await, settled(fresh.rows(id).await)), once, "{key}");
            assert_eq!(only(again.permits).attempt().get(), 1, "{key}: the intent counts once");
        }
    }
}

/// The first try is still committing when the same turn is asked for again: PostgreSQL then looks
/// anew at each row that the first one changed, and must find every one of them.
#[tokio::test]
async fn a_turn_repeated_while_its_first_try_commits_grants_every_intent() {
    for fresh in Fresh::each().await {
        if !fresh.is_postgres() {
            continue;
        }
        let (_, approved) = fresh.sending(8).await;
        let worker = fresh.worker().await;
        let rows = fresh.claim(worker, &approved).await;
        fresh.plans_as_for_a_large_ledger().await;
        let (first, second) = (fresh.another_process().await, fresh.another_process().await);
        let trying = first.write().await.expect("a transaction");
        let what_it_writes = "UPDATE delivery SET state = 'submitting', attempts = 1, submitted_at = 1, \
                              lease_until = lease_until + 600000";
        trying.execute_unprepared(what_it_writes).await.expect("written");
        let again = tokio::spawn(async move { second.turn(worker, &[], rows, &TERMS).await });
        let waiting = "SELECT COUNT(*) AS n FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while fresh.number(waiting).await == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        trying.commit().await.expect("committed");
        assert_eq!(again.await.expect("it ends").expect("a turn").permits.len(), 8);
    }
}

fn settled(rows: Vec<store::LedgerRow>) -> Vec<(String, i64, Option<i64>, Option<i64>)> {
    rows.into_iter().map(|row| (row.state, row.attempts, row.smtp_code, row.settled_at)).collect()
}

/// Between the lost answer and the repetition a person stopped: nothing may be submitted, and
/// nothing was, so the row does not stay as if it were.
#[tokio::test]
async fn a_stop_between_a_turn_and_its_repetition_gives_no_permit() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(1).await;
        let worker = fresh.worker().await;
        let rows = fresh.claim(worker, &approved).await;
        drop(fresh.turn(worker, &[], rows.clone()).await);
        fresh.store.stop_broadcast(fresh.author, id, NOW).await.expect("stopped");
        let again = fresh.turn(worker, &[], rows).await;
        assert_eq!((again.permits.len(), again.refused.len()), (0, 1));
        let tally = fresh.tally(id).await;
        assert_eq!((tally.total(), tally.submitting, tally.deferred), (1, 0, 1));
    }
}

/// Both would move the row: which one does must not be left to the database.
#[tokio::test]
async fn a_second_copy_of_a_claim_gives_no_permit_beside_the_outcome_of_the_first() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(1).await;
        let worker = fresh.worker().await;
        let rows = fresh.claim(worker, &approved).await;
        let outcomes = spend(fresh.turn(worker, &[], rows.clone()).await.permits, &accepted());
        let turn = fresh.turn(worker, &outcomes, rows).await;
        assert_eq!((turn.fenced, turn.permits.len(), turn.refused.len()), (0, 0, 1));
        assert_eq!(fresh.tally(id).await.accepted, 1);
    }
}

#[tokio::test]
async fn a_stop_between_claim_and_turn_gives_no_permit() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(3).await;
        let worker = fresh.worker().await;
        let rows = fresh.claim(worker, &approved).await;
        fresh.store.stop_broadcast(fresh.author, id, NOW).await.expect("stopped");
        let turn = fresh.turn(worker, &[], rows.clone()).await;
        assert_eq!((turn.permits.len(), turn.refused.len()), (0, 3));
        assert_eq!(fresh.count(id, DeliveryState::Pending).await, 3, "untouched");
        fresh.store.resume_broadcast(fresh.approver, id, "再開", NOW).await.expect("resumed");
        let turn = fresh.turn(worker, &[], rows).await;
        assert_eq!(turn.permits.len(), 0, "a claim from before the stop is over");
    }
}

#[tokio::test]
async fn a_cancelled_broadcast_gives_no_permit_and_keeps_what_was_in_flight() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(3).await;
        let worker = fresh.worker().await;
        let mut rows = fresh.claim(worker, &approved).await;
        let in_flight = only(fresh.turn(worker, &[], vec![rows.pop().expect("three")]).await.permits);
        fresh.store.cancel_broadcast(fresh.author, id, "中止", NOW).await.expect("cancelled");
        let turn = fresh.turn(worker, &[outcome(in_flight, &accepted())], rows).await;
        assert_eq!((turn.fenced, turn.permits.len()), (0, 0));
        let tally = fresh.tally(id).await;
        assert_eq!((tally.accepted, tally.cancelled, tally.total()), (1, 2, 3));
    }
}

#[tokio::test]
async fn a_lease_that_is_over_gives_no_permit() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(1).await;
        let worker = fresh.worker().await;
        let rows = fresh.store.claim(worker, &approved, &SHORT).await.expect("a claim");
        let over = rows[0].lease_until;
        while fresh.store.now().await.expect("the clock") <= over {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let turn = fresh.turn(worker, &[], rows).await;
        assert_eq!((turn.permits.len(), turn.refused.len()), (0, 1));
        assert_eq!(fresh.count(id, DeliveryState::Pending).await, 1);
    }
}

#[tokio::test]
async fn nobody_gets_a_permit_for_another_workers_row() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(2).await;
        let (owner, thief) = (fresh.worker().await, fresh.worker().await);
        let rows = fresh.claim(owner, &approved).await;
        let turn = fresh.turn(thief, &[], rows.clone()).await;
        assert_eq!((turn.permits.len(), turn.refused.len()), (0, 2));
        let permits = fresh.turn(owner, &[], rows.clone()).await.permits;
        assert_eq!(fresh.turn(thief, &[], rows).await.permits.len(), 0, "nor while they are submitted");
        let stolen = spend(permits, &accepted());
        assert_eq!(fresh.turn(thief, &stolen, Vec::new()).await.fenced, 2, "nor may it settle them");
        assert_eq!(fresh.count(id, DeliveryState::Submitting).await, 2);
        assert_eq!(fresh.turn(owner, &stolen, Vec::new()).await.fenced, 0);
        assert_eq!(fresh.count(id, DeliveryState::Accepted).await, 2);
    }
}

#[tokio::test]
async fn a_row_that_is_settled_gives_no_permit() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(1).await;
        let worker = fresh.worker().await;
        let rows = fresh.claim(worker, &approved).await;
        let done = spend(fresh.turn(worker, &[], rows.clone()).await.permits, &accepted());
        fresh.turn(worker, &done, Vec::new()).await;
        assert_eq!(fresh.turn(worker, &[], rows).await.permits.len(), 0);
        assert_eq!(fresh.count(id, DeliveryState::Accepted).await, 1);
    }
}

#[tokio::test]
async fn a_turn_serves_several_broadcasts_and_stops_only_the_stopped_one() {
    for fresh in Fresh::each().await {
        let ((one, first), (other, second)) =
            (fresh.sending_as("one", 2).await, fresh.sending_as("other", 2).await);
        let worker = fresh.worker().await;
        let rows: Vec<ClaimedRow> =
            [fresh.claim(worker, &first).await, fresh.claim(worker, &second).await].concat();
        fresh.store.stop_broadcast(fresh.author, one, NOW).await.expect("stopped");
        let turn = fresh.turn(worker, &[], rows).await;
        assert_eq!((turn.permits.len(), turn.refused.len()), (2, 2));
        assert!(turn.permits.iter().all(|permit| permit.row().broadcast == other));
    }
}

/// The sweep looks a few times a second; the end of a notice holds to the moment.
#[tokio::test]
async fn nothing_leaves_after_the_end_of_a_notice() {
    for fresh in Fresh::each().await {
        let id = fresh.draft("a").await;
        let now = fresh.store.now().await.expect("the clock");
        let mut notice = fresh.notice("a");
        notice.finish_by = Some(now.plus(TERMS.submission_max));
        fresh.store.edit_broadcast(fresh.author, id, &notice, NOW).await.expect("edited");
        fresh.freeze(id, &crate::fresh::members(2), crate::fresh::SIGNED).await;
        fresh.sign(fresh.approver, id).await.expect("signed");
        let approved = fresh.release(id).await.expect("released");
        let worker = fresh.worker().await;
        let one = WorkerTerms { chunk_size: 1, ..TERMS };
        let rows = fresh.store.claim(worker, &approved, &one).await.expect("a claim");
        assert_eq!(fresh.turn(worker, &[], rows).await.permits.len(), 1, "before its end");
        let rows = fresh.claim(worker, &approved).await;
        fresh.tamper(&format!("UPDATE broadcast SET finish_by = {} WHERE id = {id}", now.millis() - 1)).await;
        assert_eq!(fresh.turn(worker, &[], rows).await.permits.len(), 0, "after its end");
    }
}

fn only(mut permits: Vec<SubmitPermit>) -> SubmitPermit {
    assert_eq!(permits.len(), 1);
    permits.remove(0)
}
