//! The proof: the relay's own record, which knows nothing of us, compared with the ledger.

use super::{autopilot::FlightLog, stage::Stage};
use anyhow::Result;
use domain::{BroadcastId, DeliveryState};
use mail_parser::MessageParser;
use rehearsal::{
    crowd::CrowdTally,
    relay::{Answer, Captured},
};
use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};
use store::{LedgerFilter, LedgerRow};

const PAGE: i64 = 5_000;
const STOP_MAX: Duration = Duration::from_secs(1);

/// One law and whether it held.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) law: &'static str,
    pub(super) held: bool,
    pub(super) evidence: String,
}

/// All laws, with the figures they rest on.
#[derive(Debug)]
pub(super) struct Proof {
    pub(super) verdicts: Vec<Verdict>,
    /// Mails the relay saw that are copies of a member's reply.
    pub(super) reply_copies: u64,
    pub(super) crowd: CrowdTally,
}

/// The relay's record, read once.
struct Record {
    mails: Vec<Seen>,
}

struct Seen {
    captured: Captured,
    message_id: String,
    subject: String,
    first_line: String,
    header_recipients: Vec<String>,
    has_cc: bool,
    answers_another: bool,
}

impl Proof {
    pub(super) async fn gather(stage: &Stage, log: &FlightLog) -> Result<Self> {
        let record = Record::read(stage.relay.captured());
        let ledger = read_ledger(stage, &log.broadcasts).await?;
        let alerts: HashSet<String> = record.alert_ids();
        let ours: HashSet<&str> = ledger
            .values()
            .flatten()
            .map(|row| bare(&row.message_id))
            .chain(alerts.iter().map(String::as_str))
            .collect();
        let reply_copies = record
            .mails
            .iter()
            .filter(|mail| mail.answers_another || !ours.contains(mail.message_id.as_str()))
            .count() as u64;
        let crowd = stage.crowd.tally();
        let verdicts = vec![
            one_recipient(&record),
            replies_end(&record, reply_copies, &crowd),
            sums(stage, &ledger).await?,
            dots_match(&record, &ledger, log, stage.installation.config.relay.connections),
            four_eyes(log),
            marked(&record, &alerts),
            capped(stage, log, &alerts).await?,
            stopped(log),
            nothing_lost(stage, &crowd).await?,
        ];
        Ok(Self { verdicts, reply_copies, crowd })
    }

    pub(super) fn every_law_held(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.held)
    }
}

impl Record {
    fn read(captured: Vec<Captured>) -> Self {
        Self { mails: captured.into_iter().map(Seen::read).collect() }
    }

    fn alert_ids(&self) -> HashSet<String> {
        let alert =
            |mail: &&Seen| mail.captured.recipients.iter().all(|to| to.ends_with("@drill.example.jp"));
        self.mails.iter().filter(alert).map(|mail| mail.message_id.clone()).collect()
    }
}

impl Seen {
    fn read(captured: Captured) -> Self {
        let parsed = MessageParser::default().parse(captured.raw.as_ref());
        let mail = parsed.as_ref();
        let addresses = mail.and_then(|m| m.to()).map(|to| {
            to.iter().filter_map(|address| address.address().map(str::to_owned)).collect::<Vec<_>>()
        });
        let body = mail.and_then(|m| m.body_text(0)).unwrap_or_default();
        let seen = Self {
            message_id: mail.and_then(|m| m.message_id()).unwrap_or("").to_owned(),
            subject: mail.and_then(|m| m.subject()).unwrap_or("").to_owned(),
            first_line: body.lines().next().unwrap_or("").to_owned(),
            header_recipients: addresses.unwrap_or_default(),
            has_cc: mail.is_some_and(|m| m.cc().is_some() || m.bcc().is_some()),
            answers_another: mail.is_some_and(|m| m.in_reply_to().as_text().is_some()),
            captured: captured.clone(),
        };
        drop(parsed);
        seen
    }
}

async fn read_ledger(
    stage: &Stage,
    broadcasts: &[BroadcastId],
) -> Result<HashMap<BroadcastId, Vec<LedgerRow>>> {
    let mut ledger = HashMap::new();
    for id in broadcasts {
        let mut rows: Vec<LedgerRow> = Vec::new();
        loop {
            let after = rows.last().map_or(0, |row| row.id);
            let page =
                stage.installation.store.ledger_page(*id, LedgerFilter::default(), after, PAGE).await?;
            if page.is_empty() {
                break;
            }
            rows.extend(page);
        }
        ledger.insert(*id, rows);
    }
    Ok(ledger)
}

fn bare(message_id: &str) -> &str {
    message_id.trim_start_matches('<').trim_end_matches('>')
}

fn one_recipient(record: &Record) -> Verdict {
    let wrong = record.mails.iter().filter(|mail| {
        mail.captured.recipients.len() != 1 || mail.header_recipients.len() != 1 || mail.has_cc
    });
    let wrong = wrong.count();
    Verdict {
        law: "1 one envelope, one recipient",
        held: wrong == 0,
        evidence: format!("{} mails, {wrong} with another recipient", record.mails.len()),
    }
}

fn replies_end(record: &Record, copies: u64, crowd: &CrowdTally) -> Verdict {
    let sent = crowd.plain_replies + crowd.reply_alls + crowd.auto_replies + crowd.bounces;
    Verdict {
        law: "2 replies end",
        held: copies == 0 && crowd.foreign_rcpt_accepted == 0,
        evidence: format!(
            "{sent} replies in, {copies} copies among {} mails out; {} attempts to reach others through the sink refused",
            record.mails.len(),
            crowd.foreign_rcpt_refused
        ),
    }
}

async fn sums(stage: &Stage, ledger: &HashMap<BroadcastId, Vec<LedgerRow>>) -> Result<Verdict> {
    let (mut held, mut rows) = (true, 0);
    for (id, found) in ledger {
        let tally = stage.installation.store.tally(*id).await?;
        let broadcast = stage.installation.store.broadcast(*id).await?;
        let frozen = broadcast.map_or(0, |broadcast| broadcast.recipients + broadcast.held);
        held &= tally.total() == frozen && found.len() as u64 == frozen && tally.open() == 0;
        rows += frozen;
    }
    Ok(Verdict { law: "3 the ledger adds up", held, evidence: format!("{rows} rows, none open") })
}

/// Accepted dots are accepted rows, cut dots are unknown rows, and nothing else is either.
fn dots_match(
    record: &Record,
    ledger: &HashMap<BroadcastId, Vec<LedgerRow>>,
    log: &FlightLog,
    connections: u32,
) -> Verdict {
    let dots = |answer: fn(&Answer) -> bool| -> Vec<&str> {
        record.mails.iter().filter(|m| answer(&m.captured.answer)).map(|m| m.message_id.as_str()).collect()
    };
    let rows = |state: DeliveryState| -> HashSet<&str> {
        ledger
            .values()
            .flatten()
            .filter(|row| row.state == state.as_str())
            .map(|row| bare(&row.message_id))
            .collect()
    };
    let (accepted_rows, unknown_rows) = (rows(DeliveryState::Accepted), rows(DeliveryState::Unknown));
    let accepted_dots: Vec<&str> = dots(|answer| matches!(answer, Answer::Accepted))
        .into_iter()
        .filter(|id| !id.starts_with('s'))
        .collect();
    let once: HashSet<&str> = accepted_dots.iter().copied().collect();
    let cut: HashSet<&str> =
        dots(|answer| matches!(answer, Answer::Cut | Answer::Unanswered)).into_iter().collect();
    let held = once == accepted_rows
        && once.len() == accepted_dots.len()
        && cut == unknown_rows
        && log.submitting_peak <= u64::from(connections);
    Verdict {
        law: "4 intent before the dot",
        held,
        evidence: format!(
            "{} accepted dots = {} accepted rows, none twice; {} cut = {} unknown; at most {} submitting on {connections} connections",
            accepted_dots.len(),
            accepted_rows.len(),
            cut.len(),
            unknown_rows.len(),
            log.submitting_peak
        ),
    }
}

fn four_eyes(log: &FlightLog) -> Verdict {
    let refused = |codes: &[u16]| codes.iter().all(|code| (400..500).contains(code));
    Verdict {
        law: "5 only what was approved",
        held: !log.own_signature.is_empty() && refused(&log.own_signature) && refused(&log.early_release),
        evidence: format!(
            "author's own signature refused {} times, release before the last signature {} times",
            log.own_signature.len(),
            log.early_release.len()
        ),
    }
}

fn marked(record: &Record, alerts: &HashSet<String>) -> Verdict {
    let notices: Vec<&Seen> = record.mails.iter().filter(|mail| !alerts.contains(&mail.message_id)).collect();
    let bare = notices
        .iter()
        .filter(|m| !m.subject.starts_with("【訓練】") || !m.first_line.starts_with("【訓練】"));
    let bare = bare.count();
    Verdict {
        law: "6 nature is a type",
        held: bare == 0 && !notices.is_empty(),
        evidence: format!("{} exercise notices, {bare} without 【訓練】", notices.len()),
    }
}

async fn capped(stage: &Stage, log: &FlightLog, alerts: &HashSet<String>) -> Result<Verdict> {
    let over = log.signatures_required.iter().filter(|required| **required > 1).count();
    let mut expected = false;
    for id in &log.broadcasts {
        if let Some(broadcast) = stage.installation.store.broadcast(*id).await? {
            expected |= broadcast.recipients > stage.installation.config.broadcast.daily_cap;
        }
    }
    Ok(Verdict {
        law: "7 the cap is a gate",
        held: !expected || (over > 0 && !alerts.is_empty()),
        evidence: format!(
            "{over} notices over the cap needed two signatures; {} alerts delivered",
            alerts.len()
        ),
    })
}

fn stopped(log: &FlightLog) -> Verdict {
    match &log.stop {
        Some((took, answer)) => Verdict {
            law: "8 stop is immediate",
            held: *took <= STOP_MAX && log.dots_after_stop == 0,
            evidence: format!(
                "answered after {} ms ({} accepted, {} prevented, {} unknown); {} mails after the answer",
                took.as_millis(),
                answer["accepted"],
                answer["prevented"],
                answer["unknown"],
                log.dots_after_stop
            ),
        },
        None => Verdict {
            law: "8 stop is immediate",
            held: true,
            evidence: "not tried: the first notice was out before it could be stopped".to_owned(),
        },
    }
}

async fn nothing_lost(stage: &Stage, crowd: &CrowdTally) -> Result<Verdict> {
    let stored: u64 = stage.installation.replybox.counts().await?.iter().map(|(_, count)| count).sum();
    let sent = crowd.plain_replies + crowd.reply_alls + crowd.auto_replies + crowd.bounces;
    let mut responses = 0;
    for broadcast in stage.installation.store.broadcasts(i64::MAX).await? {
        responses += stage.installation.store.responses(broadcast.id).await?.len() as u64;
    }
    Ok(Verdict {
        law: "10 nothing lost on the way in",
        held: stored == sent
            && responses == crowd.answered
            && crowd.answer_failures + crowd.reply_failures == 0,
        evidence: format!(
            "{} answers given = {responses} stored; {sent} replies sent = {stored} stored",
            crowd.answered
        ),
    })
}
