//! The clerk writes the ledger for all connections of this process: whatever arrived while the
//! last commits were under way goes into the next one together (group commit). A connection's
//! outcome and its next intent always share a commit.

use crate::{persist, shift::Shift};
use domain::DeliveryId;
use std::sync::Arc;
use store::{ClaimedRow, Full, Ledger, Outcome, SubmitPermit, Turn, Worker, WorkerTerms};
use tokio::sync::{Mutex, mpsc, oneshot};
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
    /// Submit this row, once, and only while this worker is surely alive.
    Permit(SubmitPermit, Worker),
    /// No rate window has room for this row yet; it is still ours.
    Full(ClaimedRow, Full),
    /// The row is not ours any more (stopped, lease over), or none was asked for.
    Refused,
}

impl Clerk {
    /// A clerk for so many connections, and its work, in parts to be run beside them.
    pub(crate) fn new<L: Ledger>(
        ledger: &L,
        shift: &Arc<Shift>,
        terms: &WorkerTerms,
        connections: usize,
    ) -> (Self, Vec<impl Future<Output = ()> + Send + use<L>>) {
        let batch_max = connections.max(1);
        let (requests, incoming) = mpsc::channel(batch_max);
        let incoming = Arc::new(Mutex::new(incoming));
        let part = |_| write_turns(ledger.clone(), shift.clone(), terms.clone(), incoming.clone(), batch_max);
        (Self { requests }, (0..ledger.turns_at_once()).map(part).collect())
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

async fn write_turns<L: Ledger>(
    ledger: L,
    shift: Arc<Shift>,
    terms: WorkerTerms,
    incoming: Arc<Mutex<mpsc::Receiver<Request>>>,
    batch_max: usize,
) {
    let mut batch: Vec<Request> = Vec::with_capacity(batch_max);
    while incoming.lock().await.recv_many(&mut batch, batch_max).await > 0 {
        let (mut outcomes, mut intents, mut askers) = (Vec::new(), Vec::new(), Vec::new());
        for Request { outcome, intent, answer } in batch.drain(..) {
            outcomes.extend(outcome);
            askers.push((answer, intent.as_ref().map(|row| row.id)));
            intents.extend(intent);
        }
        // The same turn is repeated until it is durable: it finds its own earlier try.
        let (mut turn, worker) = persist("ledger", || async {
            let worker = shift.worker();
            let turn = ledger.turn(worker, &outcomes, intents.clone(), &terms).await?;
            Ok((turn, worker))
        })
        .await;
        if turn.fenced > 0 {
            warn!(rows = turn.fenced, "outcomes came after their lease was over; the rows stay unknown");
        }
        for (asker, wanted) in askers {
            let answer = wanted.map_or(Answer::Refused, |id| answer_from(&mut turn, id, worker));
            // A sender that is gone cannot use its permit; recovery declares the row unknown.
            let _gone = asker.send(answer);
        }
    }
}

fn answer_from(turn: &mut Turn, wanted: DeliveryId, worker: Worker) -> Answer {
    if let Some(at) = turn.permits.iter().position(|permit| permit.row().id == wanted) {
        return Answer::Permit(turn.permits.swap_remove(at), worker);
    }
    if let Some(at) = turn.full.iter().position(|(row, _)| row.id == wanted) {
        let (row, full) = turn.full.swap_remove(at);
        return Answer::Full(row, full);
    }
    Answer::Refused
}
