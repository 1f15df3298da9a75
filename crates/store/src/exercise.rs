//! Exercises, their timeline of injects, and questionnaires.

use crate::{Broadcast, NewBroadcast, Store, StoreError, WriteTx, entity, sql};
use domain::{
    Actor, BroadcastId, ExerciseId, ExerciseState, InjectId, InjectState, Nature, Questionnaire,
    QuestionnaireId, Refusal, Rule, StaffId, Timestamp,
};
use sea_orm::FromQueryResult;
use std::time::Duration;

/// A planned practice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exercise {
    /// Id.
    pub id: ExerciseId,
    /// As shown.
    pub title: String,
    /// Fixed at creation; every inject's notice has it.
    pub nature: Nature,
    /// Where it stands.
    pub state: ExerciseState,
    /// Who wrote it.
    pub author: StaffId,
    /// STARTEX.
    pub started_at: Option<Timestamp>,
    /// ENDEX.
    pub ended_at: Option<Timestamp>,
}

/// One entry of the timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inject {
    /// Id.
    pub id: InjectId,
    /// Of which exercise.
    pub exercise: ExerciseId,
    /// Stable name within the exercise, e.g. `start`.
    pub key: String,
    /// As shown.
    pub title: String,
    /// Due this long after STARTEX.
    pub offset: Duration,
    /// Missed when not released this long after it was due.
    pub grace: Duration,
    /// Notice subject, without banner.
    pub subject: String,
    /// Notice body.
    pub body: String,
    /// `domain::InjectAudience` as JSON.
    pub audience: String,
    /// Questions its link asks.
    pub questionnaire: Option<QuestionnaireId>,
    /// Where it stands.
    pub state: InjectState,
    /// Its notice, once prepared.
    pub broadcast: Option<BroadcastId>,
}

/// What a new exercise consists of.
#[derive(Debug, Clone)]
pub struct NewExercise {
    /// As shown.
    pub title: String,
    /// Fixed.
    pub nature: Nature,
    /// Who writes it.
    pub author: StaffId,
    /// The same key twice is the same exercise.
    pub idempotency_key: String,
    /// In order.
    pub injects: Vec<NewInject>,
}

/// One entry of a new timeline.
#[derive(Debug, Clone)]
pub struct NewInject {
    /// Stable name within the exercise.
    pub key: String,
    /// As shown.
    pub title: String,
    /// Due this long after STARTEX.
    pub offset: Duration,
    /// Missed when not released this long after it was due.
    pub grace: Duration,
    /// Notice subject.
    pub subject: String,
    /// Notice body.
    pub body: String,
    /// `domain::InjectAudience` as JSON.
    pub audience: String,
    /// Questions its link asks.
    pub questionnaire: Option<Questionnaire>,
}

impl TryFrom<entity::exercise::Model> for Exercise {
    type Error = StoreError;

    fn try_from(row: entity::exercise::Model) -> Result<Self, StoreError> {
        let corrupt = |column: &'static str, why: domain::UnknownWord| StoreError::Corrupt {
            table: "exercise",
            column,
            row: row.id,
            why: why.to_string(),
        };
        Ok(Self {
            id: ExerciseId::new(row.id),
            nature: row.nature.parse().map_err(|e| corrupt("nature", e))?,
            state: row.state.parse().map_err(|e| corrupt("state", e))?,
            title: row.title,
            author: StaffId::new(row.author_id),
            started_at: row.started_at.map(Timestamp::from_millis),
            ended_at: row.ended_at.map(Timestamp::from_millis),
        })
    }
}

impl TryFrom<entity::inject::Model> for Inject {
    type Error = StoreError;

    fn try_from(row: entity::inject::Model) -> Result<Self, StoreError> {
        let state = row.state.parse().map_err(|e: domain::UnknownWord| StoreError::Corrupt {
            table: "inject",
            column: "state",
            row: row.id,
            why: e.to_string(),
        })?;
        Ok(Self {
            id: InjectId::new(row.id),
            exercise: ExerciseId::new(row.exercise_id),
            key: row.inject_key,
            title: row.title,
            offset: Duration::from_millis(row.offset_ms.unsigned_abs()),
            grace: Duration::from_millis(row.grace_ms.unsigned_abs()),
            subject: row.subject,
            body: row.body,
            audience: row.audience,
            questionnaire: row.questionnaire_id.map(QuestionnaireId::new),
            state,
            broadcast: row.broadcast_id.map(BroadcastId::new),
        })
    }
}

impl Store {
    /// Keeps a new exercise with its injects and questionnaires.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_exercise(
        &self,
        actor: Actor,
        new: &NewExercise,
        now: Timestamp,
    ) -> Result<ExerciseId, StoreError> {
        let tx = self.write().await?;
        let made: Option<sql::Number> = sql::row(
            &*tx,
            "keep an exercise",
            "INSERT INTO exercise (title, nature, state, author_id, idempotency_key, created_at) \
             VALUES ($1, $2, 'planned', $3, $4, $5) ON CONFLICT (idempotency_key) DO NOTHING RETURNING id AS n",
            [
                new.title.clone().into(),
                new.nature.as_str().into(),
                new.author.get().into(),
                new.idempotency_key.clone().into(),
                now.millis().into(),
            ],
        )
        .await?;
        let Some(made) = made else {
            let text = "SELECT id AS n FROM exercise WHERE idempotency_key = $1";
            let values = [new.idempotency_key.clone().into()];
            return sql::number(&*tx, "find an exercise", text, values).await.map(ExerciseId::new);
        };
        for (seq, inject) in new.injects.iter().enumerate() {
            let questionnaire = match &inject.questionnaire {
                Some(sheet) => Some(insert_questionnaire(&tx, sheet, now).await?.get()),
                None => None,
            };
            sql::run(
                &*tx,
                "keep an inject",
                "INSERT INTO inject (exercise_id, inject_key, seq, title, offset_ms, grace_ms, subject, body, \
                 audience, questionnaire_id, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'planned')",
                [
                    made.n.into(),
                    inject.key.clone().into(),
                    (seq as i64).into(),
                    inject.title.clone().into(),
                    millis(inject.offset).into(),
                    millis(inject.grace).into(),
                    inject.subject.clone().into(),
                    inject.body.clone().into(),
                    inject.audience.clone().into(),
                    questionnaire.into(),
                ],
            )
            .await?;
        }
        let detail = format!("injects={}", new.injects.len());
        tx.audit(now, actor, "exercise-created", format!("exercise:{}", made.n), detail).await?;
        tx.commit().await?;
        Ok(ExerciseId::new(made.n))
    }

    /// One exercise.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn exercise(&self, id: ExerciseId) -> Result<Option<Exercise>, StoreError> {
        let text = "SELECT * FROM exercise WHERE id = $1";
        let row: Option<entity::exercise::Model> =
            sql::row(&self.connection, "read an exercise", text, [id.get().into()]).await?;
        row.map(Exercise::try_from).transpose()
    }

    /// The newest exercises first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn exercises(&self, limit: i64) -> Result<Vec<Exercise>, StoreError> {
        let text = "SELECT * FROM exercise ORDER BY id DESC LIMIT $1";
        let rows: Vec<entity::exercise::Model> =
            sql::rows(&self.connection, "list exercises", text, [limit.into()]).await?;
        rows.into_iter().map(Exercise::try_from).collect()
    }

    /// The timeline in order.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn injects(&self, exercise: ExerciseId) -> Result<Vec<Inject>, StoreError> {
        let text = "SELECT * FROM inject WHERE exercise_id = $1 ORDER BY seq";
        let rows: Vec<entity::inject::Model> =
            sql::rows(&self.connection, "read a timeline", text, [exercise.get().into()]).await?;
        rows.into_iter().map(Inject::try_from).collect()
    }

    /// The exercise and inject a broadcast belongs to.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn inject_of(&self, broadcast: BroadcastId) -> Result<Option<Inject>, StoreError> {
        let text = "SELECT * FROM inject WHERE broadcast_id = $1";
        let row: Option<entity::inject::Model> =
            sql::row(&self.connection, "find an inject", text, [broadcast.get().into()]).await?;
        row.map(Inject::try_from).transpose()
    }

    /// Gives STARTEX, resumes a stopped exercise, stops or ends it.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where the step is not possible.
    pub async fn move_exercise(
        &self,
        actor: Actor,
        id: ExerciseId,
        to: ExerciseState,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        use ExerciseState as S;
        let from: &[S] = match to {
            S::Running => &[S::Planned, S::Stopped],
            S::Stopped => &[S::Planned, S::Running],
            S::Ended => &[S::Running, S::Stopped],
            S::Planned => &[],
        };
        let tx = self.write().await?;
        tx.move_exercise(actor, id, from, to, now).await?;
        tx.commit().await
    }

    /// Ends an exercise that does not run, for good: injects that did not leave are missed, and their
    /// notices expire. What was released goes its own way.
    ///
    /// # Errors
    /// [`StoreError::Refused`] for onlookers, and where it runs or has ended.
    pub async fn end_exercise(&self, actor: Actor, id: ExerciseId, now: Timestamp) -> Result<(), StoreError> {
        use ExerciseState as S;
        if !actor.may_stop() {
            return Err(Refusal::new(Rule::Role, "viewers look on", "ask anyone else who can sign in").into());
        }
        let tx = self.write().await?;
        // Whatever others may hold while they wait for the audit log is held before the first entry.
        let text = format!(
            "SELECT * FROM inject WHERE exercise_id = $1 AND state IN ('planned', 'prepared') \
             ORDER BY broadcast_id, seq{}",
            tx.for_update()
        );
        let rows: Vec<entity::inject::Model> =
            sql::rows(&*tx, "look for open injects", &text, [id.get().into()]).await?;
        let mut open = Vec::with_capacity(rows.len());
        for row in rows {
            let inject = Inject::try_from(row)?;
            let notice = match inject.broadcast {
                Some(broadcast) => Some(tx.broadcast_locked(broadcast).await?),
                None => None,
            };
            open.push((inject.id, notice));
        }
        tx.move_exercise(actor, id, &[S::Planned, S::Stopped], S::Ended, now).await?;
        for (inject, notice) in open {
            let is_out = notice.as_ref().is_some_and(|notice| notice.state.is_released());
            if let Some(unsent) = notice.filter(|notice| !is_out && !notice.state.is_over()) {
                tx.expire(actor, &unsent, now).await?;
            }
            let settled = if is_out { InjectState::Released } else { InjectState::Missed };
            tx.settle_inject(actor, inject, settled, now).await?;
        }
        tx.commit().await
    }

    /// Prepares an inject: its notice becomes a draft, once. Gives the draft.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where another scheduler settled it meanwhile.
    pub async fn prepare_inject(
        &self,
        inject: &Inject,
        notice: &NewBroadcast,
        now: Timestamp,
    ) -> Result<BroadcastId, StoreError> {
        let tx = self.write().await?;
        let text = format!("SELECT * FROM inject WHERE id = $1{}", tx.for_update());
        let row: Option<entity::inject::Model> =
            sql::row(&*tx, "lock an inject", &text, [inject.id.get().into()]).await?;
        let stands: Inject = row.ok_or(StoreError::not_found("inject", inject.id))?.try_into()?;
        match (stands.state, stands.broadcast) {
            (InjectState::Planned, _) => {}
            (InjectState::Prepared, Some(draft)) => return Ok(draft),
            (InjectState::Prepared | InjectState::Released | InjectState::Missed, _) => {
                let text = format!("inject {} is {} already", inject.id, stands.state);
                return Err(Refusal::new(Rule::State, text, "there is nothing to prepare").into());
            }
        }
        let id = tx.insert_broadcast(Actor::Scheduler, notice, now).await?;
        sql::run(
            &*tx,
            "prepare an inject",
            "UPDATE inject SET state = 'prepared', broadcast_id = $2 WHERE id = $1",
            [inject.id.get().into(), id.get().into()],
        )
        .await?;
        tx.audit(
            now,
            Actor::Scheduler,
            "inject-prepared",
            format!("inject:{}", inject.id),
            format!("broadcast:{id}"),
        )
        .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Records that an inject's notice left, or that its time passed.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn settle_inject(
        &self,
        id: InjectId,
        to: InjectState,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        tx.settle_inject(Actor::Scheduler, id, to, now).await?;
        tx.commit().await
    }

    /// Keeps a questionnaire for a broadcast outside an exercise.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn create_questionnaire(
        &self,
        sheet: &Questionnaire,
        now: Timestamp,
    ) -> Result<QuestionnaireId, StoreError> {
        let tx = self.write().await?;
        let id = insert_questionnaire(&tx, sheet, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// One questionnaire.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn questionnaire(&self, id: QuestionnaireId) -> Result<Option<Questionnaire>, StoreError> {
        let text = "SELECT body FROM questionnaire WHERE id = $1";
        let row: Option<QuestionnaireBody> =
            sql::row(&self.connection, "read a questionnaire", text, [id.get().into()]).await?;
        row.map(|row| {
            serde_json::from_str(&row.body).map_err(|e| StoreError::Corrupt {
                table: "questionnaire",
                column: "body",
                row: id.get(),
                why: e.to_string(),
            })
        })
        .transpose()
    }

    /// The broadcast that an earlier inject of the same exercise became.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn broadcast_of_inject(
        &self,
        exercise: ExerciseId,
        key: &str,
    ) -> Result<Option<Broadcast>, StoreError> {
        let text = "SELECT b.* FROM broadcast b JOIN inject i ON i.broadcast_id = b.id \
                    WHERE i.exercise_id = $1 AND i.inject_key = $2";
        let row: Option<entity::broadcast::Model> =
            sql::row(&self.connection, "find an inject's notice", text, [exercise.get().into(), key.into()])
                .await?;
        row.map(Broadcast::try_from).transpose()
    }
}

impl WriteTx {
    async fn move_exercise(
        &self,
        actor: Actor,
        id: ExerciseId,
        from: &[ExerciseState],
        to: ExerciseState,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        use ExerciseState as S;
        let text = "SELECT * FROM exercise WHERE id = $1";
        let row: Option<entity::exercise::Model> =
            sql::row(&**self, "read an exercise", text, [id.get().into()]).await?;
        let exercise: Exercise = row.ok_or(StoreError::not_found("exercise", id))?.try_into()?;
        let refused = |state: S| {
            Refusal::new(
                Rule::State,
                format!("an exercise that is {state} cannot become {to}"),
                format!("see `hansho drill show {id}`"),
            )
        };
        if !from.contains(&exercise.state) {
            return Err(refused(exercise.state).into());
        }
        let started = if to == S::Running { exercise.started_at.or(Some(now)) } else { exercise.started_at };
        let ended = if to == S::Ended { Some(now) } else { exercise.ended_at };
        let moved = sql::run(
            &**self,
            "move an exercise",
            "UPDATE exercise SET state = $2, started_at = $3, ended_at = $4 WHERE id = $1 AND state = $5",
            [
                id.get().into(),
                to.as_str().into(),
                started.map(Timestamp::millis).into(),
                ended.map(Timestamp::millis).into(),
                exercise.state.as_str().into(),
            ],
        )
        .await?;
        if moved == 0 {
            return Err(refused(exercise.state).into());
        }
        self.audit(now, actor, "exercise-moved", format!("exercise:{id}"), to.to_string()).await
    }

    async fn settle_inject(
        &self,
        actor: Actor,
        id: InjectId,
        to: InjectState,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let values = [id.get().into(), to.as_str().into()];
        let moved = sql::run(
            &**self,
            "settle an inject",
            "UPDATE inject SET state = $2 WHERE id = $1 AND state IN ('planned', 'prepared')",
            values,
        )
        .await?;
        if moved > 0 {
            let object = format!("inject:{id}");
            self.audit(now, actor, "inject-settled", object, to.to_string()).await?;
        }
        Ok(())
    }
}

#[derive(FromQueryResult)]
struct QuestionnaireBody {
    body: String,
}

async fn insert_questionnaire(
    tx: &WriteTx,
    sheet: &Questionnaire,
    now: Timestamp,
) -> Result<QuestionnaireId, StoreError> {
    let body = serde_json::to_string(sheet).expect("invariant: a questionnaire is plain text and lists");
    let text = "INSERT INTO questionnaire (body, created_at) VALUES ($1, $2) RETURNING id AS n";
    let id = sql::number(&**tx, "keep a questionnaire", text, [body.into(), now.millis().into()]).await?;
    Ok(QuestionnaireId::new(id))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
