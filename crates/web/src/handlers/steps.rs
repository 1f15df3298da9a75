//! The steps of a broadcast, each a POST that goes through the desk.

use super::{Fault, broadcasts::may_cancel, reply, shell};
use crate::{
    filters::{Call, Door, Routes, post},
    pages::{CancelPage, grouped, html},
};
use domain::{Actor, BroadcastId, ContentDigest, Refusal, Rule};
use store::Settlement;
use warp::reply::Response;

/// Adds `POST /broadcasts/{id}/{step}`.
pub(super) fn add(routes: &mut Routes) {
    let path = warp::path!("broadcasts" / BroadcastId / "preflight");
    routes.add(post("broadcasts.preflight", "/broadcasts/{id}/preflight", Door::Staff), path, preflight);
    let path = warp::path!("broadcasts" / BroadcastId / "request");
    routes.add(post("broadcasts.request", "/broadcasts/{id}/request", Door::Staff), path, request);
    let path = warp::path!("broadcasts" / BroadcastId / "approve");
    routes.add(post("broadcasts.approve", "/broadcasts/{id}/approve", Door::Staff), path, approve);
    let path = warp::path!("broadcasts" / BroadcastId / "return");
    routes.add(post("broadcasts.return", "/broadcasts/{id}/return", Door::Staff), path, return_);
    let path = warp::path!("broadcasts" / BroadcastId / "reject");
    routes.add(post("broadcasts.reject", "/broadcasts/{id}/reject", Door::Staff), path, reject);
    let path = warp::path!("broadcasts" / BroadcastId / "send");
    routes.add(post("broadcasts.send", "/broadcasts/{id}/send", Door::Staff), path, send);
    let path = warp::path!("broadcasts" / BroadcastId / "stop");
    routes.add(post("broadcasts.stop", "/broadcasts/{id}/stop", Door::Staff), path, stop);
    let path = warp::path!("broadcasts" / BroadcastId / "continue");
    routes.add(post("broadcasts.continue", "/broadcasts/{id}/continue", Door::Staff), path, continue_);
    let path = warp::path!("broadcasts" / BroadcastId / "resume");
    routes.add(post("broadcasts.resume", "/broadcasts/{id}/resume", Door::Staff), path, resume);
    let path = warp::path!("broadcasts" / BroadcastId / "cancel");
    routes.add(post("broadcasts.cancel", "/broadcasts/{id}/cancel", Door::Staff), path, cancel);
    let path = warp::path!("broadcasts" / BroadcastId / "settle");
    routes.add(post("broadcasts.settle", "/broadcasts/{id}/settle", Door::Staff), path, settle);
}

async fn preflight(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let answer = call.app.web.desk.preflight(actor(&call)?, id).await?;
    Ok(done(id, if answer.ok { "preflight" } else { "preflight-blocked" }))
}

async fn request(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.desk.request_approval(actor(&call)?, id).await?;
    Ok(done(id, "requested"))
}

/// What is signed is the digest that stood on the page the approver read.
async fn approve(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let seen: ContentDigest = call.form.get("digest").parse().map_err(|_| Fault::BadForm)?;
    let confirmed: Vec<String> = call.form.all("confirmation").map(str::to_owned).collect();
    call.app.web.desk.approve(actor(&call)?, id, Some(seen), &confirmed).await?;
    Ok(done(id, "approved"))
}

async fn return_(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.desk.return_to_author(actor(&call)?, id, call.form.get("reason")).await?;
    Ok(done(id, "returned"))
}

async fn reject(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.desk.reject(actor(&call)?, id, call.form.get("reason")).await?;
    Ok(done(id, "rejected"))
}

async fn send(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.desk.send(actor(&call)?, id).await?;
    Ok(done(id, "sent"))
}

async fn stop(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.desk.stop(actor(&call)?, id).await?;
    Ok(done(id, "stopped"))
}

async fn continue_(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.desk.continue_after_canary(actor(&call)?, id).await?;
    Ok(done(id, "continued"))
}

async fn resume(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.desk.resume(actor(&call)?, id, call.form.get("reason")).await?;
    Ok(done(id, "resumed"))
}

/// Asks on a page of its own, with the number of people concerned.
pub(super) async fn cancel_form(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    if !call.role().may_stop() {
        return Err(Fault::Forbidden);
    }
    let store = &call.app.web.store;
    let broadcast = store.broadcast(id).await?.ok_or(Fault::NotFound)?;
    if !may_cancel(broadcast.state) {
        return Err(Fault::from(Refusal::new(
            Rule::State,
            format!("broadcast {id} is {}: nothing is left to be cancelled", broadcast.state),
            "read its ledger",
        )));
    }
    let open = store.tally(id).await?.open();
    let t = call.texts();
    let mut s = shell(&call, t.get("cancel-title"));
    (s.nature, s.here, s.narrow) = (Some(broadcast.nature), "home", true);
    Ok(reply::html(html(&CancelPage { s, t, id, subject: broadcast.subject, open: grouped(open) })))
}

async fn cancel(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.desk.cancel(actor(&call)?, id, call.form.get("reason")).await?;
    Ok(done(id, "cancelled"))
}

async fn settle(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let settlement = settlement(call.form.get("as")).ok_or(Fault::BadForm)?;
    call.app.web.desk.settle(actor(&call)?, id, settlement, &[]).await?;
    Ok(done(id, "settled"))
}

/// The word of a settlement, as on the command line.
pub(super) fn settlement(word: &str) -> Option<Settlement> {
    match word {
        "accepted" => Some(Settlement::Accepted),
        "resend" => Some(Settlement::Resend),
        _ => None,
    }
}

/// On whose behalf; the door let only signed-in people through.
pub(super) fn actor(call: &Call) -> Result<Actor, Fault> {
    call.actor().ok_or(Fault::SignIn)
}

fn done(id: BroadcastId, said: &str) -> Response {
    reply::see_other(&format!("/broadcasts/{id}?said={said}"))
}
