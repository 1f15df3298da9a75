//! How an exercise stands, drawn: answers, rate over time, rate by prefecture, timeline. The
//! figures come from `report`.

use crate::{
    i18n::Texts,
    pages::{
        Answers, Bar, BarQuestion, RateChart, TileCount, Timeline, TimelineItem, Times, grouped, html,
        inject_look, percent, rate_chart, tile_map,
    },
};
use domain::{ExerciseState, Prefecture, QuestionKind, Timestamp};
use report::{Asked, Situation};
use std::{collections::HashMap, time::Duration};

/// How an exercise's parts are drawn.
pub(super) trait Drawn {
    /// The fragment of answers: figures of the first sheet, bars of all.
    fn answers(&self, t: Texts) -> String;
    /// Bars per question of choices.
    fn bars(&self) -> Vec<BarQuestion>;
    /// The fragment of the timeline.
    fn timeline(&self, t: Texts, times: Times) -> String;
    /// The drawing of the rate over time.
    fn chart(&self, t: Texts, times: Times, now: Timestamp) -> String;
    /// The drawing of the rate by prefecture.
    fn map(&self, t: Texts) -> String;
}

impl Drawn for Situation {
    fn answers(&self, t: Texts) -> String {
        let (answered, reached) =
            self.asked.first().map_or((0, 0), |asked| (asked.answered(), asked.reached()));
        html(&Answers {
            t,
            answered: grouped(answered),
            reached: grouped(reached),
            rate: percent(answered, reached),
            questions: self.bars(),
        })
    }

    fn bars(&self) -> Vec<BarQuestion> {
        self.asked.iter().flat_map(bars).collect()
    }

    fn timeline(&self, t: Texts, times: Times) -> String {
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

    fn chart(&self, t: Texts, times: Times, now: Timestamp) -> String {
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

    fn map(&self, t: Texts) -> String {
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
