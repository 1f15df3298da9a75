//! The clerk writes the ledger for all connections of this process: whatever arrived while the
//! last commit was under way goes into the next one together (group commit). A connection's
//! outcome and its next intent always share a commit.

use crate::persist;
use store::{ClaimedRow, Full, Outcome, Store, SubmitPermit, Turn, Worker, WorkerTerms};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

/// A handle for senders. The clerk ends when the last handle is dropped and all is written.
#[derive(Clone)]
pub(crate) struct Clerk {
    requests: mpsc::Sender<Request>,
}

struct Request {
    outcome: Option<Outcome>,
    intent: Option<ClaimedRow>,
    answer: oneshot::Sender<Answer>,
}

/// What a connection may do next.
pub(crate) enum Answer {
    /// Submit this row, once.
    Permit(SubmitPermit),
    /// No rate window has room for this row yet; it is still ours.
    Full(ClaimedRow, Full),
    /// The row is not ours any more (stopped, lease over), or none was asked for.
    Refused,
}

impl Clerk {
    pub(crate) fn start(store: Store, worker: Worker, terms: WorkerTerms, connections: usize) -> Self {
        let (requests, incoming) = mpsc::channel(connections.max(1));
        tokio::spawn(write_turns(store, worker, terms, incoming, connections.max(1)));
        Self { requests }
    }

    /// Makes an outcome durable and, with the same commit, asks for the next permit.
    pub(crate) async fn turn(&self, outcome: Option<Outcome>, intent: ClaimedRow) -> Answer {
        self.ask(outcome, Some(intent)).await
    }

    /// Makes an outcome durable.
    pub(crate) async fn settle(&self, outcome: Outcome) {
        let _none = self.ask(Some(outcome), None).await;
    }

    async fn ask(&self, outcome: Option<Outcome>, intent: Option<ClaimedRow>) -> Answer {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(Request { outcome, intent, answer })
            .await
            .expect("invariant: the clerk outlives its handles");
        answered.await.expect("invariant: the clerk answers every request")
    }
}

async fn write_turns(
    store: Store,
    worker: Worker,
    terms: WorkerTerms,
    mut incoming: mpsc::Receiver<Request>,
    batch_max: usize,
) {
    let mut batch: Vec<Request> = Vec::with_capacity(batch_max);
    while incoming.recv_many(&mut batch, batch_max).await > 0 {
        let outcomes: Vec<Outcome> = batch.iter_mut().filter_map(|request| request.outcome.take()).collect();
        let intents: Vec<ClaimedRow> = batch.iter().filter_map(|request| request.intent.clone()).collect();
        // The same turn is repeated until it is durable: it finds its own earlier try.
        let mut turn = persist("ledger", || store.turn(worker, &outcomes, intents.clone(), &terms)).await;
        if turn.fenced > 0 {
            warn!(rows = turn.fenced, "outcomes came after their lease was over; the rows stay unknown");
        }
        for request in batch.drain(..) {
            let answer = request.intent.map_or(Answer::Refused, |wanted| answer_from(&mut turn, &wanted));
            // A sender that is gone cannot use its permit; recovery declares the row unknown.
            let _gone = request.answer.send(answer);
        }
    }
}

fn answer_from(turn: &mut Turn, wanted: &ClaimedRow) -> Answer {
    if let Some(at) = turn.permits.iter().position(|permit| permit.row().id == wanted.id) {
        return Answer::Permit(turn.permits.swap_remove(at));
    }
    if let Some(at) = turn.full.iter().position(|(row, _)| row.id == wanted.id) {
        let (row, full) = turn.full.swap_remove(at);
        return Answer::Full(row, full);
    }
    Answer::Refused
}
