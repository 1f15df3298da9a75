//! This process as a worker of the ledger: registered, heard of every few seconds, and under a new
//! name where others took it for dead. Between two beats it knows for how long its rows are its own.

use crate::{Broadcaster, stream::Dial};
use std::{
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use store::{Ledger, SILENCE_MAX, StoreError, Worker};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tracing::{error, warn};

/// Several beats may be lost before anybody worries.
const BEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Nothing is begun any more so long before others may take over.
const TAKEOVER_MARGIN: Duration = Duration::from_secs(10);

pub(crate) struct Shift {
    present: Mutex<Present>,
    beaten: Notify,
}

#[derive(Clone, Copy)]
struct Present {
    worker: Worker,
    /// Counted from before the last beat was asked for: never later than on the database's clock.
    heard_at: Instant,
}

impl Shift {
    /// Takes up work under a new name.
    pub(crate) async fn begin<L: Ledger, D: Dial>(
        broadcaster: &Broadcaster<L, D>,
    ) -> Result<Self, StoreError> {
        let present = register(broadcaster).await?;
        Ok(Self { present: Mutex::new(present), beaten: Notify::new() })
    }

    pub(crate) fn worker(&self) -> Worker {
        self.present().worker
    }

    /// Whether no other worker takes over what this one is submitting. What was permitted under a
    /// name that is not ours any more was taken over.
    pub(crate) fn is_sure(&self, worker: Worker) -> bool {
        let present = self.present();
        present.worker == worker && present.heard_at + (SILENCE_MAX - TAKEOVER_MARGIN) > Instant::now()
    }

    /// Resolves while this worker counts as alive.
    pub(crate) async fn sure(&self) {
        loop {
            let beaten = self.beaten.notified();
            if self.is_sure(self.worker()) {
                return;
            }
            beaten.await;
        }
    }

    /// Beats for ever, and says what keeps this worker from its relays.
    pub(crate) async fn beat<L: Ledger, D: Dial>(&self, broadcaster: &Broadcaster<L, D>) {
        let mut told = (self.worker(), None);
        loop {
            sleep(BEAT_INTERVAL).await;
            let (worker, asked_at) = (self.worker(), Instant::now());
            let renewed = async {
                if broadcaster.ledger.beat(worker).await? {
                    return Ok(Present { worker, heard_at: asked_at });
                }
                warn!(
                    worker.id = %worker.id(),
                    "this process was not heard of and taken for dead; it goes on under a new name"
                );
                register(broadcaster).await
            };
            // Another try takes another connection to the database.
            match timeout(BEAT_INTERVAL, renewed).await {
                Ok(Ok(present)) => {
                    *self.present() = present;
                    self.beaten.notify_waiters();
                }
                Err(_elapsed) => error!("the database takes too long to hear this worker"),
                Ok(Err(problem)) => {
                    error!(
                        error = &problem as &dyn std::error::Error,
                        "the database does not hear this worker; without that nothing is sent soon"
                    );
                }
            }
            let known = (self.worker(), broadcaster.relays.trouble());
            if known != told {
                let noting = broadcaster.ledger.note_trouble(known.0, known.1.as_deref());
                // Beats go on, whatever becomes of it.
                if matches!(timeout(BEAT_INTERVAL, noting).await, Ok(Ok(()))) {
                    told = known;
                }
            }
        }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().expect("invariant: nothing panics while looking at the clock")
    }
}

async fn register<L: Ledger, D: Dial>(broadcaster: &Broadcaster<L, D>) -> Result<Present, StoreError> {
    let asked_at = Instant::now();
    let worker = broadcaster.ledger.register_worker(&broadcaster.settings.worker_name).await?;
    Ok(Present { worker, heard_at: asked_at })
}
