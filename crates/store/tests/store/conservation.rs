//! Counts are conserved, and nobody is sent to twice, under any sequence of operations.

use crate::fresh::{Fresh, NOW, TERMS, accepted, deferred, held, member, rejected};
use domain::{Approved, BroadcastId, BroadcastState, DeliveryEvent, DeliveryState, Frozen, MemberId};
use std::collections::BTreeMap;
use store::{Settlement, StoreError, SubmitPermit, TimeLimit, Worker, WorkerTerms};

const PEOPLE: i64 = 12;
const HELD: i64 = 2;
const STEPS: u32 = 70;

/// Knuth's linear congruential generator: the same seed is the same story.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// What the test knows independently of the database.
#[derive(Default)]
struct Known {
    permits: BTreeMap<MemberId, i64>,
    done: BTreeMap<MemberId, DeliveryState>,
}

struct Story<'a> {
    fresh: &'a Fresh,
    id: BroadcastId,
    approved: Approved<Frozen>,
    workers: [Worker; 2],
    in_flight: Vec<(Worker, SubmitPermit)>,
    known: Known,
    dice: Dice,
}

#[tokio::test]
async fn the_tally_always_equals_the_snapshot_and_nobody_is_sent_to_twice() {
    for fresh in Fresh::each().await {
        for seed in 1..=12 {
            let mut story = Story::begin(&fresh, seed).await;
            for step in 0..STEPS {
                story.step().await;
                story.check(seed, step).await;
            }
        }
        assert!(matches!(fresh.store.verify_audit().await, Ok(Ok(entries)) if entries > 100));
    }
}

impl<'a> Story<'a> {
    async fn begin(fresh: &'a Fresh, seed: u64) -> Self {
        let id = fresh.draft(&format!("story {seed}")).await;
        let rows: Vec<_> = (1..=PEOPLE).map(|n| if n <= HELD { held(n) } else { member(n) }).collect();
        fresh.freeze(id, &rows, crate::fresh::SIGNED).await;
        fresh.sign(fresh.approver, id).await.expect("signed");
        let approved = fresh.release(id).await.expect("released");
        let workers = [fresh.worker().await, fresh.worker().await];
        Self {
            fresh,
            id,
            approved,
            workers,
            in_flight: Vec::new(),
            known: Known::default(),
            dice: Dice(seed),
        }
    }

    async fn step(&mut self) {
        let worker = self.workers[self.dice.roll(2) as usize];
        match self.dice.roll(20) {
            0..=7 => self.begin_some(worker).await,
            8..=14 => self.finish_some(worker).await,
            other => {
                let outcome = self.decide(other, worker).await;
                assert!(
                    matches!(outcome, Ok(()) | Err(StoreError::Refused(_) | StoreError::BroadcastStep(_))),
                    "{outcome:?}"
                );
            }
        }
    }

    async fn begin_some(&mut self, worker: Worker) {
        let terms = WorkerTerms { chunk_size: 1 + self.dice.roll(3) as u32, ..TERMS };
        let rows = self.fresh.store.claim(worker, &self.approved, &terms).await.expect("a claim");
        for permit in self.fresh.turn(worker, &[], rows).await.permits {
            let member = permit.row().member;
            *self.known.permits.entry(member).or_default() += 1;
            assert_eq!(self.known.done.get(&member), None, "{member} is done and must not be sent to");
            assert!(self.in_flight.iter().all(|(_, other)| other.row().member != member), "twice at a time");
            self.in_flight.push((worker, permit));
        }
    }

    async fn finish_some(&mut self, worker: Worker) {
        let (mine, others): (Vec<_>, Vec<_>) =
            self.in_flight.drain(..).partition(|(owner, _)| *owner == worker);
        self.in_flight = others;
        let mut outcomes = Vec::new();
        for (_, permit) in mine {
            let event = match self.dice.roll(5) {
                0 | 1 => accepted(),
                2 => deferred(),
                3 => rejected(),
                _ => DeliveryEvent::OutcomeLost,
            };
            let member = permit.row().member;
            let outcome = crate::fresh::outcome(permit, &event);
            let after = outcome.after().state();
            if matches!(after, DeliveryState::Accepted | DeliveryState::Rejected) {
                self.known.done.insert(member, after);
            }
            outcomes.push(outcome);
        }
        let fenced = self.fresh.turn(worker, &outcomes, Vec::new()).await.fenced;
        assert_eq!(fenced, 0, "nobody declared these rows unknown");
    }

    async fn decide(&mut self, what: u64, worker: Worker) -> Result<(), StoreError> {
        let (store, author, id) = (&self.fresh.store, self.fresh.author, self.id);
        match what {
            15 => store.stop_broadcast(author, id, NOW).await,
            16 => store.resume_broadcast(self.fresh.approver, id, "再開", NOW).await,
            17 => {
                let settlement =
                    if self.dice.roll(3) == 0 { Settlement::Accepted } else { Settlement::Resend };
                store.settle(author, id, settlement, &[], NOW).await?;
                if settlement == Settlement::Accepted {
                    self.note_settled().await;
                }
                Ok(())
            }
            18 => store.complete_if_drained(id, NOW).await.map(|_| ()),
            _ => match self.dice.roll(12) {
                0 => store.run_out_of_time(id, TimeLimit::RetryFor, NOW).await.map(|_| ()),
                1 => store.run_out_of_time(id, TimeLimit::FinishBy, NOW).await.map(|_| ()),
                2 => store.cancel_broadcast(author, id, "中止", NOW).await,
                _ => store.release_claims(worker).await,
            },
        }
    }

    /// Rows that a person settled as accepted are done as well.
    async fn note_settled(&mut self) {
        for row in self.fresh.rows(self.id).await {
            if row.state == "accepted" {
                self.known.done.insert(MemberId::new(row.member_id), DeliveryState::Accepted);
            }
        }
    }

    async fn check(&self, seed: u64, step: u32) {
        let (rows, tally) = (self.fresh.rows(self.id).await, self.fresh.tally(self.id).await);
        let place = format!("seed {seed}, step {step}: {tally:?}");
        assert_eq!(tally.total(), PEOPLE as u64, "{place}");
        assert_eq!(tally.held, HELD as u64, "{place}");
        assert_eq!(tally.submitting, self.in_flight.len() as u64, "{place}");
        for row in rows {
            let member = MemberId::new(row.member_id);
            let sent = self.known.permits.get(&member).copied().unwrap_or_default();
            assert_eq!(row.attempts, sent, "{place}: one permit, one attempt");
            if let Some(done) = self.known.done.get(&member) {
                assert_eq!(row.state, done.as_str(), "{place}: {member} is done");
            }
        }
        if self.fresh.broadcast(self.id).await.state == BroadcastState::Completed {
            assert_eq!(tally.open(), 0, "{place}");
        }
    }
}
