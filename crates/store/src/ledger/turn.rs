//! One commit of the sending loop: outcomes of finished submissions, intents of the next ones.
//!
//! All rows move in one statement. Where no rate window has to be looked at it is the whole of a
//! turn on SQLite, which commits it by itself: with every further one two threads would wake each
//! other, and that costs more than the rest.

use super::{
    ClaimedRow, Full, Limits, Outcome, SubmitPermit, Worker, WorkerTerms,
    attempt::keep_attempts,
    pace::{Seat, Seats, seat},
    turn_text::{first_turn_text, turn_text},
};
use crate::{Engine, Store, StoreError, WriteTx, sql};
use domain::{AttemptNo, BroadcastId, Delivery, DeliveryEvent, DeliveryId, SmtpReply, Timestamp};
use sea_orm::{FromQueryResult, Value};
use std::collections::{BTreeSet, HashMap, HashSet};

/// Where nothing is to be submitted, no room is needed.
static NO_LIMITS: Limits = Limits::NONE;

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

/// A row that stands as the turn wants it, now or since an earlier try.
#[derive(FromQueryResult)]
struct Standing {
    id: i64,
    /// End of its submission's lease; 0 where it is not submitting: an outcome, or an intent that
    /// was taken back.
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
        let (mut standing, intents, full) = if terms.limits.is_none() {
            (self.write_turn(worker, outcomes, &intents, terms).await?, intents, Vec::new())
        } else {
            self.write_seated_turn(worker, outcomes, intents, terms).await?
        };
        let fenced = outcomes.iter().filter(|outcome| !standing.contains_key(&outcome.row.get())).count();
        let mut turn = Turn { full, fenced: fenced as u64, ..Turn::default() };
        for row in intents {
            let lease_until = submission_end(&row, terms);
            // Taken out: two copies of one claim are worth one permit.
            if standing.get(&row.id.get()) == Some(&lease_until.millis()) {
                standing.remove(&row.id.get());
                let intent = row.delivery.clone().next(&DeliveryEvent::IntentCommitted { lease_until })?;
                turn.permits.push(SubmitPermit::mint(row, intent));
            } else {
                turn.refused.push(row);
            }
        }
        Ok(turn)
    }

    async fn write_turn(
        &self,
        worker: Worker,
        outcomes: &[Outcome],
        intents: &[ClaimedRow],
        terms: &WorkerTerms,
    ) -> Result<HashMap<i64, i64>, StoreError> {
        if self.engine() == Engine::Sqlite && !intents.iter().any(was_tried) {
            let values = values(worker, outcomes, intents, terms);
            let moved = self.write_at_once("write a turn", first_turn_text(), values).await?;
            if moved == (outcomes.len() + intents.len()) as u64 {
                return Ok(as_wanted(outcomes, intents, terms));
            }
            // What is written again stands already: the rest is told from it.
        }
        let tx = self.write().await?;
        look_at_broadcasts(&tx, intents).await?;
        let standing = write(&tx, worker, outcomes, intents, terms).await?;
        tx.commit().await?;
        Ok(standing)
    }

    /// The same, with those intents only for which the rate windows have room.
    async fn write_seated_turn(
        &self,
        worker: Worker,
        outcomes: &[Outcome],
        intents: Vec<ClaimedRow>,
        terms: &WorkerTerms,
    ) -> Result<(HashMap<i64, i64>, Vec<ClaimedRow>, Vec<(ClaimedRow, Full)>), StoreError> {
        let tx = self.write().await?;
        look_at_broadcasts(&tx, &intents).await?;
        let (sending, now) = sending_among(&tx, &intents).await?;
        let mut standing = write(&tx, worker, outcomes, &[], terms).await?;
        let ended: Vec<i64> = outcomes.iter().map(|outcome| outcome.row.get()).collect();
        tx.leave_seats(&ended, now).await?;
        let limits = if intents.is_empty() { &NO_LIMITS } else { &terms.limits };
        let own = intents.iter().map(|row| row.id.get());
        let mut seats = Seats::open(&tx, limits, now, own).await?;
        let (intents, full) = seat(&mut seats, &sending, intents).await?;
        standing.extend(write(&tx, worker, &[], &intents, terms).await?);
        keep_seats(&seats, &intents, &standing).await?;
        drop(seats);
        // Of a broadcast that was stopped since a first try.
        let taken_back = intents.iter().map(|row| row.id.get()).filter(|id| standing.get(id) == Some(&0));
        tx.leave_seats(&taken_back.collect::<Vec<_>>(), now).await?;
        tx.commit().await?;
        Ok((standing, intents, full))
    }
}

/// The rows that stand as wanted, with the ends of their leases.
async fn write(
    tx: &WriteTx,
    worker: Worker,
    outcomes: &[Outcome],
    intents: &[ClaimedRow],
    terms: &WorkerTerms,
) -> Result<HashMap<i64, i64>, StoreError> {
    if outcomes.is_empty() && intents.is_empty() {
        return Ok(HashMap::new());
    }
    keep_history(tx, intents).await?;
    let values = values(worker, outcomes, intents, terms);
    let rows: Vec<Standing> = sql::rows(&**tx, "write a turn", turn_text(tx.engine()), values).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.lease_until)).collect())
}

/// Every row of a turn, with the end of its lease, where none stayed behind.
fn as_wanted(outcomes: &[Outcome], intents: &[ClaimedRow], terms: &WorkerTerms) -> HashMap<i64, i64> {
    let ended = outcomes.iter().map(|outcome| (outcome.row.get(), 0));
    let begun = intents.iter().map(|row| (row.id.get(), submission_end(row, terms).millis()));
    ended.chain(begun).collect()
}

/// A submission's lease continues the lease of its claim.
fn submission_end(row: &ClaimedRow, terms: &WorkerTerms) -> Timestamp {
    row.lease_until.plus(terms.submission_max)
}

/// What is about to be overwritten: attempts before the last one, each as it ended. A repeated
/// turn finds them kept.
async fn keep_history(tx: &WriteTx, intents: &[ClaimedRow]) -> Result<(), StoreError> {
    let again: Vec<Value> =
        intents.iter().filter(|row| was_tried(row)).map(|row| row.id.get().into()).collect();
    if again.is_empty() {
        return Ok(());
    }
    let text =
        keep_attempts(&format!("id IN ({}) AND state = 'deferred'", sql::placeholders(1, again.len())));
    sql::run(&**tx, "keep earlier attempts", &text, again).await.map(|_| ())
}

fn was_tried(row: &ClaimedRow) -> bool {
    row.attempts() > AttemptNo::NONE
}

/// As [`turn_text`] numbers them. A row moves once in a turn: an intent for one whose outcome is
/// only just known rests on a claim that is used up.
fn values(worker: Worker, outcomes: &[Outcome], intents: &[ClaimedRow], terms: &WorkerTerms) -> [Value; 4] {
    let submission_max = i64::try_from(terms.submission_max.as_millis()).unwrap_or(i64::MAX);
    let ended: HashSet<DeliveryId> = outcomes.iter().map(|outcome| outcome.row).collect();
    let done: Vec<_> = outcomes.iter().map(outcome_row).collect();
    let wanted: Vec<_> = intents.iter().filter(|row| !ended.contains(&row.id)).map(intent_row).collect();
    [worker.id.get().into(), submission_max.into(), sql::json(&done), sql::json(&wanted)]
}

/// In the order of `done` in [`super::turn_text`].
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

/// In the order of `wanted`.
fn intent_row(row: &ClaimedRow) -> impl serde::Serialize {
    (row.id.get(), row.attempts().get(), row.lease_until.millis(), row.broadcast.get())
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

async fn keep_seats(
    seats: &Seats<'_>,
    intents: &[ClaimedRow],
    standing: &HashMap<i64, i64>,
) -> Result<(), StoreError> {
    let taken = intents.iter().filter_map(|row| {
        let until = standing.get(&row.id.get()).copied().filter(|until| *until > 0)?;
        let attempt = i64::from(row.attempts().following().get());
        Some(Seat {
            row: row.id.get(),
            attempt,
            domain: row.address.domain(),
            until: Timestamp::from_millis(until),
        })
    });
    seats.keep(taken).await
}

/// Before any row is touched: whoever moves a broadcast locks in this order too. A stop waits for
/// this transaction.
async fn look_at_broadcasts(tx: &WriteTx, intents: &[ClaimedRow]) -> Result<(), StoreError> {
    let wanted: BTreeSet<BroadcastId> = intents.iter().map(|row| row.broadcast).collect();
    for broadcast in wanted {
        tx.look_at_broadcast(broadcast).await?;
    }
    Ok(())
}

/// Those broadcasts of the wanted rows that are sending and whose end has not come, and the
/// database's time.
async fn sending_among(
    tx: &WriteTx,
    intents: &[ClaimedRow],
) -> Result<(Vec<BroadcastId>, Timestamp), StoreError> {
    let wanted: BTreeSet<BroadcastId> = intents.iter().map(|row| row.broadcast).collect();
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
