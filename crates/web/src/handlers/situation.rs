//! What an exercise stands at: answers, rate over time, rate by prefecture, timeline.

use super::Fault;
use crate::{
    app::App,
    i18n::Texts,
    pages::{
        Answers, Bar, BarQuestion, RateChart, TileCount, Timeline, TimelineItem, Times, grouped, html,
        inject_look, percent, rate_chart, tile_map,
    },
};
use domain::{ExerciseState, Prefecture, QuestionKind, Questionnaire, Timestamp};
use std::{collections::HashMap, time::Duration};
use store::{Broadcast, Exercise, Inject, ResponsePoint};


/// One question sheet that went out, with everything that came back.
pub(super) struct Asked {
    pub(super) broadcast: Broadcast,
    pub(super) sheet: Questionnaire,
    pub(super) responses: Vec<ResponsePoint>,
    /// Addressed people per prefecture code.
    pub(super) addressed: Vec<(Option<u8>, u64)>,
}

impl Asked {
    pub(super) fn reached(&self) -> u64 {
        self.addressed.iter().map(|(_, count)| count).sum()
    }

    pub(super) fn answered(&self) -> u64 {
        self.responses.len() as u64
    }

    /// When half of the people had answered.
    pub(super) fn half_at(&self) -> Option<Timestamp> {
        let half = usize::try_from(self.reached().div_ceil(2)).unwrap_or(usize::MAX);
        self.responses.get(half.checked_sub(1)?).map(|response| response.at)
    }
}

/// An exercise as the pages show it.
pub(super) struct Situation {
    pub(super) exercise: Exercise,
    pub(super) injects: Vec<Inject>,
    /// In the order of the timeline; the first is what map and chart show.
    pub(super) asked: Vec<Asked>,
}

impl Situation {
    /// Reads everything about one exercise.
    pub(super) async fn read(app: &App, exercise: Exercise) -> Result<Self, Fault> {
        let store = &app.web.store;
        let injects = store.injects(exercise.id).await?;
        let mut asked = Vec::new();
        for id in injects.iter().filter_map(|inject| inject.broadcast) {
            let Some(broadcast) = store.broadcast(id).await? else { continue };
            let Some(sheet) = broadcast.questionnaire else { continue };
            // A reminder collects for the notice it reminds of.
            if broadcast.answers_to.is_some() || broadcast.released_at.is_none() {
                continue;
            }
            let Some(sheet) = store.questionnaire(sheet).await? else { continue };
            let responses = store.responses(id).await?;
            let addressed = store.recipients_by_prefecture(id).await?;
            asked.push(Asked { broadcast, sheet, responses, addressed });
        }
        Ok(Self { exercise, injects, asked })
    }

    /// The fragment of answers: figures of the first sheet, bars of all.
    pub(super) fn answers(&self, t: Texts) -> String {
        let (answered, reached) = self.asked.first().map_or((0, 0), |asked| (asked.answered(), asked.reached()));
        html(&Answers {
            t,
            answered: grouped(answered),
            reached: grouped(reached),
            rate: percent(answered, reached),
            questions: self.bars(),
        })
    }

    /// Bars per question of choices.
    pub(super) fn bars(&self) -> Vec<BarQuestion> {
        self.asked.iter().flat_map(bars).collect()
    }

    /// The fragment of the timeline.
    pub(super) fn timeline(&self, t: Texts, times: Times) -> String {
        let items = self
            .injects
            .iter()
            .map(|inject| {
                let (chip, mark) = inject_look(inject.state);
                let due = match self.exercise.started_at {
                    Some(started) => times.exact(started.plus(inject.offset)),
                    None => t.with("timeline-planned", "after", span(inject.offset)),
                };
                TimelineItem {
                    mark,
                    chip,
                    due,
                    state: inject.state,
                    title: inject.title.clone(),
                    broadcast: inject.broadcast,
                    note: inject.subject.clone(),
                }
            })
            .collect();
        html(&Timeline { t, items })
    }

    /// The drawing of the rate over time.
    pub(super) fn chart(&self, t: Texts, times: Times, now: Timestamp) -> String {
        let Some(asked) = self.asked.first() else { return String::new() };
        let answers: Vec<Timestamp> = asked.responses.iter().map(|response| response.at).collect();
        let start = asked.broadcast.released_at.unwrap_or(asked.broadcast.created_at);
        let end = match self.exercise.state {
            ExerciseState::Ended => self.exercise.ended_at.unwrap_or(now),
            ExerciseState::Planned | ExerciseState::Running | ExerciseState::Stopped => now,
        };
        let end = answers.last().map_or(end, |last| end.max(*last));
        let chart = RateChart { start, end, answers: &answers, reached: asked.reached(), zone: times.zone };
        rate_chart(t, &chart)
    }

    /// The drawing of the rate by prefecture.
    pub(super) fn map(&self, t: Texts) -> String {
        let Some(asked) = self.asked.first() else { return String::new() };
        let mut answered: HashMap<u8, u64> = HashMap::new();
        for code in asked.responses.iter().filter_map(|response| response.prefecture) {
            *answered.entry(code).or_default() += 1;
        }
        let counts: Vec<TileCount> = asked
            .addressed
            .iter()
            .filter_map(|(code, reached)| {
                let prefecture = Prefecture::from_code((*code)?)?;
                let answered = answered.get(&prefecture.code()).copied().unwrap_or(0);
                Some(TileCount { prefecture, answered, reached: *reached })
            })
            .collect();
        tile_map(t, &counts)
    }
}

fn bars(asked: &Asked) -> Vec<BarQuestion> {
    let answered = asked.answered();
    let choices = asked.sheet.questions.iter().filter_map(|question| match &question.kind {
        QuestionKind::Choice { choices } => Some((question, choices)),
        QuestionKind::Text => None,
    });
    choices
        .map(|(question, choices)| BarQuestion {
            text: question.text.clone(),
            bars: choices
                .iter()
                .map(|choice| {
                    let count = asked
                        .responses
                        .iter()
                        .filter(|response| response.answers.get(&question.key) == Some(&choice.value))
                        .count() as u64;
                    Bar {
                        label: choice.label.clone(),
                        count,
                        count_text: grouped(count),
                        percent: percent(count, answered),
                        max: answered.max(1),
                    }
                })
                .collect(),
        })
        .collect()
}

/// 1:05 for an hour and five minutes.
fn span(offset: Duration) -> String {
    let minutes = offset.as_secs() / 60;
    format!("{}:{:02}", minutes / 60, minutes % 60)
}
