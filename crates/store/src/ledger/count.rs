//! Counting rows, and the ends of a broadcast: drained, out of time, settled by a person.

use super::{
    attempt::keep_attempts,
    claim::{attempts_of, corrupt, read_delivery},
};
use crate::{Store, StoreError, entity, erasure::cleared_rows, sql};
use domain::{
    Actor, BroadcastEvent, BroadcastId, BroadcastState, Delivery, DeliveryEvent, DeliveryState, Refusal,
    Rule, Tally, Timestamp, retry_wait,
};
use sea_orm::{ConnectionTrait, FromQueryResult};

/// How a person settles unknown rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// There is evidence that the relay took it.
    Accepted,
    /// Send it again at once, with the same Message-ID.
    Resend,
    /// The stated policy sends it again, with the same Message-ID, after a wait that doubles
    /// with each attempt: a relay that keeps breaking off must not become a flood.
    ResendLater {
        /// Wait after the first attempt.
        first_wait: std::time::Duration,
    },
}

/// Which limit passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeLimit {
    /// The notice's own end: nothing more leaves.
    FinishBy,
    /// The period of retries: what was never tried may still leave.
    RetryFor,
}

#[derive(FromQueryResult)]
struct StateCount {
    state: String,
    n: i64,
}

impl Store {
    /// How many rows of a broadcast stand in each state.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn tally(&self, id: BroadcastId) -> Result<Tally, StoreError> {
        let text = "SELECT state, COUNT(*) AS n FROM delivery WHERE broadcast_id = $1 GROUP BY state";
        let counts: Vec<StateCount> =
            sql::rows(&self.connection, "count ledger rows", text, [id.get().into()]).await?;
        let mut tally = Tally::default();
        for count in counts {
            let state: DeliveryState =
                count.state.parse().map_err(|e: domain::UnknownWord| corrupt(0, "state", e.to_string()))?;
            tally.add(state, count.n.unsigned_abs());
        }
        Ok(tally)
    }

    /// Whether a broadcast has unknown rows; cheaper than counting all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn has_unknown(&self, id: BroadcastId) -> Result<bool, StoreError> {
        let text = "SELECT id AS n FROM delivery WHERE broadcast_id = $1 AND state = 'unknown' LIMIT 1";
        let row: Option<sql::Number> =
            sql::row(&self.connection, "look for unknown rows", text, [id.get().into()]).await?;
        Ok(row.is_some())
    }

    /// Marks a sending broadcast as completed if no row is open; whether it did.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn complete_if_drained(&self, id: BroadcastId, now: Timestamp) -> Result<bool, StoreError> {
        // Looked at without the lock first: it would hold up every worker's turn, several times a
        // second, until the end.
        if has_open(&self.connection, id).await? {
            return Ok(false);
        }
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        if broadcast.state != BroadcastState::Sending || has_open(&*tx, id).await? {
            return Ok(false);
        }
        tx.step(&broadcast, BroadcastEvent::Drained).await?;
        let values = [id.get().into(), now.millis().into()];
        sql::run(
            &*tx,
            "complete a broadcast",
            "UPDATE broadcast SET completed_at = $2 WHERE id = $1",
            values,
        )
        .await?;
        tx.audit(now, Actor::Scheduler, "broadcast-completed", format!("broadcast:{id}"), String::new())
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Gives up rows that are open and not being submitted: their time is over.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn run_out_of_time(
        &self,
        id: BroadcastId,
        what: TimeLimit,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let states = match what {
            TimeLimit::FinishBy => "'pending', 'deferred'",
            TimeLimit::RetryFor => "'deferred'",
        };
        let text = format!(
            "UPDATE delivery SET state = 'gave_up', settled_at = $2 WHERE broadcast_id = $1 AND state IN ({states})"
        );
        let tx = self.write().await?;
        let rows = sql::run(&*tx, "give rows up", &text, [id.get().into(), now.millis().into()]).await?;
        if rows > 0 {
            let object = format!("broadcast:{id}");
            tx.audit(
                now,
                Actor::Scheduler,
                "broadcast-ran-out-of-time",
                object,
                format!("rows={rows} limit={what:?}"),
            )
            .await?;
        }
        tx.commit().await?;
        Ok(rows)
    }

    /// A person, or the stated policy, settles unknown rows: all of them, or those of the given
    /// member numbers. Gives how many.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when a number names no unknown row, or the broadcast cannot be sent
    /// again because rows of it were cleared; nothing is changed then.
    pub async fn settle(
        &self,
        actor: Actor,
        id: BroadcastId,
        settlement: Settlement,
        members: &[String],
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        if settlement != Settlement::Accepted {
            may_be_resent(&*tx, id).await?;
        }
        let text = "SELECT * FROM delivery WHERE broadcast_id = $1 AND state = 'unknown' ORDER BY id";
        let mut rows: Vec<entity::delivery::Model> =
            sql::rows(&*tx, "find unknown rows", text, [id.get().into()]).await?;
        if !members.is_empty() {
            if let Some(stranger) = members.iter().find(|no| rows.iter().all(|row| row.member_no != **no)) {
                return Err(Refusal::new(
                    Rule::State,
                    format!("member {stranger} has no unknown row in broadcast {id}"),
                    format!("list them with `hansho broadcast ledger {id}`"),
                )
                .into());
            }
            rows.retain(|row| members.contains(&row.member_no));
        }
        for row in &rows {
            let unknown = read_delivery(row)?;
            let event = match settlement {
                Settlement::Accepted => DeliveryEvent::SettledAsAccepted,
                Settlement::Resend => DeliveryEvent::SettledForResend { retry_at: now },
                Settlement::ResendLater { first_wait } => {
                    let wait = retry_wait(first_wait, attempts_of(&unknown));
                    DeliveryEvent::SettledForResend { retry_at: now.plus(wait) }
                }
            };
            let after = unknown.next(&event)?;
            // The decision overwrites how the attempt ended; only its last word is in the row.
            let keep = keep_attempts("id = $1 AND state = 'unknown'");
            sql::run(&*tx, "keep an unknown attempt", &keep, [row.id.into()]).await?;
            let due = if let Delivery::Deferred { retry_at, .. } = &after { retry_at.millis() } else { 0 };
            sql::run(
                &*tx,
                "settle a row",
                "UPDATE delivery SET state = $2, due_at = $3, lease_id = 0, lease_until = 0, settled_at = $4 \
                 WHERE id = $1 AND state = 'unknown'",
                [row.id.into(), after.state().as_str().into(), due.into(), now.millis().into()],
            )
            .await?;
        }
        if settlement != Settlement::Accepted && !rows.is_empty() {
            tx.step(&broadcast, BroadcastEvent::Reopened).await?;
        }
        let detail = format!("rows={} as={settlement:?}", rows.len());
        tx.audit(now, actor, "unknown-settled", format!("broadcast:{id}"), detail).await?;
        tx.commit().await?;
        Ok(rows.len() as u64)
    }
}

/// What was signed has to stand in the rows (law 5).
async fn may_be_resent(connection: &impl ConnectionTrait, id: BroadcastId) -> Result<(), StoreError> {
    let cleared = cleared_rows(connection, id).await?;
    if cleared == 0 {
        return Ok(());
    }
    let text = format!("{cleared} rows of broadcast {id} were erased, so what was signed cannot be verified");
    Err(Refusal::new(
        Rule::Digest,
        text,
        format!("write to the others anew: `hansho broadcast correct {id}`"),
    )
    .into())
}

async fn has_open(connection: &impl ConnectionTrait, id: BroadcastId) -> Result<bool, StoreError> {
    let text = "SELECT id AS n FROM delivery WHERE broadcast_id = $1 \
                AND state IN ('pending', 'submitting', 'deferred') LIMIT 1";
    let open: Option<sql::Number> =
        sql::row(connection, "look for open rows", text, [id.get().into()]).await?;
    Ok(open.is_some())
}
