//! How a released broadcast opens: operators get a first copy, then a canary batch goes, then
//! everybody. What is open is decided where rows are claimed, and nowhere else.

use crate::{Broadcast, Store, StoreError, WriteTx, entity, sql, staff_mail::StaffMailKind};
use domain::{Actor, BroadcastId, BroadcastState, Nature, Refusal, Rule, Timestamp};
use sea_orm::FromQueryResult;
use serde::Serialize;
use std::time::Duration;

/// A start in the first minute of an hour is put off by so much at most.
pub const FULL_HOUR_SPREAD: Duration = Duration::from_secs(60);
const HOUR_MS: i64 = 3_600_000;
/// Members wait for the first copies at most so long: an operator's dead mailbox holds up nobody.
const COPIES_MAX: Duration = Duration::from_secs(30);
/// Of a canary that goes on by itself, so many of a hundred have to be accepted.
const CANARY_ACCEPTED_PERCENT: u64 = 90;

/// How a release is guarded: limits, and who looks first.
#[derive(Debug, Clone, Default)]
pub struct ReleasePolicy {
    /// Recipients in 24 hours with one signature.
    pub daily_cap: u64,
    /// Who gets alerts besides the approvers, and a first copy of every notice.
    pub operators: Vec<String>,
    /// Sent before the rest.
    pub canary: Option<CanaryPlan>,
    /// Whether a start at a full hour is put off by up to [`FULL_HOUR_SPREAD`]: everybody's timers
    /// fire then. Never an actual notice.
    pub spread_full_hour: bool,
}

impl ReleasePolicy {
    /// This cap, and nobody who looks first.
    #[must_use]
    pub const fn capped_at(daily_cap: u64) -> Self {
        Self { daily_cap, operators: Vec::new(), canary: None, spread_full_hour: false }
    }
}

impl ReleasePolicy {
    /// The first batch, where one goes before others. An actual notice waits for nobody: a typed
    /// word and the signatures stand before it.
    #[must_use]
    pub fn canary_for(&self, nature: Nature, recipients: u64) -> Option<CanaryPlan> {
        let plan = self.canary.filter(|_| nature != Nature::Actual)?;
        (1..recipients).contains(&plan.recipients).then_some(plan)
    }

    /// How long after the release the last member can be written to at the latest, for what is
    /// known beforehand.
    #[must_use]
    pub fn opens_within(&self, nature: Nature, recipients: u64) -> Duration {
        let spread = self.spread_full_hour && nature != Nature::Actual;
        let canary = self.canary_for(nature, recipients).and_then(|plan| plan.wait);
        let copies = if self.operators.is_empty() { Duration::ZERO } else { COPIES_MAX };
        copies.max(canary.unwrap_or_default()).max(if spread { FULL_HOUR_SPREAD } else { Duration::ZERO })
    }
}

/// A first batch that is looked at before the others follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanaryPlan {
    /// How many.
    pub recipients: u64,
    /// Counted from the release, when the rest follows by itself if the batch went well; without
    /// it a person says so.
    pub wait: Option<Duration>,
}

/// A canary that is out, or under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Canary {
    /// How many are in it.
    pub recipients: u64,
    /// When the rest follows by itself if the batch went well; none where a person has to say so.
    #[serde(rename = "continues_at", serialize_with = "as_rfc3339")]
    pub until: Option<Timestamp>,
}

#[derive(FromQueryResult)]
struct GateColumns {
    opens_at: i64,
    copies_until: i64,
    canary_rows: i64,
    canary_last: i64,
    canary_until: i64,
}

impl Canary {
    /// None where everything is open, or nothing is being sent.
    pub(crate) fn read(row: &entity::broadcast::Model) -> Option<Self> {
        let waits = row.canary_last > 0 && row.state == BroadcastState::Sending.as_str();
        waits.then(|| Self {
            recipients: row.canary_rows.unsigned_abs(),
            until: (row.canary_until < i64::MAX).then(|| Timestamp::from_millis(row.canary_until)),
        })
    }
}

impl Store {
    /// The canary looks well: the rest may follow.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for onlookers, and where nothing waits.
    pub async fn continue_broadcast(
        &self,
        actor: Actor,
        id: BroadcastId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let may = matches!(actor, Actor::Staff { role, .. } if role.may_author() || role.may_approve());
        if !may {
            let way_on = "ask one of them; on the command line set HANSHO_TOKEN to their token";
            return Err(Refusal::new(Rule::Role, "a coordinator or an approver does this", way_on).into());
        }
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        if broadcast.canary.is_none() {
            return Err(Refusal::new(
                Rule::State,
                format!("broadcast {id} has no canary batch that waits"),
                format!("look at it with `hansho broadcast status {id}`"),
            )
            .into());
        }
        tx.open_all(id).await?;
        tx.audit(now, actor, "canary-continued", format!("broadcast:{id}"), String::new()).await?;
        tx.commit().await
    }
}

impl WriteTx {
    /// Sets the gate of a broadcast that is being released at `at`, and enqueues the first copies.
    pub(crate) async fn set_gate(
        &self,
        broadcast: &Broadcast,
        policy: &ReleasePolicy,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let id = broadcast.id;
        for operator in &policy.operators {
            self.enqueue_staff_mail(StaffMailKind::FirstCopy, id, operator, "{}", at).await?;
        }
        let copies_until = if policy.operators.is_empty() { 0 } else { at.plus(COPIES_MAX).millis() };
        let plan = policy.canary_for(broadcast.nature, broadcast.recipients);
        let (mut rows, mut last, mut until) = (0, 0, 0);
        if let Some(plan) = plan {
            rows = plan.recipients as i64;
            let text = "SELECT id AS n FROM delivery WHERE broadcast_id = $1 AND state = 'pending' \
                        ORDER BY due_at, id LIMIT 1 OFFSET $2";
            let values = [id.get().into(), (rows - 1).into()];
            last = sql::number(&**self, "draw the canary", text, values).await?;
            until = plan.wait.map_or(i64::MAX, |wait| at.plus(wait).millis());
        }
        let text = "UPDATE broadcast SET copies_until = $2, canary_rows = $3, canary_last = $4, \
                    canary_until = $5, opens_at = $6 WHERE id = $1";
        let opens_at = if policy.spread_full_hour { opens_at(id, broadcast.nature, at).millis() } else { 0 };
        let values =
            [id.get().into(), copies_until.into(), rows.into(), last.into(), until.into(), opens_at.into()];
        sql::run(&**self, "set the gate", text, values).await.map(|_| ())
    }

    /// The last row that may be claimed now; none where nothing may.
    pub(crate) async fn open_up_to(
        &self,
        id: BroadcastId,
        now: Timestamp,
    ) -> Result<Option<i64>, StoreError> {
        let text = "SELECT opens_at, copies_until, canary_rows, canary_last, canary_until FROM broadcast WHERE id = $1";
        let gate: Option<GateColumns> =
            sql::row(&**self, "look at the gate", text, [id.get().into()]).await?;
        let Some(gate) = gate else { return Ok(None) };
        if gate.opens_at > now.millis() {
            return Ok(None);
        }
        if gate.copies_until > now.millis() {
            let text = "SELECT COUNT(*) AS n FROM staff_mail \
                        WHERE broadcast_id = $1 AND kind = $2 AND state = 'pending'";
            let values = [id.get().into(), StaffMailKind::FirstCopy.as_str().into()];
            if sql::number(&**self, "look for first copies", text, values).await? > 0 {
                return Ok(None);
            }
        }
        if gate.canary_last == 0 {
            return Ok(Some(i64::MAX));
        }
        if gate.canary_until <= now.millis() {
            let text = "SELECT COUNT(*) AS n FROM delivery \
                        WHERE broadcast_id = $1 AND state = 'accepted' AND id <= $2";
            let values = [id.get().into(), gate.canary_last.into()];
            let accepted = sql::number(&**self, "look at the canary", text, values).await?.unsigned_abs();
            if accepted * 100 >= gate.canary_rows.unsigned_abs() * CANARY_ACCEPTED_PERCENT {
                self.open_all(id).await?;
                return Ok(Some(i64::MAX));
            }
        }
        Ok(Some(gate.canary_last))
    }

    async fn open_all(&self, id: BroadcastId) -> Result<(), StoreError> {
        let text = "UPDATE broadcast SET canary_last = 0 WHERE id = $1";
        sql::run(&**self, "open a broadcast", text, [id.get().into()]).await.map(|_| ())
    }
}

fn as_rfc3339<S: serde::Serializer>(until: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    until.map(Timestamp::to_rfc3339).serialize(serializer)
}

/// At once, but for a start in the first minute of an hour: that waits for as long as the
/// broadcast's number says.
fn opens_at(id: BroadcastId, nature: Nature, at: Timestamp) -> Timestamp {
    let spread = FULL_HOUR_SPREAD.as_millis() as i64;
    if nature == Nature::Actual || at.millis().rem_euclid(HOUR_MS) >= spread {
        return at;
    }
    let wait = id.get().wrapping_mul(0x9E37_79B9_7F4A_7C15_u64 as i64).rem_euclid(spread);
    at.plus(Duration::from_millis(wait.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn waits(nature: Nature, at: &str) -> BTreeSet<u128> {
        let at = Timestamp::parse_rfc3339(at).expect("a time");
        let numbers = (1..=200).map(BroadcastId::new);
        numbers.map(|id| opens_at(id, nature, at).since(at).as_secs().into()).collect()
    }

    #[test]
    fn starts_at_a_full_hour_are_spread_over_a_minute_and_no_others() {
        let spread = waits(Nature::Exercise, "2026-09-04T13:00:00+09:00");
        assert!(spread.len() > 50 && spread.iter().all(|wait| *wait < 60), "{spread:?}");
        assert_eq!(waits(Nature::Exercise, "2026-09-04T13:01:00+09:00"), [0].into());
        assert_eq!(waits(Nature::Exercise, "2026-09-04T12:59:59+09:00"), [0].into());
        assert_eq!(waits(Nature::Actual, "2026-09-04T13:00:00+09:00"), [0].into());
    }
}
