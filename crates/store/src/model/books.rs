//! What the database would hold, and the operations as its statements do them.

use super::seats::Seat;
use crate::{
    Broadcast, ClaimedRow, FreezeRow, Outcome, SILENCE_MAX, Settlement, StoreError, SubmitPermit, TimeLimit,
    Turn, Worker, WorkerTerms, ledger::attempts_of,
};
use domain::{
    BroadcastEvent, BroadcastId, BroadcastState, Delivery, DeliveryEvent, DeliveryId, DeliveryState, LeaseId,
    Signature, SnapshotRow, Timestamp, retry_wait,
};
use std::{collections::BTreeMap, sync::Arc};
use tokio::time::Instant;

/// When simulated time begins: any day will do.
const EPOCH_MS: i64 = 1_795_000_000_000;

/// A bug of a ledger, planted to see whether it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LedgerBug {
    /// A row counts as sent once it was fetched.
    CheckpointAtFetch,
    /// Outcomes are kept back and written many at once.
    OutcomesInBatches,
    /// The permit is given without a durable intent.
    PermitBeforeCommit,
    /// Dead workers keep what they had.
    LeaseNeverExpires,
    /// Each worker counts for itself.
    LimitPerWorker,
    /// A window counts from when a mail was begun, not from when it was over.
    WindowCountsIntents,
    /// A stop is looked at when rows are fetched, and not again.
    StopOnlyAtFetch,
    /// The end of a notice is looked at when rows are fetched, and not again.
    EndOnlyAtFetch,
    /// Whoever claims a row may submit it, whoever else holds it.
    NoFence,
    /// What a dead worker was submitting goes back to the others.
    LostIsPending,
    /// A deferred row is due at once.
    RetryAtOnce,
    /// A refusal for good is tried again.
    RejectedIsDeferred,
    /// A broadcast is over when nothing is pending, whatever is deferred.
    CompletedTooEarly,
    /// A row that is being submitted when time runs out is given up.
    GivesUpWhatIsUnderWay,
    /// A lost answer is taken for an acceptance.
    LostIsAccepted,
    /// An outcome is written to the row after the one it belongs to.
    OutcomeOfTheNeighbour,
}

/// A ledger row and what became of it.
#[derive(Debug, Clone)]
pub struct ModelRow {
    /// Row.
    pub id: DeliveryId,
    /// As frozen.
    pub frozen: FreezeRow,
    /// As it stands.
    pub delivery: Delivery,
    /// How often an attempt's outcome was not known.
    pub unknown: u32,
    broadcast: BroadcastId,
    lease: LeaseId,
    lease_until: Timestamp,
    due_at: Timestamp,
    settled_at: Timestamp,
}

struct WorkerRow {
    seen_at: Timestamp,
    ended: bool,
}

/// The database.
pub struct Books {
    began: Instant,
    rows: Vec<ModelRow>,
    broadcasts: BTreeMap<BroadcastId, (Broadcast, Vec<Signature>)>,
    workers: BTreeMap<LeaseId, WorkerRow>,
    pub(super) seats: Vec<Seat>,
    pub(super) bug: Option<LedgerBug>,
    kept_back: Vec<(Worker, Outcome)>,
    most_submitting: usize,
}

const NOBODY: LeaseId = LeaseId::new(0);

impl Books {
    /// Empty, and with this bug.
    #[must_use]
    pub fn new(bug: Option<LedgerBug>) -> Self {
        Self {
            began: Instant::now(),
            rows: Vec::new(),
            broadcasts: BTreeMap::new(),
            workers: BTreeMap::new(),
            seats: Vec::new(),
            bug,
            kept_back: Vec::new(),
            most_submitting: 0,
        }
    }

    /// The database's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(EPOCH_MS).plus(self.began.elapsed())
    }

    /// A frozen, signed broadcast is released.
    pub fn release(&mut self, mut broadcast: Broadcast, rows: Vec<FreezeRow>, signatures: Vec<Signature>) {
        broadcast.released_at = Some(self.now());
        for frozen in rows {
            self.rows.push(ModelRow {
                id: DeliveryId::new(self.rows.len() as i64 + 1),
                frozen,
                delivery: Delivery::Pending,
                unknown: 0,
                broadcast: broadcast.id,
                lease: NOBODY,
                lease_until: Timestamp::from_millis(0),
                due_at: Timestamp::from_millis(0),
                settled_at: Timestamp::from_millis(0),
            });
        }
        self.broadcasts.insert(broadcast.id, (broadcast, signatures));
    }

    /// A person stops or resumes; whether the broadcast was in a state for it.
    pub fn step(&mut self, id: BroadcastId, event: BroadcastEvent) -> bool {
        let Some((broadcast, _)) = self.broadcasts.get_mut(&id) else { return false };
        let Ok(after) = broadcast.state.next(event) else { return false };
        broadcast.state = after;
        true
    }

    /// Changes rows behind everybody's back.
    pub fn tamper(&mut self, change: impl FnMut(&mut FreezeRow)) {
        self.rows.iter_mut().map(|row| &mut row.frozen).for_each(change);
    }

    /// Where a broadcast stands.
    #[must_use]
    pub fn state(&self, id: BroadcastId) -> Option<BroadcastState> {
        self.broadcasts.get(&id).map(|(broadcast, _)| broadcast.state)
    }

    /// All rows as they stand.
    #[must_use]
    pub fn export(&self) -> Vec<ModelRow> {
        self.rows.clone()
    }

    /// How many rows were being submitted at once under one worker's name, at most.
    #[must_use]
    pub fn most_submitting(&self) -> usize {
        self.most_submitting
    }

    pub(super) fn register_worker(&mut self) -> Worker {
        let id = LeaseId::new(self.workers.len() as i64 + 1);
        self.workers.insert(id, WorkerRow { seen_at: self.now(), ended: false });
        Worker { id }
    }

    pub(super) fn beat(&mut self, worker: Worker) -> bool {
        let now = self.now();
        let Some(row) = self.workers.get_mut(&worker.id).filter(|row| !row.ended) else { return false };
        row.seen_at = now;
        true
    }

    pub(super) fn recover(&mut self, worker: Worker) -> Result<u64, StoreError> {
        if self.bug == Some(LedgerBug::LeaseNeverExpires) {
            return Ok(0);
        }
        let now = self.now();
        let silent_since = now.minus(SILENCE_MAX);
        let silent = |(id, row): &(&LeaseId, &mut WorkerRow)| {
            **id != worker.id && !row.ended && row.seen_at < silent_since
        };
        let dead: Vec<LeaseId> = self
            .workers
            .iter_mut()
            .filter(silent)
            .map(|(id, row)| {
                row.ended = true;
                *id
            })
            .collect();
        dead.iter().for_each(|dead| self.free_claims(*dead));
        let (workers, bug) = (&self.workers, self.bug);
        let mut lost = Vec::new();
        for row in &mut self.rows {
            let over = row.lease_until < now || workers.get(&row.lease).is_none_or(|worker| worker.ended);
            if row.delivery.state() != DeliveryState::Submitting || row.lease == worker.id || !over {
                continue;
            }
            row.delivery = if bug == Some(LedgerBug::LostIsPending) {
                Delivery::Pending
            } else {
                row.unknown += 1;
                row.delivery.clone().next(&DeliveryEvent::OutcomeLost)?
            };
            row.free();
            row.settled_at = now;
            lost.push(row.id);
        }
        self.leave_seats(&lost);
        Ok(lost.len() as u64)
    }

    pub(super) fn free_claims(&mut self, worker: LeaseId) {
        let theirs = |row: &&mut ModelRow| row.lease == worker && row.is_open();
        self.rows.iter_mut().filter(theirs).for_each(ModelRow::free);
    }

    pub(super) fn claim(&mut self, worker: Worker, id: BroadcastId, terms: &WorkerTerms) -> Vec<ClaimedRow> {
        let (now, bug) = (self.now(), self.bug);
        let alive = self.workers.get(&worker.id).is_some_and(|row| !row.ended);
        if !alive || !self.is_sending(id) {
            return Vec::new();
        }
        let due = |row: &ModelRow| row.due_at <= now || bug == Some(LedgerBug::RetryAtOnce);
        let mut free: Vec<&mut ModelRow> = self
            .rows
            .iter_mut()
            .filter(|row| row.broadcast == id && row.is_open() && due(row) && row.lease_until < now)
            .collect();
        free.sort_by_key(|row| (row.delivery.state() == DeliveryState::Pending, row.due_at, row.id));
        free.truncate(terms.chunk_size as usize);
        free.into_iter()
            .map(|row| {
                row.lease = worker.id;
                row.lease_until = now.plus(terms.chunk_budget);
                let claimed = row.claimed();
                if bug == Some(LedgerBug::CheckpointAtFetch) {
                    row.delivery = Delivery::Accepted { attempt: claimed.attempts(), reply: None };
                }
                claimed
            })
            .collect()
    }

    pub(super) fn turn(
        &mut self,
        worker: Worker,
        outcomes: &[Outcome],
        intents: Vec<ClaimedRow>,
        terms: &WorkerTerms,
    ) -> Result<Turn, StoreError> {
        let mut turn = Turn { fenced: self.write_outcomes(worker, outcomes), ..Turn::default() };
        for row in intents {
            let lease_until = row.lease_until.plus(terms.submission_max);
            if !self.may_send(row.broadcast) {
                self.take_back(worker, &row, lease_until);
                turn.refused.push(row);
                continue;
            }
            let seat = (row.id, row.attempts().following().get(), row.address.domain());
            match self.take_seat(&terms.limits, worker.id, seat, lease_until) {
                Err(full) => turn.full.push((row, full)),
                Ok(()) if self.write_intent(worker, &row, lease_until) => {
                    let intent =
                        row.delivery.clone().next(&DeliveryEvent::IntentCommitted { lease_until })?;
                    turn.permits.push(SubmitPermit::mint(row, intent));
                }
                Ok(()) => {
                    self.leave_seats(&[row.id]);
                    turn.refused.push(row);
                }
            }
        }
        let submitting = self.rows.iter().filter(|row| row.delivery.state() == DeliveryState::Submitting);
        let mine = submitting.filter(|row| row.lease == worker.id).count();
        self.most_submitting = self.most_submitting.max(mine);
        Ok(turn)
    }

    /// How many came too late.
    fn write_outcomes(&mut self, worker: Worker, outcomes: &[Outcome]) -> u64 {
        let mut fenced = 0;
        let mut due: Vec<(Worker, Outcome)> =
            outcomes.iter().map(|outcome| (worker, outcome.clone())).collect();
        if self.bug == Some(LedgerBug::OutcomesInBatches) {
            self.kept_back.append(&mut due);
            if self.kept_back.len() >= 8 {
                due = std::mem::take(&mut self.kept_back);
            }
        }
        for (worker, mut outcome) in due {
            if self.bug == Some(LedgerBug::OutcomeOfTheNeighbour) {
                outcome.row = DeliveryId::new(outcome.row.get() % self.rows.len() as i64 + 1);
            }
            self.leave_seats(&[outcome.row]);
            let bug = self.bug;
            let Some(row) = self.rows.iter_mut().find(|row| row.id == outcome.row) else { continue };
            let here = row.delivery.state() == DeliveryState::Submitting
                || (row.delivery == outcome.after && row.settled_at == outcome.at);
            let intent_is_there = bug != Some(LedgerBug::PermitBeforeCommit);
            let attempts = attempts_of(&row.delivery);
            if intent_is_there && (!here || row.lease != worker.id || attempts != outcome.attempt) {
                fenced += 1;
                continue;
            }
            if row.delivery != outcome.after && outcome.after.state() == DeliveryState::Unknown {
                row.unknown += 1;
            }
            row.delivery = match outcome.after {
                Delivery::Rejected { attempt, reply } if bug == Some(LedgerBug::RejectedIsDeferred) => {
                    Delivery::Deferred { attempt, retry_at: outcome.at, reply: Some(reply) }
                }
                Delivery::Unknown { attempt } if bug == Some(LedgerBug::LostIsAccepted) => {
                    Delivery::Accepted { attempt, reply: None }
                }
                after => after,
            };
            row.lease_until = Timestamp::from_millis(0);
            row.settled_at = outcome.at;
            if let Delivery::Deferred { retry_at, .. } = &row.delivery {
                row.due_at = *retry_at;
            }
        }
        fenced
    }

    /// Whether the row is this worker's to submit now.
    fn write_intent(&mut self, worker: Worker, wanted: &ClaimedRow, lease_until: Timestamp) -> bool {
        let (now, bug) = (self.now(), self.bug);
        let Some(row) = self.rows.iter_mut().find(|row| row.id == wanted.id) else { return false };
        let attempts = attempts_of(&row.delivery);
        let first = row.is_open()
            && attempts == wanted.attempts()
            && row.lease_until == wanted.lease_until
            && row.lease_until > now;
        let again = row.delivery.state() == DeliveryState::Submitting
            && attempts == wanted.attempts().following()
            && row.lease_until == lease_until;
        let ours = row.lease == worker.id && (first || again);
        match bug {
            Some(LedgerBug::CheckpointAtFetch | LedgerBug::PermitBeforeCommit) => return true,
            Some(LedgerBug::NoFence) => {}
            _ if !ours => return false,
            _ => {}
        }
        row.delivery = Delivery::Submitting { attempt: wanted.attempts().following(), lease_until };
        row.lease = worker.id;
        row.lease_until = lease_until;
        true
    }

    /// A first try may have made the intent durable; its permit was never given out.
    fn take_back(&mut self, worker: Worker, wanted: &ClaimedRow, lease_until: Timestamp) {
        let retry_at = self.now();
        let Some(row) = self.rows.iter_mut().find(|row| row.id == wanted.id) else { return };
        let Delivery::Submitting { attempt, .. } = row.delivery else { return };
        if row.lease == worker.id && row.lease_until == lease_until {
            row.delivery = Delivery::Deferred { attempt, retry_at, reply: None };
            row.due_at = retry_at;
            row.free();
            self.leave_seats(&[wanted.id]);
        }
    }

    fn may_send(&self, id: BroadcastId) -> bool {
        let Some((broadcast, _)) = self.broadcasts.get(&id) else { return false };
        let stopped =
            broadcast.state != BroadcastState::Sending && self.bug != Some(LedgerBug::StopOnlyAtFetch);
        let ended = broadcast.finish_by.is_some_and(|end| end <= self.now());
        !stopped && (!ended || self.bug == Some(LedgerBug::EndOnlyAtFetch))
    }

    fn is_sending(&self, id: BroadcastId) -> bool {
        self.state(id) == Some(BroadcastState::Sending)
    }

    pub(super) fn broadcasts_in(&self, state: BroadcastState) -> Vec<Broadcast> {
        let all = self.broadcasts.values().map(|(broadcast, _)| broadcast);
        all.filter(|broadcast| broadcast.state == state).cloned().collect()
    }

    pub(super) fn frozen_rows(&self, id: BroadcastId) -> Vec<SnapshotRow> {
        self.rows.iter().filter(|row| row.broadcast == id).map(|row| row.frozen.snapshot()).collect()
    }

    pub(super) fn signatures(&self, id: BroadcastId) -> Vec<Signature> {
        self.broadcasts.get(&id).map(|(_, signatures)| signatures.clone()).unwrap_or_default()
    }

    pub(super) fn has_unknown(&self, id: BroadcastId) -> bool {
        let unknown = |row: &ModelRow| row.broadcast == id && row.delivery.state() == DeliveryState::Unknown;
        self.rows.iter().any(unknown)
    }

    pub(super) fn settle(
        &mut self,
        id: BroadcastId,
        settlement: Settlement,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut settled = 0;
        for row in self.rows.iter_mut().filter(|row| row.broadcast == id) {
            let Delivery::Unknown { attempt } = row.delivery else { continue };
            let retry_at = match settlement {
                Settlement::ResendLater { first_wait } => now.plus(retry_wait(first_wait, attempt)),
                Settlement::Resend | Settlement::Accepted => now,
            };
            row.delivery = row.delivery.clone().next(&DeliveryEvent::SettledForResend { retry_at })?;
            row.due_at = retry_at;
            row.free();
            settled += 1;
        }
        if settled > 0 {
            self.step(id, BroadcastEvent::Reopened);
        }
        Ok(settled)
    }

    pub(super) fn run_out_of_time(&mut self, id: BroadcastId, what: TimeLimit) -> Result<u64, StoreError> {
        let under_way = self.bug == Some(LedgerBug::GivesUpWhatIsUnderWay);
        let mut rows = 0;
        for row in self.rows.iter_mut().filter(|row| row.broadcast == id) {
            match (row.delivery.state(), what) {
                (DeliveryState::Pending, TimeLimit::FinishBy) | (DeliveryState::Deferred, _) => {
                    row.delivery = row.delivery.clone().next(&DeliveryEvent::TimeRanOut)?;
                }
                (DeliveryState::Submitting, TimeLimit::FinishBy) if under_way => {
                    row.delivery = Delivery::GaveUp { attempts: attempts_of(&row.delivery) };
                }
                _ => continue,
            }
            rows += 1;
        }
        Ok(rows)
    }

    pub(super) fn complete_if_drained(&mut self, id: BroadcastId, now: Timestamp) -> bool {
        let early = self.bug == Some(LedgerBug::CompletedTooEarly);
        let open = |row: &ModelRow| match row.delivery.state() {
            DeliveryState::Pending | DeliveryState::Submitting => true,
            DeliveryState::Deferred => !early,
            _ => false,
        };
        if !self.is_sending(id) || self.rows.iter().any(|row| row.broadcast == id && open(row)) {
            return false;
        }
        self.step(id, BroadcastEvent::Drained);
        if let Some((broadcast, _)) = self.broadcasts.get_mut(&id) {
            broadcast.completed_at = Some(now);
        }
        true
    }
}

impl ModelRow {
    fn is_open(&self) -> bool {
        matches!(self.delivery, Delivery::Pending | Delivery::Deferred { .. })
    }

    fn free(&mut self) {
        self.lease = NOBODY;
        self.lease_until = Timestamp::from_millis(0);
    }

    fn claimed(&self) -> ClaimedRow {
        let frozen = &self.frozen;
        ClaimedRow {
            id: self.id,
            broadcast: self.broadcast,
            member: frozen.member,
            address: frozen.address.clone().expect("invariant: a model's rows have addresses"),
            fields: Arc::new(serde_json::from_str(&frozen.fields).unwrap_or_default()),
            message_id: frozen.message_id.clone(),
            lease_until: self.lease_until,
            delivery: self.delivery.clone(),
        }
    }
}
