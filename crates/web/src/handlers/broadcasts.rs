//! Showing a broadcast. Nothing here decides whether a step is allowed: the buttons
//! drawn follow the desk's rules, and the desk checks again.

use super::{
    Fault, audiences,
    events::{self, Moment},
    reply, shell,
};
use crate::{
    filters::Call,
    i18n::Texts,
    pages::{
        BroadcastPage, CanaryView, CountPart, CountRow, Counts, DELIVERY_ORDER, FindingView, May,
        SignatureView, Stopped, Times, broadcast_chip, delivery_fill, grouped, html,
    },
};
use domain::{BroadcastId, BroadcastState, DeliveryState, HoldReason, Signature, StaffId, Tally};
use notice::{Footer, NoticeTemplate, NoticeText, Questions, preflight::StoredFinding};
use registry::AudienceSpec;
use std::collections::BTreeMap;
use store::{Broadcast, LedgerFilter, StopAnswer};
use warp::reply::Response;

/// More held people than this is no list of exceptions any more.
const HELD_ROWS_MAX: i64 = 10_000;
/// Before so many are done, the speed says little.
const ETA_ROWS_MIN: u64 = 20;

/// One broadcast.
pub(crate) async fn show(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let seen = Seen::read(&call, id).await?;
    let page = page(&call, seen).await?;
    Ok(reply::html(page))
}

/// The live parts of one broadcast.
pub(crate) async fn live(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.store.broadcast(id).await?.ok_or(Fault::NotFound)?;
    events::stream(call, move |call| async move {
        let seen = Seen::read(&call, id).await?;
        let counts = counts(&call, &seen.broadcast, seen.tally, seen.trouble.clone());
        Ok(Moment { stamp: seen.stamp(), parts: vec![("counts", counts)] })
    })
}

/// A broadcast with what its page depends on.
struct Seen {
    broadcast: Broadcast,
    tally: Tally,
    signatures: Vec<Signature>,
    /// What keeps mail from leaving.
    trouble: Option<String>,
}

impl Seen {
    async fn read(call: &Call, id: BroadcastId) -> Result<Self, Fault> {
        let store = &call.app.web.store;
        let broadcast = store.broadcast(id).await?.ok_or(Fault::NotFound)?;
        let tally = store.tally(id).await?;
        let signatures = store.signatures(id).await?;
        let sending = broadcast.state == BroadcastState::Sending;
        let trouble = if sending { store.relay_trouble().await? } else { None };
        Ok(Self { broadcast, tally, signatures, trouble })
    }

    /// Changes whenever other buttons are due.
    fn stamp(&self) -> String {
        let settle = if self.tally.unknown > 0 { "unknown" } else { "known" };
        let canary = if self.broadcast.canary.is_some() { "canary" } else { "open" };
        format!("{}-{}-{settle}-{canary}", self.broadcast.state, self.signatures.len())
    }

    fn may(&self, call: &Call) -> May {
        use BroadcastState as S;
        let (role, state) = (call.role(), self.broadcast.state);
        let me = call.signed.as_ref().map(|signed| signed.row.staff_id);
        let judge = role.may_approve() && me != Some(self.broadcast.author);
        let signed = self.signatures.iter().any(|signature| Some(signature.staff) == me);
        let author = role.may_author();
        May {
            edit: author
                && me == Some(self.broadcast.author)
                && matches!(state, S::Draft | S::Preflighted | S::AwaitingApproval | S::Approved),
            correct: author && state.is_released(),
            preflight: author && matches!(state, S::Draft | S::Preflighted),
            request: author && state == S::Preflighted,
            approve: judge && !signed && matches!(state, S::Preflighted | S::AwaitingApproval),
            decline: judge && matches!(state, S::Preflighted | S::AwaitingApproval | S::Approved),
            send: author && state == S::Approved,
            stop: role.may_stop() && state == S::Sending,
            continue_: (author || role.may_approve()) && self.broadcast.canary.is_some(),
            resume: judge && state == S::Stopped,
            cancel: role.may_stop() && may_cancel(state),
            settle: author && self.tally.unknown > 0 && state.is_released(),
        }
    }
}

/// There is something left that could be sent.
pub(super) fn may_cancel(state: BroadcastState) -> bool {
    !state.is_over()
}

async fn page(call: &Call, seen: Seen) -> Result<String, Fault> {
    let t = call.texts();
    let web = &call.app.web;
    let times = Times { zone: web.settings.time_zone, texts: t };
    let names = names(call).await?;
    let (may, stamp) = (seen.may(call), seen.stamp());
    let Seen { broadcast, tally, signatures, trouble } = seen;
    let needed = needed(call, &broadcast).await?;
    let valid = |signature: &Signature| {
        Some(signature.digest) == broadcast.digest
            && signature.role.may_approve()
            && signature.staff != broadcast.author
    };
    let (mail_subject, mail_body, preview_note) = preview(call, &broadcast);
    let mut s = shell(call, broadcast.subject.clone());
    (s.nature, s.here, s.live) = (Some(broadcast.nature), "home", !broadcast.state.is_over());
    let page = BroadcastPage {
        s,
        t,
        id: broadcast.id,
        nature: broadcast.nature,
        state: broadcast.state,
        stamp,
        chip: broadcast_chip(broadcast.state),
        subject: broadcast.subject.clone(),
        author: name_of(&names, broadcast.author),
        created: times.long(broadcast.created_at),
        finish_by: broadcast.finish_by.map(|at| times.long(at)),
        exercise: exercise_of(call, broadcast.id).await?,
        may,
        canary: canary(&times, &broadcast),
        stopped: stopped(t, broadcast.state, tally),
        counts: counts(call, &broadcast, tally, trouble),
        released: broadcast.released_at.is_some(),
        replies: replies_to(call, broadcast.id).await?,
        from: web.desk.settings().from.clone(),
        mail_subject,
        mail_body,
        preview_note,
        audience: audience_name(t, &broadcast.audience),
        frozen: broadcast.digest.is_some(),
        recipients: grouped(broadcast.recipients),
        held_total: grouped(broadcast.held),
        held: held(call, &broadcast).await?,
        may_export_held: broadcast.held > 0 && call.role().may_see_addresses(),
        digest: broadcast.digest.map(|digest| digest.short()),
        registry_revision: broadcast.registry_revision,
        digest_full: broadcast.digest.map(|digest| digest.to_string()).unwrap_or_default(),
        findings: findings(t, &broadcast.findings),
        compared: broadcast.change.is_some(),
        forecast: None,
        signed: u8::try_from(signatures.iter().filter(|signature| valid(signature)).count())
            .unwrap_or(u8::MAX),
        needed,
        second_reason: (needed > 1).then(|| second_reason(call, &broadcast)),
        signatures: signatures
            .iter()
            .map(|signature| SignatureView {
                name: name_of(&names, signature.staff),
                at: times.exact(signature.signed_at),
                valid: valid(signature),
            })
            .collect(),
        confirmation: broadcast.nature.confirmation_word(),
        send_label: t.word("send-do", broadcast.nature),
    };
    Ok(html(&page))
}

/// How many came, for those who read them.
async fn replies_to(call: &Call, id: BroadcastId) -> Result<u64, Fault> {
    match &call.app.web.replybox {
        Some(replies) if call.role().may_see_addresses() => Ok(replies.count_for(id).await?),
        _ => Ok(0),
    }
}

/// Signatures needed: those of the release once it happened, else what a release now would need.
async fn needed(call: &Call, broadcast: &Broadcast) -> Result<u8, Fault> {
    if broadcast.signatures_required > 0 {
        return Ok(broadcast.signatures_required);
    }
    let cap = call.app.web.desk.settings().policy.daily_cap;
    Ok(call.app.web.store.signatures_needed(broadcast, cap).await?.get())
}

fn second_reason(call: &Call, broadcast: &Broadcast) -> String {
    let t = call.texts();
    if broadcast.change.is_some_and(|change| change.is_unusual()) {
        return t.get("approvals-change");
    }
    t.with("approvals-cap", "cap", grouped(call.app.web.desk.settings().policy.daily_cap))
}

/// While a first batch is out and the rest waits for it.
fn canary(times: &Times, broadcast: &Broadcast) -> Option<CanaryView> {
    let canary = broadcast.canary?;
    Some(CanaryView {
        recipients: grouped(canary.recipients),
        rest: grouped(broadcast.recipients.saturating_sub(canary.recipients)),
        until: canary.until.map(|at| times.clock(at)),
    })
}

async fn exercise_of(call: &Call, id: BroadcastId) -> Result<Option<(domain::ExerciseId, String)>, Fault> {
    let store = &call.app.web.store;
    let Some(inject) = store.inject_of(id).await? else { return Ok(None) };
    let exercise = store.exercise(inject.exercise).await?;
    Ok(exercise.map(|exercise| (exercise.id, exercise.title)))
}

/// The table and bar of counts; the rows add up to the total because both come from one tally.
fn counts(call: &Call, broadcast: &Broadcast, tally: Tally, trouble: Option<String>) -> String {
    let total = tally.total();
    let mut x = 0;
    let mut parts = Vec::new();
    for state in &DELIVERY_ORDER {
        let width = tally.of(*state).saturating_mul(1_000).checked_div(total).unwrap_or(0);
        parts.push(CountPart { x, width, fill: delivery_fill(*state) });
        x += width;
    }
    let rows = DELIVERY_ORDER
        .iter()
        .map(|state| CountRow {
            state: *state,
            count: grouped(tally.of(*state)),
            zero: tally.of(*state) == 0,
            fill: delivery_fill(*state),
        })
        .collect();
    html(&Counts {
        t: call.texts(),
        id: broadcast.id,
        accepted: grouped(tally.accepted),
        total: grouped(total),
        eta: eta(call, broadcast, tally),
        trouble,
        rows,
        parts,
    })
}

/// When the last row will be done at the speed so far.
fn eta(call: &Call, broadcast: &Broadcast, tally: Tally) -> Option<String> {
    let since = broadcast.released_at?;
    let done = tally.total() - tally.held - tally.open();
    if broadcast.state != BroadcastState::Sending || done < ETA_ROWS_MIN {
        return None;
    }
    let now = call.app.now();
    let left = now.since(since).as_millis().saturating_mul(u128::from(tally.open())) / u128::from(done);
    let left = std::time::Duration::from_millis(u64::try_from(left).ok()?);
    let times = Times { zone: call.app.web.settings.time_zone, texts: call.texts() };
    Some(times.clock(now.plus(left)))
}

fn stopped(t: Texts, state: BroadcastState, tally: Tally) -> String {
    if state != BroadcastState::Stopped {
        return String::new();
    }
    let answer = StopAnswer::from(tally);
    html(&Stopped {
        t,
        accepted: grouped(answer.accepted),
        prevented: grouped(answer.prevented),
        unknown: grouped(answer.unknown),
        rest: t.format(
            "stop-rest",
            &[
                ("rejected", grouped(answer.rejected)),
                ("held", grouped(answer.held)),
                ("gave_up", grouped(answer.gave_up)),
                ("total", grouped(answer.total)),
            ],
        ),
    })
}

/// The notice as its reader gets it, with sample values in its merge fields.
fn preview(call: &Call, broadcast: &Broadcast) -> (String, String, String) {
    let t = call.texts();
    let settings = &call.app.web.settings;
    let base = settings.public_url.trim_end_matches('/');
    let text = NoticeText { subject: broadcast.subject.clone(), body: broadcast.body.clone() };
    let footer = Footer {
        organization: settings.organization.clone(),
        contact: settings.contact.clone(),
        verify_url: format!("{base}/verify"),
    };
    let asks = if broadcast.questionnaire.is_some() { Questions::Asked } else { Questions::NotAsked };
    let composed = NoticeTemplate::new(broadcast.nature, &text, footer, asks).ok().and_then(|template| {
        let fields: BTreeMap<String, String> =
            template.fields().into_iter().map(|name| (name.clone(), sample(t, base, &name))).collect();
        template.render(&fields).ok()
    });
    match composed {
        Some(mail) => (mail.subject().to_owned(), mail.body().to_owned(), t.get("preview-note")),
        None => (text.subject, text.body, t.get("preview-broken")),
    }
}

fn sample(t: Texts, base: &str, field: &str) -> String {
    match field {
        "name" => t.get("preview-sample-name"),
        "facility" => t.get("preview-sample-facility"),
        "member_no" => "000000".to_owned(),
        "prefecture" => "東京都".to_owned(),
        "link" => format!("{base}/r/…"),
        other => format!("〈{other}〉"),
    }
}

async fn held(call: &Call, broadcast: &Broadcast) -> Result<Vec<(String, String)>, Fault> {
    let t = call.texts();
    if broadcast.held == 0 {
        return Ok(Vec::new());
    }
    let filter = LedgerFilter { state: Some(DeliveryState::Held), ..LedgerFilter::default() };
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    for row in call.app.web.store.ledger_page(broadcast.id, filter, 0, HELD_ROWS_MAX).await? {
        *reasons.entry(row.held_reason.unwrap_or_default()).or_default() += 1;
    }
    Ok(reasons.into_iter().map(|(reason, count)| (hold_words(t, &reason), grouped(count))).collect())
}

/// Why somebody is held, in words.
pub(super) fn hold_words(t: Texts, reason: &str) -> String {
    match reason.parse::<HoldReason>() {
        Ok(HoldReason::MissingField(field)) => format!("{} ({field})", t.get("hold-missing-field")),
        Ok(HoldReason::NoAddress) => t.get("hold-no-address"),
        Ok(HoldReason::SharedAddress) => t.get("hold-shared-address"),
        Ok(HoldReason::Suppressed(kind)) => t.word("hold-suppressed", kind),
        Err(_) => reason.to_owned(),
    }
}

/// The reasons of the finding `held`, written `REASON: COUNT, …`, in words.
fn reasons_words(t: Texts, list: &str) -> String {
    let words = list.split(", ").map(|part| match part.rsplit_once(": ") {
        Some((reason, count)) => format!("{}: {count}", hold_words(t, reason)),
        None => part.to_owned(),
    });
    words.collect::<Vec<_>>().join("・")
}

/// Findings in the reader's language; a rule without a text of its own keeps its English sentence.
fn findings(t: Texts, stored: &str) -> Vec<FindingView> {
    let findings: Vec<StoredFinding> = serde_json::from_str(stored).unwrap_or_default();
    findings
        .into_iter()
        .map(|finding| {
            let id = format!("finding-{}", finding.rule);
            let args: Vec<(&str, String)> =
                finding.args.iter().map(|(name, value)| (name.as_str(), arg(t, name, value))).collect();
            let text = t.format(&id, &args);
            FindingView {
                chip: match finding.level.as_str() {
                    "block" => "chip-bad",
                    "warning" => "chip-wait",
                    _ => "chip-plain",
                },
                level: t.word("level", &finding.level),
                text: if text == id { finding.text } else { text },
                rule: finding.rule,
                confirm: finding.confirm,
            }
        })
        .collect()
}

fn arg(t: Texts, name: &str, value: &str) -> String {
    if name == "reasons" { reasons_words(t, value) } else { value.to_owned() }
}

/// Whom a broadcast addresses, in words.
pub(super) fn audience_name(t: Texts, stored: &str) -> String {
    match serde_json::from_str::<AudienceSpec>(stored) {
        Ok(AudienceSpec::Named(name)) => audiences::label(t, &name),
        Ok(AudienceSpec::NonRespondents { of }) => t.with("audience-non-respondents", "id", of),
        Ok(AudienceSpec::ReachedOrUnknown { of }) => t.with("audience-reached", "id", of),
        Err(_) => stored.to_owned(),
    }
}

/// Names of everyone who signs in.
pub(super) async fn names(call: &Call) -> Result<BTreeMap<StaffId, String>, Fault> {
    let staff = call.app.web.store.staff().await?;
    Ok(staff.into_iter().map(|row| (row.id, row.name)).collect())
}

pub(super) fn name_of(names: &BTreeMap<StaffId, String>, id: StaffId) -> String {
    names.get(&id).cloned().unwrap_or_else(|| format!("#{id}"))
}
