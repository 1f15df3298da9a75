//! `hansho member …`: the registry.

use super::actor::from_environment;
use crate::{
    cli::{ImportModeArg, MemberCommand, TestRosterCommand},
    installation::Installation,
    output::Format,
};
use anyhow::{Context, Result};
use domain::{Actor, FiscalYear, RequestKind};
use registry::{ImportMode, ImportReport, apply, plan, read_roster};
use serde::Serialize;
use std::{fmt::Write, path::Path};
use store::{LedgerRow, Member, MemberQuery, MemberWithYears, StoreError};

/// A terminal page's worth; the JSON has the same, with the total beside it.
const LIST_MAX: u32 = 200;
/// Rejected rows shown to people; the JSON has all.
const REJECTED_SHOWN_MAX: usize = 20;
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

#[derive(Serialize)]
struct HistoryRow {
    broadcast: i64,
    state: String,
    submitted_at: Option<String>,
}

pub(super) async fn run(installation: &Installation, command: MemberCommand, format: Format) -> Result<()> {
    let actor = from_environment(installation).await?;
    match command {
        MemberCommand::Import { file, fiscal_year, mode, apply } => {
            let report = import(installation, actor, &file, fiscal_year, mode, apply).await?;
            format.print(&report, show_report)
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
            let (store, now) = (&installation.store, installation.clock.now());
            let member = find(installation, &member_no).await?.member.id;
            if lift {
                store.lift_suppression(actor, member, now).await?;
            } else {
                store.suppress(actor, member, now).await?;
            }
            let view = view(installation, &member_no).await?;
            format.print(&view, show_member)
        }
        MemberCommand::Test(command) => test_roster(installation, actor, command, format).await,
    }
}

async fn find(installation: &Installation, member_no: &str) -> Result<MemberWithYears> {
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

/// Plans an import and, where asked, applies it. The demonstration imports the same way.
pub(crate) async fn import(
    installation: &Installation,
    actor: Actor,
    file: &Path,
    fiscal_year: Option<i32>,
    mode: ImportModeArg,
    do_apply: bool,
) -> Result<ImportReport> {
    let bytes =
        std::fs::read(file).with_context(|| format!("the roster {} cannot be read", file.display()))?;
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let roster = read_roster(&bytes, &name)?;
    let now = installation.clock.now();
    let year =
        fiscal_year.map_or_else(|| now.fiscal_year(installation.config.site.time_zone), FiscalYear::new);
    let mode = match mode {
        ImportModeArg::Merge => ImportMode::Merge,
        ImportModeArg::Full => ImportMode::Full,
    };
    let plan = plan(&installation.store, &roster, year, mode).await?;
    if do_apply {
        return Ok(apply(&installation.store, actor, &plan, now).await?);
    }
    Ok(plan.report().clone())
}

/// A report as people read it.
pub(crate) fn show_report(report: &ImportReport) -> String {
    let mut out = String::new();
    let verb = if report.applied { "imported" } else { "plan (nothing was changed; --apply does it)" };
    let _infallible = writeln!(
        out,
        "{verb}: {} added, {} updated, {} unchanged, {} left, {} rejected [{}]",
        report.added,
        report.updated,
        report.unchanged,
        report.left,
        report.rejected.len(),
        report.encoding
    );
    let excluded = &report.excluded;
    let _infallible = writeln!(
        out,
        "in no audience: {} withdrawn, {} suspended, {} deceased, {} of other years only",
        excluded.withdrawn, excluded.suspended, excluded.deceased, excluded.other_years
    );
    for rejected in report.rejected.iter().take(REJECTED_SHOWN_MAX) {
        let _infallible = writeln!(out, "  row {:>5}: {}", rejected.row, rejected.reason);
    }
    if report.rejected.len() > REJECTED_SHOWN_MAX {
        let _infallible =
            writeln!(out, "  … and {} more (--json lists all)", report.rejected.len() - REJECTED_SHOWN_MAX);
    }
    out
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
