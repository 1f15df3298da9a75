//! The JSON interface for scripts: personal tokens, no cookies, the same desk as the pages.

use super::{Fault, exercises, reply, steps::actor};
use crate::filters::{Call, Door, Routes, get, post};
use domain::{BroadcastId, ContentDigest, ExerciseId, Nature, QuestionnaireId, Timestamp};
use registry::AudienceSpec;
use scheduler::NewNotice;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use store::Broadcast;
use warp::{Filter, http::StatusCode, reply::Response};

const DESCRIPTION: &str = include_str!("../../assets/openapi.json");

/// Adds everything under `/api/v1`.
pub(super) fn add(routes: &mut Routes) {
    let path = warp::path!("api" / "v1" / "openapi.json").map(|| ());
    routes.add(get("api.openapi", "/api/v1/openapi.json", Door::Open), path, description);
    let path = warp::path!("api" / "v1" / "broadcasts").map(|| ());
    routes.add(post("api.broadcasts.create", "/api/v1/broadcasts", Door::Api), path, create);
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId);
    routes.add(get("api.broadcasts.status", "/api/v1/broadcasts/{id}", Door::Api), path, status);
    broadcast_steps(routes);
    let path = warp::path!("api" / "v1" / "exercises" / ExerciseId);
    routes.add(get("api.exercises.show", "/api/v1/exercises/{id}", Door::Api), path, exercise);
    let path = warp::path!("api" / "v1" / "exercises" / ExerciseId / "start");
    routes.add(post("api.exercises.start", "/api/v1/exercises/{id}/start", Door::Api), path, start);
    let path = warp::path!("api" / "v1" / "exercises" / ExerciseId / "stop");
    routes.add(post("api.exercises.stop", "/api/v1/exercises/{id}/stop", Door::Api), path, stop_exercise);
}

fn broadcast_steps(routes: &mut Routes) {
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId / "preflight");
    let info = post("api.broadcasts.preflight", "/api/v1/broadcasts/{id}/preflight", Door::Api);
    routes.add(info, path, preflight);
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId / "request");
    routes.add(post("api.broadcasts.request", "/api/v1/broadcasts/{id}/request", Door::Api), path, request);
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId / "approve");
    routes.add(post("api.broadcasts.approve", "/api/v1/broadcasts/{id}/approve", Door::Api), path, approve);
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId / "return");
    routes.add(post("api.broadcasts.return", "/api/v1/broadcasts/{id}/return", Door::Api), path, return_);
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId / "reject");
    routes.add(post("api.broadcasts.reject", "/api/v1/broadcasts/{id}/reject", Door::Api), path, reject);
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId / "send");
    routes.add(post("api.broadcasts.send", "/api/v1/broadcasts/{id}/send", Door::Api), path, send);
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId / "stop");
    routes.add(post("api.broadcasts.stop", "/api/v1/broadcasts/{id}/stop", Door::Api), path, stop);
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId / "continue");
    routes.add(
        post("api.broadcasts.continue", "/api/v1/broadcasts/{id}/continue", Door::Api),
        path,
        continue_,
    );
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId / "resume");
    routes.add(post("api.broadcasts.resume", "/api/v1/broadcasts/{id}/resume", Door::Api), path, resume);
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId / "cancel");
    routes.add(post("api.broadcasts.cancel", "/api/v1/broadcasts/{id}/cancel", Door::Api), path, cancel);
    let path = warp::path!("api" / "v1" / "broadcasts" / BroadcastId / "settle");
    routes.add(post("api.broadcasts.settle", "/api/v1/broadcasts/{id}/settle", Door::Api), path, settle);
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewNoticeBody {
    nature: Nature,
    subject: String,
    body: String,
    audience: String,
    questionnaire: Option<QuestionnaireId>,
    /// RFC 3339.
    finish_by: Option<String>,
    /// The same key twice is the same draft.
    idempotency_key: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ApproveBody {
    digest: Option<String>,
    confirmation: Option<String>,
    #[serde(default)]
    confirmed: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct ReasonBody {
    reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SettleBody {
    #[serde(rename = "as")]
    settle_as: String,
    #[serde(default)]
    members: Vec<String>,
}

async fn description(_: Call, (): ()) -> Result<Response, Fault> {
    Ok(reply::typed(DESCRIPTION.to_owned(), "application/json"))
}

async fn create(call: Call, (): ()) -> Result<Response, Fault> {
    let body: NewNoticeBody = read(&call)?;
    let finish_by = body
        .finish_by
        .map(|text| Timestamp::parse_rfc3339(&text).map_err(|_| Fault::BadValue("finish_by")))
        .transpose()?;
    if call.app.web.store.audience(&body.audience).await?.is_none() {
        return Err(Fault::BadValue("audience"));
    }
    let notice = NewNotice {
        nature: body.nature,
        subject: body.subject,
        body: body.body,
        audience: AudienceSpec::Named(body.audience),
        questionnaire: body.questionnaire,
        finish_by,
        idempotency_key: body.idempotency_key.unwrap_or_else(|| call.app.random_token()),
    };
    let id = call.app.web.desk.draft(actor(&call)?, &notice).await?;
    Ok(reply::with_status(reply::json(&json!({"id": id})), StatusCode::CREATED))
}

async fn status(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let broadcast = call.app.web.store.broadcast(id).await?.ok_or(Fault::NotFound)?;
    Ok(reply::json(&status_of(&call, &broadcast).await?))
}

/// As `hansho broadcast status --json`.
async fn status_of(call: &Call, broadcast: &Broadcast) -> Result<Value, Fault> {
    let tally = call.app.web.store.tally(broadcast.id).await?;
    let mut status = json!({
        "id": broadcast.id,
        "state": broadcast.state,
        "nature": broadcast.nature,
        "total": tally.total(),
    });
    if let Some(canary) = broadcast.canary {
        status["canary"] = json!(canary);
    }
    let counts = serde_json::to_value(tally).map_err(|error| Fault::Internal(Box::new(error)))?;
    if let (Some(status), Value::Object(counts)) = (status.as_object_mut(), counts) {
        status.extend(counts);
    }
    Ok(status)
}

async fn preflight(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let answer = call.app.web.desk.preflight(actor(&call)?, id).await?;
    let status = if answer.ok { StatusCode::OK } else { StatusCode::CONFLICT };
    Ok(reply::with_status(reply::json(&answer), status))
}

async fn request(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.desk.request_approval(actor(&call)?, id).await?;
    status(call, id).await
}

async fn approve(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let body: ApproveBody = read(&call)?;
    let seen = body
        .digest
        .map(|text| text.parse::<ContentDigest>().map_err(|_| Fault::BadValue("digest")))
        .transpose()?;
    let confirmed: Vec<String> = body.confirmation.into_iter().chain(body.confirmed).collect();
    let answer = call.app.web.desk.approve(actor(&call)?, id, seen, &confirmed).await?;
    Ok(reply::json(&answer))
}

async fn return_(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let body: ReasonBody = read(&call)?;
    call.app.web.desk.return_to_author(actor(&call)?, id, &body.reason).await?;
    status(call, id).await
}

async fn reject(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let body: ReasonBody = read(&call)?;
    call.app.web.desk.reject(actor(&call)?, id, &body.reason).await?;
    status(call, id).await
}

async fn send(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.desk.send(actor(&call)?, id).await?;
    status(call, id).await
}

async fn stop(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let answer = call.app.web.desk.stop(actor(&call)?, id).await?;
    Ok(reply::json(&answer))
}

async fn continue_(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    call.app.web.desk.continue_after_canary(actor(&call)?, id).await?;
    status(call, id).await
}

async fn resume(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let body: ReasonBody = read(&call)?;
    call.app.web.desk.resume(actor(&call)?, id, &body.reason).await?;
    status(call, id).await
}

async fn cancel(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let body: ReasonBody = read(&call)?;
    call.app.web.desk.cancel(actor(&call)?, id, &body.reason).await?;
    status(call, id).await
}

async fn settle(call: Call, id: BroadcastId) -> Result<Response, Fault> {
    let body: SettleBody = read(&call)?;
    let settlement = super::steps::settlement(&body.settle_as).ok_or(Fault::BadValue("as"))?;
    let settled = call.app.web.desk.settle(actor(&call)?, id, settlement, &body.members).await?;
    Ok(reply::json(&json!({"settled": settled})))
}

async fn exercise(call: Call, id: ExerciseId) -> Result<Response, Fault> {
    let exercise = exercises::find(&call, id).await?;
    let time = |at: Option<Timestamp>| at.map(Timestamp::to_rfc3339);
    let injects: Vec<Value> = call
        .app
        .web
        .store
        .injects(id)
        .await?
        .into_iter()
        .map(|inject| {
            json!({
                "key": inject.key,
                "title": inject.title,
                "state": inject.state,
                "due": time(exercise.started_at.map(|at| at.plus(inject.offset))),
                "broadcast": inject.broadcast,
            })
        })
        .collect();
    Ok(reply::json(&json!({
        "id": id,
        "title": exercise.title,
        "nature": exercise.nature,
        "state": exercise.state,
        "started_at": time(exercise.started_at),
        "ended_at": time(exercise.ended_at),
        "injects": injects,
    })))
}

async fn start(call: Call, id: ExerciseId) -> Result<Response, Fault> {
    exercises::begin(&call, id).await?;
    exercise(call, id).await
}

async fn stop_exercise(call: Call, id: ExerciseId) -> Result<Response, Fault> {
    exercises::halt(&call, id).await?;
    exercise(call, id).await
}

/// The body as JSON; an empty one is an empty object.
fn read<T: DeserializeOwned>(call: &Call) -> Result<T, Fault> {
    let body: &[u8] = if call.body.is_empty() { b"{}" } else { &call.body };
    serde_json::from_slice(body).map_err(|_| Fault::BadValue("the JSON body"))
}
