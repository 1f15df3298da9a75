//! `hansho audience …`

use super::actor::from_environment;
use crate::{cli::AudienceCommand, installation::Installation, output::Format};
use anyhow::Result;
use domain::{Actor, Refusal, Role, Rule};
use registry::{Condition, create_audience, show_audience};
use serde::Serialize;

#[derive(Serialize)]
struct Answer {
    name: String,
    count: u64,
    /// As behind `--where`.
    conditions: Vec<String>,
}

pub(super) async fn run(installation: &Installation, command: AudienceCommand, format: Format) -> Result<()> {
    let store = &installation.store;
    let now = installation.clock.now();
    let year = installation.config.calendar().year_at(now);
    let answer = async |name: &str| -> Result<Answer> {
        let view = show_audience(store, name, year).await?;
        let conditions = view.audience.filter.all.iter().map(ToString::to_string).collect();
        Ok(Answer { name: name.to_owned(), count: view.count, conditions })
    };
    match command {
        AudienceCommand::Create { name, conditions } => {
            let actor = from_environment(installation).await?;
            may_set_up(actor)?;
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
    }
}

fn show(answer: &Answer) -> String {
    let mut text = format!("{}: {} members now", answer.name, answer.count);
    for condition in &answer.conditions {
        text.push_str("\n  ");
        text.push_str(condition);
    }
    text
}

fn may_set_up(actor: Actor) -> Result<(), Refusal> {
    match actor {
        Actor::LocalEngineer | Actor::Staff { role: Role::Coordinator | Role::Engineer, .. } => Ok(()),
        Actor::Staff { .. } | Actor::Scheduler => {
            Err(Refusal::new(Rule::Role, "this role does not define audiences", "ask a coordinator"))
        }
    }
}
