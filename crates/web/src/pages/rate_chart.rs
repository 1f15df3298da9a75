//! How many have answered, over time: a step line, because between two answers nothing happened.

use super::{grouped, percent, tile_map::escape};
use crate::i18n::Texts;
use chrono_tz::Tz;
use domain::Timestamp;
use std::fmt::Write as _;

/// What the chart shows.
#[derive(Debug, Clone)]
pub(crate) struct RateChart<'a> {
    /// When the question went out.
    pub(crate) start: Timestamp,
    /// Right edge: now, or the end.
    pub(crate) end: Timestamp,
    /// First answer of each respondent, in order of time.
    pub(crate) answers: &'a [Timestamp],
    /// Everyone who could answer.
    pub(crate) reached: u64,
    /// For the labels of the time axis.
    pub(crate) zone: Tz,
}

const WIDTH: u64 = 640;
const HEIGHT: u64 = 300;
const LEFT: u64 = 64;
const RIGHT: u64 = 632;
const TOP: u64 = 12;
const BOTTOM: u64 = 264;
/// More steps than this cannot be seen; the path stays small with ten thousand answers.
const STEPS_MAX: usize = 400;
/// An axis shorter than this shows noise.
const SPAN_MS_MIN: u64 = 60_000;

/// The drawing.
pub(crate) fn rate_chart(t: Texts, chart: &RateChart<'_>) -> String {
    let answered = u64::try_from(chart.answers.len()).unwrap_or(u64::MAX);
    let summary = escape(&t.format(
        "rate-summary",
        &[
            ("answered", grouped(answered)),
            ("reached", grouped(chart.reached)),
            ("percent", percent(answered, chart.reached).to_string()),
        ],
    ));
    let mut svg = String::with_capacity(8 * 1024);
    let _ = write!(
        svg,
        r#"<svg class="drawing chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{summary}"><title>{summary}</title>"#
    );
    marks(&mut svg);
    hours(&mut svg, chart);
    let _ = write!(
        svg,
        r##"<path d="{}" fill="none" stroke="#00428c" stroke-width="3" stroke-linejoin="round"/>"##,
        line(chart)
    );
    svg.push_str("</svg>");
    svg
}

/// Lines at 0, 25, 50, 75 and 100 %.
fn marks(svg: &mut String) {
    for mark in [0, 25, 50, 75, 100] {
        let y = height_of(mark, 100);
        let (ink, dash) = if mark == 0 { ("#4d4d4d", "") } else { ("#b3b3b3", r#" stroke-dasharray="4 4""#) };
        let _ = write!(
            svg,
            r##"<line x1="{LEFT}" y1="{y}" x2="{RIGHT}" y2="{y}" stroke="{ink}"{dash}/><text x="{}" y="{}" text-anchor="end" font-size="14" fill="#4d4d4d">{mark}%</text>"##,
            LEFT - 6,
            y + 5,
        );
    }
}

/// Five labels along the time axis.
fn hours(svg: &mut String, chart: &RateChart<'_>) {
    let span = span_ms(chart);
    let format = match span {
        0..=600_000 => "%H:%M:%S",
        600_001..=86_400_000 => "%H:%M",
        _ => "%m/%d %H:%M",
    };
    for part in 0..=4u64 {
        let at = chart.start.plus(std::time::Duration::from_millis(span * part / 4));
        let x = LEFT + (RIGHT - LEFT) * part / 4;
        let anchor = match part {
            0 => "start",
            4 => "end",
            _ => "middle",
        };
        let label = at.in_zone(chart.zone).format(format);
        // On a phone there is room for three.
        let class = if part % 2 == 1 { r#" class="between""# } else { "" };
        let _ = write!(
            svg,
            r##"<line x1="{x}" y1="{BOTTOM}" x2="{x}" y2="{}" stroke="#4d4d4d"/><text x="{x}" y="{}" text-anchor="{anchor}" font-size="14" fill="#4d4d4d"{class}>{label}</text>"##,
            BOTTOM + 6,
            BOTTOM + 24,
        );
    }
}

fn line(chart: &RateChart<'_>) -> String {
    let mut path = format!("M{LEFT} {BOTTOM}");
    let every = chart.answers.len().div_ceil(STEPS_MAX).max(1);
    let last = chart.answers.len().saturating_sub(1);
    let span = span_ms(chart);
    for (index, at) in chart.answers.iter().enumerate() {
        if index % every == 0 || index == last {
            let count = u64::try_from(index + 1).unwrap_or(u64::MAX);
            let since = u64::try_from(at.since(chart.start).as_millis()).unwrap_or(u64::MAX).min(span);
            let x = LEFT + (RIGHT - LEFT) * since / span;
            let _ = write!(path, "H{x}V{}", height_of(count, chart.reached));
        }
    }
    let _ = write!(path, "H{RIGHT}");
    path
}

fn span_ms(chart: &RateChart<'_>) -> u64 {
    u64::try_from(chart.end.since(chart.start).as_millis()).unwrap_or(u64::MAX).max(SPAN_MS_MIN)
}

fn height_of(part: u64, whole: u64) -> u64 {
    BOTTOM - ((BOTTOM - TOP) * part.min(whole)).checked_div(whole).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn chart(answers: &[Timestamp], reached: u64) -> RateChart<'_> {
        RateChart { start: at(0), end: at(1_200), answers, reached, zone: chrono_tz::Asia::Tokyo }
    }

    #[test]
    fn half_of_the_people_after_half_of_the_time_is_the_middle() {
        let answers = [at(600)];
        let path = line(&chart(&answers, 2));
        assert_eq!(path, format!("M{LEFT} 264H{}V{}H632", (LEFT + 632) / 2, (264 + 12) / 2));
    }

    #[test]
    fn marks_and_times_are_labelled() {
        let svg = rate_chart(Texts::default(), &chart(&[], 10));
        for label in ["25%", "50%", "75%", "09:00", "09:20"] {
            assert!(svg.contains(&format!(">{label}</text>")), "{label}");
        }
    }

    #[test]
    fn ten_thousand_answers_stay_a_small_drawing() {
        let answers: Vec<Timestamp> = (0..10_000).map(|n| at(n / 10)).collect();
        let svg = rate_chart(Texts::default(), &chart(&answers, 10_000));
        assert!(svg.len() < 16 * 1024, "{}", svg.len());
        assert!(svg.contains("V12H632"), "the last answer is drawn");
    }

    #[test]
    fn an_answer_before_the_start_or_nobody_reached_draws_inside_the_frame() {
        let answers = [at(-5), at(100_000)];
        for reached in [0, 1] {
            let path = line(&chart(&answers, reached));
            assert!(path.starts_with(&format!("M{LEFT} 264H{LEFT}")), "{path}");
            assert!(path.ends_with("H632"), "{path}");
        }
    }
}
