//! What members and mail systems ask for, and the suppression that follows where it is granted.
//!
//! # Security
//! A request names a person; onlookers and approvers do not see it (law 12).

use super::{Fault, reply, shell};
use crate::{
    filters::{Call, Door, Routes, get, post},
    pages::{RequestRow, RequestsPage, Times, grouped, html},
};
use domain::{Decision, MemberId, RequestKind};
use warp::{Filter, reply::Response};

/// What one form settles at most.
const ROWS: u32 = 100;

/// Adds the page of requests and its form, and the one that lifts a suppression.
pub(super) fn add(routes: &mut Routes) {
    let path = || warp::path!("requests").map(|| ());
    routes.add(get("requests", "/requests", Door::Staff), path(), list);
    routes.add(post("requests.settle", "/requests", Door::Staff), path(), settle);
    let path = warp::path!("members" / MemberId / "lift");
    routes.add(post("members.lift", "/members/{id}/lift", Door::Staff), path, lift);
}

async fn list(call: Call, (): ()) -> Result<Response, Fault> {
    if !call.role().may_see_addresses() {
        return Err(Fault::Forbidden);
    }
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let store = &call.app.web.store;
    let kind: Option<RequestKind> = call.query.get("kind").parse().ok();
    let found = store.open_requests(kind, ROWS).await?;
    let rows = found
        .into_iter()
        .map(|request| RequestRow {
            id: request.id,
            kind: request.kind,
            member: request.member,
            name: request
                .known_as
                .map_or_else(|| t.get("reply-member-gone"), |(number, name)| format!("{number} {name}")),
            broadcast: request.broadcast,
            reply: request.reply,
            at: times.short(request.opened_at),
        })
        .collect();
    let kinds = store.open_request_counts().await?;
    let mut s = shell(&call, t.get("requests-title"));
    s.here = "requests";
    let page = RequestsPage {
        s,
        t,
        kind: kind.map(|kind| kind.to_string()).unwrap_or_default(),
        kinds: kinds.into_iter().map(|(kind, count)| (kind, grouped(count))).collect(),
        all_chosen: call.query.get("choose") == "all",
        may_settle: call.role().may_import(),
        rows,
    };
    Ok(reply::html(html(&page)))
}

async fn settle(call: Call, (): ()) -> Result<Response, Fault> {
    let actor = call.actor().filter(|_| call.role().may_import()).ok_or(Fault::Forbidden)?;
    let decision: Decision = call.form.get("decision").parse().map_err(|_| Fault::BadForm)?;
    let ids: Result<Vec<i64>, _> = call.form.all("request").map(str::parse).collect();
    let ids = ids.map_err(|_| Fault::BadForm)?;
    let settled = call.app.web.store.settle_requests(actor, &ids, decision, call.app.now()).await?;
    let said = match (settled, decision) {
        (0, _) => "none-chosen",
        (_, Decision::Granted) => "suppressed",
        (_, Decision::Declined) => "declined",
    };
    Ok(reply::see_other(&format!("/requests?said={said}")))
}

async fn lift(call: Call, id: MemberId) -> Result<Response, Fault> {
    let actor = call.actor().ok_or(Fault::Forbidden)?;
    call.app.web.store.lift_suppression(actor, id, call.app.now()).await?;
    Ok(reply::see_other(&format!("/members/{id}?said=lifted")))
}
