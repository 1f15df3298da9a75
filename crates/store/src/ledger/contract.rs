//! What a broadcaster asks of a ledger. [`Store`] is the one that ships; the seam is there so that
//! the broadcaster can be run in simulated time over a model of it ([`crate::model`]).

use super::{ClaimedRow, Limits, Outcome, Settlement, TimeLimit, Turn, Worker, WorkerTerms};
use crate::{Broadcast, Engine, Store, StoreError};
use domain::{Actor, Approved, BroadcastId, BroadcastState, Frozen, Signature, SnapshotRow, Timestamp};

/// Same words, same promises as the methods of [`Store`].
pub trait Ledger: Clone + Send + Sync + 'static {
    /// Registers a sending process.
    fn register_worker(&self, name: &str) -> impl Future<Output = Result<Worker, StoreError>> + Send;

    /// Says that a worker is alive; false where it was declared dead.
    fn beat(&self, worker: Worker) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Says what keeps a worker from its relays; none where nothing does.
    fn note_trouble(
        &self,
        worker: Worker,
        trouble: Option<&str>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Declares what dead workers left behind; how many rows became unknown.
    fn recover(&self, worker: Worker) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Claims rows that are due and free.
    fn claim(
        &self,
        worker: Worker,
        approved: &Approved<Frozen>,
        terms: &WorkerTerms,
    ) -> impl Future<Output = Result<Vec<ClaimedRow>, StoreError>> + Send;

    /// Gives unsent rows back.
    fn release_claims(&self, worker: Worker) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// How many turns of one worker may be under way: more than one where they do not wait for each
    /// other's commit.
    fn turns_at_once(&self) -> usize;

    /// Writes outcomes and intents in one durable commit and mints the permits.
    fn turn(
        &self,
        worker: Worker,
        outcomes: &[Outcome],
        intents: Vec<ClaimedRow>,
        terms: &WorkerTerms,
    ) -> impl Future<Output = Result<Turn, StoreError>> + Send;

    /// Forgets submissions that no window counts any more.
    fn forget_seats(&self, limits: &Limits) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// All broadcasts in a state.
    fn broadcasts_in(
        &self,
        state: BroadcastState,
    ) -> impl Future<Output = Result<Vec<Broadcast>, StoreError>> + Send;

    /// Every row as it was frozen, in the order of the digest.
    fn each_frozen_row(
        &self,
        id: BroadcastId,
        row: impl FnMut(&SnapshotRow) + Send,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Signatures that stand.
    fn signatures(&self, id: BroadcastId) -> impl Future<Output = Result<Vec<Signature>, StoreError>> + Send;

    /// Whether a broadcast has unknown rows.
    fn has_unknown(&self, id: BroadcastId) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Settles unknown rows.
    fn settle(
        &self,
        actor: Actor,
        id: BroadcastId,
        settlement: Settlement,
        members: &[String],
        now: Timestamp,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Gives up rows that are open and not being submitted.
    fn run_out_of_time(
        &self,
        id: BroadcastId,
        what: TimeLimit,
        now: Timestamp,
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Marks a sending broadcast as completed if no row is open; whether it did.
    fn complete_if_drained(
        &self,
        id: BroadcastId,
        now: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

impl Ledger for Store {
    fn turns_at_once(&self) -> usize {
        match self.engine() {
            Engine::Sqlite => 1,
            Engine::Postgres => 2,
        }
    }

    async fn register_worker(&self, name: &str) -> Result<Worker, StoreError> {
        self.register_worker(name).await
    }

    async fn beat(&self, worker: Worker) -> Result<bool, StoreError> {
        self.beat(worker).await
    }

    async fn note_trouble(&self, worker: Worker, trouble: Option<&str>) -> Result<(), StoreError> {
        self.note_trouble(worker, trouble).await
    }

    async fn recover(&self, worker: Worker) -> Result<u64, StoreError> {
        self.recover(worker).await
    }

    async fn claim(
        &self,
        worker: Worker,
        approved: &Approved<Frozen>,
        terms: &WorkerTerms,
    ) -> Result<Vec<ClaimedRow>, StoreError> {
        self.claim(worker, approved, terms).await
    }

    async fn release_claims(&self, worker: Worker) -> Result<(), StoreError> {
        self.release_claims(worker).await
    }

    async fn turn(
        &self,
        worker: Worker,
        outcomes: &[Outcome],
        intents: Vec<ClaimedRow>,
        terms: &WorkerTerms,
    ) -> Result<Turn, StoreError> {
        self.turn(worker, outcomes, intents, terms).await
    }

    async fn forget_seats(&self, limits: &Limits) -> Result<(), StoreError> {
        self.forget_seats(limits).await
    }

    async fn broadcasts_in(&self, state: BroadcastState) -> Result<Vec<Broadcast>, StoreError> {
        self.broadcasts_in(state).await
    }

    async fn each_frozen_row(
        &self,
        id: BroadcastId,
        row: impl FnMut(&SnapshotRow) + Send,
    ) -> Result<(), StoreError> {
        self.each_frozen_row(id, row).await
    }

    async fn signatures(&self, id: BroadcastId) -> Result<Vec<Signature>, StoreError> {
        self.signatures(id).await
    }

    async fn has_unknown(&self, id: BroadcastId) -> Result<bool, StoreError> {
        self.has_unknown(id).await
    }

    async fn settle(
        &self,
        actor: Actor,
        id: BroadcastId,
        settlement: Settlement,
        members: &[String],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.settle(actor, id, settlement, members, now).await
    }

    async fn run_out_of_time(
        &self,
        id: BroadcastId,
        what: TimeLimit,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.run_out_of_time(id, what, now).await
    }

    async fn complete_if_drained(&self, id: BroadcastId, now: Timestamp) -> Result<bool, StoreError> {
        self.complete_if_drained(id, now).await
    }
}
