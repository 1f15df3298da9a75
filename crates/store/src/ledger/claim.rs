//! Workers and their claims on chunks of rows. Leases are measured by the database's clock.

use super::Limits;
use crate::{Engine, Store, StoreError, entity, sql};
use domain::{
    Approved, AttemptNo, BroadcastId, Delivery, DeliveryEvent, DeliveryId, EmailAddress, Frozen, LeaseId,
    MemberId, Timestamp,
};
use std::{collections::BTreeMap, time::Duration};

/// One incarnation of a sending process. Its id is in every lease it takes, so that a revived
/// predecessor is fenced off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    pub(super) id: LeaseId,
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
    pub fields: BTreeMap<String, String>,
    /// Stable over all attempts.
    pub message_id: String,
    /// End of the lease.
    pub lease_until: Timestamp,
    pub(super) delivery: Delivery,
}

impl ClaimedRow {
    /// Attempts made so far.
    #[must_use]
    pub fn attempts(&self) -> AttemptNo {
        attempts_of(&self.delivery)
    }
}

pub(super) fn attempts_of(delivery: &Delivery) -> AttemptNo {
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
        let text = "INSERT INTO worker (name, started_at) VALUES ($1, $2) RETURNING id AS n";
        let id = sql::number(&*tx, "register a worker", text, [name.into(), now.millis().into()]).await?;
        tx.commit().await?;
        Ok(Worker { id: LeaseId::new(id) })
    }

    /// Declares what dead workers left behind: rows they were submitting become unknown, rows
    /// they had claimed are free again. On SQLite every other worker is dead, because the caller
    /// holds the file's lock; on PostgreSQL a worker is dead when its lease is over.
    ///
    /// Gives the number of rows that became unknown.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn recover(&self, worker: Worker) -> Result<u64, StoreError> {
        let tx = self.write().await?;
        let now = sql::database_now(&*tx).await?;
        let mut values: Vec<sea_orm::Value> = vec![worker.id.get().into()];
        // The states narrow the search to the index; no other broadcast has rows in flight.
        let mut text = "SELECT * FROM delivery WHERE broadcast_id IN \
             (SELECT id FROM broadcast WHERE state IN ('sending', 'stopped', 'cancelled')) \
             AND state = 'submitting' AND lease_id <> $1"
            .to_owned();
        if tx.engine() == Engine::Postgres {
            text += " AND lease_until < $2";
            values.push(now.millis().into());
        }
        let rows: Vec<entity::delivery::Model> =
            sql::rows(&*tx, "find abandoned rows", &text, values).await?;
        tx.leave_seats(&rows.iter().map(|row| row.id).collect::<Vec<_>>(), now).await?;
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
        if tx.engine() == Engine::Sqlite {
            let text = "UPDATE delivery SET lease_id = 0, lease_until = 0 \
                        WHERE lease_id <> 0 AND lease_id <> $1 AND state IN ('pending', 'deferred')";
            sql::run(&*tx, "free claimed rows", text, [worker.id.get().into()]).await?;
        }
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
        let mut claimed = Vec::new();
        for state in ["deferred", "pending"] {
            let left = i64::from(terms.chunk_size) - claimed.len() as i64;
            if left <= 0 {
                break;
            }
            let text = format!(
                "UPDATE delivery SET lease_id = $1, lease_until = $2 WHERE id IN (\
                   SELECT id FROM delivery WHERE broadcast_id = $3 AND state = '{state}' AND due_at <= $4 \
                   AND lease_until < $4 \
                   AND EXISTS (SELECT 1 FROM broadcast b WHERE b.id = $3 AND b.state = 'sending') \
                   ORDER BY due_at, id LIMIT $5 {lock}) RETURNING *"
            );
            let values = [
                worker.id.get().into(),
                lease_until.millis().into(),
                broadcast.get().into(),
                now.millis().into(),
                left.into(),
            ];
            let rows: Vec<entity::delivery::Model> = sql::rows(&*tx, "claim rows", &text, values).await?;
            claimed.extend(rows);
        }
        tx.commit().await?;
        claimed.iter().map(claimed_row).collect()
    }

    /// Gives unsent rows back before the lease ends: a draining worker leaves nothing waiting.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn release_claims(&self, worker: Worker) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let text = "UPDATE delivery SET lease_id = 0, lease_until = 0 \
                    WHERE lease_id = $1 AND state IN ('pending', 'deferred')";
        sql::run(&*tx, "give rows back", text, [worker.id.get().into()]).await?;
        tx.commit().await
    }
}

fn claimed_row(row: &entity::delivery::Model) -> Result<ClaimedRow, StoreError> {
    let address = EmailAddress::parse(&row.address).map_err(|e| corrupt(row.id, "address", e.to_string()))?;
    let fields = serde_json::from_str(&row.fields).map_err(|e| corrupt(row.id, "fields", e.to_string()))?;
    Ok(ClaimedRow {
        id: DeliveryId::new(row.id),
        broadcast: BroadcastId::new(row.broadcast_id),
        member: MemberId::new(row.member_id),
        address,
        fields,
        message_id: row.message_id.clone(),
        lease_until: Timestamp::from_millis(row.lease_until),
        delivery: read_delivery(row)?,
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
