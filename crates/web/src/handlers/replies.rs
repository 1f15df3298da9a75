//! Replies: read, marked, saved; never answered from here and never passed on.
//!
//! # Security
//! Everything shown was written by strangers. Templates escape it; the raw mail leaves only as
//! an attachment of no known type in a sandbox. Onlookers and approvers do not see replies:
//! they hold addresses (law 12).

use super::{
    Fault,
    events::{self, Moment},
    export::{self, BrokenOff, CsvFile},
    reply, sees_addresses, shell,
};
use crate::{
    filters::Call,
    i18n::Texts,
    pages::{RepliesList, RepliesPage, ReplyKind, ReplyMember, ReplyPage, ReplyRow, Times, grouped, html},
};
use bytes::Bytes;
use domain::ReplyId;
use replybox::{ReplyBox, ReplyFilter, ReplySummary};
use report::{ReplyExport, ReplyLine};
use std::sync::Arc;
use tokio::sync::Mutex;
use warp::reply::Response;

/// A screen and a half.
const ROWS: usize = 50;
/// Looked through for one screen of those that nobody has read.
const LOOKED_THROUGH_MAX: usize = 5_000;

/// Which replies a list shows.
#[derive(Clone, Copy)]
struct Chosen {
    filter: ReplyFilter,
    unread: bool,
    before: Option<ReplyId>,
}

impl Chosen {
    fn of(call: &Call) -> Self {
        let filter = ReplyFilter {
            class: call.query.get("class").parse().ok(),
            broadcast: call.query.get("broadcast").parse().ok(),
        };
        let unread = call.query.get("unread") == "1";
        Self { filter, unread, before: call.query.get("before").parse().ok() }
    }

    /// The same as a query.
    fn query(self) -> String {
        let class = self.filter.class.map(|class| format!("class={class}"));
        let broadcast = self.filter.broadcast.map(|id| format!("broadcast={id}"));
        let unread = self.unread.then(|| "unread=1".to_owned());
        let before = self.before.map(|id| format!("before={id}"));
        [class, broadcast, unread, before].into_iter().flatten().collect::<Vec<_>>().join("&")
    }
}

/// The list, newest first. The first page is live: replies appear as they come.
pub(crate) async fn list(call: Call, (): ()) -> Result<Response, Fault> {
    let chosen = Chosen::of(&call);
    let list = html(&listed(&call, chosen).await?);
    let t = call.texts();
    let mut s = shell(&call, t.get("replies-title"));
    (s.here, s.live) = ("replies", chosen.before.is_none());
    let file = Chosen { unread: false, before: None, ..chosen }.query();
    Ok(reply::html(html(&RepliesPage { s, t, query: chosen.query(), file, list })))
}

/// Its live part.
pub(crate) async fn live(call: Call, (): ()) -> Result<Response, Fault> {
    open(&call)?;
    let chosen = Chosen { before: None, ..Chosen::of(&call) };
    let drawn = Arc::new(Mutex::new((None, String::new())));
    events::stream(call, move |call| {
        let drawn = Arc::clone(&drawn);
        async move {
            // Most seconds nothing came and nobody read anything.
            let newest = open(&call)?.page(ReplyFilter::default(), None, 1).await?;
            let now = (newest.first().map(|reply| reply.id), call.app.web.store.read_replies_count().await?);
            let mut drawn = drawn.lock().await;
            if drawn.0 != Some(now) {
                *drawn = (Some(now), html(&listed(&call, chosen).await?));
            }
            Ok(Moment { stamp: String::new(), parts: vec![("replies", drawn.1.clone())] })
        }
    })
}

async fn listed(call: &Call, chosen: Chosen) -> Result<RepliesList, Fault> {
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let (found, next) = find(call, chosen).await?;
    let mut rows = Vec::with_capacity(found.len());
    for (reply, read) in found {
        let member = call.app.web.store.member(reply.member).await?;
        rows.push(ReplyRow {
            id: reply.id,
            class: reply.class,
            subject: subject(call, &reply.subject),
            excerpt: reply.excerpt.split_whitespace().collect::<Vec<_>>().join(" "),
            member: member.map_or_else(
                || t.get("reply-member-gone"),
                |known| format!("{} {}", known.member.data.member_no, known.member.data.name),
            ),
            at: times.short(reply.received_at),
            read,
        });
    }
    let replies = open(call)?;
    let counts = match chosen.filter.broadcast {
        Some(broadcast) => replies.counts_for(broadcast).await?,
        None => replies.counts().await?,
    };
    let link = |class, unread| {
        let filter = ReplyFilter { class, ..chosen.filter };
        format!("/replies?{}", Chosen { filter, unread, before: None }.query())
    };
    let class = chosen.filter.class;
    let kind = |(word, count)| ReplyKind {
        class: word,
        count: grouped(count),
        link: link(Some(word), chosen.unread),
        chosen: class == Some(word),
    };
    Ok(RepliesList {
        t,
        all: (link(None, chosen.unread), class.is_none()),
        kinds: counts.into_iter().map(kind).collect(),
        unread: (link(class, !chosen.unread), chosen.unread),
        next: next.map(|before| format!("/replies?{}", Chosen { before: Some(before), ..chosen }.query())),
        rows,
    })
}

/// A screen of replies with whether somebody has read them, and where the next one begins.
async fn find(call: &Call, chosen: Chosen) -> Result<(Vec<(ReplySummary, bool)>, Option<ReplyId>), Fault> {
    let replies = open(call)?;
    let (mut found, mut before, mut looked_through) = (Vec::new(), chosen.before, 0);
    while looked_through < LOOKED_THROUGH_MAX {
        let page = replies.page(chosen.filter, before, ROWS as u64).await?;
        let ids: Vec<ReplyId> = page.iter().map(|reply| reply.id).collect();
        let read = call.app.web.store.read_replies(&ids).await?;
        looked_through += page.len();
        let full = page.len() == ROWS;
        for reply in page {
            before = Some(reply.id);
            let is_read = read.contains(&reply.id);
            if !(chosen.unread && is_read) {
                found.push((reply, is_read));
            }
            if found.len() == ROWS {
                return Ok((found, before));
            }
        }
        if !full {
            return Ok((found, None));
        }
    }
    Ok((found, before))
}

/// All of the chosen kind, read ones too, with their texts, as a file.
pub(crate) async fn csv(call: Call, (): ()) -> Result<Response, Fault> {
    open(&call)?;
    let actor = call.actor().ok_or(Fault::Forbidden)?;
    call.app.web.store.record(actor, "replies-exported", "replies".to_owned(), call.app.now()).await?;
    let filter = Chosen::of(&call).filter;
    Ok(export::csv("replies.csv", |file| write_csv(call, filter, file)))
}

async fn write_csv(call: Call, filter: ReplyFilter, file: CsvFile<ReplyLine>) -> Result<(), BrokenOff> {
    let Some(replies) = &call.app.web.replybox else { return Ok(()) };
    let mut export = ReplyExport::new(&call.app.web.store, replies, filter);
    loop {
        let page = export.next_page().await?;
        if page.is_empty() {
            return Ok(());
        }
        file.add(page).await?;
    }
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
