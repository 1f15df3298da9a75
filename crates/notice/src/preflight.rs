//! The rules that are checked before anyone may sign, and the forecast of when the last mail leaves.
//!
//! Guarantees: pure and total; the same facts give the same findings. A finding of level
//! [`Level::Block`] keeps the broadcast from being frozen. Texts are English sentences for the
//! command line; pages write their own from `rule` and `args`.

use crate::template::Template;
use crate::text::{NoticeError, NoticeTemplate, NoticeText, Questions, banner_line};
use domain::{AudienceChange, Nature, Rate, Timestamp, cap_exceeded};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// What one connection carries where no rate limits it: 20 ms for the round trips and the relay's
/// own write. A relay that is slower makes the forecast too early.
pub const UNTHROTTLED_PER_CONNECTION_PER_SECOND: u32 = 50;
/// Limits with windows up to this long are paced evenly; longer ones are counted, so that
/// `3000/d` lets 2,000 mails go at once.
pub const PACED_WINDOW_MAX: Duration = Duration::from_secs(60);
/// More is cut off in the list of messages on telephones and most desktops.
const SUBJECT_FULL_WIDTH_MAX: usize = 60;

/// The rule that blocks where nobody is left to write to.
pub const NO_RECIPIENTS: &str = "no-recipients";

/// The rule that finds a text which some of the recipients got before.
pub const SAME_TEXT: &str = "same-text";

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Good to know.
    Info,
    /// The approver has to see it.
    Warning,
    /// The broadcast cannot go on like this.
    Block,
}

/// The result of one rule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Stable name of the rule.
    pub rule: &'static str,
    /// How much it weighs.
    pub level: Level,
    /// One sentence in English.
    pub text: String,
    /// The facts in it by name, for a page in another language.
    pub args: BTreeMap<&'static str, String>,
    /// Whoever signs has to say that they have seen it.
    pub confirm: bool,
}

/// A [`Finding`] as it is read back from where the last preflight was stored.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct StoredFinding {
    /// Stable name of the rule.
    pub rule: String,
    /// A [`Level`] in its stored word.
    pub level: String,
    /// One sentence in English.
    pub text: String,
    /// The facts in it by name.
    #[serde(default)]
    pub args: BTreeMap<String, String>,
    /// Whoever signs has to say that they have seen it.
    #[serde(default)]
    pub confirm: bool,
}

/// Earlier broadcasts that carried the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SameText {
    /// The last one.
    pub last: domain::BroadcastId,
    /// Recipients of now whom any of them reached, or may still reach.
    pub people: u64,
}

/// Everything the rules look at. Counts come from the snapshot after every recipient was rendered.
#[derive(Debug, Clone)]
pub struct Summary<'a> {
    /// Actual, exercise or test.
    pub nature: Nature,
    /// The author's text.
    pub text: &'a NoticeText,
    /// Whether a questionnaire belongs to it.
    pub questions: Questions,
    /// The fields the registry has, `link` included.
    pub known_fields: &'a BTreeSet<String>,
    /// The base of our own links.
    pub public_url: &'a str,
    /// The name of its audience, where there is no such audience any more.
    pub audience_gone: Option<&'a str>,
    /// Ledger rows that would be tried.
    pub recipients: u64,
    /// Ledger rows held, by reason as the ledger writes it.
    pub held: &'a BTreeMap<String, u64>,
    /// Against the last snapshot of the same audience, where there is one.
    pub change: Option<AudienceChange>,
    /// Where this text was sent to some of these people before.
    pub same_text: Option<SameText>,
    /// Recipients released in the preceding 24 hours.
    pub released_in_24h: u64,
    /// Recipients allowed in 24 hours with one signature.
    pub daily_cap: u64,
    /// The relay's limits, all of which hold at once.
    pub rates: &'a [Rate],
    /// Connections to the relay.
    pub connections: u32,
    /// When it would start.
    pub start: Timestamp,
    /// The last recipients may have to wait so long after the release: first copies, a canary batch.
    pub opens_within: Duration,
    /// A first batch goes, and the rest waits until a person says so.
    pub waits_for_person: bool,
    /// By how much a start at a full hour is put off at most, where it is.
    pub full_hour_spread: Option<Duration>,
    /// When the last mail has to be out, where a time was set.
    pub finish_by: Option<Timestamp>,
}

/// When the last mail leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Forecast {
    /// From the start, rounded up.
    pub seconds: u64,
    /// Start plus seconds; RFC 3339 in JSON.
    #[serde(serialize_with = "as_rfc3339")]
    pub finish_at: Timestamp,
}

fn as_rfc3339<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&at.to_rfc3339())
}

/// All findings, and the forecast.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Preflight {
    /// In the order of the rules.
    pub findings: Vec<Finding>,
    /// When the last mail leaves.
    pub forecast: Forecast,
}

impl Preflight {
    /// Nothing blocks.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.findings.iter().all(|finding| finding.level != Level::Block)
    }
}

/// Checks every rule.
#[must_use]
pub fn check(summary: &Summary<'_>) -> Preflight {
    let start = summary.start.plus(summary.opens_within);
    let mut forecast = forecast(summary.recipients, summary.rates, summary.connections, start);
    forecast.seconds += summary.opens_within.as_secs();
    let mut findings = Vec::new();
    check_nature(summary, &mut findings);
    check_text(summary, &mut findings);
    check_links(summary, &mut findings);
    check_audience(summary, &mut findings);
    check_capacity(summary, forecast, &mut findings);
    Preflight { findings, forecast }
}

/// When the last of `recipients` mails leaves: limits with short windows are paced evenly, longer
/// ones let their count go and then make the sender wait. The slowest decides.
#[must_use]
pub fn forecast(recipients: u64, rates: &[Rate], connections: u32, start: Timestamp) -> Forecast {
    let paced = rates.iter().filter(|rate| rate.per() <= PACED_WINDOW_MAX);
    let unthrottled = u128::from(connections.max(1)) * u128::from(UNTHROTTLED_PER_CONNECTION_PER_SECOND);
    let spacing = paced
        .map(|rate| Spacing { nanos: rate.per().as_nanos(), count: u128::from(rate.count()) })
        .chain([Spacing { nanos: Duration::from_secs(1).as_nanos(), count: unthrottled }])
        .max_by(|a, b| (a.nanos * b.count).cmp(&(b.nanos * a.count)))
        .unwrap_or(Spacing { nanos: 0, count: 1 });
    let mut counted: Vec<Rate> = rates.iter().copied().filter(|rate| rate.per() > PACED_WINDOW_MAX).collect();
    counted.sort_by_key(|rate| rate.per());
    let nanos = duration_of(u128::from(recipients), &counted, spacing);
    let seconds = u64::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(u64::MAX);
    Forecast { seconds, finish_at: start.plus(Duration::from_secs(seconds)) }
}

#[derive(Clone, Copy)]
struct Spacing {
    nanos: u128,
    count: u128,
}

/// Nanoseconds for `mails`: whole windows of the longest limit, then the rest under the shorter ones.
fn duration_of(mails: u128, counted: &[Rate], spacing: Spacing) -> u128 {
    let Some((longest, shorter)) = counted.split_last() else {
        return (mails * spacing.nanos).div_ceil(spacing.count);
    };
    let count = u128::from(longest.count());
    let full = mails.saturating_sub(1) / count;
    let window = longest.per().as_nanos().max(duration_of(count.min(mails), shorter, spacing));
    full * window + duration_of(mails - full * count, shorter, spacing)
}

fn check_nature(summary: &Summary<'_>, findings: &mut Vec<Finding>) {
    findings.push(match (summary.nature.banner(), banner_line(summary.nature)) {
        (Some(banner), Some(line)) => Finding {
            rule: "banner",
            level: Level::Info,
            text: format!("the subject begins with {banner}; the body begins and ends with {line}"),
            args: BTreeMap::from([("banner", banner.to_owned()), ("line", line.to_owned())]),
            confirm: false,
        },
        (None, _) | (_, None) => Finding {
            rule: "actual",
            level: Level::Warning,
            text: "this is an ACTUAL notice: it carries no banner and recipients will act on it".into(),
            args: BTreeMap::new(),
            confirm: false,
        },
    });
}

fn check_text(summary: &Summary<'_>, findings: &mut Vec<Finding>) {
    let problems = NoticeTemplate::problems(summary.nature, summary.text);
    findings.extend(problems.iter().map(text_problem));
    for part in [&summary.text.subject, &summary.text.body] {
        let Ok(template) = Template::parse(part) else { continue };
        let Err(unknown) = template.check_known(summary.known_fields) else { continue };
        for field in unknown.0 {
            findings.push(Finding {
                rule: "unknown-field",
                level: Level::Block,
                text: format!("the registry has no field {field}"),
                args: BTreeMap::from([("field", field.name), ("nearest", field.nearest.unwrap_or_default())]),
                confirm: false,
            });
        }
    }
    let half_widths = half_widths(&summary.text.subject)
        + summary.nature.banner().map_or(0, |banner| {
            if summary.text.subject.trim_start().starts_with(banner) { 0 } else { half_widths(banner) }
        });
    if half_widths > 2 * SUBJECT_FULL_WIDTH_MAX {
        let width = half_widths.div_ceil(2);
        findings.push(Finding {
            rule: "long-subject",
            level: Level::Warning,
            text: format!(
                "the subject is {width} full-width characters long; after {SUBJECT_FULL_WIDTH_MAX} most \
                 mail programs cut it"
            ),
            args: BTreeMap::from([
                ("width", width.to_string()),
                ("limit", SUBJECT_FULL_WIDTH_MAX.to_string()),
            ]),
            confirm: false,
        });
    }
}

fn text_problem(problem: &NoticeError) -> Finding {
    Finding {
        rule: problem.rule(),
        level: Level::Block,
        text: problem.to_string(),
        args: problem.args(),
        confirm: false,
    }
}

/// Width in half-width columns: ASCII and half-width kana take one, all else two.
fn half_widths(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() || ('\u{ff61}'..='\u{ff9f}').contains(&c) { 1 } else { 2 }).sum()
}

fn check_links(summary: &Summary<'_>, findings: &mut Vec<Finding>) {
    let own = host_of(summary.public_url);
    for link in links(&summary.text.body) {
        let host = host_of(link);
        let web = link.starts_with("http://") || link.starts_with("https://");
        let args = || BTreeMap::from([("link", link.to_owned()), ("own", own.clone().unwrap_or_default())]);
        if !web {
            findings.push(Finding {
                rule: "link-scheme",
                level: Level::Warning,
                text: format!("the link {link} is not http or https"),
                args: args(),
                confirm: false,
            });
        } else if host != own {
            findings.push(Finding {
                rule: "link-host",
                level: Level::Warning,
                text: format!("the link {link} leads away from {}", own.clone().unwrap_or_default()),
                args: args(),
                confirm: false,
            });
        }
    }
    let placed = Template::parse(&summary.text.body).is_ok_and(|body| body.fields().contains("link"));
    if summary.questions == Questions::Asked && !placed {
        findings.push(Finding {
            rule: "link-added",
            level: Level::Info,
            text: "the link to the person's own page is added below the text".into(),
            args: BTreeMap::new(),
            confirm: false,
        });
    }
}

/// Everything of the form `scheme://…` up to a space, a bracket or a character outside ASCII.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    for (at, _) in text.match_indices("://") {
        let from = text[..at]
            .char_indices()
            .rev()
            .take_while(|(_, c)| c.is_ascii_alphanumeric() || "+.-".contains(*c))
            .last()
            .map_or(at, |(start, _)| start);
        let behind = &text[at + 3..];
        let until = behind
            .find(|c: char| !c.is_ascii_graphic() || matches!(c, '<' | '>' | '"' | '(' | ')'))
            .unwrap_or(behind.len());
        if from < at && until > 0 {
            links.push(&text[from..at + 3 + until]);
        }
    }
    links
}

/// Host in lower case with its port, without a user before it.
fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?;
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

fn check_audience(summary: &Summary<'_>, findings: &mut Vec<Finding>) {
    if let Some(name) = summary.audience_gone {
        findings.push(Finding {
            rule: "audience-gone",
            level: Level::Block,
            text: format!(
                "the audience {name} does not exist any more; change the notice and choose another"
            ),
            args: BTreeMap::from([("audience", name.to_owned())]),
            confirm: false,
        });
    } else if summary.recipients == 0 {
        findings.push(Finding {
            rule: NO_RECIPIENTS,
            level: Level::Block,
            text: "nobody would receive this notice".into(),
            args: BTreeMap::new(),
            confirm: false,
        });
    }
    let held: u64 = summary.held.values().sum();
    if held > 0 {
        let by_reason: Vec<String> =
            summary.held.iter().map(|(reason, count)| format!("{reason}: {count}")).collect();
        findings.push(Finding {
            rule: "held",
            level: Level::Warning,
            text: format!("{held} people are held and will receive nothing ({})", by_reason.join(", ")),
            args: BTreeMap::from([("held", held.to_string()), ("reasons", by_reason.join(", "))]),
            confirm: false,
        });
    }
    findings.extend(summary.change.as_ref().map(audience_change));
    if let Some(SameText { last, people }) = summary.same_text {
        findings.push(Finding {
            rule: SAME_TEXT,
            level: Level::Warning,
            text: format!(
                "this text went to {people} of these people before, last with broadcast {last}; whoever signs \
                 confirms that they shall get it again"
            ),
            args: BTreeMap::from([("broadcast", last.to_string()), ("people", people.to_string())]),
            confirm: true,
        });
    }
}

fn audience_change(change: &AudienceChange) -> Finding {
    let AudienceChange { previous, recipients, joined, left, never_mailed } = change;
    let unusual = change.is_unusual();
    let mut text = format!(
        "compared with broadcast {previous} ({recipients} recipients): {joined} are new, {left} are not in it \
         any more, {never_mailed} were never written to"
    );
    if unusual {
        text += "; that is unusual: two signatures are needed";
    }
    Finding {
        rule: if unusual { "audience-unusual" } else { "audience-change" },
        level: if unusual { Level::Warning } else { Level::Info },
        text,
        args: BTreeMap::from([
            ("broadcast", previous.to_string()),
            ("previous", recipients.to_string()),
            ("joined", joined.to_string()),
            ("left", left.to_string()),
            ("never_mailed", never_mailed.to_string()),
        ]),
        confirm: false,
    }
}

fn check_capacity(summary: &Summary<'_>, forecast: Forecast, findings: &mut Vec<Finding>) {
    let args = BTreeMap::from([
        ("seconds", forecast.seconds.to_string()),
        ("finish_at", forecast.finish_at.to_rfc3339()),
    ]);
    findings.push(Finding {
        rule: "forecast",
        level: Level::Info,
        text: format!("at this relay's limits the last notice leaves {} s after the start", forecast.seconds),
        args: args.clone(),
        confirm: false,
    });
    if summary.waits_for_person && summary.finish_by.is_some() {
        findings.push(Finding {
            rule: "canary-finish-by",
            level: Level::Warning,
            text: "after the first batch the rest waits until somebody says \"continue\"; whoever is not \
                   written to by the time set is given up"
                .into(),
            args: BTreeMap::new(),
            confirm: false,
        });
    }
    if let Some(spread) = summary.full_hour_spread.filter(|_| summary.nature != Nature::Actual) {
        let seconds = spread.as_secs();
        findings.push(Finding {
            rule: "full-hour",
            level: Level::Info,
            text: format!(
                "a start in the first minute of an hour waits up to {seconds} s, apart from everybody's timers"
            ),
            args: BTreeMap::from([("seconds", seconds.to_string())]),
            confirm: false,
        });
    }
    if let Some(finish_by) = summary.finish_by.filter(|by| forecast.finish_at > *by) {
        let late = forecast.finish_at.since(finish_by).as_millis().div_ceil(1_000);
        let mut args = args;
        args.insert("finish_by", finish_by.to_rfc3339());
        args.insert("late_seconds", late.to_string());
        findings.push(Finding {
            rule: "finish-by",
            level: Level::Block,
            text: format!("the last notice would leave {late} s after the time set for it"),
            args,
            confirm: false,
        });
    }
    if cap_exceeded(summary.released_in_24h, summary.recipients, summary.daily_cap) {
        findings.push(Finding {
            rule: "daily-cap",
            level: Level::Warning,
            text: format!(
                "{} recipients on top of {} in the last 24 hours are over the daily cap of {}: two \
                 signatures are needed",
                summary.recipients, summary.released_in_24h, summary.daily_cap
            ),
            args: BTreeMap::from([
                ("recipients", summary.recipients.to_string()),
                ("released", summary.released_in_24h.to_string()),
                ("cap", summary.daily_cap.to_string()),
            ]),
            confirm: false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(texts: &[&str]) -> Vec<Rate> {
        texts.iter().map(|text| text.parse().expect("a rate")).collect()
    }

    struct Case {
        text: NoticeText,
        known: BTreeSet<String>,
        held: BTreeMap<String, u64>,
        rates: Vec<Rate>,
    }

    impl Case {
        fn new(subject: &str, body: &str) -> Self {
            Self {
                text: NoticeText { subject: subject.into(), body: body.into() },
                known: ["name", "facility", "link"].into_iter().map(str::to_owned).collect(),
                held: BTreeMap::new(),
                rates: rates(&["10/s"]),
            }
        }

        fn summary(&self) -> Summary<'_> {
            Summary {
                nature: Nature::Exercise,
                text: &self.text,
                questions: Questions::NotAsked,
                known_fields: &self.known,
                public_url: "https://drill.example.jp",
                audience_gone: None,
                recipients: 100,
                held: &self.held,
                change: None,
                same_text: None,
                released_in_24h: 0,
                daily_cap: 3_000,
                rates: &self.rates,
                connections: 8,
                start: Timestamp::from_millis(0),
                opens_within: Duration::ZERO,
                waits_for_person: false,
                full_hour_spread: None,
                finish_by: None,
            }
        }
    }

    fn rules(preflight: &Preflight, level: Level) -> Vec<&'static str> {
        preflight.findings.iter().filter(|f| f.level == level).map(|f| f.rule).collect()
    }

    #[test]
    fn a_plain_exercise_passes_with_nothing_to_warn_of() {
        let case = Case::new("開始", "{{name}}様\nhttps://drill.example.jp/info");
        let preflight = check(&case.summary());
        assert!(preflight.ok());
        assert_eq!(rules(&preflight, Level::Warning), Vec::<&str>::new());
        assert_eq!(rules(&preflight, Level::Info), ["banner", "forecast"]);
    }

    #[test]
    fn what_cannot_be_sent_blocks() {
        let case = Case::new("", "{{env}} {{nam}}");
        let preflight = check(&Summary { recipients: 0, ..case.summary() });
        assert!(!preflight.ok());
        assert_eq!(
            rules(&preflight, Level::Block),
            ["empty-subject", "unknown-field", "unknown-field", "no-recipients"]
        );
        let nearest = preflight.findings.iter().find(|f| f.args.get("field").is_some_and(|v| v == "nam"));
        assert_eq!(nearest.and_then(|f| f.args.get("nearest")).map(String::as_str), Some("name"));
        let gone = check(&Summary { recipients: 0, audience_gone: Some("東北"), ..case.summary() });
        assert_eq!(rules(&gone, Level::Block).last(), Some(&"audience-gone"));
        assert!(!rules(&gone, Level::Block).contains(&NO_RECIPIENTS));
        let broken = check(&Case::new("【試験】", "").summary());
        assert_eq!(rules(&broken, Level::Block), ["foreign-banner", "empty-body"]);
    }

    #[test]
    fn what_an_approver_has_to_see_warns() {
        let mut case = Case::new(&"長い".repeat(40), "https://drill.example.jp@evil.example/ ftp://x.jp。");
        case.held.insert("no-address".into(), 3);
        case.held.insert("missing-field:facility".into(), 2);
        let preflight = check(&Summary {
            nature: Nature::Actual,
            recipients: 3_001,
            same_text: Some(SameText { last: domain::BroadcastId::new(6), people: 2 }),
            change: Some(AudienceChange {
                previous: domain::BroadcastId::new(5),
                recipients: 1_000,
                joined: 2_001,
                left: 0,
                never_mailed: 1_990,
            }),
            ..case.summary()
        });
        assert!(preflight.ok());
        assert_eq!(
            rules(&preflight, Level::Warning),
            [
                "actual",
                "long-subject",
                "link-host",
                "link-scheme",
                "held",
                "audience-unusual",
                "same-text",
                "daily-cap"
            ]
        );
        let held = preflight.findings.iter().find(|f| f.rule == "held").expect("held");
        assert_eq!(held.args["reasons"], "missing-field:facility: 2, no-address: 3");
    }

    #[test]
    fn four_thousand_at_ten_a_second_take_six_minutes_and_forty_seconds() {
        let start = Timestamp::parse_rfc3339("2020-09-04T13:00:00+09:00").expect("a time");
        let forecast = forecast(4_000, &rates(&["10/s"]), 8, start);
        assert_eq!(forecast.seconds, 400);
        assert_eq!(forecast.finish_at.to_rfc3339(), "2020-09-04T04:06:40.000Z");
    }

    #[test]
    fn the_slowest_limit_decides() {
        let start = Timestamp::from_millis(0);
        for (recipients, limits, connections, seconds) in [
            (0, &["10/s"][..], 8, 0),
            (1, &["10/s"], 8, 1),
            (4_000, &["10/s", "300/m"], 8, 800),
            // A day's limit that is not reached does not slow anything down.
            (2_000, &["10/s", "3000/d"], 8, 200),
            // The 3,001st leaves when the first window has passed.
            (3_001, &["10/s", "3000/d"], 8, 86_401),
            (4_000, &["10/s", "1500/h"], 8, 2 * 3_600 + 100),
            (1_501, &["10/s", "1500/h", "1600/d"], 8, 3_601),
            (400, &[], 8, 1),
            (1_000, &["1000/s"], 1, 20),
        ] {
            let given = forecast(recipients, &rates(limits), connections, start).seconds;
            assert_eq!(given, seconds, "{recipients} at {limits:?}");
        }
        let endless = forecast(u64::MAX, &rates(&["1/d", "1/h", "1/m"]), 1, start);
        assert!(endless.seconds > 0);
    }

    #[test]
    fn a_finish_that_cannot_be_kept_blocks() {
        let case = Case::new("開始", "本文");
        let late = Summary { finish_by: Some(Timestamp::from_millis(9_000)), ..case.summary() };
        let preflight = check(&late);
        assert_eq!(rules(&preflight, Level::Block), ["finish-by"]);
        let just = Summary { finish_by: Some(Timestamp::from_millis(10_000)), ..case.summary() };
        assert!(check(&just).ok());
    }

    #[test]
    fn links_are_found_where_people_write_them() {
        assert_eq!(
            links("見る（https://a.jp/x）又はhttp://b.jp。HTTP://c.jp/{{link}} :// x://"),
            ["https://a.jp/x", "http://b.jp", "HTTP://c.jp/{{link}}"]
        );
        assert_eq!(host_of("https://a@B.jp:80/x").as_deref(), Some("b.jp:80"));
    }
}
