//! The ledger of one broadcast, page by page and as files.

use super::{
    Fault,
    broadcasts::hold_words,
    export::{self, BrokenOff, CsvFile},
    reply, roster, sees_addresses, shell,
};
use crate::{
    filters::Call,
    i18n::Texts,
    pages::{DELIVERY_ORDER, LedgerPage, LedgerView, Times, delivery_chip, grouped, html},
};
use domain::{BroadcastId, DeliveryState, EmailAddress, Timestamp, spreadsheet_safe};
use report::{CsvLine, HeldExport, HeldLine, LedgerLine};
use serde::Serialize;
use store::{LedgerFilter, LedgerRow};
use warp::reply::Response;

/// A screen and a half.
const ROWS: i64 = 50;
/// Read at once for a file.
const FILE_ROWS: i64 = 1_000;

/// One page of rows.
pub(crate) async fn show(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let store = &call.app.web.store;
    let broadcast = store.broadcast(id).await?.ok_or(Fault::NotFound)?;
    let tally = store.tally(id).await?;
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let state: Option<DeliveryState> = call.query.get("state").parse().ok();
    let after: i64 = call.query.get("after").parse().unwrap_or(0);
    let filter = LedgerFilter { state, ..LedgerFilter::default() };
    let found = store.ledger_page(id, filter, after, ROWS + 1).await?;
    let clear = call.role().may_see_addresses();
    let full = i64::try_from(found.len()).unwrap_or(i64::MAX) > ROWS;
    let shown = found.iter().take(usize::try_from(ROWS).unwrap_or(usize::MAX));
    let next = if full { shown.clone().next_back().map(|row| row.id) } else { None };
    let rows = shown.map(|row| view(row, clear, times)).collect::<Result<_, Fault>>()?;
    let mut s = shell(&call, format!("{} ― {}", t.get("ledger-title"), broadcast.subject));
    (s.nature, s.here) = (Some(broadcast.nature), "home");
    let page = LedgerPage {
        s,
        t,
        id,
        subject: broadcast.subject,
        may_download: clear,
        clear,
        state: state.map(|state| state.to_string()).unwrap_or_default(),
        total: grouped(tally.total()),
        states: DELIVERY_ORDER
            .iter()
            .filter(|word| tally.of(**word) > 0)
            .map(|word| (*word, grouped(tally.of(*word))))
            .collect(),
        rows,
        later: after > 0,
        next,
    };
    Ok(reply::html(html(&page)))
}

/// All rows with addresses in clear, for roles that need them.
pub(crate) async fn csv(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    note_export(&call, id, "ledger-exported").await?;
    Ok(export::csv(&format!("ledger-{id}.csv"), |file| write_ledger(call, id, file)))
}

async fn write_ledger(call: Call, id: BroadcastId, file: CsvFile<LedgerLine>) -> Result<(), BrokenOff> {
    let store = &call.app.web.store;
    let mut after = 0;
    loop {
        let rows = store.ledger_page(id, LedgerFilter::default(), after, FILE_ROWS).await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.id;
        file.add(rows.into_iter().map(LedgerLine::from)).await?;
    }
}

/// Who is held and why, for the office that mends the roster.
pub(crate) async fn held_csv(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    note_export(&call, id, "held-exported").await?;
    Ok(export::csv(&format!("held-{id}.csv"), |file| write_held(call, id, file)))
}

async fn write_held(call: Call, id: BroadcastId, file: CsvFile<HeldRow>) -> Result<(), BrokenOff> {
    let t = call.texts();
    let mut held = HeldExport::new(&call.app.web.store, id);
    loop {
        let page = held.next_page().await?;
        if page.is_empty() {
            return Ok(());
        }
        file.add(page.into_iter().map(|line| HeldRow::of(t, line))).await?;
    }
}

/// Who takes whose data away is recorded before the first row leaves.
async fn note_export(call: &Call, id: BroadcastId, action: &str) -> Result<(), Fault> {
    sees_addresses(call)?;
    let store = &call.app.web.store;
    store.broadcast(id).await?.ok_or(Fault::NotFound)?;
    let actor = call.actor().ok_or(Fault::Forbidden)?;
    Ok(store.record(actor, action, format!("broadcast:{id}"), call.app.now()).await?)
}

/// Under the headings of a roster in any language: this is what the office mends.
#[derive(Default, Serialize)]
struct HeldRow {
    #[serde(rename = "会員番号")]
    member_no: String,
    #[serde(rename = "氏名")]
    name: String,
    #[serde(rename = "施設名")]
    facility: String,
    #[serde(rename = "都道府県")]
    prefecture: String,
    #[serde(rename = "理由")]
    reason: String,
}

impl HeldRow {
    fn of(t: Texts, line: HeldLine) -> Self {
        let HeldLine { member_no, name, facility, prefecture, reason } = line;
        Self { member_no, name, facility, prefecture, reason: hold_words(t, &reason) }
    }
}

impl CsvLine for HeldRow {
    fn spreadsheet_safe(mut self) -> Self {
        let Self { member_no, name, facility, prefecture, reason } = &mut self;
        for cell in [member_no, name, facility, prefecture, reason] {
            *cell = spreadsheet_safe(cell);
        }
        self
    }
}

fn view(row: &LedgerRow, clear: bool, times: Times) -> Result<LedgerView, Fault> {
    let state = super::state_of(&row.state)?;
    let address = match EmailAddress::parse(&row.address) {
        Ok(address) => roster::shown(&address, clear),
        Err(_) => "―".to_owned(),
    };
    let reply = match (&row.held_reason, row.smtp_code) {
        // Why somebody gets nothing is the business of those who decide about it.
        (Some(reason), _) if !clear && reason.starts_with("suppressed:") => {
            times.texts.get("hold-suppressed")
        }
        (Some(reason), _) => hold_words(times.texts, reason),
        (None, Some(code)) => {
            let parts = [Some(code.to_string()), row.enhanced_code.clone(), row.reply.clone()];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
        (None, None) => row.reply.clone().unwrap_or_default(),
    };
    let at = row.settled_at.or(row.submitted_at);
    Ok(LedgerView {
        member: domain::MemberId::new(row.member_id),
        member_no: row.member_no.clone(),
        address,
        state,
        chip: delivery_chip(state),
        attempts: row.attempts,
        reply,
        at: at.map(|ms| times.exact(Timestamp::from_millis(ms))).unwrap_or_default(),
    })
}
