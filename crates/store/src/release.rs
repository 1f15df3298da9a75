//! Signing, releasing, stopping, resuming, cancelling: the decisions of people about a broadcast.

use crate::{Broadcast, ReleasePolicy, Store, StoreError, WriteTx, entity, sql, staff_mail::StaffMailKind};
use domain::{
    Actor, ApprovalGap, Approved, BroadcastEvent, BroadcastId, BroadcastState, ContentDigest, ExerciseState,
    Frozen, Refusal, Role, Rule, Signature, SignaturesRequired, StaffId, Tally, Timestamp, cap_exceeded,
};
use sea_orm::FromQueryResult;
use std::time::Duration;

/// The daily cap looks back this far, on the database's clock.
const CAP_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

/// What a release needed and got.
#[derive(Debug)]
pub struct Released {
    /// The evidence.
    pub approved: Approved<Frozen>,
    /// When, on the database's clock.
    pub at: Timestamp,
}

/// What a stop found once no row was in flight any more; the parts sum to `total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct StopAnswer {
    /// The relay took these.
    pub accepted: u64,
    /// These will not be sent: pending, deferred and cancelled.
    pub prevented: u64,
    /// Nobody knows: lost after the dot, or still open when the answer was due.
    pub unknown: u64,
    /// Refused by the relay.
    pub rejected: u64,
    /// Held back from the start.
    pub held: u64,
    /// Tried until the time ran out.
    pub gave_up: u64,
    /// The frozen snapshot.
    pub total: u64,
}

impl From<Tally> for StopAnswer {
    fn from(tally: Tally) -> Self {
        Self {
            accepted: tally.accepted,
            prevented: tally.pending + tally.deferred + tally.cancelled,
            unknown: tally.unknown + tally.submitting,
            rejected: tally.rejected,
            held: tally.held,
            gave_up: tally.gave_up,
            total: tally.total(),
        }
    }
}

#[derive(FromQueryResult)]
struct SignatureColumns {
    staff_id: i64,
    role: String,
    digest: String,
    signed_at: i64,
}

impl Store {
    /// The author asks for signatures. Over the cap, approvers and operators are alerted now.
    ///
    /// # Errors
    /// [`StoreError::BroadcastStep`] unless it is preflighted.
    pub async fn request_approval(
        &self,
        actor: Actor,
        id: BroadcastId,
        policy: &ReleasePolicy,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        tx.step(&broadcast, BroadcastEvent::ApprovalRequested).await?;
        tx.required_signatures(&broadcast, policy, now).await?;
        tx.audit(now, actor, "approval-requested", format!("broadcast:{id}"), String::new()).await?;
        tx.commit().await
    }

    /// An approver signs the digest they saw. Gives valid signatures and how many are needed.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for the author, a wrong role, or a digest that is not what stands
    /// in the database; [`StoreError::BroadcastStep`] in a state without a snapshot to sign.
    pub async fn sign(
        &self,
        actor: Actor,
        id: BroadcastId,
        seen: ContentDigest,
        policy: &ReleasePolicy,
        now: Timestamp,
    ) -> Result<ApprovalGap, StoreError> {
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        let signer = may_sign(actor, &broadcast)?;
        if broadcast.digest != Some(seen) {
            return Err(Refusal::new(
                Rule::Digest,
                "what you saw is not what stands here now; the notice or its audience changed",
                "read it again, then sign",
            )
            .into());
        }
        // Checked before writing: a signature is only kept where it can count.
        broadcast.state.next(BroadcastEvent::SignedPartly)?;
        sql::run(
            &*tx,
            "sign",
            "INSERT INTO signature (broadcast_id, staff_id, digest, signed_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (broadcast_id, staff_id) DO NOTHING",
            [id.get().into(), signer.get().into(), seen.to_string().into(), now.millis().into()],
        )
        .await?;
        let required = tx.required_signatures(&broadcast, policy, now).await?;
        let signatures = tx.signatures(id).await?;
        let frozen = broadcast.frozen(seen);
        let valid = signatures.iter().filter(|signature| signature.role.may_approve()).count();
        let given = u8::try_from(valid).unwrap_or(u8::MAX);
        let event = match Approved::verify(frozen, &signatures, required) {
            Ok(_) => BroadcastEvent::SignedFully,
            Err(_) => BroadcastEvent::SignedPartly,
        };
        if broadcast.state != BroadcastState::Approved {
            tx.step(&broadcast, event).await?;
        }
        let detail = format!("digest={seen} signatures={given}/{}", required.get());
        tx.audit(now, actor, "broadcast-signed", format!("broadcast:{id}"), detail).await?;
        tx.commit().await?;
        Ok(ApprovalGap { given, required: required.get() })
    }

    /// The signatures of a broadcast; people who were disabled since do not count.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn signatures(&self, id: BroadcastId) -> Result<Vec<Signature>, StoreError> {
        signatures_of(&self.connection, id).await
    }

    /// How many signatures a release would need now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn signatures_needed(
        &self,
        broadcast: &Broadcast,
        daily_cap: u64,
    ) -> Result<SignaturesRequired, StoreError> {
        let released = self.released_recently(broadcast.id).await?;
        let over = cap_exceeded(released, broadcast.recipients, daily_cap);
        Ok(SignaturesRequired::for_release(over || is_unusual(broadcast)))
    }

    /// Whether anything was ever released here: from then on nobody becomes an approver alone.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn any_released(&self) -> Result<bool, StoreError> {
        let text = "SELECT COUNT(*) AS n FROM broadcast WHERE released_at IS NOT NULL";
        Ok(sql::number(&self.connection, "look for a release", text, []).await? > 0)
    }

    /// Recipients released in the preceding 24 hours, other than by `id`.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn released_recently(&self, id: BroadcastId) -> Result<u64, StoreError> {
        released_in_window(&self.connection, id).await
    }

    /// Releases an approved broadcast: the cap is reserved and the evidence made in the same
    /// transaction. `frozen` carries the digest recomputed from the rows just before.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when signatures are missing (also because the cap was reached
    /// meanwhile: then it waits for one more), the digest is not the signed one, or the scheduler
    /// asks for a notice of an exercise that does not run.
    pub async fn release(
        &self,
        actor: Actor,
        frozen: Frozen,
        policy: &ReleasePolicy,
        now: Timestamp,
    ) -> Result<Released, StoreError> {
        let id = frozen.broadcast;
        let tx = self.write().await?;
        tx.exclusive("release").await?;
        let broadcast = tx.broadcast_locked(id).await?;
        broadcast.state.next(BroadcastEvent::Released)?;
        tx.timeline_runs(actor, id).await?;
        if broadcast.digest != Some(frozen.digest) {
            return Err(Refusal::new(
                Rule::Digest,
                format!("the rows of broadcast {id} are not what was signed"),
                "return it to draft, run preflight and have it approved again",
            )
            .into());
        }
        let required = tx.required_signatures(&broadcast, policy, now).await?;
        let signatures = tx.signatures(id).await?;
        let approved = match Approved::verify(frozen, &signatures, required) {
            Ok(approved) => approved,
            Err(gap) => {
                tx.step(&broadcast, BroadcastEvent::SignedPartly).await?;
                tx.audit(now, actor, "release-refused", format!("broadcast:{id}"), gap.to_string()).await?;
                tx.commit().await?;
                return Err(missing_signatures(id, &gap).into());
            }
        };
        tx.step(&broadcast, BroadcastEvent::Released).await?;
        let at = sql::database_now(&*tx).await?;
        sql::run(
            &*tx,
            "release a broadcast",
            "UPDATE broadcast SET released_at = $2, signatures_required = $3 WHERE id = $1",
            [id.get().into(), at.millis().into(), i64::from(required.get()).into()],
        )
        .await?;
        tx.set_gate(&broadcast, policy, at).await?;
        let detail = format!("recipients={} digest={}", broadcast.recipients, approved.get().digest);
        tx.audit(now, actor, "broadcast-released", format!("broadcast:{id}"), detail).await?;
        tx.commit().await?;
        Ok(Released { approved, at })
    }

    /// Stops a sending broadcast. From this commit on no worker gets a permit for it.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for onlookers, [`StoreError::BroadcastStep`] where nothing is being sent.
    pub async fn stop_broadcast(
        &self,
        actor: Actor,
        id: BroadcastId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if !actor.may_stop() {
            return Err(Refusal::new(Rule::Role, "viewers look on", "ask anyone else who can sign in").into());
        }
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        tx.step(&broadcast, BroadcastEvent::Stopped).await?;
        let values = [id.get().into(), now.millis().into()];
        sql::run(&*tx, "note a stop", "UPDATE broadcast SET stopped_at = $2 WHERE id = $1", values).await?;
        tx.audit(now, actor, "broadcast-stopped", format!("broadcast:{id}"), String::new()).await?;
        tx.commit().await
    }

    /// Resumes a stopped broadcast: an approver who is not the author gives a reason; this is
    /// the signature.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for anyone else or without a reason.
    pub async fn resume_broadcast(
        &self,
        actor: Actor,
        id: BroadcastId,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if reason.trim().is_empty() {
            return Err(
                Refusal::new(Rule::Reason, "a resume needs a reason", "say why it is safe to go on").into()
            );
        }
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        may_sign(actor, &broadcast)?;
        tx.step(&broadcast, BroadcastEvent::Resumed).await?;
        // Rows that workers had claimed before the stop are free at once, not when leases end.
        let text = "UPDATE delivery SET lease_until = 0 \
                    WHERE broadcast_id = $1 AND state IN ('pending', 'deferred') AND lease_until > 0";
        sql::run(&*tx, "free claimed rows", text, [id.get().into()]).await?;
        tx.audit(now, actor, "broadcast-resumed", format!("broadcast:{id}"), reason.to_owned()).await?;
        tx.commit().await
    }

    /// Ends a broadcast for good: what is not out yet is cancelled.
    ///
    /// # Errors
    /// [`StoreError::BroadcastStep`] when it is over already.
    pub async fn cancel_broadcast(
        &self,
        actor: Actor,
        id: BroadcastId,
        reason: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        tx.step(&broadcast, BroadcastEvent::Cancelled).await?;
        let rows = sql::run(
            &*tx,
            "cancel rows",
            "UPDATE delivery SET state = 'cancelled', settled_at = $2 \
             WHERE broadcast_id = $1 AND state IN ('pending', 'deferred')",
            [id.get().into(), now.millis().into()],
        )
        .await?;
        let detail = format!("rows={rows} reason={reason}");
        tx.audit(now, actor, "broadcast-cancelled", format!("broadcast:{id}"), detail).await?;
        tx.commit().await
    }

    /// A notice whose time passed before it was released is never sent late.
    ///
    /// # Errors
    /// [`StoreError::BroadcastStep`] once it was released.
    pub async fn expire_broadcast(&self, id: BroadcastId, now: Timestamp) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        tx.expire(Actor::Scheduler, &broadcast, now).await?;
        tx.commit().await
    }
}

impl WriteTx {
    /// Ends a locked broadcast that was not released.
    pub(crate) async fn expire(
        &self,
        actor: Actor,
        broadcast: &Broadcast,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.step(broadcast, BroadcastEvent::Expired).await?;
        let object = format!("broadcast:{}", broadcast.id);
        self.audit(now, actor, "broadcast-expired", object, String::new()).await
    }

    /// The scheduler may have looked at its timeline before somebody stopped the exercise. From
    /// here on a stop waits for this transaction, and then finds the broadcast sending.
    async fn timeline_runs(&self, actor: Actor, id: BroadcastId) -> Result<(), StoreError> {
        if actor != Actor::Scheduler {
            return Ok(());
        }
        let text = format!(
            "SELECT * FROM exercise WHERE id IN (SELECT exercise_id FROM inject WHERE broadcast_id = $1){}",
            self.for_update()
        );
        let exercise: Option<entity::exercise::Model> =
            sql::row(&**self, "look at the timeline", &text, [id.get().into()]).await?;
        match exercise {
            Some(exercise) if exercise.state != ExerciseState::Running.as_str() => Err(Refusal::new(
                Rule::State,
                format!("exercise {} is {}, and broadcast {id} belongs to it", exercise.id, exercise.state),
                "start the exercise again, or let a coordinator release the notice",
            )
            .into()),
            Some(_) | None => Ok(()),
        }
    }

    async fn signatures(&self, id: BroadcastId) -> Result<Vec<Signature>, StoreError> {
        signatures_of(&**self, id).await
    }

    /// How many signatures are needed; over the cap the alert goes out with the same commit.
    async fn required_signatures(
        &self,
        broadcast: &Broadcast,
        policy: &ReleasePolicy,
        now: Timestamp,
    ) -> Result<SignaturesRequired, StoreError> {
        let released = released_in_window(&**self, broadcast.id).await?;
        let over = cap_exceeded(released, broadcast.recipients, policy.daily_cap);
        if over {
            let args = [
                ("recipients", broadcast.recipients.to_string()),
                ("released", released.to_string()),
                ("cap", policy.daily_cap.to_string()),
            ];
            self.alert_staff(StaffMailKind::CapAlert, broadcast.id, &args, &policy.operators, now).await?;
        }
        Ok(SignaturesRequired::for_release(over || is_unusual(broadcast)))
    }
}

async fn signatures_of(
    connection: &impl sea_orm::ConnectionTrait,
    id: BroadcastId,
) -> Result<Vec<Signature>, StoreError> {
    let rows: Vec<SignatureColumns> = sql::rows(
        connection,
        "read signatures",
        "SELECT s.staff_id, p.role, s.digest, s.signed_at FROM signature s JOIN staff p ON p.id = s.staff_id \
         WHERE s.broadcast_id = $1 AND p.disabled = $2 ORDER BY s.signed_at, s.staff_id",
        [id.get().into(), false.into()],
    )
    .await?;
    rows.into_iter().map(|row| signature(id, row)).collect()
}

fn signature(id: BroadcastId, row: SignatureColumns) -> Result<Signature, StoreError> {
    let corrupt = |column: &'static str, why: String| StoreError::Corrupt {
        table: "signature",
        column,
        row: id.get(),
        why,
    };
    Ok(Signature {
        staff: StaffId::new(row.staff_id),
        role: row.role.parse::<Role>().map_err(|e| corrupt("role", e.to_string()))?,
        digest: row.digest.parse().map_err(|e: domain::DigestError| corrupt("digest", e.to_string()))?,
        signed_at: Timestamp::from_millis(row.signed_at),
    })
}

/// Recipients released within the window, other than by this broadcast.
async fn released_in_window(
    connection: &impl sea_orm::ConnectionTrait,
    id: BroadcastId,
) -> Result<u64, StoreError> {
    let since = sql::database_now(connection).await?.minus(CAP_WINDOW);
    let text = "SELECT CAST(COALESCE(SUM(recipients), 0) AS BIGINT) AS n FROM broadcast \
                WHERE released_at > $1 AND id <> $2";
    let sum = sql::number(connection, "sum the cap", text, [since.millis().into(), id.get().into()]).await?;
    Ok(sum.unsigned_abs())
}

fn is_unusual(broadcast: &Broadcast) -> bool {
    broadcast.change.is_some_and(|change| change.is_unusual())
}

fn may_sign(actor: Actor, broadcast: &Broadcast) -> Result<StaffId, Refusal> {
    match actor {
        Actor::Staff { id, .. } if id == broadcast.author => Err(Refusal::new(
            Rule::FourEyes,
            "the author of a notice never approves it",
            "ask an approver other than the author",
        )),
        Actor::Staff { id, role } if role.may_approve() => Ok(id),
        Actor::Staff { .. } | Actor::LocalEngineer | Actor::Scheduler => Err(Refusal::new(
            Rule::Role,
            "only an approver signs",
            "ask a person with the role approver; on the command line set HANSHO_TOKEN to their token",
        )),
    }
}

fn missing_signatures(id: BroadcastId, gap: &ApprovalGap) -> Refusal {
    if gap.required > 1 {
        Refusal::new(
            Rule::DailyCap,
            format!(
                "broadcast {id} goes over the daily cap, or to other people than last time, and has {gap}"
            ),
            "a second approver signs it",
        )
    } else {
        Refusal::new(Rule::Approval, format!("broadcast {id} has {gap}"), "an approver signs it")
    }
}
