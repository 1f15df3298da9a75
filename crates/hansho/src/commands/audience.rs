//! `hansho audience …`

use super::actor::from_environment;
use crate::{cli::AudienceCommand, installation::Installation, output::Format};
use anyhow::Result;
use domain::{Actor, Refusal, Role, Rule};
use registry::{Condition, create_audience, find_audience, rename_audience, show_audience};
use serde::Serialize;
use store::AudienceFilter;

#[derive(Serialize)]
struct Answer {
    name: String,
    count: u64,
    /// As behind `--where`.
    conditions: Vec<String>,
}

#[derive(Serialize)]
struct Deleted {
    deleted: String,
    /// With these it can be made again.
    conditions: Vec<String>,
}

pub(super) async fn run(installation: &Installation, command: AudienceCommand, format: Format) -> Result<()> {
    let store = &installation.store;
    let now = installation.clock.now();
    let year = installation.config.calendar().year_at(now);
    let answer = async |name: &str| -> Result<Answer> {
        let view = show_audience(store, name, year).await?;
        let conditions = written(&view.audience.filter);
        Ok(Answer { name: name.to_owned(), count: view.count, conditions })
    };
    match command {
        AudienceCommand::Create { name, conditions } => {
            let actor = definer(installation).await?;
            let conditions: Vec<Condition> =
                conditions.iter().map(|text| text.parse()).collect::<Result<_, registry::AudienceError>>()?;
            let saved = create_audience(store, actor, &name, &conditions, now).await?;
            format.print(&answer(&saved.name).await?, show)
        }
        AudienceCommand::Show { name } => format.print(&answer(&name).await?, show),
        AudienceCommand::List => {
            let mut answers = Vec::new();
            for audience in store.audiences().await? {
                answers.push(answer(&audience.name).await?);
            }
            format.print(&answers, |answers| answers.iter().map(|a| show(a) + "\n").collect())
        }
        AudienceCommand::Rename { name, new_name } => {
            let actor = definer(installation).await?;
            let audience = find_audience(store, &name).await?;
            let renamed = rename_audience(store, actor, audience.id, &new_name, now).await?;
            format.print(&answer(&renamed.name).await?, show)
        }
        AudienceCommand::Delete { name } => {
            let actor = definer(installation).await?;
            let audience = find_audience(store, &name).await?;
            store.delete_audience(actor, audience.id, now).await?;
            let deleted = Deleted { deleted: name, conditions: written(&audience.filter) };
            format.print(&deleted, |gone| {
                with_conditions(format!("{}: deleted", gone.deleted), &gone.conditions)
            })
        }
    }
}

fn written(filter: &AudienceFilter) -> Vec<String> {
    filter.all.iter().map(ToString::to_string).collect()
}

fn show(answer: &Answer) -> String {
    with_conditions(format!("{}: {} members now", answer.name, answer.count), &answer.conditions)
}

fn with_conditions(mut text: String, conditions: &[String]) -> String {
    for condition in conditions {
        text.push_str("\n  ");
        text.push_str(condition);
    }
    text
}

/// Whoever acts, where they may make and change audiences.
async fn definer(installation: &Installation) -> Result<Actor> {
    let actor = from_environment(installation).await?;
    match actor {
        Actor::LocalEngineer | Actor::Staff { role: Role::Coordinator | Role::Engineer, .. } => Ok(actor),
        Actor::Staff { .. } | Actor::Scheduler => {
            let text = "this role does not define audiences";
            Err(Refusal::new(Rule::Role, text, "ask a coordinator").into())
        }
    }
}
