//! One commit of the sending loop: outcomes of finished submissions, intents of the next ones.

use super::{
    ClaimedRow, Full, Limits, Outcome, SubmitPermit, Worker, WorkerTerms,
    attempt::keep_attempts,
    pace::{Seat, Seats, seat},
};
use crate::{Store, StoreError, WriteTx, sql};
use domain::{BroadcastId, Delivery, DeliveryEvent, SmtpReply, Timestamp};
use sea_orm::{FromQueryResult, Value};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// Where nothing is to be submitted, no room is needed.
static NO_LIMITS: Limits = Limits::NONE;

/// An intent that a first try of the same turn made durable.
const WRITTEN_BEFORE: &str = "(delivery.state = 'submitting' AND delivery.attempts = wanted.attempts + 1 \
                              AND delivery.lease_until = wanted.claimed_until + $3)";

/// What a turn gave.
#[derive(Debug, Default)]
pub struct Turn {
    /// Intents that are durable now: submit these.
    pub permits: Vec<SubmitPermit>,
    /// Rows without a permit: their broadcast was stopped, their lease is over, or another
    /// worker took them. They are no longer this worker's.
    pub refused: Vec<ClaimedRow>,
    /// Rows for which no rate window has room yet. They are still this worker's.
    pub full: Vec<(ClaimedRow, Full)>,
    /// Outcomes that found their row no longer submitting under this worker's lease: it was
    /// declared unknown meanwhile. The ledger keeps `unknown`.
    pub fenced: u64,
}

/// A durable intent: which row, under the lease of which claim.
#[derive(FromQueryResult)]
struct Granted {
    id: i64,
    lease_until: i64,
}

/// The database's time, and a broadcast that is sending.
#[derive(FromQueryResult)]
struct Sending {
    now: i64,
    id: Option<i64>,
}

impl Store {
    /// Writes outcomes and intents in one durable commit and mints the permits.
    ///
    /// Safe to repeat with the same arguments after an error whose commit may have happened:
    /// outcomes already written are found written, intents already durable are granted.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing may be submitted and the outcomes are still to be written.
    pub async fn turn(
        &self,
        worker: Worker,
        outcomes: &[Outcome],
        intents: Vec<ClaimedRow>,
        terms: &WorkerTerms,
    ) -> Result<Turn, StoreError> {
        let tx = self.write().await?;
        // Before any row is touched: whoever moves a broadcast locks in this order too.
        let (sending, now) = sending_among(&tx, &intents).await?;
        let written = write_outcomes(&tx, worker, outcomes).await?;
        if !terms.limits.is_none() {
            let ended: Vec<i64> = outcomes.iter().map(|outcome| outcome.row.get()).collect();
            tx.leave_seats(&ended, now).await?;
        }
        let own = intents.iter().map(|row| row.id.get());
        let limits = if intents.is_empty() { &NO_LIMITS } else { &terms.limits };
        let mut seats = Seats::open(&tx, limits, now, own).await?;
        let (intents, full) = seat(&mut seats, &sending, intents).await?;
        let mut granted = HashMap::new();
        let stopped: Vec<&ClaimedRow> =
            intents.iter().filter(|row| !sending.contains(&row.broadcast)).collect();
        take_back(&tx, worker, &stopped, now, terms.submission_max).await?;
        for broadcast in sending {
            let rows: Vec<&ClaimedRow> = intents.iter().filter(|row| row.broadcast == broadcast).collect();
            keep_history(&tx, &rows).await?;
            let held = write_intents(&tx, worker, &rows, now, terms.submission_max).await?;
            granted.extend(held.into_iter().map(|row| (row.id, row.lease_until)));
        }
        keep_seats(&seats, &intents, &granted).await?;
        drop(seats);
        tx.commit().await?;

        let mut turn = Turn { full, fenced: outcomes.len() as u64 - written, ..Turn::default() };
        for row in intents {
            let lease_until = row.lease_until.plus(terms.submission_max);
            // Taken out: two copies of one claim are worth one permit.
            if granted.get(&row.id.get()) == Some(&lease_until.millis()) {
                granted.remove(&row.id.get());
                let intent = row.delivery.clone().next(&DeliveryEvent::IntentCommitted { lease_until })?;
                turn.permits.push(SubmitPermit::mint(row, intent));
            } else {
                turn.refused.push(row);
            }
        }
        Ok(turn)
    }
}

/// How many rows took their outcome, now or in an earlier try of the same turn.
async fn write_outcomes(tx: &WriteTx, worker: Worker, outcomes: &[Outcome]) -> Result<u64, StoreError> {
    if outcomes.is_empty() {
        return Ok(0);
    }
    let done: Vec<_> = outcomes.iter().map(outcome_row).collect();
    let big = |n: usize| format!("CAST(row.value ->> {n} AS BIGINT)");
    // The last condition lets a repeated turn find what its first try wrote.
    let text = format!(
        "WITH done AS (SELECT {} AS id, {} AS attempts, row.value ->> 2 AS state, {} AS due_at, {} AS code, \
         row.value ->> 5 AS enhanced, row.value ->> 6 AS reply, row.value ->> 7 AS relay, {} AS at FROM {}) \
         UPDATE delivery SET state = done.state, due_at = done.due_at, smtp_code = done.code, \
         enhanced_code = done.enhanced, reply = done.reply, relay = done.relay, settled_at = done.at, \
         lease_until = 0 \
         FROM done WHERE delivery.id = done.id AND delivery.attempts = done.attempts AND delivery.lease_id = $2 \
         AND (delivery.state = 'submitting' OR (delivery.state = done.state AND delivery.settled_at = done.at))",
        big(0),
        big(1),
        big(3),
        big(4),
        big(8),
        sql::json_rows(tx.engine(), 1)
    );
    sql::run(&**tx, "write outcomes", &text, [sql::json(&done), worker.id.get().into()]).await
}

/// In the order of the columns above.
fn outcome_row(outcome: &Outcome) -> impl serde::Serialize {
    let (due_at, reply) = columns(&outcome.after);
    (
        outcome.row.get(),
        outcome.attempt.get(),
        outcome.after.state().as_str(),
        due_at.millis(),
        reply.map(|reply| reply.code),
        reply.and_then(|reply| reply.enhanced.as_deref()),
        reply.map(|reply| reply.text.as_str()),
        outcome.relay.as_str(),
        outcome.at.millis(),
    )
}

fn columns(delivery: &Delivery) -> (Timestamp, Option<&SmtpReply>) {
    let never = Timestamp::from_millis(0);
    match delivery {
        Delivery::Deferred { retry_at, reply, .. } => (*retry_at, reply.as_ref()),
        Delivery::Accepted { reply, .. } => (never, reply.as_ref()),
        Delivery::Rejected { reply, .. } => (never, Some(reply)),
        Delivery::Pending
        | Delivery::Held(_)
        | Delivery::Submitting { .. }
        | Delivery::Unknown { .. }
        | Delivery::GaveUp { .. }
        | Delivery::Cancelled { .. } => (never, None),
    }
}

/// Writes the intents of one broadcast and gives those that this transaction holds. A submission's
/// lease continues the lease of its claim: so a repeated turn knows its own intents, and a stale
/// claim of the same row by the same worker is told from the one that is being submitted.
async fn write_intents(
    tx: &WriteTx,
    worker: Worker,
    rows: &[&ClaimedRow],
    now: Timestamp,
    submission_max: Duration,
) -> Result<Vec<Granted>, StoreError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let text = format!(
        "{} UPDATE delivery SET state = 'submitting', attempts = wanted.attempts + 1, submitted_at = $2, \
         lease_until = wanted.claimed_until + $3 \
         FROM wanted WHERE delivery.id = wanted.id AND delivery.lease_id = $1 \
         AND ((delivery.state IN ('pending', 'deferred') AND delivery.attempts = wanted.attempts \
               AND delivery.lease_until = wanted.claimed_until AND delivery.lease_until > $2) \
           OR {WRITTEN_BEFORE}) \
         RETURNING delivery.id, delivery.lease_until",
        with_wanted(tx)
    );
    sql::rows(&**tx, "write intents", &text, wanted(worker, rows, now, submission_max)).await
}

/// A first try of this turn may have made intents durable before their broadcast was stopped. Their
/// permits were never given out, so nothing was sent: the rows must not stay as if it were.
async fn take_back(
    tx: &WriteTx,
    worker: Worker,
    rows: &[&ClaimedRow],
    now: Timestamp,
    submission_max: Duration,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    // As after a connection that was lost before the dot.
    let text = format!(
        "{} UPDATE delivery SET state = 'deferred', due_at = $2, lease_id = 0, lease_until = 0, settled_at = $2, \
         smtp_code = NULL, enhanced_code = NULL, reply = NULL, relay = NULL \
         FROM wanted WHERE delivery.id = wanted.id AND delivery.lease_id = $1 AND {WRITTEN_BEFORE} \
         RETURNING delivery.id AS n",
        with_wanted(tx)
    );
    let values = wanted(worker, rows, now, submission_max);
    let back: Vec<sql::Number> = sql::rows(&**tx, "take intents back", &text, values).await?;
    tx.leave_seats(&back.iter().map(|row| row.n).collect::<Vec<_>>(), now).await
}

/// The rows as [`wanted`] gives them, for a statement to begin with.
fn with_wanted(tx: &WriteTx) -> String {
    let big = |n: usize| format!("CAST(row.value ->> {n} AS BIGINT)");
    format!(
        "WITH wanted AS (SELECT {} AS id, {} AS attempts, {} AS claimed_until FROM {})",
        big(0),
        big(1),
        big(2),
        sql::json_rows(tx.engine(), 4)
    )
}

/// Worker, time, what a submission's lease adds to its claim's, and the rows.
fn wanted(worker: Worker, rows: &[&ClaimedRow], now: Timestamp, submission_max: Duration) -> [Value; 4] {
    let submission_max = i64::try_from(submission_max.as_millis()).unwrap_or(i64::MAX);
    let rows: Vec<(i64, i32, i64)> =
        rows.iter().map(|row| (row.id.get(), row.attempts().get(), row.lease_until.millis())).collect();
    [worker.id.get().into(), now.millis().into(), submission_max.into(), sql::json(&rows)]
}

/// What is about to be overwritten: attempts before the last one, each as it ended. A repeated
/// turn finds them kept.
async fn keep_history(tx: &WriteTx, rows: &[&ClaimedRow]) -> Result<(), StoreError> {
    let again: Vec<Value> =
        rows.iter().filter(|row| row.attempts().get() > 0).map(|row| row.id.get().into()).collect();
    if again.is_empty() {
        return Ok(());
    }
    let text =
        keep_attempts(&format!("id IN ({}) AND state = 'deferred'", sql::placeholders(1, again.len())));
    sql::run(&**tx, "keep earlier attempts", &text, again).await.map(|_| ())
}

async fn keep_seats(
    seats: &Seats<'_>,
    intents: &[ClaimedRow],
    granted: &HashMap<i64, i64>,
) -> Result<(), StoreError> {
    let taken = intents.iter().filter_map(|row| {
        let until = granted.get(&row.id.get()).copied().map(Timestamp::from_millis)?;
        let attempt = i64::from(row.attempts().following().get());
        Some(Seat { row: row.id.get(), attempt, domain: row.address.domain(), until })
    });
    seats.keep(taken).await
}

/// Those broadcasts of the wanted rows that are sending and whose end has not come, and the
/// database's time. A stop waits for this transaction.
async fn sending_among(
    tx: &WriteTx,
    intents: &[ClaimedRow],
) -> Result<(Vec<BroadcastId>, Timestamp), StoreError> {
    let wanted: BTreeSet<BroadcastId> = intents.iter().map(|row| row.broadcast).collect();
    for broadcast in &wanted {
        tx.look_at_broadcast(*broadcast).await?;
    }
    if wanted.is_empty() {
        return Ok((Vec::new(), sql::database_now(&**tx).await?));
    }
    let now = sql::now_expression(tx.engine());
    let text = format!(
        "SELECT clock.now AS now, b.id AS id FROM (SELECT {now} AS now) AS clock LEFT JOIN broadcast b \
         ON b.id IN ({}) AND b.state = 'sending' AND (b.finish_by IS NULL OR b.finish_by > clock.now)",
        sql::placeholders(1, wanted.len())
    );
    let values = wanted.iter().map(|id| Value::from(id.get()));
    let found: Vec<Sending> = sql::rows(&**tx, "check for a stop", &text, values).await?;
    let now = found.first().map_or(0, |row| row.now);
    let sending = found.into_iter().filter_map(|row| row.id).map(BroadcastId::new).collect();
    Ok((sending, Timestamp::from_millis(now)))
}
