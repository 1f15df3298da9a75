//! The sweep ends what is over: drained broadcasts, passed time limits, dead workers' rows.

use crate::{Broadcaster, retry::Backoff};
use domain::BroadcastState;
use std::time::Duration;
use store::{Broadcast, Engine, StoreError, TimeLimit, Worker};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

const SWEEP_INTERVAL: Duration = Duration::from_millis(250);

pub(crate) async fn run(broadcaster: Broadcaster, worker: Worker, shutdown: CancellationToken) {
    let mut backoff = Backoff::new(SWEEP_INTERVAL, Duration::from_secs(5));
    while !shutdown.is_cancelled() {
        let wait = match sweep(&broadcaster, worker).await {
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
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

async fn sweep(broadcaster: &Broadcaster, worker: Worker) -> Result<(), StoreError> {
    let store = &broadcaster.store;
    if store.engine() == Engine::Postgres {
        broadcaster.recover_abandoned(worker).await?;
    }
    store.forget_seats(&broadcaster.settings.limits).await?;
    for broadcast in store.broadcasts_in(BroadcastState::Sending).await? {
        sweep_one(broadcaster, &broadcast).await?;
    }
    Ok(())
}

async fn sweep_one(broadcaster: &Broadcaster, broadcast: &Broadcast) -> Result<(), StoreError> {
    let (store, id, now) = (&broadcaster.store, broadcast.id, broadcaster.clock.now());
    let finished = broadcast.finish_by.is_some_and(|end| end < now);
    if finished {
        store.run_out_of_time(id, TimeLimit::FinishBy, now).await?;
    }
    let retries_end = broadcast.released_at.map(|at| at.plus(broadcaster.settings.retry_for));
    let retries_over = retries_end.is_some_and(|end| end < now);
    if retries_over {
        store.run_out_of_time(id, TimeLimit::RetryFor, now).await?;
    }
    let in_time = !finished && !retries_over;
    if in_time {
        broadcaster.apply_unknown_policy(id, now).await?;
    }
    if store.complete_if_drained(id, now).await? {
        // The last open row may have become unknown since the policy looked: then it goes on.
        if !in_time || broadcaster.apply_unknown_policy(id, now).await? == 0 {
            info!(broadcast.id = %id, "broadcast completed");
        }
    }
    Ok(())
}
