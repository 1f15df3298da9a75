//! Timelines of exercises.

use crate::office::{Office, notice, person};
use domain::{
    Actor, Answers, BroadcastId, BroadcastState, ExerciseId, ExerciseState, InjectState, MemberId, Rule,
};
use scheduler::{Timeline, parse_plan};
use std::time::Duration;
use store::Inject;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// A start notice with a question at once, a reminder after an hour, an end notice after two.
const PLAN: &str = r#"
title = "総合防災訓練"
nature = "exercise"

[[inject]]
key = "start"
title = "訓練開始"
at = "0s"
grace = "30m"
subject = "訓練開始"
body = "{{name}} 様 開始します"
audience = "all"
[inject.questionnaire]
title = "安否"
[[inject.questionnaire.questions]]
key = "safety"
text = "ご無事ですか"
required = true
kind = "choice"
choices = [{ value = "safe", label = "無事" }, { value = "hurt", label = "負傷" }]

[[inject]]
key = "remind"
title = "再通知"
at = "1h"
grace = "30m"
subject = "再通知"
body = "回答をお願いします"
non_respondents_of = "start"

[[inject]]
key = "end"
title = "訓練終了"
at = "2h"
grace = "30m"
subject = "訓練終了"
body = "終了します"
audience = "all"
"#;

struct Drill {
    office: Office,
    timeline: Timeline,
    id: ExerciseId,
}

impl Drill {
    /// One per engine at hand, not begun.
    async fn each() -> Vec<Self> {
        Self::each_of(PLAN).await
    }

    async fn each_of(plan: &str) -> Vec<Self> {
        let mut all = Vec::new();
        for office in Office::each().await {
            let plan = parse_plan(plan, person(office.author), "drill".into()).expect("a drill");
            let id = office.store().create_exercise(office.author, &plan, office.start).await;
            let timeline = Timeline::new(office.desk.clone(), office.clock.clone());
            all.push(Self { timeline, id: id.expect("kept"), office });
        }
        all
    }

    async fn become_state(&self, state: ExerciseState) {
        use domain::Clock;
        let now = self.office.clock.now();
        self.office.store().move_exercise(self.office.author, self.id, state, now).await.expect("moved");
    }

    async fn startex(&self) {
        self.become_state(ExerciseState::Running).await;
    }

    /// Ticks until nothing changes any more.
    async fn settle(&self) {
        for _ in 0..10 {
            let before = self.fingerprint().await;
            self.tick().await;
            if self.fingerprint().await == before {
                return;
            }
        }
        panic!("the timeline does not come to rest");
    }

    async fn tick(&self) {
        self.timeline.tick().await.expect("a tick");
    }

    async fn fingerprint(&self) -> String {
        format!("{:?} {} {:?}", self.injects().await, self.office.fingerprint().await, self.state().await)
    }

    async fn injects(&self) -> Vec<Inject> {
        self.office.store().injects(self.id).await.expect("read")
    }

    async fn states(&self) -> Vec<InjectState> {
        self.injects().await.iter().map(|inject| inject.state).collect()
    }

    async fn state(&self) -> ExerciseState {
        self.office.store().exercise(self.id).await.expect("read").expect("it exists").state
    }

    /// The notice of the inject at this place of the timeline.
    async fn notice(&self, place: usize) -> BroadcastId {
        self.injects().await[place].broadcast.expect("it has a notice")
    }

    async fn answer(&self, member: i64) {
        let first = self.notice(0).await;
        let answers: Answers = [("safety".to_owned(), "safe".to_owned())].into();
        let (store, now) = (self.office.store(), self.office.start);
        let stored = store.save_response(first, MemberId::new(member), &answers, now).await;
        assert!(stored.expect("stored"));
    }

    /// The start notice is signed, released and delivered.
    async fn begun(&self) {
        self.startex().await;
        self.settle().await;
        self.office.approve(self.notice(0).await).await;
        self.settle().await;
        self.office.deliver(self.notice(0).await).await;
    }
}

use InjectState::{Missed, Planned, Prepared, Released};

#[tokio::test]
async fn an_exercise_that_has_not_begun_does_nothing() {
    for drill in Drill::each().await {
        let before = drill.fingerprint().await;
        drill.office.clock.advance(24 * HOUR);
        drill.tick().await;
        assert_eq!(drill.fingerprint().await, before);
    }
}

#[tokio::test]
async fn an_inject_that_falls_due_waits_at_the_desk_for_its_signature() {
    for drill in Drill::each().await {
        drill.startex().await;
        drill.settle().await;
        assert_eq!(drill.states().await, [Prepared, Planned, Planned]);
        let notice = drill.office.broadcast(drill.notice(0).await).await;
        assert_eq!(notice.state, BroadcastState::AwaitingApproval);
        assert_eq!((notice.author, notice.recipients), (person(drill.office.author), 4));
        assert_eq!(notice.finish_by, Some(drill.office.start.plus(30 * MINUTE)));
        drill.office.clock.advance(29 * MINUTE);
        drill.settle().await;
        assert_eq!(
            drill.office.state(notice.id).await,
            BroadcastState::AwaitingApproval,
            "it goes on waiting"
        );
    }
}

#[tokio::test]
async fn a_signed_inject_is_released_once() {
    for drill in Drill::each().await {
        drill.startex().await;
        drill.settle().await;
        let notice = drill.notice(0).await;
        drill.office.approve(notice).await;
        drill.tick().await;
        assert_eq!(drill.states().await[0], Released);
        assert_eq!(drill.office.state(notice).await, BroadcastState::Sending);
        drill.settle().await;
        let released = "SELECT COUNT(*) AS n FROM audit WHERE action = 'broadcast-released'";
        assert_eq!(drill.office.number(released).await, 1);
    }
}

#[tokio::test]
async fn an_inject_that_nobody_signs_in_time_is_missed_and_never_sent_late() {
    for drill in Drill::each().await {
        drill.startex().await;
        drill.settle().await;
        let notice = drill.notice(0).await;
        drill.office.clock.advance(30 * MINUTE);
        drill.settle().await;
        assert_eq!(drill.states().await[0], Missed);
        assert_eq!(drill.office.state(notice).await, BroadcastState::Expired);
        let late = drill.office.desk.approve(drill.office.approver, notice, None, &[]).await;
        assert_eq!(crate::office::rule(late), Rule::State);
    }
}

/// The signature came in time, the release did not: a restart in between.
#[tokio::test]
async fn an_inject_signed_in_time_but_not_released_in_time_is_missed() {
    for drill in Drill::each().await {
        drill.startex().await;
        drill.settle().await;
        let notice = drill.notice(0).await;
        drill.office.approve(notice).await;
        drill.office.clock.advance(31 * MINUTE);
        drill.settle().await;
        assert_eq!(drill.states().await[0], Missed);
        assert_eq!(drill.office.state(notice).await, BroadcastState::Expired);
        assert_eq!(drill.office.broadcast(notice).await.released_at, None);
    }
}

#[tokio::test]
async fn injects_whose_time_passed_while_nothing_ran_are_missed_without_a_draft() {
    for drill in Drill::each().await {
        drill.startex().await;
        drill.office.clock.advance(24 * HOUR);
        drill.settle().await;
        assert_eq!(drill.states().await, [Missed, Missed, Missed]);
        assert_eq!(drill.office.number("SELECT COUNT(*) AS n FROM broadcast").await, 0);
        assert_eq!(drill.state().await, ExerciseState::Ended);
    }
}

#[tokio::test]
async fn a_reminder_goes_to_those_who_have_not_answered_and_collects_for_the_first_notice() {
    for drill in Drill::each().await {
        drill.begun().await;
        drill.answer(1).await;
        drill.answer(3).await;
        drill.office.clock.advance(HOUR);
        drill.settle().await;
        assert_eq!(drill.states().await, [Released, Prepared, Planned]);
        let (first, reminder) = (drill.notice(0).await, drill.notice(1).await);
        assert_eq!(drill.office.addressed(reminder).await, ["002", "004"]);
        let (first, reminder) = (drill.office.broadcast(first).await, drill.office.broadcast(reminder).await);
        assert_eq!(reminder.collects_for(), first.id);
        assert_eq!(reminder.questionnaire, first.questionnaire);
        assert!(reminder.questionnaire.is_some());
    }
}

#[tokio::test]
async fn a_reminder_with_nobody_to_remind_is_missed() {
    for drill in Drill::each().await {
        drill.begun().await;
        for member in 1..=4 {
            drill.answer(member).await;
        }
        drill.office.clock.advance(HOUR);
        drill.settle().await;
        assert_eq!(drill.states().await, [Released, Missed, Planned]);
        assert_eq!(drill.office.state(drill.notice(1).await).await, BroadcastState::Cancelled);
    }
}

#[tokio::test]
async fn nobody_is_reminded_of_a_notice_that_never_left() {
    for drill in Drill::each().await {
        drill.startex().await;
        drill.settle().await;
        drill.office.clock.advance(HOUR);
        drill.settle().await;
        assert_eq!(drill.states().await, [Missed, Missed, Planned]);
        assert_eq!(drill.office.number("SELECT COUNT(*) AS n FROM broadcast").await, 1, "only the first");
    }
}

#[tokio::test]
async fn a_stopped_exercise_fires_nothing_and_goes_on_where_it_stood() {
    for drill in Drill::each().await {
        drill.begun().await;
        drill.become_state(ExerciseState::Stopped).await;
        let before = drill.fingerprint().await;
        drill.office.clock.advance(HOUR + 5 * MINUTE);
        drill.tick().await;
        assert_eq!(drill.fingerprint().await, before);
        drill.startex().await;
        drill.settle().await;
        assert_eq!(drill.states().await, [Released, Prepared, Planned]);
    }
}

#[tokio::test]
async fn a_signed_inject_of_a_stopped_exercise_is_not_released() {
    for drill in Drill::each().await {
        drill.startex().await;
        drill.settle().await;
        let notice = drill.notice(0).await;
        drill.office.approve(notice).await;
        let stopped = drill.office.desk.stop_all(Actor::LocalEngineer).await.expect("stopped");
        assert_eq!((stopped.len(), drill.state().await), (0, ExerciseState::Stopped));
        drill.tick().await;
        assert_eq!(drill.office.state(notice).await, BroadcastState::Approved);
    }
}

/// Whatever a tick releases while everything is being stopped is stopped as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn after_stopping_everything_nothing_is_sending() {
    for round in 0..4 {
        for drill in Drill::each().await {
            drill.startex().await;
            drill.settle().await;
            drill.office.approve(drill.notice(0).await).await;
            let other = drill.office.another_process().await;
            let timeline = Timeline::new(other, drill.office.clock.clone());
            let ticking = tokio::spawn(async move {
                for _ in 0..5 {
                    timeline.tick().await.expect("a tick");
                }
            });
            for _ in 0..round {
                tokio::task::yield_now().await;
            }
            drill.office.desk.stop_all(drill.office.author).await.expect("stopped");
            ticking.await.expect("no panic");
            let sending = drill.office.store().broadcasts_in(BroadcastState::Sending).await.expect("listed");
            assert_eq!(sending.len(), 0);
        }
    }
}

#[tokio::test]
async fn ticking_twice_does_nothing_twice() {
    for drill in Drill::each().await {
        drill.startex().await;
        for step in 0..8 {
            drill.settle().await;
            let before = drill.fingerprint().await;
            drill.tick().await;
            drill.tick().await;
            assert_eq!(drill.fingerprint().await, before, "step {step}");
            match step {
                0 => drill.office.approve(drill.notice(0).await).await,
                1 => drill.office.deliver(drill.notice(0).await).await,
                _ => drill.office.clock.advance(25 * MINUTE),
            }
        }
        let prepared = "SELECT COUNT(*) AS n FROM audit WHERE action = 'inject-prepared'";
        assert_eq!(drill.office.number(prepared).await, 3);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_schedulers_make_one_notice() {
    for drill in Drill::each().await {
        drill.startex().await;
        let mut tickers = Vec::new();
        for _ in 0..3 {
            let timeline = Timeline::new(drill.office.another_process().await, drill.office.clock.clone());
            tickers.push(tokio::spawn(async move {
                for _ in 0..6 {
                    // Two that ask for approval at once: one of them comes too late, and says so.
                    let _too_late = timeline.tick().await;
                }
            }));
        }
        for ticker in tickers {
            ticker.await.expect("no panic");
        }
        drill.settle().await;
        assert_eq!(drill.office.number("SELECT COUNT(*) AS n FROM broadcast").await, 1);
        assert_eq!(drill.office.state(drill.notice(0).await).await, BroadcastState::AwaitingApproval);
        let prepared = "SELECT COUNT(*) AS n FROM audit WHERE action = 'inject-prepared'";
        assert_eq!(drill.office.number(prepared).await, 1);
    }
}

#[tokio::test]
async fn an_exercise_ends_when_every_inject_is_done() {
    for drill in Drill::each().await {
        drill.begun().await;
        for member in 1..=4 {
            drill.answer(member).await;
        }
        drill.office.clock.advance(2 * HOUR);
        drill.settle().await;
        assert_eq!(drill.states().await, [Released, Missed, Prepared]);
        drill.office.approve(drill.notice(2).await).await;
        drill.settle().await;
        assert_eq!((drill.states().await[2], drill.state().await), (Released, ExerciseState::Running));
        drill.office.deliver(drill.notice(2).await).await;
        drill.settle().await;
        assert_eq!(drill.state().await, ExerciseState::Ended);
    }
}

/// An error in the text waits for a person; it is not taken for an empty audience.
#[tokio::test]
async fn an_inject_that_preflight_blocks_waits_for_a_person_and_then_goes_its_way() {
    for broken in ["{{nmae}} 様", "{{name 様", "本文 }}"] {
        for drill in Drill::each_of(&PLAN.replace("{{name}} 様 開始します", broken)).await {
            drill.startex().await;
            drill.settle().await;
            let id = drill.notice(0).await;
            assert_eq!(drill.office.state(id).await, BroadcastState::Draft, "{broken}");
            let corrected = notice("{{name}} 様 開始します");
            let sheet = drill.office.broadcast(id).await.questionnaire;
            let corrected = scheduler::NewNotice { questionnaire: sheet, ..corrected };
            drill.office.desk.edit(drill.office.author, id, &corrected).await.expect("corrected");
            assert!(drill.office.preflight(id).await.ok);
            drill.settle().await;
            drill.office.approve(id).await;
            drill.settle().await;
            assert_eq!(drill.states().await[0], Released, "{broken}");
        }
    }
}

#[tokio::test]
async fn an_exercise_to_an_audience_that_does_not_exist_is_not_kept() {
    for office in Office::each().await {
        let plan = PLAN.replace("\"all\"", "\"東北\"");
        let plan = parse_plan(&plan, person(office.author), "k".into()).expect("a drill");
        let refused = office.desk.plan_exercise(office.author, &plan).await.expect_err("refused");
        let refused = refused.refusal().expect("a refusal");
        assert!(refused.rule == Rule::Preflight && refused.text.contains("東北"), "{refused}");
        assert_eq!(office.store().exercises(10).await.expect("read"), []);
        let plan = parse_plan(PLAN, person(office.author), "k".into()).expect("a drill");
        let onlooker = office.desk.plan_exercise(office.approver, &plan).await;
        assert_eq!(crate::office::rule(onlooker), Rule::Role);
        office.desk.plan_exercise(office.author, &plan).await.expect("kept");
    }
}

#[tokio::test]
async fn an_exercise_that_cannot_advance_keeps_no_other_one_waiting() {
    for drill in Drill::each().await {
        let office = &drill.office;
        let plan = parse_plan(PLAN, person(office.author), "broken".into()).expect("a drill");
        let broken = office.desk.plan_exercise(office.author, &plan).await.expect("kept");
        office.tamper(&format!("UPDATE inject SET audience = '?' WHERE exercise_id = {broken}")).await;
        let (store, running) = (office.store(), ExerciseState::Running);
        store.move_exercise(office.author, broken, running, office.start).await.expect("STARTEX");
        drill.startex().await;
        let ending = scheduler::NewNotice {
            finish_by: Some(office.start.plus(MINUTE)),
            ..notice("本日中にご確認ください")
        };
        let overdue = office.approved(&ending).await;
        office.clock.advance(MINUTE);
        for _ in 0..3 {
            assert!(drill.timeline.tick().await.is_err(), "the failure is told");
        }
        assert_eq!(drill.states().await, [Prepared, Planned, Planned]);
        assert_eq!(office.state(drill.notice(0).await).await, BroadcastState::AwaitingApproval);
        assert_eq!(office.state(overdue).await, BroadcastState::Expired);
    }
}

#[tokio::test]
async fn a_notice_outside_any_exercise_expires_at_its_own_end() {
    for drill in Drill::each().await {
        let ending = scheduler::NewNotice {
            finish_by: Some(drill.office.start.plus(HOUR)),
            ..notice("本日中にご確認ください")
        };
        let id = drill.office.approved(&ending).await;
        drill.tick().await;
        assert_eq!(drill.office.state(id).await, BroadcastState::Approved);
        drill.office.clock.advance(HOUR);
        drill.tick().await;
        assert_eq!(drill.office.state(id).await, BroadcastState::Expired);
    }
}
