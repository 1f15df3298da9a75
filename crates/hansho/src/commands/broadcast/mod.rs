//! `hansho broadcast …`: the same desk as the dashboard's.

mod attempts;
mod held;
mod ledger;
mod status;

use super::actor::from_environment;
use crate::{
    cli::{BroadcastCommand, NewNoticeArgs, SettlementArg},
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
    let decided = match command {
        BroadcastCommand::Create(new) => {
            let id = desk.draft(actor, &new_notice(new)?).await?;
            return created(id, format);
        }
        BroadcastCommand::Correct { id, subject, body_file } => {
            let body = read_body(&body_file)?;
            return created(desk.correct(actor, id, &subject, &body, entropy::token()).await?, format);
        }
        BroadcastCommand::Preflight { id } => {
            let answer = desk.preflight(actor, id).await?;
            format.print(&answer, show_preflight)?;
            return Ok(if answer.ok { ExitCode::SUCCESS } else { ExitCode::from(BLOCKED) });
        }
        BroadcastCommand::List => return done(status::list(installation, format).await),
        BroadcastCommand::Ledger { id, format } => {
            return done(ledger::write(installation, id, format).await);
        }
        BroadcastCommand::Held { id, format } => return done(held::write(installation, id, format).await),
        BroadcastCommand::Attempts { id, member_no } => {
            return done(attempts::show(installation, id, &member_no, format).await);
        }
        BroadcastCommand::Approve { id, confirm } => {
            let answer = desk.approve(actor, id, None, &confirm).await?;
            return done(format.print(&answer, show_approval));
        }
        BroadcastCommand::Stop { id: Some(id), all: _ } => {
            return done(format.print(&desk.stop(actor, id).await?, show_stop));
        }
        BroadcastCommand::Stop { id: None, all: _ } => return stop_all(installation, actor, format).await,
        BroadcastCommand::Settle { id, settlement, members } => {
            let settled = desk.settle(actor, id, settlement.into(), &members).await?;
            return done(
                format.print(&Settled { settled }, |answer| format!("{} rows settled", answer.settled)),
            );
        }
        BroadcastCommand::Return { id, reason } => {
            desk.return_to_author(actor, id, &reason).await.map(|()| id)
        }
        BroadcastCommand::Reject { id, reason } => desk.reject(actor, id, &reason).await.map(|()| id),
        BroadcastCommand::Continue { id } => desk.continue_after_canary(actor, id).await.map(|()| id),
        BroadcastCommand::Resume { id, reason } => desk.resume(actor, id, &reason).await.map(|()| id),
        BroadcastCommand::Cancel { id, reason } => desk.cancel(actor, id, &reason).await.map(|()| id),
        BroadcastCommand::Send { id, wait } => {
            desk.send(actor, id).await?;
            if wait {
                status::wait_until_over(installation, id).await?;
            }
            Ok(id)
        }
        BroadcastCommand::Status { id } => Ok(id),
    };
    done(status::one(installation, decided?, format).await)
}

fn done(result: Result<()>) -> Result<ExitCode> {
    result.map(|()| ExitCode::SUCCESS)
}

async fn stop_all(installation: &Installation, actor: Actor, format: Format) -> Result<ExitCode> {
    let answers = installation.desk.stop_all(actor).await?.into_iter();
    let answers: Vec<StoppedAll> = answers.map(|(id, answer)| StoppedAll { id, answer }).collect();
    done(format.print(&answers, |answers| {
        let line = |stopped: &StoppedAll| format!("{}: {}\n", stopped.id, show_stop(&stopped.answer));
        if answers.is_empty() {
            "nothing was being sent".to_owned()
        } else {
            answers.iter().map(line).collect()
        }
    }))
}

fn new_notice(new: NewNoticeArgs) -> Result<NewNotice> {
    let finish_by = new.finish_by.as_deref().map(Timestamp::parse_rfc3339).transpose();
    Ok(NewNotice {
        nature: new.nature,
        subject: new.subject,
        body: read_body(&new.body_file)?,
        audience: AudienceSpec::Named(new.audience),
        questionnaire: new.questionnaire,
        finish_by: finish_by.context("--finish-by is written like 2026-09-04T13:00:00+09:00")?,
        idempotency_key: entropy::token(),
    })
}

fn created(id: BroadcastId, format: Format) -> Result<ExitCode> {
    done(format.print(&Created { id }, |created| {
        format!("draft {id}; next: hansho broadcast preflight {id}", id = created.id)
    }))
}

impl From<SettlementArg> for Settlement {
    fn from(word: SettlementArg) -> Self {
        match word {
            SettlementArg::Accepted => Self::Accepted,
            SettlementArg::Resend => Self::Resend,
        }
    }
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
