//! Replies: read, marked, saved; never answered from here and never passed on.
//!
//! # Security
//! Everything shown was written by strangers. Templates escape it; the raw mail leaves only as
//! an attachment of no known type in a sandbox. Onlookers and approvers do not see replies:
//! they hold addresses (law 12).

use super::{Fault, reply, sees_addresses, shell};
use crate::{
    filters::Call,
    i18n::Texts,
    pages::{RepliesPage, ReplyMember, ReplyPage, ReplyRow, Times, grouped, html},
};
use bytes::Bytes;
use domain::{BroadcastId, ReplyClass, ReplyId};
use replybox::{ReplyBox, ReplyFilter};
use warp::reply::Response;

/// A screen and a half.
const ROWS: u64 = 50;

/// The list, newest first.
pub(crate) async fn list(call: Call, (): ()) -> Result<Response, Fault> {
    let replies = open(&call)?;
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let class: Option<ReplyClass> = call.query.get("class").parse().ok();
    let broadcast: Option<BroadcastId> = call.query.get("broadcast").parse().ok();
    let before: Option<ReplyId> = call.query.get("before").parse().ok();
    let found = replies.page(ReplyFilter { class, broadcast }, before, ROWS).await?;
    let ids: Vec<ReplyId> = found.iter().map(|reply| reply.id).collect();
    let read = call.app.web.store.read_replies(&ids).await?;
    let mut rows = Vec::with_capacity(found.len());
    for reply in &found {
        let member = call.app.web.store.member(reply.member).await?;
        rows.push(ReplyRow {
            id: reply.id,
            class: reply.class,
            subject: subject(&call, &reply.subject),
            excerpt: reply.excerpt.split_whitespace().collect::<Vec<_>>().join(" "),
            member: member.map_or_else(
                || t.get("reply-member-gone"),
                |known| format!("{} {}", known.member.data.member_no, known.member.data.name),
            ),
            at: times.short(reply.received_at),
            read: read.contains(&reply.id),
        });
    }
    let counts = replies.counts().await?;
    let mut s = shell(&call, t.get("replies-title"));
    s.here = "replies";
    let page = RepliesPage {
        s,
        t,
        class: class.map(|class| class.to_string()).unwrap_or_default(),
        broadcast: broadcast.map(|id| id.to_string()).unwrap_or_default(),
        scope: broadcast.map(|id| format!("?broadcast={id}")).unwrap_or_default(),
        classes: counts.into_iter().map(|(class, count)| (class, grouped(count))).collect(),
        next: (ids.len() as u64 == ROWS).then(|| ids.last().copied()).flatten(),
        rows,
    };
    Ok(reply::html(html(&page)))
}

/// One reply with the member whose reply address it came to.
pub(crate) async fn show(call: Call, id: ReplyId) -> Result<Response, Fault> {
    let stored = open(&call)?.get(id).await?.ok_or(Fault::NotFound)?;
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let member = call.app.web.store.member(stored.summary.member).await?;
    let read = call.app.web.store.read_replies(&[id]).await?.contains(&id);
    let mut s = shell(&call, subject(&call, &stored.summary.subject));
    s.here = "replies";
    let page = ReplyPage {
        subject: s.title.clone(),
        s,
        t,
        id,
        class: stored.summary.class,
        from: stored.summary.from_header.clone(),
        at: times.long(stored.summary.received_at),
        body: stored.body_text.clone(),
        reason: stored.summary.reason.as_deref().map(|reason| reason_words(t, reason)).unwrap_or_default(),
        size: grouped(stored.raw.len() as u64),
        member: member.map(|known| ReplyMember {
            id: known.member.id,
            no: known.member.data.member_no.to_string(),
            name: known.member.data.name,
            facility: known.member.data.facility,
        }),
        broadcast: stored.summary.broadcast,
        read,
        may_mark: call.role().may_author(),
    };
    Ok(reply::html(html(&page)))
}

/// The mail as it came.
pub(crate) async fn raw(call: Call, id: ReplyId) -> Result<Response, Fault> {
    let stored = open(&call)?.get(id).await?.ok_or(Fault::NotFound)?;
    let name = format!("reply-{id}.eml.txt");
    Ok(reply::download(Bytes::from(stored.raw), &name, "application/octet-stream"))
}

/// Marks as read.
pub(crate) async fn mark_read(call: Call, id: ReplyId) -> Result<Response, Fault> {
    let replies = open(&call)?;
    let signed = call.signed.as_ref().filter(|_| call.role().may_author()).ok_or(Fault::Forbidden)?;
    replies.get(id).await?.ok_or(Fault::NotFound)?;
    call.app.web.store.mark_reply_read(id, signed.row.staff_id, call.app.now()).await?;
    Ok(reply::see_other(&format!("/replies/{id}?said=read")))
}

fn open(call: &Call) -> Result<&ReplyBox, Fault> {
    sees_addresses(call)?;
    call.app.web.replybox.as_ref().ok_or(Fault::NotFound)
}

/// Why the sink classified it so, in words; an unknown word stands as it is.
fn reason_words(t: Texts, reason: &str) -> String {
    let id = format!("reply-why-{reason}");
    let text = t.get(&id);
    if text == id { reason.to_owned() } else { text }
}

fn subject(call: &Call, text: &str) -> String {
    if text.trim().is_empty() { call.texts().get("no-subject") } else { text.to_owned() }
}
