//! `broadcast ledger`: one row per recipient, as CSV or JSON lines, page by page.

use crate::{cli::TableFormat, installation::Installation};
use anyhow::Result;
use domain::BroadcastId;
use report::{CsvPages, LedgerLine};
use std::io::{BufWriter, Write};
use store::{LedgerFilter, StoreError};

const PAGE: i64 = 2_000;

pub(super) async fn write(installation: &Installation, id: BroadcastId, format: TableFormat) -> Result<()> {
    if installation.store.broadcast(id).await?.is_none() {
        return Err(StoreError::not_found("broadcast", id).into());
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut csv = CsvPages::default();
    let mut after = 0;
    loop {
        let page = installation.store.ledger_page(id, LedgerFilter::default(), after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        match format {
            TableFormat::Csv => out.write_all(&csv.page(page.into_iter().map(LedgerLine::from))?)?,
            TableFormat::Jsonl => {
                for row in page {
                    writeln!(out, "{}", serde_json::to_string(&LedgerLine::from(row))?)?;
                }
            }
        }
    }
    Ok(out.flush()?)
}
