//! One commit of the sending loop: outcomes of finished submissions, intents of the next ones.

use super::{
    ClaimedRow, Full, Limits, Outcome, SubmitPermit, Worker, WorkerTerms,
    attempt::keep_attempts,
    pace::{Seats, seat},
};
use crate::{Store, StoreError, WriteTx, sql};
use domain::{BroadcastId, Delivery, DeliveryEvent, SmtpReply, Timestamp};
use sea_orm::{FromQueryResult, Value};
use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

/// Values per outcome row in the statement below.
const OUTCOME_VALUES: usize = 10;

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
#[derive(FromQueryResult, PartialEq, Eq, Hash)]
struct Granted {
    id: i64,
    lease_until: i64,
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
        let now = sql::database_now(&*tx).await?;
        // Before any row is touched: whoever moves a broadcast locks in this order too.
        let sending = sending_among(&tx, &intents, now).await?;
        let written = write_outcomes(&tx, worker, outcomes).await?;
        let ended: Vec<i64> = outcomes.iter().map(|outcome| outcome.row.get()).collect();
        tx.leave_seats(if terms.limits.is_none() { &[] } else { &ended }, now).await?;
        let none = Limits::NONE;
        let limits = if intents.is_empty() { &none } else { &terms.limits };
        let own = intents.iter().map(|row| row.id.get()).collect();
        let mut seats = Seats::open(&tx, limits, now, own).await?;
        let (intents, full) = seat(&mut seats, &sending, intents).await?;
        let mut granted = HashSet::new();
        for broadcast in sending {
            let rows: Vec<&ClaimedRow> = intents.iter().filter(|row| row.broadcast == broadcast).collect();
            keep_history(&tx, &rows).await?;
            granted.extend(write_intents(&tx, worker, &rows, now, terms.submission_max).await?);
        }
        keep_seats(&seats, &intents, &granted).await?;
        drop(seats);
        tx.commit().await?;

        let mut turn = Turn { full, fenced: outcomes.len() as u64 - written, ..Turn::default() };
        for row in intents {
            let lease_until = row.lease_until.plus(terms.submission_max);
            // Taken out: two copies of one claim are worth one permit.
            if granted.remove(&Granted { id: row.id.get(), lease_until: lease_until.millis() }) {
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
    let tuples: Vec<String> = (0..outcomes.len()).map(|n| outcome_tuple(n * OUTCOME_VALUES)).collect();
    let values: Vec<Value> = outcomes.iter().flat_map(|outcome| outcome_values(worker, outcome)).collect();
    // The last condition lets a repeated turn find what its first try wrote.
    let text = format!(
        "WITH done (id, attempts, state, due_at, code, enhanced, reply, relay, at, worker) AS (VALUES {}) \
         UPDATE delivery SET state = done.state, due_at = done.due_at, smtp_code = done.code, \
         enhanced_code = done.enhanced, reply = done.reply, relay = done.relay, settled_at = done.at, \
         lease_until = 0 \
         FROM done WHERE delivery.id = done.id AND delivery.attempts = done.attempts \
         AND delivery.lease_id = done.worker \
         AND (delivery.state = 'submitting' OR (delivery.state = done.state AND delivery.settled_at = done.at))",
        tuples.join(", ")
    );
    sql::run(&**tx, "write outcomes", &text, values).await
}

fn outcome_tuple(from: usize) -> String {
    let big = |n: usize| format!("CAST(${} AS BIGINT)", from + n);
    let text = |n: usize| format!("CAST(${} AS TEXT)", from + n);
    format!(
        "({}, {}, {}, {}, {}, {}, {}, {}, {}, {})",
        big(1),
        big(2),
        text(3),
        big(4),
        big(5),
        text(6),
        text(7),
        text(8),
        big(9),
        big(10)
    )
}

fn outcome_values(worker: Worker, outcome: &Outcome) -> [Value; OUTCOME_VALUES] {
    let (due_at, reply) = columns(&outcome.after);
    [
        outcome.row.get().into(),
        i64::from(outcome.attempt.get()).into(),
        outcome.after.state().as_str().into(),
        due_at.millis().into(),
        reply.map(|reply| i64::from(reply.code)).into(),
        reply.and_then(|reply| reply.enhanced.clone()).into(),
        reply.map(|reply| reply.text.clone()).into(),
        outcome.relay.clone().into(),
        outcome.at.millis().into(),
        worker.id.get().into(),
    ]
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
    let submission_max = i64::try_from(submission_max.as_millis()).unwrap_or(i64::MAX);
    let tuples: Vec<String> = (0..rows.len()).map(|n| intent_tuple(4 + 3 * n)).collect();
    let mut values: Vec<Value> = vec![worker.id.get().into(), now.millis().into(), submission_max.into()];
    for row in rows {
        values.push(row.id.get().into());
        values.push(i64::from(row.attempts().get()).into());
        values.push(row.lease_until.millis().into());
    }
    let text = format!(
        "WITH wanted (id, attempts, claimed_until) AS (VALUES {}) \
         UPDATE delivery SET state = 'submitting', attempts = wanted.attempts + 1, submitted_at = $2, \
         lease_until = wanted.claimed_until + $3 \
         FROM wanted WHERE delivery.id = wanted.id AND delivery.lease_id = $1 \
         AND ((delivery.state IN ('pending', 'deferred') AND delivery.attempts = wanted.attempts \
               AND delivery.lease_until = wanted.claimed_until AND delivery.lease_until > $2) \
           OR (delivery.state = 'submitting' AND delivery.attempts = wanted.attempts + 1 \
               AND delivery.lease_until = wanted.claimed_until + $3)) \
         RETURNING delivery.id, delivery.lease_until",
        tuples.join(", ")
    );
    sql::rows(&**tx, "write intents", &text, values).await
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
    granted: &HashSet<Granted>,
) -> Result<(), StoreError> {
    let rows: Vec<(&ClaimedRow, &Granted)> = intents
        .iter()
        .filter_map(|row| Some((row, granted.iter().find(|granted| granted.id == row.id.get())?)))
        .collect();
    let submissions: Vec<(i64, i64, &str)> = rows
        .iter()
        .map(|(row, _)| (row.id.get(), i64::from(row.attempts().following().get()), row.address.domain()))
        .collect();
    seats.keep(&submissions, |n| Timestamp::from_millis(rows[n].1.lease_until)).await
}

fn intent_tuple(from: usize) -> String {
    format!("(CAST(${from} AS BIGINT), CAST(${} AS BIGINT), CAST(${} AS BIGINT))", from + 1, from + 2)
}

/// Those broadcasts of the wanted rows that are sending. They stay so until this transaction ends.
async fn sending_among(
    tx: &WriteTx,
    intents: &[ClaimedRow],
    now: Timestamp,
) -> Result<Vec<BroadcastId>, StoreError> {
    let wanted: BTreeSet<BroadcastId> = intents.iter().map(|row| row.broadcast).collect();
    let mut sending = Vec::with_capacity(wanted.len());
    for broadcast in wanted {
        if is_sending(tx, broadcast, now).await? {
            sending.push(broadcast);
        }
    }
    Ok(sending)
}

/// Whether the broadcast is sending and its end has not come; a stop waits for this transaction.
async fn is_sending(tx: &WriteTx, broadcast: BroadcastId, now: Timestamp) -> Result<bool, StoreError> {
    tx.look_at_broadcast(broadcast).await?;
    let text = "SELECT COUNT(*) AS n FROM broadcast WHERE id = $1 AND state = 'sending' \
                AND (finish_by IS NULL OR finish_by > $2)";
    let values = [broadcast.get().into(), now.millis().into()];
    Ok(sql::number(&**tx, "check for a stop", text, values).await? > 0)
}
