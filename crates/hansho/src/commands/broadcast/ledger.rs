//! `broadcast ledger`: one row per recipient, as CSV or JSON lines, page by page.

use crate::{cli::TableFormat, installation::Installation, output::Table};
use anyhow::Result;
use domain::BroadcastId;
use report::LedgerLine;
use store::{LedgerFilter, StoreError};

const PAGE: i64 = 2_000;

pub(super) async fn write(installation: &Installation, id: BroadcastId, format: TableFormat) -> Result<()> {
    if installation.store.broadcast(id).await?.is_none() {
        return Err(StoreError::not_found("broadcast", id).into());
    }
    let mut table = Table::begin(format)?;
    let mut after = 0;
    loop {
        let page = installation.store.ledger_page(id, LedgerFilter::default(), after, PAGE).await?;
        let Some(last) = page.last() else { return table.end() };
        after = last.id;
        table.page(page.into_iter().map(LedgerLine::from))?;
    }
}
