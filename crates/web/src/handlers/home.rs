//! The first page: what runs, what waits for me, and the way to stop everything.

use super::{
    Fault,
    broadcasts::{name_of, names},
    reply, shell,
    steps::actor,
};
use crate::{
    filters::Call,
    pages::{
        ExerciseCard, HomePage, NoticeRow, StopAllPage, Times, WaitingNotice, broadcast_chip, grouped, html,
        percent,
    },
};
use domain::{BroadcastState, ExerciseState, StaffId};
use report::Situation;
use std::collections::BTreeMap;
use store::{Broadcast, Exercise};
use warp::reply::Response;

/// More is history; the ledger of each is a click away.
const BROADCASTS: i64 = 30;
const EXERCISES: i64 = 20;

/// Home.
pub(crate) async fn show(call: Call, (): ()) -> Result<Response, Fault> {
    let store = &call.app.web.store;
    let names = names(&call).await?;
    let mut broadcasts = Vec::new();
    for broadcast in store.broadcasts(BROADCASTS).await? {
        broadcasts.push(row(&call, &names, broadcast).await?);
    }
    let (mut running, mut past) = (Vec::new(), Vec::new());
    for exercise in store.exercises(EXERCISES).await? {
        if matches!(exercise.state, ExerciseState::Running | ExerciseState::Stopped) {
            running.push(card(&call, exercise).await?);
        } else {
            past.push(quiet_card(exercise));
        }
    }
    let t = call.texts();
    let mut s = shell(&call, t.get("home-title"));
    s.here = "home";
    let page = HomePage {
        s,
        t,
        may_author: call.role().may_author(),
        may_stop: call.role().may_stop(),
        sending: store.broadcasts_in(BroadcastState::Sending).await?.len()
            + running.iter().filter(|card| card.state == ExerciseState::Running).count(),
        waiting: waiting(&call, &names).await?,
        exercises: running,
        past,
        broadcasts,
    };
    Ok(reply::html(html(&page)))
}

/// Asks before everything is stopped; works without the script.
pub(crate) async fn stop_form(call: Call, (): ()) -> Result<Response, Fault> {
    if !call.role().may_stop() {
        return Err(Fault::Forbidden);
    }
    let names = names(&call).await?;
    let mut sending = Vec::new();
    for broadcast in call.app.web.store.broadcasts_in(BroadcastState::Sending).await? {
        sending.push(row(&call, &names, broadcast).await?);
    }
    let exercises = call.app.web.store.exercises(EXERCISES).await?;
    let running = exercises
        .into_iter()
        .filter(|exercise| exercise.state == ExerciseState::Running)
        .map(|exercise| (exercise.nature, exercise.title))
        .collect();
    let t = call.texts();
    let mut s = shell(&call, t.get("stop-all-title"));
    (s.here, s.narrow) = ("home", true);
    Ok(reply::html(html(&StopAllPage { s, t, sending, running })))
}

/// Stops all broadcasts being sent and all running exercises.
pub(crate) async fn stop_all(call: Call, (): ()) -> Result<Response, Fault> {
    if !call.role().may_stop() {
        return Err(Fault::Forbidden);
    }
    call.app.web.desk.stop_all(actor(&call)?).await?;
    Ok(reply::see_other("/?said=stopped"))
}

async fn waiting(call: &Call, names: &BTreeMap<StaffId, String>) -> Result<Vec<WaitingNotice>, Fault> {
    if !call.role().may_approve() {
        return Ok(Vec::new());
    }
    let store = &call.app.web.store;
    let me = call.signed.as_ref().map(|signed| signed.row.staff_id);
    let mut waiting = Vec::new();
    for broadcast in store.broadcasts_in(BroadcastState::AwaitingApproval).await? {
        let signatures = store.signatures(broadcast.id).await?;
        let mine = signatures.iter().any(|signature| Some(signature.staff) == me);
        if Some(broadcast.author) != me && !mine {
            waiting.push(WaitingNotice {
                id: broadcast.id,
                nature: broadcast.nature,
                author: name_of(names, broadcast.author),
                recipients: grouped(broadcast.recipients),
                subject: broadcast.subject,
            });
        }
    }
    Ok(waiting)
}

async fn row(
    call: &Call,
    names: &BTreeMap<StaffId, String>,
    broadcast: Broadcast,
) -> Result<NoticeRow, Fault> {
    let times = Times { zone: call.app.web.settings.time_zone, texts: call.texts() };
    let tally = call.app.web.store.tally(broadcast.id).await?;
    Ok(NoticeRow {
        id: broadcast.id,
        nature: broadcast.nature,
        state: broadcast.state,
        chip: broadcast_chip(broadcast.state),
        author: name_of(names, broadcast.author),
        at: times.short(broadcast.released_at.unwrap_or(broadcast.created_at)),
        settled: tally.total() - tally.open(),
        total: tally.total(),
        accepted: grouped(tally.accepted),
        total_text: grouped(tally.total()),
        unknown: (tally.unknown > 0).then(|| grouped(tally.unknown)),
        subject: broadcast.subject,
    })
}

async fn card(call: &Call, exercise: Exercise) -> Result<ExerciseCard, Fault> {
    let times = Times { zone: call.app.web.settings.time_zone, texts: call.texts() };
    let situation = Situation::read(&call.app.web.store, exercise.clone()).await?;
    let first = situation.asked.first();
    let (answered, reached) = first.map_or((0, 0), |asked| (asked.answered(), asked.reached()));
    Ok(ExerciseCard {
        started: exercise.started_at.map_or_else(|| "―".to_owned(), |at| times.short(at)),
        answered: grouped(answered),
        reached: grouped(reached),
        rate: percent(answered, reached),
        ..quiet_card(exercise)
    })
}

fn quiet_card(exercise: Exercise) -> ExerciseCard {
    ExerciseCard {
        id: exercise.id,
        nature: exercise.nature,
        title: exercise.title,
        state: exercise.state,
        started: String::new(),
        answered: String::new(),
        reached: String::new(),
        rate: 0,
    }
}
