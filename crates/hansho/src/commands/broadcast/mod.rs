//! `hansho broadcast …`: the same desk as the dashboard's.

mod ledger;
mod status;

use super::actor::from_environment;
use crate::{
    cli::{BroadcastCommand, SettlementArg},
    entropy,
    installation::Installation,
    output::Format,
};
use anyhow::{Context, Result};
use domain::{Actor, BroadcastId, Timestamp};
use registry::AudienceSpec;
use scheduler::{ApproveAnswer, NewNotice, PreflightAnswer};
use serde::Serialize;
use std::{path::Path, process::ExitCode};
use store::{Settlement, StopAnswer};

/// Preflight found something that blocks: refused by a safety rule.
const BLOCKED: u8 = 3;

#[derive(Serialize)]
struct Created {
    id: BroadcastId,
}

#[derive(Serialize)]
struct Settled {
    settled: u64,
}

#[derive(Serialize)]
struct StoppedAll {
    id: BroadcastId,
    #[serde(flatten)]
    answer: StopAnswer,
}

pub(super) async fn run(
    installation: &Installation,
    command: BroadcastCommand,
    format: Format,
) -> Result<ExitCode> {
    let actor = from_environment(installation).await?;
    let desk = &installation.desk;
    match command {
        BroadcastCommand::Create { nature, subject, body_file, audience, questionnaire, finish_by } => {
            let finish_by = finish_by.as_deref().map(Timestamp::parse_rfc3339).transpose();
            let new = NewNotice {
                nature,
                subject,
                body: read_body(&body_file)?,
                audience: AudienceSpec::Named(audience),
                questionnaire,
                finish_by: finish_by.context("--finish-by is written like 2026-09-04T13:00:00+09:00")?,
                idempotency_key: entropy::token(),
            };
            created(desk.draft(actor, &new).await?, format)?;
        }
        BroadcastCommand::Correct { id, subject, body_file } => {
            let body = read_body(&body_file)?;
            created(desk.correct(actor, id, &subject, &body, entropy::token()).await?, format)?;
        }
        BroadcastCommand::Preflight { id } => {
            let answer = desk.preflight(actor, id).await?;
            format.print(&answer, show_preflight)?;
            if !answer.ok {
                return Ok(ExitCode::from(BLOCKED));
            }
        }
        BroadcastCommand::List => status::list(installation, format).await?,
        BroadcastCommand::Status { id } => status::one(installation, id, format).await?,
        BroadcastCommand::Ledger { id, format } => ledger::write(installation, id, format).await?,
        decision => decide(installation, actor, decision, format).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Decisions of people: signatures, release, stop and what follows.
async fn decide(
    installation: &Installation,
    actor: Actor,
    command: BroadcastCommand,
    format: Format,
) -> Result<()> {
    let desk = &installation.desk;
    match command {
        BroadcastCommand::Approve { id, confirm } => {
            let answer = desk.approve(actor, id, None, confirm.as_deref()).await?;
            return format.print(&answer, show_approval);
        }
        BroadcastCommand::Stop { id: Some(id), all: _ } => {
            return format.print(&desk.stop(actor, id).await?, show_stop);
        }
        BroadcastCommand::Stop { id: None, all: _ } => {
            let answers = desk.stop_all(actor).await?.into_iter();
            let answers: Vec<StoppedAll> = answers.map(|(id, answer)| StoppedAll { id, answer }).collect();
            return format.print(&answers, |answers| {
                let line = |stopped: &StoppedAll| format!("{}: {}\n", stopped.id, show_stop(&stopped.answer));
                if answers.is_empty() {
                    "nothing was being sent".to_owned()
                } else {
                    answers.iter().map(line).collect()
                }
            });
        }
        BroadcastCommand::Settle { id, settlement, members } => {
            let settlement = match settlement {
                SettlementArg::Accepted => Settlement::Accepted,
                SettlementArg::Resend => Settlement::Resend,
            };
            let settled = desk.settle(actor, id, settlement, &members).await?;
            return format.print(&Settled { settled }, |answer| format!("{} rows settled", answer.settled));
        }
        _ => {}
    }
    let id = match command {
        BroadcastCommand::Return { id, reason } => {
            desk.return_to_author(actor, id, &reason).await.map(|()| id)?
        }
        BroadcastCommand::Reject { id, reason } => desk.reject(actor, id, &reason).await.map(|()| id)?,
        BroadcastCommand::Resume { id, reason } => desk.resume(actor, id, &reason).await.map(|()| id)?,
        BroadcastCommand::Cancel { id, reason } => desk.cancel(actor, id, &reason).await.map(|()| id)?,
        BroadcastCommand::Send { id, wait } => {
            desk.send(actor, id).await?;
            if wait {
                status::wait_until_over(installation, id).await?;
            }
            id
        }
        _ => unreachable!("invariant: every other command was answered before"),
    };
    status::one(installation, id, format).await
}

fn created(id: BroadcastId, format: Format) -> Result<()> {
    format.print(&Created { id }, |created| {
        format!("draft {id}; next: hansho broadcast preflight {id}", id = created.id)
    })
}

fn read_body(path: &Path) -> Result<String> {
    std::fs::read_to_string(path)
        .with_context(|| format!("the text {} cannot be read as UTF-8", path.display()))
}

fn show_preflight(answer: &PreflightAnswer) -> String {
    let mut out = format!(
        "{}: {} recipients, {} held, last notice at {}\n",
        if answer.ok { "passed and frozen" } else { "BLOCKED, nothing was frozen" },
        answer.recipients,
        answer.held,
        answer.forecast.finish_at.to_rfc3339()
    );
    for finding in &answer.findings {
        out += &format!("  {:?} {}: {}\n", finding.level, finding.rule, finding.text);
    }
    if let Some(digest) = &answer.digest {
        out += &format!("digest {digest}\n");
    }
    out
}

fn show_approval(answer: &ApproveAnswer) -> String {
    if answer.given >= answer.required {
        format!("approved ({} of {})", answer.given, answer.required)
    } else {
        format!("signed: {} of {}; another approver has to sign", answer.given, answer.required)
    }
}

fn show_stop(answer: &StopAnswer) -> String {
    format!(
        "stopped: {} accepted, {} prevented, {} unknown, {} rejected, {} held, {} gave up = {}",
        answer.accepted,
        answer.prevented,
        answer.unknown,
        answer.rejected,
        answer.held,
        answer.gave_up,
        answer.total
    )
}
