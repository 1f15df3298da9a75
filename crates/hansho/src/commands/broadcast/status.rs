//! `broadcast status|list`: counts that add up.

use crate::{installation::Installation, output::Format};
use anyhow::Result;
use domain::{BroadcastId, BroadcastState, Nature, Tally};
use serde::Serialize;
use std::time::Duration;
use store::{Broadcast, Canary, StoreError};

const LIST_MAX: i64 = 200;
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

#[derive(Serialize)]
struct Status {
    id: BroadcastId,
    state: BroadcastState,
    nature: Nature,
    subject: String,
    total: u64,
    #[serde(flatten)]
    tally: Tally,
    /// The first batch, while the rest waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<Canary>,
}

pub(super) async fn one(installation: &Installation, id: BroadcastId, format: Format) -> Result<()> {
    let broadcast = find(installation, id).await?;
    format.print(&status_of(installation, broadcast).await?, show)
}

pub(super) async fn list(installation: &Installation, format: Format) -> Result<()> {
    let mut all = Vec::new();
    for broadcast in installation.store.broadcasts(LIST_MAX).await? {
        all.push(status_of(installation, broadcast).await?);
    }
    format.print(&all, |all| all.iter().map(|status| show(status) + "\n").collect())
}

/// Resolves when the broadcast is neither approved nor sending any more.
pub(super) async fn wait_until_over(installation: &Installation, id: BroadcastId) -> Result<()> {
    while find(installation, id).await?.state == BroadcastState::Sending {
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
    Ok(())
}

async fn find(installation: &Installation, id: BroadcastId) -> Result<Broadcast> {
    Ok(installation.store.broadcast(id).await?.ok_or_else(|| StoreError::not_found("broadcast", id))?)
}

async fn status_of(installation: &Installation, broadcast: Broadcast) -> Result<Status> {
    let tally = installation.store.tally(broadcast.id).await?;
    Ok(Status {
        id: broadcast.id,
        state: broadcast.state,
        nature: broadcast.nature,
        subject: broadcast.subject,
        total: tally.total(),
        tally,
        canary: broadcast.canary,
    })
}

fn show(status: &Status) -> String {
    let t = status.tally;
    let mut line = format!(
        "{} [{}] {} {}\n  {} = {} accepted + {} pending + {} submitting + {} deferred + {} rejected + {} unknown \
         + {} held + {} gave up + {} cancelled",
        status.id,
        status.nature,
        status.state,
        status.subject,
        status.total,
        t.accepted,
        t.pending,
        t.submitting,
        t.deferred,
        t.rejected,
        t.unknown,
        t.held,
        t.gave_up,
        t.cancelled
    );
    if let Some(canary) = &status.canary {
        let then = canary.until.map_or("somebody says so".to_owned(), |at| {
            format!("{} if they were accepted, or somebody says so", at.to_rfc3339())
        });
        line += &format!(
            "\n  the first {} go; the others wait until {then}: hansho broadcast continue {}",
            canary.recipients, status.id
        );
    }
    line
}
