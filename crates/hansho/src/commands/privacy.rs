//! `hansho member export`, `erase` and `readmit`: one person's data, taken out, taken away, and the
//! way back.

use super::{init::new_private, member::find};
use crate::{installation::Installation, output::Format};
use anyhow::{Context, Result};
use domain::{Actor, BroadcastId, EmailAddress, MemberNo, Refusal, Rule};
use report::{PersonalData, PersonalDocument};
use serde::Serialize;
use std::{
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

/// What erasing concerns.
#[derive(Serialize)]
struct Erasing {
    member: i64,
    /// It was asked for: without `--yes` nothing is.
    asked: bool,
    /// Nothing of the person is left in either database.
    done: bool,
    /// Broadcasts that are not over.
    waits_for: Vec<BroadcastId>,
    /// How much there is, before.
    notices: usize,
    answers: usize,
    requests: usize,
    replies: usize,
}

#[derive(Serialize)]
struct Exported {
    file: PathBuf,
}

#[derive(Serialize)]
struct Readmitted {
    /// Number and mailbox, as far as they were known.
    keys: u64,
}

/// One JSON document, on stdout or in a new file.
pub(super) async fn export(
    installation: &Installation,
    actor: Actor,
    member_no: &str,
    out: Option<&Path>,
    format: Format,
) -> Result<()> {
    may_see(actor)?;
    let data = read(installation, member_no).await?;
    let document = PersonalDocument::new(&data, Some(&installation.replybox));
    let now = installation.clock.now();
    let object = format!("member:{}", data.member.id);
    installation.store.record(actor, "member-exported", object, now).await?;
    let Some(path) = out else { return write(document, io::stdout().lock()).await };
    let file = new_private(path)?;
    let written = match write(document, &file).await {
        Ok(()) => file.sync_all().with_context(|| format!("{} cannot be written to the end", path.display())),
        Err(problem) => Err(problem),
    };
    written.map_err(|problem| without_the_part(path, problem))?;
    format.print(&Exported { file: path.to_owned() }, |made| format!("written to {}", made.file.display()))
}

async fn write(mut document: PersonalDocument<'_>, mut out: impl io::Write) -> Result<()> {
    while let Some(piece) = document.next_piece().await? {
        out.write_all(piece.as_bytes())?;
    }
    Ok(out.flush()?)
}

/// A part of a document holds a person's data, and stands in the way of the next try.
fn without_the_part(path: &Path, problem: anyhow::Error) -> anyhow::Error {
    match fs::remove_file(path) {
        Ok(()) => problem,
        Err(left) => {
            let path = path.display();
            problem.context(format!("{path} holds a part of the data and cannot be removed ({left})"))
        }
    }
}

/// Asks for it and does it at once where nothing stands in the way; without `yes` only says what.
pub(super) async fn erase(
    installation: &Installation,
    actor: Actor,
    member_no: &str,
    yes: bool,
    format: Format,
) -> Result<()> {
    let store = &installation.store;
    let data = read(installation, member_no).await?;
    let member = domain::MemberId::new(data.member.id);
    let mut erasing = Erasing {
        member: member.get(),
        asked: yes,
        done: false,
        waits_for: Vec::new(),
        notices: data.notices.len(),
        answers: data.answers.len(),
        requests: data.requests.len(),
        replies: data.replies.len(),
    };
    if yes {
        store.ask_erasure(actor, member, installation.clock.now()).await?;
        erasing.waits_for = installation.retention().await?.erase_one(actor, member).await?;
        erasing.done = erasing.waits_for.is_empty();
    } else {
        erasing.waits_for = store.erasure_waits_for(member).await?;
    }
    format.print(&erasing, show)
}

/// The way back for whom a roster may bring again.
pub(super) async fn readmit(
    installation: &Installation,
    actor: Actor,
    member_no: &str,
    address: Option<&str>,
    format: Format,
) -> Result<()> {
    let number: MemberNo = member_no.parse()?;
    let mut keys = installation.keyring.erased_numbers(&number);
    if let Some(address) = address {
        let address = EmailAddress::parse(address).context("--address is not an e-mail address")?;
        keys.extend(installation.keyring.erased_mailboxes(&address));
    }
    let known = installation.store.readmit(actor, &keys, installation.clock.now()).await?;
    format.print(&Readmitted { keys: known }, |readmitted| match readmitted.keys {
        0 => "nobody with this number or address was erased; nothing was changed".to_owned(),
        keys => format!("{keys} of number and address may come again with the next import"),
    })
}

async fn read(installation: &Installation, member_no: &str) -> Result<PersonalData> {
    let Installation { store, replybox, clock, .. } = installation;
    let member = find(installation, member_no).await?.member.id;
    let data = PersonalData::read(store, Some(replybox), member, clock.now()).await?;
    data.with_context(|| format!("member {member_no} has just been erased"))
}

/// Whoever may see addresses may take one person's data out (law 12).
fn may_see(actor: Actor) -> Result<(), Refusal> {
    match actor {
        Actor::LocalEngineer => Ok(()),
        Actor::Staff { role, .. } if role.may_see_addresses() => Ok(()),
        Actor::Staff { .. } | Actor::Scheduler => {
            let text = "only a coordinator or an engineer takes a member's data out";
            Err(Refusal::new(Rule::Role, text, "ask a coordinator"))
        }
    }
}

fn show(erasing: &Erasing) -> String {
    let Erasing { notices, answers, requests, replies, .. } = erasing;
    let mut out = String::new();
    if erasing.done {
        out += "erased";
    } else if erasing.asked {
        out += "asked; it is done by the service as soon as the broadcasts below are over";
    } else {
        out += "nothing was changed; --yes erases for good";
    }
    let _infallible = write!(
        out,
        "\ngoes:  registry, memberships, test roster, suppression; number, address and fields in {notices} ledger \
         rows; what was written in {answers} answers; {replies} replies\n\
         stays: the {notices} rows with their outcome under a pseudonym, what was chosen in {answers} answers, \
         {requests} requests by kind, the log's ids, and a keyed hash of number and address\n\
         not reached: backups, exported files, and what the relay and the mail servers keep"
    );
    for broadcast in &erasing.waits_for {
        let _infallible = write!(out, "\nwaits for broadcast {broadcast}");
    }
    out
}
