//! Members of the registry, for staff. Addresses are covered for roles that do not need them.

use super::{Fault, privacy, reply, shell};
use crate::{
    filters::Call,
    pages::{
        HistoryRow, MemberPage, MemberReplyRow, MemberRow, MembersPage, Times, delivery_chip, grouped, html,
    },
};
use domain::{BroadcastId, EmailAddress, MemberId, Timestamp};
use std::collections::HashMap;
use store::MemberQuery;
use warp::reply::Response;

/// A screen and a half.
const ROWS: u32 = 50;
/// More notices than a member gets in some years.
const HISTORY_ROWS: i64 = 100;
/// As many replies.
const REPLY_ROWS: u64 = 100;
/// Longer searches find nothing.
const QUERY_CHARS_MAX: usize = 100;

/// Search.
pub(crate) async fn list(call: Call, (): ()) -> Result<Response, Fault> {
    let t = call.texts();
    let q: String = call.query.get("q").chars().take(QUERY_CHARS_MAX).collect();
    let offset = call.query.get("from").parse().unwrap_or(0);
    let query = MemberQuery { text: &q, offset, limit: ROWS, ..MemberQuery::default() };
    let found = call.app.web.store.search_members(&query).await?;
    let rows: Vec<MemberRow> = found
        .members
        .into_iter()
        .map(|member| MemberRow {
            id: member.id,
            no: member.data.member_no.to_string(),
            name: member.data.name,
            prefecture: member.data.prefecture.map_or("", domain::Prefecture::name).to_owned(),
            facility: member.data.facility,
            status: member.data.status,
        })
        .collect();
    let next = offset.saturating_add(ROWS);
    let mut s = shell(&call, t.get("members-title"));
    s.here = "members";
    let page = MembersPage {
        s,
        t,
        q,
        imports: call.role() != domain::Role::Viewer,
        count: t.with2("members-count", "n", grouped(rows.len() as u64), "total", grouped(found.total)),
        next: (u64::from(next) < found.total).then_some(next),
        rows,
    };
    Ok(reply::html(html(&page)))
}

/// One member with the notices they were to receive.
pub(crate) async fn show(call: Call, id: MemberId) -> Result<Response, Fault> {
    let store = &call.app.web.store;
    let known = store.member(id).await?.ok_or(Fault::NotFound)?;
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let clear = call.role().may_see_addresses();
    let answered: HashMap<i64, i64> =
        store.answers_of(id).await?.into_iter().map(|row| (row.broadcast_id, row.answered_at)).collect();
    let mut rows = Vec::new();
    for row in store.ledger_of_member(id, HISTORY_ROWS).await? {
        let broadcast = BroadcastId::new(row.broadcast_id);
        let Some(notice) = store.broadcast(broadcast).await? else { continue };
        let state = super::state_of(&row.state)?;
        rows.push(HistoryRow {
            broadcast,
            nature: notice.nature,
            subject: notice.subject,
            state,
            chip: delivery_chip(state),
            at: row.settled_at.map(|ms| times.short(Timestamp::from_millis(ms))).unwrap_or_default(),
            answered: answered.get(&row.broadcast_id).map(|ms| times.short(Timestamp::from_millis(*ms))),
        });
    }
    let suppression = store.suppression_of(&known.member).await?;
    let years: Vec<String> = known.years.iter().map(ToString::to_string).collect();
    let data = known.member.data;
    let suppressed = suppression.map(|suppression| {
        // Why is the business of those who decide about it.
        let why = if clear { t.word("suppressed-say", suppression.kind) } else { t.get("suppressed-say") };
        (why, times.long(suppression.since))
    });
    let mut s = shell(&call, data.name.clone());
    s.here = "members";
    let page = MemberPage {
        s,
        t,
        id,
        no: data.member_no.to_string(),
        name: data.name,
        kana: data.kana,
        status: data.status,
        years: years.join(" "),
        prefecture: data.prefecture.map_or("―", domain::Prefecture::name).to_owned(),
        facility: data.facility,
        duty: data.duty,
        address: data.address.map_or_else(|| "―".to_owned(), |address| shown(&address, clear)),
        fields: if clear { data.attributes.into_iter().collect() } else { Vec::new() },
        clear,
        suppressed,
        erasing: privacy::erasing(&call, id).await?,
        may_lift: call.role().may_import(),
        rows,
        replies: replies(&call, id, times).await?,
    };
    Ok(reply::html(html(&page)))
}

/// What came to this member's reply addresses, for those who read replies.
async fn replies(call: &Call, id: MemberId, times: Times) -> Result<Vec<MemberReplyRow>, Fault> {
    let Some(replybox) = call.app.web.replybox.as_ref().filter(|_| call.role().may_see_addresses()) else {
        return Ok(Vec::new());
    };
    let found = replybox.of_member(id, REPLY_ROWS).await?;
    let row = |reply: replybox::ReplySummary| MemberReplyRow {
        id: reply.id,
        class: reply.class,
        subject: reply.subject,
        at: times.short(reply.received_at),
    };
    Ok(found.into_iter().map(row).collect())
}

/// An address, covered unless the reader may see it.
pub(super) fn shown(address: &EmailAddress, clear: bool) -> String {
    if clear { address.reveal() } else { address.to_string() }
}
