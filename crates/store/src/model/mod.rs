//! The ledger as a model in memory: the same promises as [`crate::Store`]'s, in the time of tokio's
//! clock, with [`Weather`] around every operation. Simulations run the broadcaster over it; what it
//! says about SQL is nothing, that is for the tests of [`crate::Store`].

mod books;
mod seats;

pub use books::{Books, LedgerBug, ModelRow};

use crate::{
    Broadcast, ClaimedRow, Ledger, Limits, Outcome, Settlement, StoreError, TimeLimit, Turn, Worker,
    WorkerTerms,
};
use domain::{Actor, Approved, BroadcastId, BroadcastState, Frozen, Signature, SnapshotRow, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard};

/// What happens to a process around its database operations: delays, failures, death.
pub trait Weather: Clone + Send + Sync + 'static {
    /// Before the operation has any effect. An error: it never has one.
    fn before(&self, operation: &'static str) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// After it took effect. An error: the caller cannot know that it did.
    fn after(&self, operation: &'static str) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// One process's connection to the books that all processes share.
#[derive(Clone)]
pub struct Model<W> {
    books: Arc<Mutex<Books>>,
    weather: W,
    turns_at_once: usize,
}

impl<W: Weather> Model<W> {
    /// A connection.
    #[must_use]
    pub fn new(books: Arc<Mutex<Books>>, weather: W, turns_at_once: usize) -> Self {
        Self { books, weather, turns_at_once }
    }

    async fn write<T: Send>(
        &self,
        operation: &'static str,
        change: impl FnOnce(&mut Books) -> Result<T, StoreError> + Send,
    ) -> Result<T, StoreError> {
        self.weather.before(operation).await?;
        let done = change(&mut self.books())?;
        self.weather.after(operation).await?;
        Ok(done)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("invariant: nothing panics while holding the books")
    }
}

impl<W: Weather> Ledger for Model<W> {
    fn turns_at_once(&self) -> usize {
        self.turns_at_once
    }

    async fn register_worker(&self, _name: &str) -> Result<Worker, StoreError> {
        self.write("register a worker", |books| Ok(books.register_worker())).await
    }

    async fn beat(&self, worker: Worker) -> Result<bool, StoreError> {
        self.write("beat", |books| Ok(books.beat(worker))).await
    }

    /// No figure of a simulation depends on it.
    async fn note_trouble(&self, _: Worker, _: Option<&str>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn recover(&self, worker: Worker) -> Result<u64, StoreError> {
        self.write("recover", |books| books.recover(worker)).await
    }

    async fn claim(
        &self,
        worker: Worker,
        approved: &Approved<Frozen>,
        terms: &WorkerTerms,
    ) -> Result<Vec<ClaimedRow>, StoreError> {
        let broadcast = approved.get().broadcast;
        self.write("claim rows", |books| Ok(books.claim(worker, broadcast, terms))).await
    }

    async fn release_claims(&self, worker: Worker) -> Result<(), StoreError> {
        self.write("give rows back", |books| {
            books.free_claims(worker.id);
            Ok(())
        })
        .await
    }

    async fn turn(
        &self,
        worker: Worker,
        outcomes: &[Outcome],
        intents: Vec<ClaimedRow>,
        terms: &WorkerTerms,
    ) -> Result<Turn, StoreError> {
        self.write("turn", |books| books.turn(worker, outcomes, intents, terms)).await
    }

    async fn forget_seats(&self, limits: &Limits) -> Result<(), StoreError> {
        self.write("forget seats", |books| {
            books.forget_seats(limits);
            Ok(())
        })
        .await
    }

    async fn broadcasts_in(&self, state: BroadcastState) -> Result<Vec<Broadcast>, StoreError> {
        self.write("read broadcasts", |books| Ok(books.broadcasts_in(state))).await
    }

    async fn each_frozen_row(
        &self,
        id: BroadcastId,
        row: impl FnMut(&SnapshotRow) + Send,
    ) -> Result<(), StoreError> {
        self.write("read frozen rows", |books| {
            books.frozen_rows(id).iter().for_each(row);
            Ok(())
        })
        .await
    }

    async fn signatures(&self, id: BroadcastId) -> Result<Vec<Signature>, StoreError> {
        self.write("read signatures", |books| Ok(books.signatures(id))).await
    }

    async fn has_unknown(&self, id: BroadcastId) -> Result<bool, StoreError> {
        self.write("look for unknown rows", |books| Ok(books.has_unknown(id))).await
    }

    async fn settle(
        &self,
        _actor: Actor,
        id: BroadcastId,
        settlement: Settlement,
        _members: &[String],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write("settle", |books| books.settle(id, settlement, now)).await
    }

    async fn run_out_of_time(
        &self,
        id: BroadcastId,
        what: TimeLimit,
        _now: Timestamp,
    ) -> Result<u64, StoreError> {
        self.write("give rows up", |books| books.run_out_of_time(id, what)).await
    }

    async fn complete_if_drained(&self, id: BroadcastId, now: Timestamp) -> Result<bool, StoreError> {
        self.write("complete", |books| Ok(books.complete_if_drained(id, now))).await
    }
}
