//! What is done for each request. Every handler checks the role itself: a hidden button is no
//! permission. Actions on broadcasts go through the desk, which checks once more.

mod api;
mod audiences;
mod broadcasts;
mod composing;
mod demo;
mod events;
mod exercises;
mod export;
mod fault;
mod home;
mod imports;
mod ledger;
mod membership;
mod ops;
mod privacy;
mod public;
mod replies;
mod reply;
mod requests;
mod roster;
mod session;
mod situation;
mod steps;

pub(crate) use fault::Fault;

use crate::{
    app::App,
    filters::{Call, Door, RouteTable, Routes, get, post},
    i18n::{Lang, Texts},
    pages::{Shell, Who},
    security,
};
use domain::{Actor, BroadcastId, DeliveryState, ExerciseId, FieldKind, FiscalYear, MemberId, ReplyId};
use warp::Filter;

/// Every route there is.
pub(crate) fn routes(app: &App) -> RouteTable {
    let mut routes = Routes::new(app);
    machines(&mut routes);
    visitors(&mut routes);
    members(&mut routes);
    broadcasts_area(&mut routes);
    staff(&mut routes);
    api::add(&mut routes);
    routes.build()
}

fn machines(routes: &mut Routes) {
    routes.add(get("healthz", "/healthz", Door::Open), warp::path!("healthz").map(|| ()), ops::healthy);
    routes.add(get("readyz", "/readyz", Door::Open), warp::path!("readyz").map(|| ()), ops::ready);
    routes.add(get("metrics", "/metrics", Door::Open), warp::path!("metrics").map(|| ()), ops::metrics);
    routes.add(get("assets", "/assets/{name}", Door::Open), warp::path!("assets" / String), ops::asset);
}

fn visitors(routes: &mut Routes) {
    let login = || warp::path!("login").map(|| ());
    routes.add(get("login.form", "/login", Door::Visitor), login(), session::form);
    routes.add(post("login", "/login", Door::Visitor), login(), session::sign_in);
    routes.add(post("logout", "/logout", Door::Staff), warp::path!("logout").map(|| ()), session::sign_out);
    let language = || warp::path!("language" / Lang);
    routes.add(get("language", "/language/{lang}", Door::Visitor), language(), session::language);
    routes.add(post("language.set", "/language/{lang}", Door::Visitor), language(), session::language);
    routes.add(get("verify", "/verify", Door::Visitor), warp::path!("verify").map(|| ()), public::verify);
}

fn members(routes: &mut Routes) {
    let answer = || warp::path!("r" / String);
    routes.add(get("answer.form", "/r/{token}", Door::Open), answer(), public::show_answer);
    routes.add(post("answer", "/r/{token}", Door::Open), answer(), public::answer);
    let unsubscribe = || warp::path!("u" / String);
    routes.add(get("unsubscribe.form", "/u/{token}", Door::Open), unsubscribe(), public::show_unsubscribe);
    routes.add(post("unsubscribe", "/u/{token}", Door::Open), unsubscribe(), public::unsubscribe);
    let path = warp::path!("u" / String / "erasure");
    routes.add(post("erasure.wish", "/u/{token}/erasure", Door::Open), path, public::wish_erasure);
}

fn broadcasts_area(routes: &mut Routes) {
    let path = warp::path!("broadcasts" / "new").map(|| ());
    routes.add(get("broadcasts.new", "/broadcasts/new", Door::Staff), path, composing::form);
    let path = warp::path!("broadcasts").map(|| ());
    routes.add(post("broadcasts.create", "/broadcasts", Door::Staff), path, composing::create);
    let path = warp::path!("broadcasts" / BroadcastId);
    routes.add(get("broadcasts.show", "/broadcasts/{id}", Door::Staff), path, broadcasts::show);
    let edit = || warp::path!("broadcasts" / BroadcastId / "edit");
    routes.add(
        get("broadcasts.edit.form", "/broadcasts/{id}/edit", Door::Staff),
        edit(),
        composing::edit_form,
    );
    routes.add(post("broadcasts.edit", "/broadcasts/{id}/edit", Door::Staff), edit(), composing::edit);
    let path = || warp::path!("broadcasts" / BroadcastId / "correct");
    let info = get("broadcasts.correct.form", "/broadcasts/{id}/correct", Door::Staff);
    routes.add(info, path(), composing::correct_form);
    let info = post("broadcasts.correct", "/broadcasts/{id}/correct", Door::Staff);
    routes.add(info, path(), composing::correct);
    let path = warp::path!("broadcasts" / BroadcastId / "events");
    routes.add(get("broadcasts.events", "/broadcasts/{id}/events", Door::Staff), path, broadcasts::live);
    let path = warp::path!("broadcasts" / BroadcastId / "ledger");
    routes.add(get("broadcasts.ledger", "/broadcasts/{id}/ledger", Door::Staff), path, ledger::show);
    let path = warp::path!("broadcasts" / BroadcastId / "ledger.csv");
    routes.add(get("broadcasts.ledger.csv", "/broadcasts/{id}/ledger.csv", Door::Staff), path, ledger::csv);
    let path = warp::path!("broadcasts" / BroadcastId / "held.csv");
    routes.add(get("broadcasts.held.csv", "/broadcasts/{id}/held.csv", Door::Staff), path, ledger::held_csv);
    let path = warp::path!("broadcasts" / BroadcastId / "cancel");
    routes.add(
        get("broadcasts.cancel.form", "/broadcasts/{id}/cancel", Door::Staff),
        path,
        steps::cancel_form,
    );
    steps::add(routes);
}

fn staff(routes: &mut Routes) {
    routes.add(get("home", "/", Door::Staff), warp::path::end().map(|| ()), home::show);
    routes.add(get("stop.form", "/stop", Door::Staff), warp::path!("stop").map(|| ()), home::stop_form);
    routes.add(post("stop.all", "/stop", Door::Staff), warp::path!("stop").map(|| ()), home::stop_all);
    let path = warp::path!("exercises" / ExerciseId);
    routes.add(get("exercises.show", "/exercises/{id}", Door::Staff), path, exercises::show);
    let path = warp::path!("exercises" / ExerciseId / "events");
    routes.add(get("exercises.events", "/exercises/{id}/events", Door::Staff), path, exercises::live);
    let path = warp::path!("exercises" / ExerciseId / "report");
    routes.add(get("exercises.report", "/exercises/{id}/report", Door::Staff), path, exercises::report);
    let path = warp::path!("exercises" / ExerciseId / "start");
    routes.add(post("exercises.start", "/exercises/{id}/start", Door::Staff), path, exercises::start);
    let path = warp::path!("exercises" / ExerciseId / "stop");
    routes.add(post("exercises.stop", "/exercises/{id}/stop", Door::Staff), path, exercises::stop);
    let path = warp::path!("exercises" / ExerciseId / "end");
    routes.add(post("exercises.end", "/exercises/{id}/end", Door::Staff), path, exercises::end);
    let path = warp::path!("replies").map(|| ());
    routes.add(get("replies", "/replies", Door::Staff), path, replies::list);
    let path = warp::path!("replies" / "events").map(|| ());
    routes.add(get("replies.events", "/replies/events", Door::Staff), path, replies::live);
    let path = warp::path!("replies.csv").map(|| ());
    routes.add(get("replies.csv", "/replies.csv", Door::Staff), path, replies::csv);
    let path = warp::path!("replies" / ReplyId);
    routes.add(get("replies.show", "/replies/{id}", Door::Staff), path, replies::show);
    let path = warp::path!("replies" / ReplyId / "raw");
    routes.add(get("replies.raw", "/replies/{id}/raw", Door::Staff), path, replies::raw);
    let path = warp::path!("replies" / ReplyId / "read");
    routes.add(post("replies.read", "/replies/{id}/read", Door::Staff), path, replies::mark_read);
    requests::add(routes);
    audiences::add(routes);
    imports::add(routes);
    privacy::add(routes);
    routes.add(get("members", "/members", Door::Staff), warp::path!("members").map(|| ()), roster::list);
    let path = warp::path!("members" / MemberId);
    routes.add(get("members.show", "/members/{id}", Door::Staff), path, roster::show);
    let path = warp::path!("demo" / "mails").map(|| ());
    routes.add(get("demo.mails", "/demo/mails", Door::Staff), path, demo::list);
    let path = warp::path!("demo" / "mails" / u64);
    routes.add(get("demo.mail", "/demo/mails/{seq}", Door::Staff), path, demo::show);
}

/// The frame of a page for this request.
fn shell(call: &Call, title: String) -> Shell {
    let settings = &call.app.web.settings;
    Shell {
        title,
        organization: settings.organization.clone(),
        contact: settings.contact.clone(),
        nature: None,
        who: call.signed.as_ref().map(|signed| Who { name: signed.row.name.clone(), role: signed.row.role }),
        form_token: call
            .signed
            .as_ref()
            .map(|signed| security::form_token(&signed.token))
            .unwrap_or_default(),
        rehearsal: settings.rehearsal,
        demo: call.app.web.demo.is_some(),
        replies: call.app.web.replybox.is_some() && call.role().may_see_addresses(),
        here: "",
        path: call.path.clone(),
        narrow: false,
        member: false,
        live: false,
        said: said(call),
        late: LATE_SAYINGS.contains(&call.query.get("said")),
    }
}

/// Words that may stand behind `?said=`; anything else says nothing.
const SAYINGS: [&str; 34] = [
    "created",
    "preflight",
    "preflight-blocked",
    "requested",
    "approved",
    "returned",
    "rejected",
    "sent",
    "stopped",
    "continued",
    "resumed",
    "cancelled",
    "settled",
    "started",
    "ended",
    "read",
    "suppressed",
    "declined",
    "lifted",
    "none-chosen",
    "partly-settled",
    "audience-saved",
    "audience-renamed",
    "audience-deleted",
    "audience-gone",
    "imported",
    "import-confirmed",
    "import-dropped",
    "columns-remembered",
    "columns-plan-dropped",
    "erasure-asked",
    "kept",
    "kept-before",
    "erased-before",
];
/// Those that no success goes with.
const LATE_SAYINGS: [&str; 2] = ["kept-before", "erased-before"];

/// On whose behalf the registry changes, and what is sent to its members.
fn may_import(call: &Call) -> Result<Actor, Fault> {
    call.actor().filter(|_| call.role().may_import()).ok_or(Fault::Forbidden)
}

/// The present fiscal year.
fn year(call: &Call) -> FiscalYear {
    call.app.web.desk.settings().calendar.year_at(call.app.now())
}

/// A field's name, with its kind where it holds no texts.
fn of_kind(t: Texts, field: &str, kind: FieldKind) -> String {
    t.with(&format!("of-kind-{kind}"), "field", field)
}

/// For pages that only those may open who may see addresses (law 12).
fn sees_addresses(call: &Call) -> Result<(), Fault> {
    if call.role().may_see_addresses() { Ok(()) } else { Err(Fault::Forbidden) }
}

fn said(call: &Call) -> Option<String> {
    let word = call.query.get("said");
    SAYINGS.contains(&word).then(|| call.texts().word("said", word))
}

/// The state a ledger row's word names.
fn state_of(word: &str) -> Result<DeliveryState, Fault> {
    word.parse().map_err(|error: domain::UnknownWord| Fault::Internal(Box::new(error)))
}
