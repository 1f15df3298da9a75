//! The sweep ends what is over: drained broadcasts, passed time limits, dead workers' rows.

use crate::{Broadcaster, retry::Backoff, shift::Shift, stream::Dial};
use domain::BroadcastState;
use std::{sync::Arc, time::Duration};
use store::{Broadcast, Ledger, StoreError, TimeLimit, Worker};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) async fn run<L: Ledger, D: Dial>(
    broadcaster: Broadcaster<L, D>,
    shift: Arc<Shift>,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new(SWEEP_INTERVAL, Duration::from_secs(5));
    while !shutdown.is_cancelled() {
        let wait = match sweep(&broadcaster, shift.worker()).await {
            Ok(()) => {
                backoff = Backoff::new(SWEEP_INTERVAL, Duration::from_secs(5));
                SWEEP_INTERVAL
            }
            Err(problem) => {
                error!(error = &problem as &dyn std::error::Error, "sweep failed; trying again");
                backoff.next()
            }
        };
        tokio::select! {
            biased;
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

async fn sweep<L: Ledger, D: Dial>(
    broadcaster: &Broadcaster<L, D>,
    worker: Worker,
) -> Result<(), StoreError> {
    let ledger = &broadcaster.ledger;
    broadcaster.recover_abandoned(worker).await?;
    ledger.forget_seats(&broadcaster.settings.limits).await?;
    for broadcast in ledger.broadcasts_in(BroadcastState::Sending).await? {
        sweep_one(broadcaster, &broadcast).await?;
    }
    Ok(())
}

async fn sweep_one<L: Ledger, D: Dial>(
    broadcaster: &Broadcaster<L, D>,
    broadcast: &Broadcast,
) -> Result<(), StoreError> {
    let (ledger, id, now) = (&broadcaster.ledger, broadcast.id, broadcaster.clock.now());
    let finished = broadcast.finish_by.is_some_and(|end| end < now);
    if finished {
        ledger.run_out_of_time(id, TimeLimit::FinishBy, now).await?;
    }
    let retries_end = broadcast.released_at.map(|at| at.plus(broadcaster.settings.retry_for));
    let retries_over = retries_end.is_some_and(|end| end < now);
    if retries_over {
        ledger.run_out_of_time(id, TimeLimit::RetryFor, now).await?;
    }
    let in_time = !finished && !retries_over;
    if in_time {
        broadcaster.apply_unknown_policy(id, now).await?;
    }
    if ledger.complete_if_drained(id, now).await? {
        // The last open row may have become unknown since the policy looked: then it goes on.
        if !in_time || broadcaster.apply_unknown_policy(id, now).await? == 0 {
            info!(broadcast.id = %id, "broadcast completed");
        }
    }
    Ok(())
}
