//! Workers and their claims on chunks of rows. Leases are measured by the database's clock.

use super::Limits;
use crate::{Engine, Store, StoreError, WriteTx, connection::engine_of, entity, sql};
use domain::{
    Approved, AttemptNo, BroadcastId, Delivery, DeliveryEvent, DeliveryId, DeliveryState, EmailAddress,
    Frozen, LeaseId, MemberId, Timestamp,
};
use sea_orm::{ConnectionTrait, FromQueryResult};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// A worker that has not been heard of for so long is dead: its rows are taken over.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// One incarnation of a sending process. Its id is in every lease it takes, so that a revived
/// predecessor is fenced off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    pub(crate) id: LeaseId,
}

impl Worker {
    /// The id carried by this worker's leases.
    #[must_use]
    pub fn id(self) -> LeaseId {
        self.id
    }
}

/// How a worker leases, and how fast all of them together may send.
#[derive(Debug, Clone)]
pub struct WorkerTerms {
    /// How many rows at once.
    pub chunk_size: u32,
    /// How long they are its own.
    pub chunk_budget: Duration,
    /// How long a submission may take at most before others may call it unknown.
    pub submission_max: Duration,
    /// Windows of the relay and of recipient domains.
    pub limits: Limits,
}

/// A row under this worker's lease: pending or deferred and due.
#[derive(Debug, Clone)]
pub struct ClaimedRow {
    /// Row.
    pub id: DeliveryId,
    /// Which broadcast.
    pub broadcast: BroadcastId,
    /// Who.
    pub member: MemberId,
    /// Where to.
    pub address: EmailAddress,
    /// Merge fields as frozen.
    pub fields: Arc<BTreeMap<String, String>>,
    /// Stable over all attempts.
    pub message_id: String,
    /// End of the lease.
    pub lease_until: Timestamp,
    pub(crate) delivery: Delivery,
}

impl ClaimedRow {
    /// Attempts made so far.
    #[must_use]
    pub fn attempts(&self) -> AttemptNo {
        attempts_of(&self.delivery)
    }
}

pub(crate) fn attempts_of(delivery: &Delivery) -> AttemptNo {
    match delivery {
        Delivery::Pending | Delivery::Held(_) => AttemptNo::NONE,
        Delivery::Submitting { attempt, .. }
        | Delivery::Accepted { attempt, .. }
        | Delivery::Deferred { attempt, .. }
        | Delivery::Rejected { attempt, .. }
        | Delivery::Unknown { attempt } => *attempt,
        Delivery::GaveUp { attempts } | Delivery::Cancelled { attempts } => *attempts,
    }
}

impl Store {
    /// Registers a sending process.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn register_worker(&self, name: &str) -> Result<Worker, StoreError> {
        let tx = self.write().await?;
        let now = sql::database_now(&*tx).await?;
        let text = "INSERT INTO worker (name, started_at, seen_at) VALUES ($1, $2, $2) RETURNING id AS n";
        let id = sql::number(&*tx, "register a worker", text, [name.into(), now.millis().into()]).await?;
        tx.commit().await?;
        Ok(Worker { id: LeaseId::new(id) })
    }

    /// Says that a worker is alive. False where it was declared dead meanwhile: what it held is
    /// others' now, and it needs a new name to go on.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn beat(&self, worker: Worker) -> Result<bool, StoreError> {
        if self.engine() == Engine::Sqlite {
            // Nobody else is there to be told: a whole service sleeps without a write.
            let text = "SELECT COUNT(*) AS n FROM worker WHERE id = $1 AND ended_at IS NULL";
            let here =
                sql::number(&self.connection, "look for a worker", text, [worker.id.get().into()]).await?;
            return Ok(here > 0);
        }
        let tx = self.write().await?;
        let now = sql::database_now(&*tx).await?;
        let text = "UPDATE worker SET seen_at = $2 WHERE id = $1 AND ended_at IS NULL";
        let alive = sql::run(&*tx, "beat", text, [worker.id.get().into(), now.millis().into()]).await? > 0;
        tx.commit().await?;
        Ok(alive)
    }

    /// Says what keeps a worker from its relays; none where nothing does.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn note_trouble(&self, worker: Worker, trouble: Option<&str>) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let text = "UPDATE worker SET trouble = $2 WHERE id = $1";
        sql::run(&*tx, "note a trouble", text, [worker.id.get().into(), trouble.into()]).await?;
        tx.commit().await
    }

    /// What keeps mail from leaving, in the words of the last worker that said so.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn relay_trouble(&self) -> Result<Option<String>, StoreError> {
        #[derive(FromQueryResult)]
        struct Trouble {
            trouble: String,
        }
        let text = "SELECT trouble FROM worker WHERE ended_at IS NULL AND trouble IS NOT NULL \
                    ORDER BY id DESC LIMIT 1";
        let found: Option<Trouble> = sql::row(&self.connection, "look for a trouble", text, []).await?;
        Ok(found.map(|row| row.trouble))
    }

    /// Declares what dead workers left behind: rows they were submitting become unknown, rows
    /// they had claimed are free again. On SQLite every other worker is dead, because the caller
    /// holds the file's lock; on PostgreSQL one that has not been heard of for [`SILENCE_MAX`],
    /// or whose submission has outlasted its lease.
    ///
    /// Gives the number of rows that became unknown.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recover(&self, worker: Worker) -> Result<u64, StoreError> {
        // Looked for without a write transaction first: this runs several times a second.
        let now = self.now().await?;
        let silent = !silent_workers(&self.connection, worker, now).await?.is_empty();
        if !silent && abandoned_rows(&self.connection, worker, now).await?.is_empty() {
            return Ok(0);
        }
        let tx = self.write().await?;
        let now = sql::database_now(&*tx).await?;
        for dead in silent_workers(&*tx, worker, now).await? {
            if declare_dead(&tx, dead, now).await? {
                free_claims(&tx, dead).await?;
            }
        }
        let rows = abandoned_rows(&*tx, worker, now).await?;
        let mut declared = 0;
        for row in &rows {
            let lost = read_delivery(row)?.next(&DeliveryEvent::OutcomeLost)?;
            // Its worker may be alive after all and have written the outcome since the look.
            declared += sql::run(
                &*tx,
                "declare a row unknown",
                "UPDATE delivery SET state = $2, lease_id = 0, lease_until = 0, settled_at = $3 \
                 WHERE id = $1 AND state = 'submitting' AND lease_id = $4 AND lease_until = $5",
                [
                    row.id.into(),
                    lost.state().as_str().into(),
                    now.millis().into(),
                    row.lease_id.into(),
                    row.lease_until.into(),
                ],
            )
            .await?;
        }
        tx.leave_seats(&rows.iter().map(|row| row.id).collect::<Vec<_>>(), now).await?;
        tx.commit().await?;
        Ok(declared)
    }

    /// Claims rows of an approved, sending broadcast that are due and free: deferred ones first,
    /// they have waited longest. Without the evidence of approval there is nothing to claim by.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn claim(
        &self,
        worker: Worker,
        approved: &Approved<Frozen>,
        terms: &WorkerTerms,
    ) -> Result<Vec<ClaimedRow>, StoreError> {
        let broadcast = approved.get().broadcast;
        let tx = self.write().await?;
        let now = sql::database_now(&*tx).await?;
        let lease_until = now.plus(terms.chunk_budget);
        let lock = match tx.engine() {
            Engine::Sqlite => "",
            Engine::Postgres => "FOR UPDATE SKIP LOCKED",
        };
        let Some(last) = tx.open_up_to(broadcast, now).await? else {
            tx.commit().await?;
            return Ok(Vec::new());
        };
        let mut claimed = Vec::new();
        for state in ["deferred", "pending"] {
            let left = i64::from(terms.chunk_size) - claimed.len() as i64;
            if left <= 0 {
                break;
            }
            let text = format!(
                "UPDATE delivery SET lease_id = $1, lease_until = $2 WHERE id IN (\
                   SELECT id FROM delivery WHERE broadcast_id = $3 AND state = '{state}' AND due_at <= $4 \
                   AND lease_until < $4 AND id <= $6 \
                   AND EXISTS (SELECT 1 FROM broadcast b WHERE b.id = $3 AND b.state = 'sending') \
                   AND EXISTS (SELECT 1 FROM worker w WHERE w.id = $1 AND w.ended_at IS NULL) \
                   ORDER BY due_at, id LIMIT $5 {lock}) \
                 RETURNING id, broadcast_id, member_id, address, fields, message_id, attempts, due_at, \
                 lease_until, state"
            );
            let values = [
                worker.id.get().into(),
                lease_until.millis().into(),
                broadcast.get().into(),
                now.millis().into(),
                left.into(),
                last.into(),
            ];
            let rows: Vec<ClaimColumns> = sql::rows(&*tx, "claim rows", &text, values).await?;
            claimed.extend(rows);
        }
        tx.commit().await?;
        claimed.into_iter().map(claimed_row).collect()
    }

    /// Gives unsent rows back before the lease ends: a draining worker leaves nothing waiting.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release_claims(&self, worker: Worker) -> Result<(), StoreError> {
        let tx = self.write().await?;
        free_claims(&tx, worker.id.get()).await?;
        tx.commit().await
    }
}

async fn free_claims(tx: &WriteTx, worker: i64) -> Result<(), StoreError> {
    let text = "UPDATE delivery SET lease_id = 0, lease_until = 0 \
                WHERE lease_id = $1 AND state IN ('pending', 'deferred')";
    sql::run(&**tx, "give rows back", text, [worker.into()]).await.map(|_| ())
}

/// False where it was heard of after all, since the look: its beat came first.
async fn declare_dead(tx: &WriteTx, worker: i64, now: Timestamp) -> Result<bool, StoreError> {
    let mut text = "UPDATE worker SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL".to_owned();
    let mut values: Vec<sea_orm::Value> = vec![worker.into(), now.millis().into()];
    if tx.engine() == Engine::Postgres {
        text += " AND seen_at < $3";
        values.push(now.minus(SILENCE_MAX).millis().into());
    }
    Ok(sql::run(&**tx, "declare a worker dead", &text, values).await? > 0)
}

/// Workers other than this one that count as dead and have not been declared so.
async fn silent_workers(
    connection: &impl ConnectionTrait,
    worker: Worker,
    now: Timestamp,
) -> Result<Vec<i64>, StoreError> {
    let mut text = "SELECT id AS n FROM worker WHERE ended_at IS NULL AND id <> $1".to_owned();
    let mut values: Vec<sea_orm::Value> = vec![worker.id.get().into()];
    if engine_of(connection) == Engine::Postgres {
        text += " AND seen_at < $2";
        values.push(now.minus(SILENCE_MAX).millis().into());
    }
    let found: Vec<sql::Number> = sql::rows(connection, "look for silent workers", &text, values).await?;
    Ok(found.into_iter().map(|row| row.n).collect())
}

/// Rows that are being submitted by nobody who is alive, or for longer than a submission may take.
async fn abandoned_rows(
    connection: &impl ConnectionTrait,
    worker: Worker,
    now: Timestamp,
) -> Result<Vec<entity::delivery::Model>, StoreError> {
    // The states narrow the search to the index; no other broadcast has rows in flight.
    let mut text = "SELECT * FROM delivery WHERE broadcast_id IN \
         (SELECT id FROM broadcast WHERE state IN ('sending', 'stopped', 'cancelled')) \
         AND state = 'submitting' AND lease_id <> $1"
        .to_owned();
    let mut values: Vec<sea_orm::Value> = vec![worker.id.get().into()];
    if engine_of(connection) == Engine::Postgres {
        text += " AND (lease_until < $2 OR NOT EXISTS \
                 (SELECT 1 FROM worker w WHERE w.id = delivery.lease_id AND w.ended_at IS NULL))";
        values.push(now.millis().into());
    }
    sql::rows(connection, "find abandoned rows", &text, values).await
}

/// What a sender needs of a row; what the last attempt brought is not part of it.
#[derive(FromQueryResult)]
struct ClaimColumns {
    id: i64,
    broadcast_id: i64,
    member_id: i64,
    address: String,
    fields: String,
    message_id: String,
    attempts: i64,
    due_at: i64,
    lease_until: i64,
    state: String,
}

fn claimed_row(row: ClaimColumns) -> Result<ClaimedRow, StoreError> {
    let address = EmailAddress::parse(&row.address).map_err(|e| corrupt(row.id, "address", e.to_string()))?;
    let fields: BTreeMap<String, String> =
        serde_json::from_str(&row.fields).map_err(|e| corrupt(row.id, "fields", e.to_string()))?;
    let attempt = AttemptNo::new(i32::try_from(row.attempts).unwrap_or(i32::MAX));
    let retry_at = Timestamp::from_millis(row.due_at);
    let first = row.state == DeliveryState::Pending.as_str();
    Ok(ClaimedRow {
        id: DeliveryId::new(row.id),
        broadcast: BroadcastId::new(row.broadcast_id),
        member: MemberId::new(row.member_id),
        address,
        fields: Arc::new(fields),
        message_id: row.message_id,
        lease_until: Timestamp::from_millis(row.lease_until),
        delivery: if first {
            Delivery::Pending
        } else {
            Delivery::Deferred { attempt, retry_at, reply: None }
        },
    })
}

pub(super) fn corrupt(row: i64, column: &'static str, why: String) -> StoreError {
    StoreError::Corrupt { table: "delivery", column, row, why }
}

/// The domain's state from a row's columns.
pub(super) fn read_delivery(row: &entity::delivery::Model) -> Result<Delivery, StoreError> {
    use domain::DeliveryState as S;
    let state: S =
        row.state.parse().map_err(|e: domain::UnknownWord| corrupt(row.id, "state", e.to_string()))?;
    let attempt = AttemptNo::new(i32::try_from(row.attempts).unwrap_or(i32::MAX));
    let reply = row.smtp_code.map(|code| domain::SmtpReply {
        code: u16::try_from(code).unwrap_or_default(),
        enhanced: row.enhanced_code.clone(),
        text: row.reply.clone().unwrap_or_default(),
    });
    Ok(match state {
        S::Pending => Delivery::Pending,
        S::Held => {
            let reason = row.held_reason.clone().unwrap_or_default();
            Delivery::Held(
                reason
                    .parse()
                    .map_err(|e: domain::UnknownWord| corrupt(row.id, "held_reason", e.to_string()))?,
            )
        }
        S::Submitting => {
            Delivery::Submitting { attempt, lease_until: Timestamp::from_millis(row.lease_until) }
        }
        S::Accepted => Delivery::Accepted { attempt, reply },
        S::Deferred => Delivery::Deferred { attempt, retry_at: Timestamp::from_millis(row.due_at), reply },
        S::Rejected => Delivery::Rejected {
            attempt,
            reply: reply
                .ok_or_else(|| corrupt(row.id, "smtp_code", "a rejected row has a reply".to_owned()))?,
        },
        S::Unknown => Delivery::Unknown { attempt },
        S::GaveUp => Delivery::GaveUp { attempts: attempt },
        S::Cancelled => Delivery::Cancelled { attempts: attempt },
    })
}
