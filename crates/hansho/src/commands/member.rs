//! `hansho member …`: the registry.

use super::{actor::from_environment, import, privacy};
use crate::{
    cli::{MemberCommand, TestRosterCommand},
    installation::Installation,
    output::Format,
};
use anyhow::Result;
use domain::{Actor, RequestKind};
use serde::Serialize;
use std::fmt::Write;
use store::{LedgerRow, Member, MemberQuery, MemberWithYears, StoreError};

/// A terminal page's worth; the JSON has the same, with the total beside it.
const LIST_MAX: u32 = 200;
const HISTORY_MAX: i64 = 50;

#[derive(Serialize)]
struct MemberRow {
    member_no: String,
    name: String,
    address: Option<String>,
    prefecture: Option<&'static str>,
    facility: String,
    status: domain::MemberStatus,
}

#[derive(Serialize)]
struct MemberList {
    total: u64,
    members: Vec<MemberRow>,
}

#[derive(Serialize)]
struct MemberView {
    member: MemberRow,
    fiscal_years: Vec<i32>,
    /// Why nothing is sent to this member.
    suppressed: Option<RequestKind>,
    history: Vec<HistoryRow>,
}

/// What was just decided about what is sent to a member.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Decided {
    Suppressed,
    /// What stood beside it stands on.
    ErasureWithdrawn,
    Lifted,
    NothingToLift,
}

#[derive(Serialize)]
struct SuppressView {
    done: Decided,
    /// Everything that keeps notices from the member now.
    left: Vec<RequestKind>,
    #[serde(flatten)]
    view: MemberView,
}

#[derive(Serialize)]
struct HistoryRow {
    broadcast: i64,
    state: String,
    submitted_at: Option<String>,
}

pub(super) async fn run(installation: &Installation, command: MemberCommand, format: Format) -> Result<()> {
    let actor = from_environment(installation).await?;
    match command {
        MemberCommand::Import(args) => {
            let report = import::run(installation, actor, &args).await?;
            format.print(&report, import::show_report)
        }
        MemberCommand::List { search } => {
            let query =
                MemberQuery { text: &search, status: None, fiscal_year: None, offset: 0, limit: LIST_MAX };
            let page = installation.store.search_members(&query).await?;
            let list = MemberList { total: page.total, members: page.members.into_iter().map(row).collect() };
            format.print(&list, show_list)
        }
        MemberCommand::Show { member_no } => {
            let view = view(installation, &member_no).await?;
            format.print(&view, show_member)
        }
        MemberCommand::Suppress { member_no, lift } => {
            let decided = suppress(installation, actor, &member_no, lift).await?;
            format.print(&decided, show_decided)
        }
        MemberCommand::Export { member_no, out } => {
            privacy::export(installation, actor, &member_no, out.as_deref(), format).await
        }
        MemberCommand::Erase { member_no, yes } => {
            privacy::erase(installation, actor, &member_no, yes, format).await
        }
        MemberCommand::Readmit { member_no, address } => {
            privacy::readmit(installation, actor, &member_no, address.as_deref(), format).await
        }
        MemberCommand::Test(command) => test_roster(installation, actor, command, format).await,
    }
}

/// Sends nothing more, or takes one step back: what stood before an erasure is lifted by a word of its own.
async fn suppress(
    installation: &Installation,
    actor: Actor,
    member_no: &str,
    lift: bool,
) -> Result<SuppressView> {
    let (store, now) = (&installation.store, installation.clock.now());
    let member = find(installation, member_no).await?.member;
    let done = if !lift {
        store.suppress(actor, member.id, now).await?;
        Decided::Suppressed
    } else if store.withdraw_erasure(actor, member.id, now).await? {
        Decided::ErasureWithdrawn
    } else if store.lift_suppression(actor, member.id, now).await? {
        Decided::Lifted
    } else {
        Decided::NothingToLift
    };
    let mut left = store.suppressions_of(member.id).await?;
    left.retain(|found| found.holds_for(member.data.address.as_ref()));
    let left = left.into_iter().map(|found| found.kind).collect();
    Ok(SuppressView { done, left, view: view(installation, member_no).await? })
}

pub(super) async fn find(installation: &Installation, member_no: &str) -> Result<MemberWithYears> {
    let found = installation.store.member_by_no(&member_no.parse()?).await?;
    Ok(found.ok_or_else(|| StoreError::not_found("member", member_no))?)
}

async fn view(installation: &Installation, member_no: &str) -> Result<MemberView> {
    let store = &installation.store;
    let found = find(installation, member_no).await?;
    Ok(MemberView {
        fiscal_years: found.years.iter().map(|year| year.get()).collect(),
        suppressed: store.suppression_of(&found.member).await?.map(|found| found.kind),
        history: store
            .ledger_of_member(found.member.id, HISTORY_MAX)
            .await?
            .into_iter()
            .map(history_row)
            .collect(),
        member: row(found.member),
    })
}

async fn test_roster(
    installation: &Installation,
    actor: Actor,
    command: TestRosterCommand,
    format: Format,
) -> Result<()> {
    let now = installation.clock.now();
    match command {
        TestRosterCommand::Add { member_no } => {
            installation.store.add_to_test_roster(actor, &member_no.parse()?, now).await?;
        }
        TestRosterCommand::Remove { member_no } => {
            installation.store.remove_from_test_roster(actor, &member_no.parse()?, now).await?;
        }
        TestRosterCommand::List => {}
    }
    let members: Vec<MemberRow> = installation.store.test_roster().await?.into_iter().map(row).collect();
    let list = MemberList { total: members.len() as u64, members };
    format.print(&list, show_list)
}

fn row(member: Member) -> MemberRow {
    let data = member.data;
    MemberRow {
        member_no: data.member_no.to_string(),
        name: data.name,
        address: data.address.map(|address| address.reveal()),
        prefecture: data.prefecture.map(domain::Prefecture::name),
        facility: data.facility,
        status: data.status,
    }
}

fn history_row(row: LedgerRow) -> HistoryRow {
    let at = row.submitted_at.map(|ms| domain::Timestamp::from_millis(ms).to_rfc3339());
    HistoryRow { broadcast: row.broadcast_id, state: row.state, submitted_at: at }
}

fn show_list(list: &MemberList) -> String {
    let mut out = format!("{} members\n", list.total);
    for member in &list.members {
        let _infallible = writeln!(
            out,
            "{:<12} {} {} {} [{}]",
            member.member_no,
            member.name,
            member.prefecture.unwrap_or("—"),
            member.facility,
            member.status
        );
    }
    out
}

fn show_decided(decided: &SuppressView) -> String {
    let done = match decided.done {
        Decided::Suppressed => "nothing is sent to this member any more",
        Decided::ErasureWithdrawn => "the erasure is withdrawn",
        Decided::Lifted => "what kept notices from this member is lifted",
        Decided::NothingToLift => "nothing was changed: there is nothing to lift",
    };
    let mut out = format!("{done}\n");
    if let (Decided::ErasureWithdrawn, Some(kind)) = (decided.done, decided.left.first()) {
        let _infallible = writeln!(out, "still nothing is sent ({kind}); --lift once more lifts that");
    }
    out + &show_member(&decided.view)
}

fn show_member(view: &MemberView) -> String {
    let mut out = String::new();
    let member = &view.member;
    let _infallible = writeln!(
        out,
        "{} {} [{}]\n{} {}\n{}\nfiscal years: {:?}",
        member.member_no,
        member.name,
        member.status,
        member.prefecture.unwrap_or("—"),
        member.facility,
        member.address.as_deref().unwrap_or("no address"),
        view.fiscal_years
    );
    if let Some(kind) = view.suppressed {
        let _infallible = writeln!(out, "nothing is sent ({kind})");
    }
    for row in &view.history {
        let _infallible = writeln!(
            out,
            "broadcast {:>4}: {} {}",
            row.broadcast,
            row.state,
            row.submitted_at.as_deref().unwrap_or("")
        );
    }
    out
}
