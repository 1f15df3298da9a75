//! `hansho drill …`: exercises.

use super::actor::from_environment;
use crate::{
    cli::{DrillCommand, ReportFormat},
    entropy,
    installation::Installation,
    output::Format,
};
use anyhow::{Context, Result};
use domain::{Actor, BroadcastId, ExerciseId, ExerciseState, InjectState, Nature, Refusal, Rule, StaffId};
use report::AfterAction;
use scheduler::parse_plan;
use serde::Serialize;
use store::{Exercise, StoreError};

const LIST_MAX: i64 = 100;

#[derive(Serialize)]
struct View {
    id: ExerciseId,
    title: String,
    nature: Nature,
    state: ExerciseState,
    injects: Vec<InjectView>,
}

#[derive(Serialize)]
struct InjectView {
    key: String,
    title: String,
    due_after_seconds: u64,
    state: InjectState,
    broadcast: Option<BroadcastId>,
}

pub(super) async fn run(installation: &Installation, command: DrillCommand, format: Format) -> Result<()> {
    let actor = from_environment(installation).await?;
    let (store, now) = (&installation.store, installation.clock.now());
    match command {
        DrillCommand::Create { file } => {
            let text = std::fs::read_to_string(&file)
                .with_context(|| format!("the drill file {} cannot be read", file.display()))?;
            let plan = parse_plan(&text, coordinator(actor)?, entropy::token())?;
            let id = installation.desk.plan_exercise(actor, &plan).await?;
            print(installation, id, format).await
        }
        DrillCommand::List => {
            let mut views = Vec::new();
            for exercise in store.exercises(LIST_MAX).await? {
                views.push(view(installation, exercise).await?);
            }
            format.print(&views, |views| views.iter().map(show).collect())
        }
        DrillCommand::Show { id } => print(installation, id, format).await,
        DrillCommand::Start { id } => {
            coordinator(actor)?;
            store.move_exercise(actor, id, ExerciseState::Running, now).await?;
            print(installation, id, format).await
        }
        DrillCommand::Stop { id } => {
            if !actor.may_stop() {
                return Err(Refusal::new(Rule::Role, "viewers look on", "ask a coordinator").into());
            }
            store.move_exercise(actor, id, ExerciseState::Stopped, now).await?;
            print(installation, id, format).await
        }
        DrillCommand::End { id } => {
            store.end_exercise(actor, id, now).await?;
            print(installation, id, format).await
        }
        DrillCommand::Report { id, format: report_format } => {
            let exercise = find(installation, id).await?;
            let report = AfterAction::draw(store, &installation.replybox, exercise).await?;
            match (report_format, format) {
                (ReportFormat::Json, _) | (_, Format::Json) => {
                    println!("{}", serde_json::to_string(&report)?)
                }
                (ReportFormat::Markdown, Format::Text) => print!("{}", report.to_markdown()),
            }
            Ok(())
        }
    }
}

fn coordinator(actor: Actor) -> Result<StaffId, Refusal> {
    match actor {
        Actor::Staff { id, role } if role.may_author() => Ok(id),
        Actor::Staff { .. } | Actor::LocalEngineer | Actor::Scheduler => Err(Refusal::new(
            Rule::Role,
            "only a coordinator writes and starts exercises",
            "set HANSHO_TOKEN to a coordinator's token",
        )),
    }
}

async fn find(installation: &Installation, id: ExerciseId) -> Result<Exercise> {
    Ok(installation.store.exercise(id).await?.ok_or_else(|| StoreError::not_found("exercise", id))?)
}

async fn print(installation: &Installation, id: ExerciseId, format: Format) -> Result<()> {
    let exercise = find(installation, id).await?;
    format.print(&view(installation, exercise).await?, show)
}

async fn view(installation: &Installation, exercise: Exercise) -> Result<View> {
    let injects = installation.store.injects(exercise.id).await?.into_iter().map(|inject| InjectView {
        key: inject.key,
        title: inject.title,
        due_after_seconds: inject.offset.as_secs(),
        state: inject.state,
        broadcast: inject.broadcast,
    });
    Ok(View {
        id: exercise.id,
        title: exercise.title,
        nature: exercise.nature,
        state: exercise.state,
        injects: injects.collect(),
    })
}

fn show(view: &View) -> String {
    let mut out = format!("{} [{}] {} {}\n", view.id, view.nature, view.state, view.title);
    for inject in &view.injects {
        let notice = inject.broadcast.map_or_else(String::new, |id| format!(" (broadcast {id})"));
        out +=
            &format!("  +{:>6}s {:<10} {}{notice}\n", inject.due_after_seconds, inject.state, inject.title);
    }
    out
}
