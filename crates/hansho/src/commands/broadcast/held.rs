//! `broadcast held`: whom a broadcast leaves out and why, as CSV or JSON lines.

use crate::{cli::TableFormat, installation::Installation, output::Table};
use anyhow::Result;
use domain::BroadcastId;
use report::HeldExport;
use store::StoreError;

pub(super) async fn write(installation: &Installation, id: BroadcastId, format: TableFormat) -> Result<()> {
    if installation.store.broadcast(id).await?.is_none() {
        return Err(StoreError::not_found("broadcast", id).into());
    }
    let mut table = Table::begin(format)?;
    let mut held = HeldExport::new(&installation.store, id);
    loop {
        let page = held.next_page().await?;
        if page.is_empty() {
            return table.end();
        }
        table.page(page)?;
    }
}
