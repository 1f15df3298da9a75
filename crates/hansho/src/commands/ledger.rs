//! `hansho ledger verify`: every broadcast's rows add up and are the ones that were signed.

use crate::{cli::LedgerCommand, installation::Installation, output::Format};
use anyhow::{Context, Result, bail};
use domain::BroadcastId;
use notice::{DigestBuilder, Terms};
use serde::Serialize;
use std::fmt::Write;

#[derive(Serialize)]
struct Verified {
    ok: bool,
    broadcasts: usize,
    rows: u64,
    /// Broadcasts that are over and of which rows were erased: their digest cannot be computed.
    erased: Vec<Erased>,
}

#[derive(Serialize)]
struct Erased {
    broadcast: BroadcastId,
    rows: u64,
}

pub(super) async fn run(installation: &Installation, command: &LedgerCommand, format: Format) -> Result<()> {
    let LedgerCommand::Verify = command;
    let verified = verify(installation).await?;
    format.print(&verified, show)
}

async fn verify(installation: &Installation) -> Result<Verified> {
    let store = &installation.store;
    let (mut broadcasts, mut rows) = (0, 0);
    let mut erased = Vec::new();
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
        broadcasts += 1;
        rows += total;
        let cleared = if broadcast.state.is_over() { store.cleared_rows(id).await? } else { 0 };
        if cleared > 0 {
            erased.push(Erased { broadcast: id, rows: cleared });
            continue;
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
    }
    Ok(Verified { ok: true, broadcasts, rows, erased })
}

fn show(verified: &Verified) -> String {
    let Verified { broadcasts, rows, erased, .. } = verified;
    let all = if erased.is_empty() { "all as signed" } else { "all but these as signed" };
    let mut out = format!("{broadcasts} broadcasts, {rows} rows: all add up, {all}");
    for Erased { broadcast, rows } in erased {
        let _infallible = write!(
            out,
            "\nbroadcast {broadcast}: {rows} rows were erased; its digest can no longer be computed"
        );
    }
    out
}
