//! `hansho reply …`: what came back.

use crate::{
    cli::{ReplyCommand, TableFormat},
    installation::Installation,
    output::{Format, Table},
};
use anyhow::{Context, Result};
use domain::{ReplyClass, spreadsheet_safe};
use replybox::{ReplyFilter, ReplySummary, StoredReply};
use report::ReplyExport;
use serde::Serialize;
use std::path::PathBuf;
use store::StoreError;

#[derive(Serialize)]
struct Row {
    id: i64,
    received_at: String,
    broadcast: i64,
    member: i64,
    class: ReplyClass,
    status: Option<String>,
    subject: String,
    excerpt: String,
}

#[derive(Serialize)]
struct Full {
    #[serde(flatten)]
    row: Row,
    from: String,
    text: String,
    sha256: String,
}

pub(super) async fn run(installation: &Installation, command: ReplyCommand, format: Format) -> Result<()> {
    match command {
        ReplyCommand::List { class, limit } => {
            let filter = ReplyFilter { class, broadcast: None };
            let replies = installation.replybox.page(filter, None, limit).await?;
            let rows: Vec<Row> = replies.into_iter().map(row).collect();
            format.print(&rows, |rows| {
                rows.iter()
                    .map(|r| {
                        format!("{:>6} {} {:<12} {}\n", r.id, r.received_at, r.class, printable(&r.subject))
                    })
                    .collect()
            })
        }
        ReplyCommand::Show { id } => {
            let found = installation.replybox.get(id).await?;
            let StoredReply { summary, body_text, sha256, .. } =
                found.ok_or_else(|| StoreError::not_found("reply", id))?;
            let from = summary.from_header.clone();
            let full = Full { row: row(summary), from, text: body_text, sha256 };
            format.print(&full, |full| {
                format!(
                    "{} {}\n{}\n\n{}",
                    full.row.id,
                    full.row.class,
                    printable(&full.row.subject),
                    printable(&full.text)
                )
            })
        }
        ReplyCommand::Export { class, broadcast, format } => {
            export(installation, ReplyFilter { class, broadcast }, format).await
        }
        ReplyCommand::Classify { files } => classify(&files),
    }
}

async fn export(installation: &Installation, filter: ReplyFilter, format: TableFormat) -> Result<()> {
    let mut table = Table::begin(format)?;
    let mut export = ReplyExport::new(&installation.store, &installation.replybox, filter);
    loop {
        let page = export.next_page().await?;
        if page.is_empty() {
            return table.end();
        }
        table.page(page)?;
    }
}

/// A CSV table with `path` and `label` of each raw mail file.
pub(super) fn classify(files: &[PathBuf]) -> Result<()> {
    let mut out = csv::Writer::from_writer(std::io::stdout().lock());
    out.write_record(["path", "label"])?;
    for file in files {
        let raw =
            std::fs::read(file).with_context(|| format!("the mail {} cannot be read", file.display()))?;
        let label = sink::classify::classify(&raw).class;
        out.write_record([spreadsheet_safe(&file.to_string_lossy()).as_str(), label.as_str()])?;
    }
    Ok(out.flush()?)
}

fn row(reply: ReplySummary) -> Row {
    Row {
        id: reply.id.get(),
        received_at: reply.received_at.to_rfc3339(),
        broadcast: reply.broadcast.get(),
        member: reply.member.get(),
        class: reply.class,
        status: reply.status,
        subject: reply.subject,
        excerpt: reply.excerpt,
    }
}

/// A stranger's text must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}
