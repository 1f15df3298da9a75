//! Exercises and their injects.

use crate::fresh::{Fresh, NOW, id_of, rule};
use domain::{
    Actor, BroadcastState, Choice, ExerciseId, ExerciseState, InjectState, Nature, Question, QuestionKind,
    Questionnaire, Role, Rule,
};
use std::time::Duration;
use store::{NewExercise, NewInject, ReleasePolicy};

fn sheet() -> Questionnaire {
    let choices = ["safe", "hurt"].map(|word| Choice { value: word.into(), label: word.into() }).to_vec();
    let question = Question {
        key: "safety".into(),
        text: "ご無事ですか".into(),
        required: true,
        kind: QuestionKind::Choice { choices },
    };
    Questionnaire { title: "安否".into(), questions: vec![question] }
}

pub(crate) fn inject(key: &str, offset: u64, questionnaire: Option<Questionnaire>) -> NewInject {
    NewInject {
        key: key.into(),
        title: key.into(),
        offset: Duration::from_secs(offset),
        grace: Duration::from_secs(60),
        subject: "訓練".into(),
        body: "本文".into(),
        audience: r#"{"audience":"all"}"#.into(),
        questionnaire,
    }
}

async fn exercise(fresh: &Fresh, key: &str) -> ExerciseId {
    let plan = NewExercise {
        title: "総合防災訓練".into(),
        nature: Nature::Exercise,
        author: id_of(fresh.author),
        idempotency_key: key.into(),
        injects: vec![inject("start", 0, Some(sheet())), inject("end", 3_600, None)],
    };
    fresh.store.create_exercise(fresh.author, &plan, NOW).await.expect("kept")
}

#[tokio::test]
async fn an_exercise_is_kept_once_with_its_timeline() {
    for fresh in Fresh::each().await {
        let id = exercise(&fresh, "key").await;
        assert_eq!(exercise(&fresh, "key").await, id);
        assert_eq!(fresh.number("SELECT COUNT(*) AS n FROM inject").await, 2);
        assert_eq!(fresh.number("SELECT COUNT(*) AS n FROM questionnaire").await, 1);
        let injects = fresh.store.injects(id).await.expect("read");
        let keys: Vec<&str> = injects.iter().map(|inject| inject.key.as_str()).collect();
        assert_eq!(keys, ["start", "end"]);
        let questions = injects[0].questionnaire.expect("a sheet");
        assert_eq!(fresh.store.questionnaire(questions).await.expect("read"), Some(sheet()));
        assert_eq!(injects[1].offset, Duration::from_secs(3_600));
    }
}

#[tokio::test]
async fn an_exercise_moves_only_as_it_can() {
    use ExerciseState as S;
    for fresh in Fresh::each().await {
        let id = exercise(&fresh, "key").await;
        let steps = [
            (S::Ended, false),
            (S::Planned, false),
            (S::Running, true),
            (S::Running, false),
            (S::Stopped, true),
            (S::Running, true),
            (S::Ended, true),
            (S::Running, false),
            (S::Stopped, false),
            (S::Planned, false),
        ];
        let mut now = NOW;
        for (to, possible) in steps {
            now = now.plus(Duration::from_secs(1));
            let before = fresh.store.exercise(id).await.expect("read");
            match fresh.store.move_exercise(fresh.author, id, to, now).await {
                Ok(()) => assert!(possible, "{to} is not possible from {before:?}"),
                Err(refused) => {
                    assert!(!possible, "{to}: {refused}");
                    assert_eq!(rule(&refused), Some(Rule::State));
                    assert_eq!(fresh.store.exercise(id).await.expect("read"), before);
                }
            }
        }
        let ended = fresh.store.exercise(id).await.expect("read").expect("it exists");
        assert_eq!(ended.started_at, Some(NOW.plus(Duration::from_secs(3))), "STARTEX is given once");
        assert_eq!(ended.ended_at, Some(NOW.plus(Duration::from_secs(7))));
    }
}

async fn inject_states(fresh: &Fresh, id: ExerciseId) -> Vec<InjectState> {
    fresh.store.injects(id).await.expect("read").iter().map(|inject| inject.state).collect()
}

#[tokio::test]
async fn an_exercise_that_does_not_run_is_ended_for_good_with_all_that_did_not_leave() {
    use ExerciseState as S;
    for fresh in Fresh::each().await {
        let viewer = fresh.staff("v@example.jp", Role::Viewer).await;
        let store = &fresh.store;
        let id = exercise(&fresh, "key").await;
        let refused = store.end_exercise(viewer, id, NOW).await.expect_err("refused");
        assert_eq!(rule(&refused), Some(Rule::Role));
        store.move_exercise(fresh.author, id, S::Running, NOW).await.expect("STARTEX");
        let first = store.injects(id).await.expect("read").remove(0);
        let notice = store.prepare_inject(&first, &fresh.notice("n"), NOW).await.expect("prepared");
        let refused = store.end_exercise(fresh.author, id, NOW).await.expect_err("refused");
        assert_eq!(rule(&refused), Some(Rule::State), "it runs");
        assert_eq!(fresh.broadcast(notice).await.state, BroadcastState::Draft);

        store.move_exercise(fresh.author, id, S::Stopped, NOW).await.expect("stopped");
        store.end_exercise(fresh.author, id, NOW).await.expect("ended");
        let ended = store.exercise(id).await.expect("read").expect("it exists");
        assert_eq!((ended.state, ended.ended_at), (S::Ended, Some(NOW)));
        assert_eq!(inject_states(&fresh, id).await, [InjectState::Missed; 2]);
        assert_eq!(fresh.broadcast(notice).await.state, BroadcastState::Expired);
        for again in [
            store.end_exercise(fresh.author, id, NOW).await,
            store.move_exercise(fresh.author, id, S::Running, NOW).await,
        ] {
            assert_eq!(rule(&again.expect_err("refused")), Some(Rule::State));
        }

        let planned = exercise(&fresh, "planned").await;
        store.end_exercise(fresh.author, planned, NOW).await.expect("ended");
        let ended = store.exercise(planned).await.expect("read").expect("it exists");
        assert_eq!((ended.state, ended.started_at), (S::Ended, None));
    }
}

#[tokio::test]
async fn what_an_exercise_released_goes_its_way_after_the_end() {
    for fresh in Fresh::each().await {
        let id = exercise(&fresh, "key").await;
        fresh.store.move_exercise(fresh.author, id, ExerciseState::Running, NOW).await.expect("STARTEX");
        let first = fresh.store.injects(id).await.expect("read").remove(0);
        let notice = fresh.store.prepare_inject(&first, &fresh.notice("n"), NOW).await.expect("prepared");
        fresh.store.move_exercise(fresh.author, id, ExerciseState::Stopped, NOW).await.expect("stopped");
        fresh.freeze(notice, &crate::fresh::members(2), crate::fresh::SIGNED).await;
        fresh.sign(fresh.approver, notice).await.expect("signed");
        let _approved = fresh.release(notice).await.expect("by a coordinator");
        fresh.store.end_exercise(fresh.author, id, NOW).await.expect("ended");
        assert_eq!(inject_states(&fresh, id).await, [InjectState::Released, InjectState::Missed]);
        assert_eq!(fresh.broadcast(notice).await.state, BroadcastState::Sending);
    }
}

#[tokio::test]
async fn an_inject_is_prepared_once_even_by_two_schedulers() {
    for fresh in Fresh::each().await {
        let id = exercise(&fresh, "key").await;
        let first = fresh.store.injects(id).await.expect("read").remove(0);
        let mut notice = fresh.notice("inject");
        notice.questionnaire = first.questionnaire;
        let tries: Vec<_> = (0..6)
            .map(|_| {
                let (store, inject, notice) = (fresh.store.clone(), first.clone(), notice.clone());
                tokio::spawn(async move { store.prepare_inject(&inject, &notice, NOW).await })
            })
            .collect();
        let mut drafts = Vec::new();
        for attempt in tries {
            drafts.push(attempt.await.expect("no panic").expect("prepared"));
        }
        drafts.dedup();
        assert_eq!(drafts.len(), 1);
        let prepared =
            fresh.store.inject_of(drafts[0]).await.expect("read").expect("it belongs to the inject");
        assert_eq!((prepared.id, prepared.state), (first.id, InjectState::Prepared));
        let entries = "SELECT COUNT(*) AS n FROM audit WHERE action = 'inject-prepared'";
        assert_eq!(fresh.number(entries).await, 1, "done once, recorded once");
        let notice = fresh.store.broadcast_of_inject(id, "start").await.expect("read").expect("a notice");
        assert_eq!(notice.id, drafts[0]);
        assert_eq!(fresh.store.broadcast_of_inject(id, "end").await.expect("read"), None);
    }
}

#[tokio::test]
async fn a_settled_inject_stays_settled() {
    for fresh in Fresh::each().await {
        let id = exercise(&fresh, "key").await;
        let first = fresh.store.injects(id).await.expect("read").remove(0);
        fresh.store.settle_inject(first.id, InjectState::Missed, NOW).await.expect("missed");
        fresh.store.settle_inject(first.id, InjectState::Released, NOW).await.expect("no effect");
        let state = fresh.store.injects(id).await.expect("read")[0].state;
        assert_eq!(state, InjectState::Missed);
        let late = fresh.store.prepare_inject(&first, &fresh.notice("late"), NOW).await;
        assert!(late.is_err(), "another scheduler missed it meanwhile: no draft is made");
        assert_eq!(fresh.number("SELECT COUNT(*) AS n FROM broadcast").await, 0);
    }
}

/// A scheduler that had looked before the stop must not release after it.
#[tokio::test]
async fn the_scheduler_releases_nothing_of_a_stopped_exercise() {
    for fresh in Fresh::each().await {
        let id = exercise(&fresh, "key").await;
        fresh.store.move_exercise(fresh.author, id, ExerciseState::Running, NOW).await.expect("STARTEX");
        let first = fresh.store.injects(id).await.expect("read").remove(0);
        let notice = fresh.store.prepare_inject(&first, &fresh.notice("n"), NOW).await.expect("prepared");
        fresh.freeze(notice, &crate::fresh::members(2), crate::fresh::SIGNED).await;
        fresh.sign(fresh.approver, notice).await.expect("signed");
        let frozen = fresh.frozen(notice).await;
        fresh.store.move_exercise(fresh.author, id, ExerciseState::Stopped, NOW).await.expect("stopped");
        let cap = ReleasePolicy::capped_at(crate::fresh::CAP);
        let refused = fresh.store.release(Actor::Scheduler, frozen.clone(), &cap, NOW).await;
        assert_eq!(rule(&refused.expect_err("refused")), Some(Rule::State));
        assert_eq!(fresh.broadcast(notice).await.state, BroadcastState::Approved);
        fresh.store.move_exercise(fresh.author, id, ExerciseState::Running, NOW).await.expect("goes on");
        fresh.store.release(Actor::Scheduler, frozen, &cap, NOW).await.expect("released");
    }
}
