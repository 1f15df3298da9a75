//! What members and mail systems ask for, and the suppression that follows where it is granted.
//!
//! # Security
//! A request names a person; onlookers and approvers do not see it (law 12).

use super::{Fault, may_import, reply, sees_addresses, shell};
use crate::{
    filters::{Call, Door, Routes, get, post},
    pages::{
        RequestRow, RequestsConfirmPage, RequestsPage, SuppressedPage, SuppressedRow, Times, grouped, html,
    },
};
use domain::{Decision, MemberId, RequestKind};
use store::OpenRequest;
use warp::{Filter, reply::Response};

/// What one form settles at most.
const ROWS: u32 = 100;
/// Far more than a society has; whoever has more reads the ledger's file.
const SUPPRESSED_ROWS: u32 = 1_000;

/// Adds the page of requests and its forms, and the one that lifts a suppression.
pub(super) fn add(routes: &mut Routes) {
    let path = || warp::path!("requests").map(|| ());
    routes.add(get("requests", "/requests", Door::Staff), path(), list);
    routes.add(post("requests.settle", "/requests", Door::Staff), path(), settle);
    let path = warp::path!("requests" / "confirm").map(|| ());
    routes.add(post("requests.confirm", "/requests/confirm", Door::Staff), path, confirm);
    let path = warp::path!("requests" / "suppressed").map(|| ());
    routes.add(get("requests.suppressed", "/requests/suppressed", Door::Staff), path, suppressed);
    let path = warp::path!("members" / MemberId / "lift");
    routes.add(post("members.lift", "/members/{id}/lift", Door::Staff), path, lift);
}

async fn list(call: Call, (): ()) -> Result<Response, Fault> {
    sees_addresses(&call)?;
    let store = &call.app.web.store;
    let kind = kind_of(call.query.get("kind"));
    let rows = open(&call, kind).await?;
    let kinds = store.open_request_counts().await?;
    let t = call.texts();
    let mut s = shell(&call, t.get("requests-title"));
    s.here = "requests";
    let page = RequestsPage {
        s,
        t,
        kind: word(kind),
        kinds: kinds.into_iter().map(|(kind, count)| (kind, grouped(count))).collect(),
        // Of several kinds nobody means all.
        all_chosen: kind.is_some() && call.query.get("choose") == "all",
        may_settle: call.role().may_import(),
        rows,
    };
    Ok(reply::html(html(&page)))
}

/// Whom it concerns, by name, before anything is decided.
async fn confirm(call: Call, (): ()) -> Result<Response, Fault> {
    let _decides = may_import(&call)?;
    let chosen = chosen(&call)?;
    let kind = kind_of(call.form.get("kind"));
    let mut rows = open(&call, kind).await?;
    rows.retain(|row| chosen.contains(&row.id));
    if rows.is_empty() {
        return Ok(back(kind, "none-chosen"));
    }
    let t = call.texts();
    let mut s = shell(&call, t.get("requests-title"));
    s.here = "requests";
    let erases = rows.iter().any(|row| row.kind == RequestKind::Erasure);
    Ok(reply::html(html(&RequestsConfirmPage { s, t, kind: word(kind), erases, rows })))
}

async fn settle(call: Call, (): ()) -> Result<Response, Fault> {
    let actor = may_import(&call)?;
    let decision: Decision = call.form.get("decision").parse().map_err(|_| Fault::BadForm)?;
    let ids = chosen(&call)?;
    let settled = call.app.web.store.settle_requests(actor, &ids, decision, call.app.now()).await?;
    let said = match decision {
        _ if settled == 0 => "none-chosen",
        // Somebody else was faster.
        _ if settled < ids.len() as u64 => "partly-settled",
        Decision::Granted => "suppressed",
        Decision::Declined => "declined",
    };
    Ok(back(kind_of(call.form.get("kind")), said))
}

async fn suppressed(call: Call, (): ()) -> Result<Response, Fault> {
    sees_addresses(&call)?;
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let found = call.app.web.store.suppressed_members(SUPPRESSED_ROWS).await?;
    let rows = found
        .into_iter()
        .map(|found| SuppressedRow {
            kind: found.kind,
            member: found.member,
            name: name(&call, found.known_as),
            at: times.short(found.since),
        })
        .collect();
    let mut s = shell(&call, t.get("suppressed-list"));
    s.here = "requests";
    Ok(reply::html(html(&SuppressedPage { s, t, rows })))
}

async fn lift(call: Call, id: MemberId) -> Result<Response, Fault> {
    let actor = may_import(&call)?;
    call.app.web.store.lift_suppression(actor, id, call.app.now()).await?;
    Ok(reply::see_other(&format!("/members/{id}?said=lifted")))
}

fn chosen(call: &Call) -> Result<Vec<i64>, Fault> {
    let ids: Result<Vec<i64>, _> = call.form.all("request").map(str::parse).collect();
    ids.map_err(|_| Fault::BadForm)
}

async fn open(call: &Call, kind: Option<RequestKind>) -> Result<Vec<RequestRow>, Fault> {
    let times = Times { zone: call.app.web.settings.time_zone, texts: call.texts() };
    let found = call.app.web.store.open_requests(kind, ROWS).await?;
    let row = |request: OpenRequest| RequestRow {
        id: request.id,
        kind: request.kind,
        member: request.member,
        name: name(call, request.known_as),
        broadcast: request.broadcast,
        reply: request.reply,
        at: times.short(request.opened_at),
    };
    Ok(found.into_iter().map(row).collect())
}

pub(super) fn name(call: &Call, known_as: Option<(String, String)>) -> String {
    known_as
        .map_or_else(|| call.texts().get("reply-member-gone"), |(number, name)| format!("{number} {name}"))
}

fn kind_of(text: &str) -> Option<RequestKind> {
    text.parse().ok()
}

fn word(kind: Option<RequestKind>) -> String {
    kind.map(|kind| kind.to_string()).unwrap_or_default()
}

fn back(kind: Option<RequestKind>, said: &str) -> Response {
    reply::see_other(&format!("/requests?kind={}&said={said}", word(kind)))
}
