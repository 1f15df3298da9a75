//! The situation page of an exercise, its start, stop and end, and what came of it.

use super::{
    Fault,
    events::{self, Moment},
    reply, shell,
    situation::Drawn,
    steps::actor,
};
use crate::{
    filters::Call,
    pages::{ExercisePage, ReportPage, ReportRow, Times, exercise_chip, grouped, html, percent},
};
use domain::{BroadcastState, ExerciseId, ExerciseState, Refusal, Rule};
use report::{Asked, Situation};
use store::Exercise;
use warp::reply::Response;

/// The page.
pub(crate) async fn show(call: Call, id: ExerciseId) -> Result<Response, Fault> {
    let exercise = find(&call, id).await?;
    let situation = Situation::read(&call.app.web.store, exercise).await?;
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let exercise = &situation.exercise;
    let mut s = shell(&call, exercise.title.clone());
    (s.nature, s.here, s.live) = (Some(exercise.nature), "home", exercise.state != ExerciseState::Ended);
    let page = ExercisePage {
        s,
        t,
        id,
        title: exercise.title.clone(),
        state: exercise.state,
        stamp: stamp(&situation),
        chip: exercise_chip(exercise.state),
        may_start: call.role().may_author()
            && matches!(exercise.state, ExerciseState::Planned | ExerciseState::Stopped),
        may_stop: call.role().may_stop() && exercise.state == ExerciseState::Running,
        may_end: call.role().may_stop()
            && matches!(exercise.state, ExerciseState::Planned | ExerciseState::Stopped),
        start_label: t.word("start-do", exercise.nature),
        has_answers: !situation.asked.is_empty(),
        answers: situation.answers(t),
        timeline: situation.timeline(t, times),
        chart: situation.chart(t, times, call.app.now()),
        map: situation.map(t),
    };
    Ok(reply::html(html(&page)))
}

/// Its live parts.
pub(crate) async fn live(call: Call, id: ExerciseId) -> Result<Response, Fault> {
    find(&call, id).await?;
    events::stream(call, move |call| async move {
        let exercise = find(&call, id).await?;
        let situation = Situation::read(&call.app.web.store, exercise).await?;
        let t = call.texts();
        let times = Times { zone: call.app.web.settings.time_zone, texts: t };
        let parts = vec![
            ("answers", situation.answers(t)),
            ("timeline", situation.timeline(t, times)),
            ("rate", situation.chart(t, times, call.app.now())),
            ("map", situation.map(t)),
        ];
        Ok(Moment { stamp: stamp(&situation), parts })
    })
}

/// STARTEX, or on after a stop.
pub(crate) async fn start(call: Call, id: ExerciseId) -> Result<Response, Fault> {
    begin(&call, id).await?;
    Ok(reply::see_other(&format!("/exercises/{id}?said=started")))
}

/// Stops the timeline and what is being sent of it.
pub(crate) async fn stop(call: Call, id: ExerciseId) -> Result<Response, Fault> {
    halt(&call, id).await?;
    Ok(reply::see_other(&format!("/exercises/{id}?said=stopped")))
}

/// Ends for good what does not run.
pub(crate) async fn end(call: Call, id: ExerciseId) -> Result<Response, Fault> {
    call.app.web.store.end_exercise(actor(&call)?, id, call.app.now()).await?;
    Ok(reply::see_other(&format!("/exercises/{id}?said=ended")))
}

/// After-action figures.
pub(crate) async fn report(call: Call, id: ExerciseId) -> Result<Response, Fault> {
    let exercise = find(&call, id).await?;
    let situation = Situation::read(&call.app.web.store, exercise).await?;
    let t = call.texts();
    let times = Times { zone: call.app.web.settings.time_zone, texts: t };
    let exercise = &situation.exercise;
    let period = match (exercise.started_at, exercise.ended_at) {
        (Some(from), Some(to)) => t.with2("report-period", "from", times.long(from), "to", times.long(to)),
        (Some(from), None) => t.with("report-running", "from", times.long(from)),
        (None, _) => t.word("exercise", exercise.state),
    };
    let mut s = shell(&call, format!("{} ― {}", t.get("report-title"), exercise.title));
    (s.nature, s.here) = (Some(exercise.nature), "home");
    let page = ReportPage {
        s,
        t,
        id,
        title: exercise.title.clone(),
        period,
        figures: figures(&call, situation.asked.first()),
        heads: heads(&call),
        rows: rows(&call, &situation).await?,
        questions: situation.bars(),
        has_map: !situation.asked.is_empty(),
        chart: situation.chart(t, times, call.app.now()),
        map: situation.map(t),
    };
    Ok(reply::html(html(&page)))
}

/// Begins an exercise or goes on with it; only coordinators.
pub(super) async fn begin(call: &Call, id: ExerciseId) -> Result<(), Fault> {
    if !call.role().may_author() {
        return Err(Fault::from(Refusal::new(
            Rule::Role,
            "only a coordinator begins an exercise",
            "sign in as a coordinator",
        )));
    }
    let (store, now) = (&call.app.web.store, call.app.now());
    Ok(store.move_exercise(actor(call)?, id, ExerciseState::Running, now).await?)
}

/// Stops an exercise first, so that no inject follows, then its broadcasts.
pub(super) async fn halt(call: &Call, id: ExerciseId) -> Result<(), Fault> {
    if !call.role().may_stop() {
        return Err(Fault::from(Refusal::new(
            Rule::Role,
            "viewers look on",
            "ask anyone else who can sign in",
        )));
    }
    let web = &call.app.web;
    web.store.move_exercise(actor(call)?, id, ExerciseState::Stopped, call.app.now()).await?;
    for inject in web.store.injects(id).await? {
        let Some(broadcast) = inject.broadcast else { continue };
        let sending = web.store.broadcast(broadcast).await?;
        if sending.is_some_and(|broadcast| broadcast.state == BroadcastState::Sending) {
            web.desk.stop(actor(call)?, broadcast).await?;
        }
    }
    Ok(())
}

/// One exercise, or 404.
pub(super) async fn find(call: &Call, id: ExerciseId) -> Result<Exercise, Fault> {
    call.app.web.store.exercise(id).await?.ok_or(Fault::NotFound)
}

/// Other buttons or the first answers: the page is loaded anew.
fn stamp(situation: &Situation) -> String {
    format!("{}-{}", situation.exercise.state, situation.asked.len())
}

fn figures(call: &Call, asked: Option<&Asked>) -> Vec<(String, String)> {
    let t = call.texts();
    let Some(asked) = asked else { return Vec::new() };
    let mut figures = vec![
        (t.get("report-recipients"), grouped(asked.reached())),
        (t.get("answered"), grouped(asked.answered())),
        (t.get("rate"), format!("{}%", percent(asked.answered(), asked.reached()))),
    ];
    let Some(from) = asked.broadcast.released_at else { return figures };
    for part in [25, 50, 75] {
        if let Some(at) = asked.answered_by(part) {
            let minutes = at.since(from).as_secs().div_ceil(60);
            figures.push((t.with("report-part", "percent", part), t.with("report-minutes", "n", minutes)));
        }
    }
    figures
}

fn heads(call: &Call) -> Vec<String> {
    let t = call.texts();
    let mut heads = vec![t.get("report-notice"), t.get("report-recipients")];
    heads.extend(["accepted", "rejected", "unknown", "held"].map(|word| t.word("delivery", word)));
    heads.extend([t.get("report-bounced"), t.get("report-answered")]);
    heads
}

async fn rows(call: &Call, situation: &Situation) -> Result<Vec<ReportRow>, Fault> {
    let mut rows = Vec::new();
    for inject in &situation.injects {
        let Some(id) = inject.broadcast else { continue };
        let tally = call.app.web.store.tally(id).await?;
        let answered = situation.asked.iter().find(|asked| asked.broadcast.id == id).map(Asked::answered);
        rows.push(ReportRow {
            id,
            title: inject.title.clone(),
            cells: vec![
                grouped(tally.total()),
                grouped(tally.accepted),
                grouped(tally.rejected + tally.gave_up),
                grouped(tally.unknown),
                grouped(tally.held),
                grouped(call.app.web.store.bounces(id).await?.len() as u64),
                answered.map_or_else(|| "―".to_owned(), grouped),
            ],
        });
    }
    Ok(rows)
}
