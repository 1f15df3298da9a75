//! What a stored reply means for others: a bounce is noted at its ledger row, a wish to receive
//! nothing more opens a request that a person settles.
//!
//! Reads the reply database, writes notes to the core one, sends nothing. A note changes no
//! delivery: that the relay took the mail stays true.

use domain::{Clock, ReplyClass, ReplyId};
use replybox::{ReplyBox, ReplyBoxError, ReplySummary};
use std::{sync::Arc, time::Duration};
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Replies looked at in one go.
const PAGE: u64 = 200;
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Why triage could not go on; it is tried again.
#[derive(Debug, thiserror::Error)]
pub enum TriageError {
    /// The core database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The reply database.
    #[error(transparent)]
    ReplyBox(#[from] ReplyBoxError),
}

/// Follows the reply box.
pub struct Triage {
    store: Store,
    replybox: ReplyBox,
    clock: Arc<dyn Clock>,
    /// Everything up to here was looked at. Notes are written once, so starting over is harmless.
    seen: ReplyId,
}

impl Triage {
    /// Starts behind the last bounce noted by an earlier run.
    ///
    /// # Errors
    /// [`TriageError`].
    pub async fn resume(
        store: Store,
        replybox: ReplyBox,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, TriageError> {
        let seen = store.last_bounce_matched().await?.unwrap_or(ReplyId::new(0));
        Ok(Self { store, replybox, clock, seen })
    }

    /// Follows until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while !shutdown.is_cancelled() {
            match self.step().await {
                Ok(0) => {}
                Ok(_) => continue,
                Err(problem) => {
                    error!(
                        error = &problem as &dyn std::error::Error,
                        "replies could not be looked at; trying again"
                    );
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
                () = shutdown.cancelled() => {}
            }
        }
    }

    /// Looks at the next page of replies; how many there were.
    ///
    /// # Errors
    /// [`TriageError`].
    pub async fn step(&mut self) -> Result<usize, TriageError> {
        let page = self.replybox.after(self.seen, PAGE).await?;
        for reply in &page {
            self.note(reply).await?;
            self.seen = reply.id;
        }
        Ok(page.len())
    }

    async fn note(&self, reply: &ReplySummary) -> Result<(), TriageError> {
        let now = self.clock.now();
        match reply.class {
            ReplyClass::BounceHard | ReplyClass::BounceSoft => {
                let status = reply.status.as_deref();
                self.store
                    .note_bounce(reply.id, reply.broadcast, reply.member, reply.class, status, now)
                    .await?;
                info!(reply.id = %reply.id, broadcast.id = %reply.broadcast, class = %reply.class, "bounce noted");
            }
            ReplyClass::Unsubscribe => {
                self.store.record_request("unsubscribe", reply.broadcast, reply.member, now).await?;
            }
            ReplyClass::HumanReply | ReplyClass::AutoReply | ReplyClass::Complaint | ReplyClass::Other => {}
        }
        Ok(())
    }
}
