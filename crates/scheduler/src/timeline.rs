//! The running exercises' timelines. An inject that falls due becomes a notice at the desk and
//! waits there for its signatures; once they are given it is released. One that nobody signs in
//! time is missed: nothing is ever sent late without a person.

use crate::{Desk, DeskError, desk::audience_json};
use domain::{
    Actor, BroadcastId, BroadcastState, Clock, ExerciseId, ExerciseState, InjectAudience, InjectState,
    Refusal, Timestamp,
};
use notice::preflight::{Finding, Level, NO_RECIPIENTS};
use registry::AudienceSpec;
use std::{sync::Arc, time::Duration};
use store::{Broadcast, Exercise, Inject, NewBroadcast, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// An inject is on time when it is released within this of its due time and its signature.
const TICK: Duration = Duration::from_millis(250);

/// Drives the timelines of all running exercises.
#[derive(Clone)]
pub struct Timeline {
    desk: Desk,
    clock: Arc<dyn Clock>,
}

impl Timeline {
    /// A timeline at this desk.
    #[must_use]
    pub fn new(desk: Desk, clock: Arc<dyn Clock>) -> Self {
        Self { desk, clock }
    }

    /// Ticks until `shutdown`. A failing database is waited for.
    pub async fn run(self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            if let Err(problem) = self.tick().await {
                error!(
                    error = &problem as &dyn std::error::Error,
                    "the timeline could not advance; trying again"
                );
            }
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Advances every running exercise once. Safe to repeat and to run on several machines:
    /// each step is guarded by the state it leaves. One that cannot advance keeps no other waiting.
    ///
    /// # Errors
    /// [`DeskError`]: the first, once everything was tried.
    pub async fn tick(&self) -> Result<(), DeskError> {
        let mut outcome = Ok(());
        for exercise in self.desk.store().exercises(i64::MAX).await? {
            if exercise.state == ExerciseState::Running
                && let Some(started) = exercise.started_at
                && let Err(problem) = self.advance(&exercise, started).await
            {
                error!(
                    exercise.id = %exercise.id,
                    error = &problem as &dyn std::error::Error,
                    "an exercise could not advance; the others go on"
                );
                outcome = outcome.and(Err(problem));
            }
        }
        let expired = self.expire_overdue().await;
        outcome.and(expired)
    }

    /// A notice whose own end passed before it was released is never sent late.
    async fn expire_overdue(&self) -> Result<(), DeskError> {
        let now = self.clock.now();
        for state in [BroadcastState::Preflighted, BroadcastState::AwaitingApproval, BroadcastState::Approved]
        {
            for broadcast in self.desk.store().broadcasts_in(state).await? {
                if broadcast.finish_by.is_some_and(|end| end <= now) {
                    warn!(broadcast.id = %broadcast.id, "expired: it was not released before its end");
                    self.desk.store().expire_broadcast(broadcast.id, now).await?;
                }
            }
        }
        Ok(())
    }

    async fn advance(&self, exercise: &Exercise, started: Timestamp) -> Result<(), DeskError> {
        let now = self.clock.now();
        let injects = self.desk.store().injects(exercise.id).await?;
        for inject in &injects {
            let due = started.plus(inject.offset);
            match inject.state {
                InjectState::Planned if now >= due.plus(inject.grace) => self.miss(inject, None).await?,
                InjectState::Planned if now >= due => self.prepare(exercise, inject, due).await?,
                InjectState::Prepared => self.release_when_signed(inject, due, now).await?,
                InjectState::Planned | InjectState::Released | InjectState::Missed => {}
            }
        }
        self.end_when_done(exercise.id).await
    }

    async fn prepare(&self, exercise: &Exercise, inject: &Inject, due: Timestamp) -> Result<(), DeskError> {
        let Some(notice) = self.notice_of(exercise, inject, due).await? else {
            warn!(inject.id = %inject.id, "the inject it refers to was never sent; this one is missed");
            return self.miss(inject, None).await;
        };
        self.desk.store().prepare_inject(inject, &notice, self.clock.now()).await?;
        Ok(())
    }

    /// Brings a draft to the approvers. With nobody to address (all have answered) it is missed.
    async fn bring_to_approval(&self, inject: &Inject, id: BroadcastId) -> Result<(), DeskError> {
        let answer = self.desk.preflight(Actor::Scheduler, id).await?;
        if answer.ok {
            info!(inject.id = %inject.id, broadcast.id = %id, "inject is due and waits for its signatures");
            return self.desk.request_approval(Actor::Scheduler, id).await;
        }
        warn!(inject.id = %inject.id, broadcast.id = %id, "preflight blocked the inject; a person has to look");
        let blocks = |finding: &Finding| finding.level == Level::Block;
        let mut blocking = answer.findings.iter().filter(|finding| blocks(finding));
        // An error in the text leaves nobody either; that one waits for its correction.
        if answer.held_for_want == 0 && blocking.all(|finding| finding.rule == NO_RECIPIENTS) {
            let reason = "nobody to address";
            self.desk.store().cancel_broadcast(Actor::Scheduler, id, reason, self.clock.now()).await?;
        }
        Ok(())
    }

    /// The inject's text as a draft of the exercise's author. None when it refers to an inject
    /// whose notice never left.
    async fn notice_of(
        &self,
        exercise: &Exercise,
        inject: &Inject,
        due: Timestamp,
    ) -> Result<Option<NewBroadcast>, DeskError> {
        let audience: InjectAudience =
            serde_json::from_str(&inject.audience).map_err(|e| StoreError::Corrupt {
                table: "inject",
                column: "audience",
                row: inject.id.get(),
                why: e.to_string(),
            })?;
        let (spec, asked_before) = match audience {
            InjectAudience::Audience(name) => (AudienceSpec::Named(name), None),
            InjectAudience::NonRespondents(key) => {
                let earlier = self.desk.store().broadcast_of_inject(exercise.id, &key).await?;
                match earlier.filter(|earlier| earlier.released_at.is_some()) {
                    Some(earlier) => (AudienceSpec::NonRespondents { of: earlier.id }, Some(earlier)),
                    None => return Ok(None),
                }
            }
        };
        // A reminder's link asks what the reminded notice asked, and counts as an answer to it.
        let (questionnaire, answers_to) = match (inject.questionnaire, &asked_before) {
            (None, Some(earlier)) => (earlier.questionnaire, Some(earlier.collects_for())),
            (own, _) => (own, None),
        };
        Ok(Some(NewBroadcast {
            nature: exercise.nature,
            author: exercise.author,
            subject: inject.subject.clone(),
            body: inject.body.clone(),
            audience: audience_json(&spec),
            questionnaire,
            answers_to,
            finish_by: Some(due.plus(inject.grace)),
            idempotency_key: format!("inject:{}", inject.id),
        }))
    }

    async fn release_when_signed(
        &self,
        inject: &Inject,
        due: Timestamp,
        now: Timestamp,
    ) -> Result<(), DeskError> {
        let Some(id) = inject.broadcast else { return Ok(()) };
        let broadcast =
            self.desk.store().broadcast(id).await?.ok_or(StoreError::not_found("broadcast", id))?;
        match broadcast.state {
            BroadcastState::Approved if now < due.plus(inject.grace) => {
                match self.desk.send(Actor::Scheduler, id).await {
                    Ok(()) => {
                        Ok(self.desk.store().settle_inject(inject.id, InjectState::Released, now).await?)
                    }
                    Err(problem) => match problem.refusal() {
                        Some(refusal) => {
                            say_refused(inject, &refusal);
                            Ok(())
                        }
                        None => Err(problem),
                    },
                }
            }
            BroadcastState::Sending | BroadcastState::Stopped | BroadcastState::Completed => {
                Ok(self.desk.store().settle_inject(inject.id, InjectState::Released, now).await?)
            }
            BroadcastState::Cancelled | BroadcastState::Expired => self.miss(inject, None).await,
            BroadcastState::Draft
            | BroadcastState::Preflighted
            | BroadcastState::AwaitingApproval
            | BroadcastState::Approved
                if now >= due.plus(inject.grace) =>
            {
                self.miss(inject, Some(&broadcast)).await
            }
            BroadcastState::Draft if broadcast.was_never_checked() => {
                self.bring_to_approval(inject, id).await
            }
            // A crash came between freezing and asking.
            BroadcastState::Preflighted => self.desk.request_approval(Actor::Scheduler, id).await,
            BroadcastState::Draft | BroadcastState::AwaitingApproval | BroadcastState::Approved => Ok(()),
        }
    }

    async fn miss(&self, inject: &Inject, unsent: Option<&Broadcast>) -> Result<(), DeskError> {
        let now = self.clock.now();
        if let Some(broadcast) = unsent {
            self.desk.store().expire_broadcast(broadcast.id, now).await?;
        }
        warn!(inject.id = %inject.id, "inject missed: it was not released in time");
        Ok(self.desk.store().settle_inject(inject.id, InjectState::Missed, now).await?)
    }

    async fn end_when_done(&self, id: ExerciseId) -> Result<(), DeskError> {
        for inject in self.desk.store().injects(id).await? {
            let over = match (inject.state, inject.broadcast) {
                (InjectState::Missed, _) => true,
                (InjectState::Released, Some(broadcast)) => self.is_over(broadcast).await?,
                (InjectState::Planned | InjectState::Prepared | InjectState::Released, _) => false,
            };
            if !over {
                return Ok(());
            }
        }
        info!(exercise.id = %id, "ENDEX: every inject is done");
        Ok(self
            .desk
            .store()
            .move_exercise(Actor::Scheduler, id, ExerciseState::Ended, self.clock.now())
            .await?)
    }

    async fn is_over(&self, id: BroadcastId) -> Result<bool, DeskError> {
        let broadcast = self.desk.store().broadcast(id).await?;
        Ok(broadcast
            .is_some_and(|b| matches!(b.state, BroadcastState::Completed | BroadcastState::Cancelled)))
    }
}

fn say_refused(inject: &Inject, refusal: &Refusal) {
    warn!(inject.id = %inject.id, rule = %refusal.rule, "the inject cannot be released yet: {refusal}");
}
