//! The after-action report of a small exercise whose every figure is known by hand.

use domain::{
    Actor, Answers, BroadcastId, Choice, Clock, DeliveryEvent, ExerciseId, ExerciseState, HoldReason,
    InjectState, MemberId, Nature, Question, QuestionKind, Questionnaire, ReplyClass, ReplyId, Role,
    SmtpReply, StaffId, Timestamp,
};
use replybox::{ArrivedBy, NewReply, ReplyBox};
use report::{AfterAction, LedgerLine, Situation, csv_headings, csv_page};
use std::{sync::Arc, time::Duration};
use store::{FreezeRow, LedgerFilter, Limits, NewBroadcast, NewExercise, NewInject, Store, WorkerTerms};
use testkit::{SystemClock, TestDatabase, exercise_notice, fresh_databases, release};

/// An exercise of two injects: the start notice went to six people, the end notice was missed.
struct Drill {
    store: Store,
    replybox: ReplyBox,
    author: (StaffId, Actor),
    approver: Actor,
    id: ExerciseId,
    notice: BroadcastId,
    released_at: Timestamp,
    _database: TestDatabase,
}

impl Drill {
    async fn each() -> Vec<Self> {
        let mut all = Vec::new();
        for database in fresh_databases().await {
            let store = Store::connect(&database.core_url).await.expect("the database opens");
            let replybox = ReplyBox::connect(&database.replies_url).await.expect("the reply box opens");
            let author = staff(&store, "author@example.jp", Role::Coordinator).await;
            let (_, approver) = staff(&store, "approver@example.jp", Role::Approver).await;
            let plan = NewExercise {
                title: "総合|訓練".into(),
                nature: Nature::Exercise,
                author: author.0,
                idempotency_key: "e".into(),
                injects: vec![inject("start", Some(sheet())), inject("end", None)],
            };
            let now = SystemClock.now();
            let id = store.create_exercise(author.1, &plan, now).await.expect("an exercise");
            store.move_exercise(author.1, id, ExerciseState::Running, now).await.expect("STARTEX");
            let zero = (BroadcastId::new(0), Timestamp::from_millis(0));
            let mut drill = Self {
                store,
                replybox,
                author,
                approver,
                id,
                notice: zero.0,
                released_at: zero.1,
                _database: database,
            };
            drill.hold().await;
            all.push(drill);
        }
        all
    }

    /// Member 1 is held; 2, 3 and 4 are accepted, 5 is rejected, 6 unknown. Three answer, one
    /// bounces, two write back.
    async fn hold(&mut self) {
        let now = SystemClock.now();
        let injects = self.store.injects(self.id).await.expect("read");
        let mut draft = exercise_notice(self.author.0);
        draft.questionnaire = injects[0].questionnaire;
        self.notice = self.store.prepare_inject(&injects[0], &draft, now).await.expect("prepared");
        self.release(now).await;
        for (after, member, choice, note) in [(10, 4, "safe", ""), (20, 2, "hurt", "足"), (60, 3, "safe", "")]
        {
            let at = self.released_at.plus(Duration::from_secs(after));
            let mut answers: Answers = [("safety".to_owned(), choice.to_owned())].into();
            if !note.is_empty() {
                answers.insert("note".to_owned(), note.to_owned());
            }
            let stored = self.store.save_response(self.notice, MemberId::new(member), &answers, at).await;
            assert!(stored.expect("stored"));
        }
        let bounce = ReplyId::new(1);
        let (class, member) = (ReplyClass::BounceHard, MemberId::new(4));
        self.store.note_bounce(bounce, self.notice, member, class, Some("5.1.1"), now).await.expect("noted");
        for class in [ReplyClass::BounceHard, ReplyClass::HumanReply, ReplyClass::HumanReply] {
            self.replybox.insert(reply(self.notice, class)).await.expect("stored");
        }
        self.replybox.insert(reply(BroadcastId::new(999), ReplyClass::HumanReply)).await.expect("stored");
        self.store.settle_inject(injects[0].id, InjectState::Released, now).await.expect("released");
        self.store.settle_inject(injects[1].id, InjectState::Missed, now).await.expect("missed");
    }

    async fn release(&mut self, now: Timestamp) {
        let (store, author, id) = (&self.store, self.author.1, self.notice);
        let rows: Vec<FreezeRow> = (1..=6).map(row).collect();
        let released = release(store, (author, self.approver), id, &rows, now).await;
        self.released_at = released.at;
        let minute = Duration::from_secs(60);
        let terms = WorkerTerms {
            chunk_size: 100,
            chunk_budget: minute,
            submission_max: minute,
            limits: Limits::NONE,
        };
        let worker = store.register_worker("test").await.expect("a worker");
        let rows = store.claim(worker, &released.approved, &terms).await.expect("a claim");
        let permits = store.turn(worker, &[], rows, &terms).await.expect("a turn").permits;
        let outcomes: Vec<_> = permits
            .into_iter()
            .map(|permit| {
                let event = match permit.row().member.get() {
                    5 => DeliveryEvent::RelayRejected(SmtpReply::new(550, "=cmd() no such recipient")),
                    6 => DeliveryEvent::OutcomeLost,
                    _ => DeliveryEvent::RelayAccepted(SmtpReply::new(250, "2.0.0 queued")),
                };
                permit.outcome(&event, "relay:25", now).expect("a possible outcome")
            })
            .collect();
        store.turn(worker, &outcomes, Vec::new(), &terms).await.expect("a turn");
    }

    async fn report(&self) -> AfterAction {
        let exercise = self.store.exercise(self.id).await.expect("read").expect("it exists");
        AfterAction::draw(&self.store, &self.replybox, exercise).await.expect("drawn")
    }
}

async fn staff(store: &Store, email: &str, role: Role) -> (StaffId, Actor) {
    let now = SystemClock.now();
    let id = store.add_staff(Actor::LocalEngineer, email, email, role, "h", now).await.expect("an account");
    (id, Actor::Staff { id, role })
}

fn sheet() -> Questionnaire {
    let choice = |value: &str, label: &str| Choice { value: value.into(), label: label.into() };
    let question =
        |key: &str, kind: QuestionKind| Question { key: key.into(), text: key.into(), required: false, kind };
    let choices = vec![choice("safe", "無事"), choice("hurt", "負傷"), choice("away", "不在")];
    let questions =
        vec![question("safety", QuestionKind::Choice { choices }), question("note", QuestionKind::Text)];
    Questionnaire { title: "安否".into(), questions }
}

fn inject(key: &str, questionnaire: Option<Questionnaire>) -> NewInject {
    NewInject {
        key: key.into(),
        title: format!("{key}|通知"),
        offset: Duration::ZERO,
        grace: Duration::from_secs(60),
        subject: "訓練".into(),
        body: "本文".into(),
        audience: "{}".into(),
        questionnaire,
    }
}

/// Members 1 to 3 in 宮城県, the others nowhere.
fn row(n: i64) -> FreezeRow {
    FreezeRow {
        member: MemberId::new(n),
        member_no: format!("+{n}"),
        address: Some(format!("m{n}@example.jp").parse().expect("an address")),
        prefecture: (n <= 3).then_some(4),
        fields: "{}".into(),
        message_id: format!("<{n}@example.jp>"),
        held: (n == 1).then(|| HoldReason::MissingField("name".into())),
    }
}

fn reply(broadcast: BroadcastId, class: ReplyClass) -> NewReply {
    NewReply {
        received_at: SystemClock.now(),
        broadcast,
        member: MemberId::new(2),
        arrived_by: ArrivedBy::Reply,
        envelope_from: String::new(),
        peer: "192.0.2.1".into(),
        class,
        reason: None,
        status: None,
        subject: String::new(),
        from_header: String::new(),
        body_text: String::new(),
        raw: Arc::from(b"raw".as_slice()),
    }
}

#[tokio::test]
async fn the_figures_of_each_notice_are_those_of_its_rows() {
    for drill in Drill::each().await {
        let report = drill.report().await;
        assert_eq!((report.title.as_str(), report.nature), ("総合|訓練", Nature::Exercise));
        assert!(report.started_at.is_some() && report.ended_at.is_none());
        let [start, end] = report.notices.as_slice() else { panic!("two notices: {:?}", report.notices) };
        let t = start.tally;
        assert_eq!((t.held, t.accepted, t.rejected, t.unknown, t.open()), (1, 3, 1, 1, 0));
        assert_eq!((start.total, start.bounced, start.broadcast), (6, 1, Some(drill.notice)));
        assert_eq!((end.broadcast, end.total, end.bounced), (None, 0, 0), "a missed inject has no rows");
    }
}

#[tokio::test]
async fn the_figures_of_the_sheet_are_those_of_the_answers() {
    for drill in Drill::each().await {
        let report = drill.report().await;
        let [sheet] = report.sheets.as_slice() else { panic!("one sheet: {:?}", report.sheets) };
        assert_eq!(
            (sheet.title.as_str(), sheet.addressed, sheet.answered),
            ("安否", 5, 3),
            "the held one was not asked"
        );
        assert_eq!((sheet.times.p25, sheet.times.p50, sheet.times.p75), (Some(10), Some(20), Some(60)));
        let counts: Vec<(&str, u64)> =
            sheet.questions[0].counts.iter().map(|(label, n)| (label.as_str(), *n)).collect();
        assert_eq!(counts, [("無事", 2), ("負傷", 1), ("不在", 0)]);
        assert_eq!(sheet.questions[1].counts, [("記入あり".to_owned(), 1)]);

        let exercise = drill.store.exercise(drill.id).await.expect("read").expect("it exists");
        let situation = Situation::read(&drill.store, exercise).await.expect("read");
        let mut addressed = situation.asked[0].addressed.clone();
        addressed.sort_unstable();
        assert_eq!(addressed, [(None, 3), (Some(4), 2)]);
    }
}

#[tokio::test]
async fn what_came_back_is_counted_by_class_and_only_for_this_exercise() {
    for drill in Drill::each().await {
        let replies = drill.report().await.replies;
        assert_eq!(replies.len(), ReplyClass::ALL.len(), "every class is listed");
        for (class, count) in replies {
            let expected = match class {
                ReplyClass::HumanReply => 2,
                ReplyClass::BounceHard => 1,
                _ => 0,
            };
            assert_eq!(count, expected, "{class}");
        }
    }
}

#[tokio::test]
async fn the_markdown_says_the_same_and_keeps_its_table() {
    for drill in Drill::each().await {
        let text = drill.report().await.to_markdown();
        assert!(text.starts_with("# 検証報告書（AAR）: 総合"), "{text}");
        assert!(text.contains("| start／通知 | 6 | 3 | 1 | 1 | 1 | 0 | 0 | 0 | 1 |"), "{text}");
        assert!(text.contains("| end／通知 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 | 0 |"), "{text}");
        assert!(text.contains("回答 3 / 5（25 %: 10 秒、50 %: 20 秒、75 %: 60 秒）"), "{text}");
        assert!(text.contains("- safety: 無事 2、負傷 1、不在 0"), "{text}");
        assert!(text.contains("- human-reply: 2\n"), "{text}");
    }
}

/// A reminder's answers count where they belong; its own sheet is not listed a second time.
#[tokio::test]
async fn a_reminder_is_no_sheet_of_its_own() {
    for drill in Drill::each().await {
        let first = drill.store.broadcast(drill.notice).await.expect("read").expect("it exists");
        let plan = NewExercise {
            title: "再".into(),
            nature: Nature::Exercise,
            author: drill.author.0,
            idempotency_key: "again".into(),
            injects: vec![inject("remind", None)],
        };
        let now = SystemClock.now();
        let id = drill.store.create_exercise(drill.author.1, &plan, now).await.expect("an exercise");
        let inject = drill.store.injects(id).await.expect("read").remove(0);
        let reminder = NewBroadcast {
            questionnaire: first.questionnaire,
            answers_to: Some(first.id),
            idempotency_key: "reminder".into(),
            ..exercise_notice(drill.author.0)
        };
        drill.store.prepare_inject(&inject, &reminder, now).await.expect("prepared");
        let exercise = drill.store.exercise(id).await.expect("read").expect("it exists");
        let situation = Situation::read(&drill.store, exercise).await.expect("read");
        assert!(situation.asked.is_empty());
    }
}

#[tokio::test]
async fn the_ledger_export_has_one_line_per_recipient_and_no_formula() {
    for drill in Drill::each().await {
        let mut text = csv_headings::<LedgerLine>().expect("written");
        let mut after = 0;
        loop {
            let page =
                drill.store.ledger_page(drill.notice, LedgerFilter::default(), after, 4).await.expect("read");
            let Some(last) = page.last() else { break };
            after = last.id;
            text.extend(csv_page(page.into_iter().map(LedgerLine::from)).expect("written"));
        }
        let text = String::from_utf8(text).expect("UTF-8");
        let lines: Vec<&str> = text.lines().collect();
        let heading = "member_no,address,state,attempts,smtp_code,enhanced_code,reply,message_id,relay,submitted_at,settled_at";
        assert_eq!((lines.len(), lines[0]), (7, heading), "one heading, six people: {text}");
        assert!(lines[1].starts_with("'+1,m1@example.jp,held,0,"), "{text}");
        assert!(
            lines[5].starts_with("'+5,m5@example.jp,rejected,1,550,,'=cmd() no such recipient,"),
            "{text}"
        );
    }
}
