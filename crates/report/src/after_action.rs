//! The after-action summary: who was reached, refused, unknown; who answered when; what came back.

use crate::{Asked, ReportError, Situation};
use domain::{BroadcastId, QuestionKind, ReplyClass, Tally, Timestamp};
use replybox::ReplyBox;
use std::fmt::Write;
use store::{Exercise, Store};

/// One notice of the timeline with its ledger.
#[derive(Debug, Clone, serde::Serialize)]
pub struct NoticeFigures {
    /// The inject's title.
    pub title: String,
    /// Its notice; none when it was missed.
    pub broadcast: Option<BroadcastId>,
    /// How many rows stand where.
    pub tally: Tally,
    /// All rows: the sum of the parts.
    pub total: u64,
    /// Bounces that came back for it.
    pub bounced: u64,
}

/// When people answered, in seconds after the notice was released.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct AnswerTimes {
    /// A quarter of the answers were in.
    pub p25: Option<u64>,
    /// Half.
    pub p50: Option<u64>,
    /// Three quarters.
    pub p75: Option<u64>,
}

/// One question with its counts.
#[derive(Debug, Clone, serde::Serialize)]
pub struct QuestionFigures {
    /// As asked.
    pub text: String,
    /// Label and count of each choice; for a free text, how many wrote one.
    pub counts: Vec<(String, u64)>,
}

/// One sheet with its figures.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SheetFigures {
    /// Title.
    pub title: String,
    /// Addressed.
    pub addressed: u64,
    /// Answered.
    pub answered: u64,
    /// When.
    pub times: AnswerTimes,
    /// Counts.
    pub questions: Vec<QuestionFigures>,
}

/// The summary of one exercise.
#[derive(Debug, Clone, serde::Serialize)]
pub struct AfterAction {
    /// Title.
    pub title: String,
    /// `actual`, `exercise` or `test`.
    pub nature: domain::Nature,
    /// STARTEX.
    pub started_at: Option<Timestamp>,
    /// ENDEX.
    pub ended_at: Option<Timestamp>,
    /// The timeline's notices.
    pub notices: Vec<NoticeFigures>,
    /// The question sheets.
    pub sheets: Vec<SheetFigures>,
    /// What came back by mail for these notices, by class.
    pub replies: Vec<(ReplyClass, u64)>,
}

impl AfterAction {
    /// Draws the summary from ledger, responses and replies.
    ///
    /// # Errors
    /// [`ReportError`].
    pub async fn draw(store: &Store, replybox: &ReplyBox, exercise: Exercise) -> Result<Self, ReportError> {
        let situation = Situation::read(store, exercise).await?;
        let mut notices = Vec::with_capacity(situation.injects.len());
        let mut replies: Vec<(ReplyClass, u64)> = ReplyClass::ALL.iter().map(|class| (*class, 0)).collect();
        for inject in &situation.injects {
            let (mut tally, mut bounced) = (Tally::default(), 0);
            if let Some(id) = inject.broadcast {
                tally = store.tally(id).await?;
                bounced = store.bounces(id).await?.len() as u64;
                for (class, count) in replybox.counts_for(id).await? {
                    if let Some(slot) = replies.iter_mut().find(|(known, _)| *known == class) {
                        slot.1 += count;
                    }
                }
            }
            notices.push(NoticeFigures {
                title: inject.title.clone(),
                broadcast: inject.broadcast,
                tally,
                total: tally.total(),
                bounced,
            });
        }
        Ok(Self {
            title: situation.exercise.title,
            nature: situation.exercise.nature,
            started_at: situation.exercise.started_at,
            ended_at: situation.exercise.ended_at,
            notices,
            sheets: situation.asked.iter().map(sheet_figures).collect(),
            replies,
        })
    }

    /// The summary as Markdown, in Japanese with the field's terms.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut out = format!("# 検証報告書（AAR）: {}\n\n", self.title);
        let time = |at: Option<Timestamp>| at.map_or_else(|| "—".to_owned(), Timestamp::to_rfc3339);
        let _infallible =
            writeln!(out, "開始 STARTEX: {}  \n終了 ENDEX: {}\n", time(self.started_at), time(self.ended_at));
        out += "| お知らせ | 宛先 | 送信済 | 拒否 | 到達不明 | 保留 | 断念 | 取消 | 未完了 | 不達通知 |\n";
        out += "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n";
        for notice in &self.notices {
            let t = notice.tally;
            let _infallible = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                notice.title.replace('|', "／"),
                notice.total,
                t.accepted,
                t.rejected,
                t.unknown,
                t.held,
                t.gave_up,
                t.cancelled,
                t.open(),
                notice.bounced
            );
        }
        for sheet in &self.sheets {
            let seconds = |at: Option<u64>| at.map_or_else(|| "—".to_owned(), |s| format!("{s} 秒"));
            let _infallible = writeln!(
                out,
                "\n## {}\n\n回答 {} / {}（25 %: {}、50 %: {}、75 %: {}）\n",
                sheet.title,
                sheet.answered,
                sheet.addressed,
                seconds(sheet.times.p25),
                seconds(sheet.times.p50),
                seconds(sheet.times.p75)
            );
            for question in &sheet.questions {
                let counts: Vec<String> =
                    question.counts.iter().map(|(label, count)| format!("{label} {count}")).collect();
                let _infallible = writeln!(out, "- {}: {}", question.text, counts.join("、"));
            }
        }
        out += "\n## 返信\n\n";
        for (class, count) in &self.replies {
            let _infallible = writeln!(out, "- {class}: {count}");
        }
        out
    }
}

fn sheet_figures(asked: &Asked) -> SheetFigures {
    let start = asked.broadcast.released_at.unwrap_or(asked.broadcast.created_at);
    let after = |percent: u64| asked.answered_by(percent).map(|at| at.since(start).as_secs());
    SheetFigures {
        title: asked.sheet.title.clone(),
        addressed: asked.reached(),
        answered: asked.answered(),
        times: AnswerTimes { p25: after(25), p50: after(50), p75: after(75) },
        questions: asked.sheet.questions.iter().map(|question| question_figures(asked, question)).collect(),
    }
}

fn question_figures(asked: &Asked, question: &domain::Question) -> QuestionFigures {
    let given = |wanted: &dyn Fn(&str) -> bool| {
        let answers = asked.responses.iter().filter_map(|response| response.answers.get(&question.key));
        answers.filter(|value| wanted(value)).count() as u64
    };
    let counts = match &question.kind {
        QuestionKind::Choice { choices } => choices
            .iter()
            .map(|choice| (choice.label.clone(), given(&|value| value == choice.value)))
            .collect(),
        QuestionKind::Text => vec![("記入あり".to_owned(), given(&|value| !value.is_empty()))],
    };
    QuestionFigures { text: question.text.clone(), counts }
}
