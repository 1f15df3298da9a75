//! `broadcast ledger`: one row per recipient, as CSV or JSON lines, page by page.

use crate::{cli::LedgerFormat, installation::Installation};
use anyhow::Result;
use domain::{BroadcastId, Timestamp};
use serde::Serialize;
use std::io::{BufWriter, Write};
use store::{LedgerFilter, LedgerRow, StoreError};

const PAGE: i64 = 2_000;

#[derive(Serialize)]
struct Line {
    member_no: String,
    address: String,
    state: String,
    attempts: i64,
    smtp_code: Option<i64>,
    enhanced_code: Option<String>,
    reply: Option<String>,
    message_id: String,
    relay: Option<String>,
    submitted_at: Option<String>,
    settled_at: Option<String>,
}

pub(super) async fn write(installation: &Installation, id: BroadcastId, format: LedgerFormat) -> Result<()> {
    if installation.store.broadcast(id).await?.is_none() {
        return Err(StoreError::not_found("broadcast", id).into());
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut csv = csv::Writer::from_writer(Vec::new());
    let mut after = 0;
    loop {
        let page = installation.store.ledger_page(id, LedgerFilter::default(), after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        for row in page {
            match format {
                LedgerFormat::Csv => csv.serialize(without_formulas(line(row)))?,
                LedgerFormat::Jsonl => writeln!(out, "{}", serde_json::to_string(&line(row))?)?,
            }
        }
        csv.flush()?;
        out.write_all(csv.get_ref())?;
        csv = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    }
    Ok(out.flush()?)
}

fn line(row: LedgerRow) -> Line {
    let time = |ms: i64| Timestamp::from_millis(ms).to_rfc3339();
    Line {
        member_no: row.member_no,
        address: row.address,
        state: row.state,
        attempts: row.attempts,
        smtp_code: row.smtp_code,
        enhanced_code: row.enhanced_code,
        reply: row.reply,
        message_id: row.message_id,
        relay: row.relay,
        submitted_at: row.submitted_at.map(time),
        settled_at: row.settled_at.map(time),
    }
}

/// What a relay or a roster wrote must not become a formula in a spreadsheet.
fn without_formulas(mut line: Line) -> Line {
    line.member_no = domain::spreadsheet_safe(&line.member_no);
    line.address = domain::spreadsheet_safe(&line.address);
    line.reply = line.reply.as_deref().map(domain::spreadsheet_safe);
    line
}
