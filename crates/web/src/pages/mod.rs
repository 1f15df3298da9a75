//! What a page shows, as plain values, and the templates that show it. Nothing here reads a
//! database or decides what a person may do: a page draws what a handler found.
//!
//! # Security
//! Templates escape every value. `|safe` stands only behind fragments that are templates
//! themselves and behind the two drawings, whose texts are escaped where they are made.

mod answer;
mod audiences;
mod broadcast;
mod exercise;
mod home;
mod imports;
mod privacy;
mod rate_chart;
mod replies;
mod report;
mod requests;
mod roster;
mod tile_map;

pub(crate) use answer::{AnswerPage, ChoiceView, PlainPage, ProofView, QuestionView, VerifyPage, VerifyRow};
pub(crate) use audiences::{
    AudiencePage, AudienceRow, AudiencesPage, ChangeAudience, ClauseRows, DeleteAudiencePage, DifferencePage,
    DifferenceView, Differences, NewAudiencePage, PeopleView, PersonView, Preview, TermRow, UseView,
};
pub(crate) use broadcast::{
    BroadcastPage, CanaryView, CancelPage, CountPart, CountRow, Counts, DELIVERY_ORDER, FindingView,
    LedgerPage, LedgerView, May, NewBroadcastPage, SignatureView, Stopped, delivery_chip, delivery_fill,
};
pub(crate) use exercise::{Answers, Bar, BarQuestion, ExercisePage, Timeline, TimelineItem};
pub(crate) use home::{ExerciseCard, FaultPage, HomePage, LoginPage, NoticeRow, StopAllPage, WaitingNotice};
pub(crate) use imports::{
    ChangeView, ColumnView, HeadingsForm, ImportCard, ImportLineView, ImportPage, ImportRowView, ImportsPage,
    Tab, import_progress,
};
pub(crate) use privacy::{ErasePage, ErasureRow, PeriodRow, RetentionPage};
pub(crate) use rate_chart::{RateChart, rate_chart};
pub(crate) use replies::{
    DemoMailPage, DemoMailRow, DemoMailsPage, RepliesList, RepliesPage, ReplyKind, ReplyMember, ReplyPage,
    ReplyRow,
};
pub(crate) use report::{ReportPage, ReportRow};
pub(crate) use requests::{RequestRow, RequestsConfirmPage, RequestsPage, SuppressedPage, SuppressedRow};
pub(crate) use roster::{HistoryRow, MemberPage, MemberReplyRow, MemberRow, MembersPage};
pub(crate) use tile_map::{TileCount, tile_map};

use crate::i18n::Texts;
use askama::Template;
use chrono_tz::Tz;
use domain::{BroadcastState, ExerciseState, InjectState, Nature, Role, Timestamp};

/// The signed-in person in the frame of a page.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) name: String,
    pub(crate) role: Role,
}

/// What the frame of every page shows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shell {
    pub(crate) title: String,
    pub(crate) organization: String,
    pub(crate) contact: String,
    /// The bar above everything; only on pages that belong to one notice or exercise.
    pub(crate) nature: Option<Nature>,
    pub(crate) who: Option<Who>,
    pub(crate) form_token: String,
    pub(crate) rehearsal: bool,
    pub(crate) demo: bool,
    /// Replies can be read here, by this person.
    pub(crate) replies: bool,
    /// Which entry of the navigation this is.
    pub(crate) here: &'static str,
    /// Where the language switch returns to.
    pub(crate) path: String,
    /// A narrow page: forms and member pages.
    pub(crate) narrow: bool,
    /// A member's page: large, without navigation.
    pub(crate) member: bool,
    /// Kept fresh by the script.
    pub(crate) live: bool,
    /// What was just done.
    pub(crate) said: Option<String>,
    /// It came too late: somebody else had done it, or the opposite.
    pub(crate) late: bool,
}

/// Renders a page; a template of ours only fails where memory does.
pub(crate) fn html(page: &impl Template) -> String {
    page.render().unwrap_or_default()
}

/// 12,345: with separators of thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Whole percent, rounded down: 100 only when it is all of them.
pub(crate) fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(0)
}

/// How times are written in a page's language.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) zone: Tz,
    pub(crate) texts: Texts,
}

impl Times {
    /// Month, day, hour and minute.
    pub(crate) fn short(self, at: Timestamp) -> String {
        at.in_zone(self.zone).format(&self.texts.get("time-short")).to_string()
    }

    /// Month, day, hour, minute and second.
    pub(crate) fn exact(self, at: Timestamp) -> String {
        at.in_zone(self.zone).format(&self.texts.get("time-exact")).to_string()
    }

    /// Year, month, day, hour and minute.
    pub(crate) fn long(self, at: Timestamp) -> String {
        at.in_zone(self.zone).format(&self.texts.get("time-long")).to_string()
    }

    /// Hour, minute and second.
    pub(crate) fn clock(self, at: Timestamp) -> String {
        at.in_zone(self.zone).format("%H:%M:%S").to_string()
    }
}

/// The look of a broadcast's state; the word stands in it.
pub(crate) fn broadcast_chip(state: BroadcastState) -> &'static str {
    match state {
        BroadcastState::Draft | BroadcastState::Preflighted => "chip-plain",
        BroadcastState::AwaitingApproval | BroadcastState::Approved => "chip-wait",
        BroadcastState::Sending => "chip-run",
        BroadcastState::Completed => "chip-good",
        BroadcastState::Stopped | BroadcastState::Cancelled | BroadcastState::Expired => "chip-bad",
    }
}

/// The look of an exercise's state.
pub(crate) fn exercise_chip(state: ExerciseState) -> &'static str {
    match state {
        ExerciseState::Planned => "chip-plain",
        ExerciseState::Running => "chip-run",
        ExerciseState::Stopped => "chip-bad",
        ExerciseState::Ended => "chip-good",
    }
}

/// The look of an inject's state: chip, and dot of the timeline.
pub(crate) fn inject_look(state: InjectState) -> (&'static str, &'static str) {
    match state {
        InjectState::Planned => ("chip-plain", ""),
        InjectState::Prepared => ("chip-wait", "now"),
        InjectState::Released => ("chip-good", "done"),
        InjectState::Missed => ("chip-bad", "missed"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_percent_never_rounds_up_to_all() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(4_000), "4,000");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(percent(3_999, 4_000), 99);
        assert_eq!(percent(4_000, 4_000), 100);
        assert_eq!(percent(1, 0), 0);
    }

    #[test]
    fn no_template_carries_inline_style_or_script() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        for folder in [folder.clone(), folder.join("parts")] {
            for entry in std::fs::read_dir(folder).expect("templates") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    continue;
                }
                let text = std::fs::read_to_string(&path).expect("a template");
                for forbidden in [" style=", " onclick=", " onload=", "<style", "javascript:"] {
                    assert!(!text.contains(forbidden), "{forbidden} in {}", path.display());
                }
                assert_eq!(
                    text.matches("<script").count(),
                    text.matches("<script type=\"module\" src=").count()
                );
            }
        }
    }

    #[test]
    fn every_form_that_posts_for_a_person_carries_the_form_token() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        for entry in std::fs::read_dir(folder).expect("templates") {
            let path = entry.expect("an entry").path();
            // Login has no session yet; answers are authorised by their link.
            if path.is_dir()
                || path.ends_with("login.html")
                || path.ends_with("answer.html")
                || path.ends_with("plain.html")
            {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a template");
            for form in text.split("<form ").skip(1) {
                let form = form.split("</form>").next().expect("a form");
                assert!(
                    form.contains("method=\"get\"") || form.contains("name=\"form_token\""),
                    "{}",
                    path.display()
                );
            }
        }
    }
}
