//! `hansho ledger verify`: every broadcast's rows add up and are the ones that were signed.

use crate::{cli::LedgerCommand, installation::Installation, output::Format};
use anyhow::{Context, Result, bail};
use notice::{DigestBuilder, Terms};
use serde::Serialize;

#[derive(Serialize)]
struct Verified {
    ok: bool,
    broadcasts: usize,
    rows: u64,
}

pub(super) async fn run(installation: &Installation, command: &LedgerCommand, format: Format) -> Result<()> {
    let LedgerCommand::Verify = command;
    let verified = verify(installation).await?;
    format.print(&verified, |v| {
        format!("{} broadcasts, {} rows: all add up, all as signed", v.broadcasts, v.rows)
    })
}

async fn verify(installation: &Installation) -> Result<Verified> {
    let store = &installation.store;
    let (mut broadcasts, mut rows) = (0, 0);
    for broadcast in store.broadcasts(i64::MAX).await? {
        let Some(signed) = broadcast.digest else { continue };
        let id = broadcast.id;
        let total = store.tally(id).await?.total();
        let frozen = broadcast.recipients + broadcast.held;
        if total != frozen {
            bail!(
                "broadcast {id}: {total} rows, but {frozen} were frozen; stop it and keep this database as evidence"
            );
        }
        let terms: Terms =
            serde_json::from_str(&broadcast.terms).with_context(|| format!("broadcast {id}: terms"))?;
        let mut digest = DigestBuilder::new(&terms);
        store.each_frozen_row(id, |row| digest.row(row)).await?;
        if digest.finish() != signed {
            bail!(
                "broadcast {id}: its rows are not what was signed; stop it and keep this database as evidence"
            );
        }
        broadcasts += 1;
        rows += total;
    }
    Ok(Verified { ok: true, broadcasts, rows })
}
