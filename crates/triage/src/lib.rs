//! What a stored reply means for others: a bounce is noted at its ledger row; a wish to receive
//! nothing more, an address that does not exist and a complaint open a request, which a person
//! settles, or for the last two the policy.
//!
//! Reads the reply database, writes notes to the core one, sends nothing. A note changes no
//! delivery: that the relay took the mail stays true. [`Retention`] deletes in both what is to be
//! erased or was kept long enough.
//!
//! # Security
//! Whose reply it is stands in the signed address it came to, never in what it says.

mod retention;

pub use retention::Retention;

use domain::{Actor, Clock, Decision, ReplyClass, ReplyId, RequestKind};
use replybox::{ReplyBox, ReplyBoxError, ReplySummary};
use std::{sync::Arc, time::Duration};
use store::{NewRequest, Store, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Replies looked at in one go.
const PAGE: u64 = 200;
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// No reply takes longer to be stored once it has its number.
const LOOK_AGAIN_INTERVAL: Duration = Duration::from_secs(60);

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

/// Who decides that nothing is sent to an address that does not exist, or to who complained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SuppressPolicy {
    /// A person, on the page of requests.
    Ask,
    /// Nobody: it is done at once, and a person can lift it.
    Automatic,
}

/// Follows the reply box.
pub struct Triage {
    store: Store,
    policy: SuppressPolicy,
    replybox: ReplyBox,
    clock: Arc<dyn Clock>,
    /// Everything up to here was looked at. Notes are written once, so starting over is harmless.
    seen: ReplyId,
    /// The same when it was last looked again, and up to where that was done.
    seen_then: ReplyId,
    sure: ReplyId,
}

impl Triage {
    /// Starts behind what an earlier run looked at.
    ///
    /// # Errors
    /// [`TriageError`].
    pub async fn resume(
        store: Store,
        replybox: ReplyBox,
        clock: Arc<dyn Clock>,
        policy: SuppressPolicy,
    ) -> Result<Self, TriageError> {
        let seen = store.last_reply_looked_at().await?;
        Ok(Self { store, policy, replybox, clock, seen, seen_then: seen, sure: seen })
    }

    /// Follows until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut looked_again = Instant::now();
        while !shutdown.is_cancelled() {
            let again = looked_again.elapsed() >= LOOK_AGAIN_INTERVAL;
            if again {
                looked_again = Instant::now();
            }
            let looked = if again { self.look_again().await.map(|()| 0) } else { self.step().await };
            match looked {
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

    /// Looks a second time at what was there when this was called last, and notes how far a later
    /// process need not look: on PostgreSQL a reply may appear after one with a higher number, when
    /// its transaction was the longer one.
    ///
    /// # Errors
    /// [`TriageError`].
    pub async fn look_again(&mut self) -> Result<(), TriageError> {
        while self.sure < self.seen_then {
            let page = self.replybox.after(self.sure, PAGE).await?;
            let Some(last) = page.last().map(|reply| reply.id) else { break };
            for reply in &page {
                self.note(reply).await?;
            }
            self.sure = last.min(self.seen_then);
            self.store.replies_looked_at(self.sure).await?;
        }
        self.seen_then = self.seen;
        Ok(())
    }

    async fn note(&self, reply: &ReplySummary) -> Result<(), TriageError> {
        let now = self.clock.now();
        if matches!(reply.class, ReplyClass::BounceHard | ReplyClass::BounceSoft) {
            let status = reply.status.as_deref();
            self.store.note_bounce(reply.id, reply.broadcast, reply.member, reply.class, status, now).await?;
            info!(reply.id = %reply.id, broadcast.id = %reply.broadcast, class = %reply.class, "bounce noted");
        }
        let Some(kind) = asked_by(reply) else { return Ok(()) };
        let ReplySummary { id, broadcast, member, .. } = *reply;
        self.store.open_request(NewRequest { kind, broadcast, member, reply: Some(id) }, now).await?;
        if self.policy == SuppressPolicy::Automatic
            && matches!(kind, RequestKind::Bounce | RequestKind::Complaint)
        {
            self.store.settle_request_of(Actor::Scheduler, kind, member, Decision::Granted, now).await?;
        }
        Ok(())
    }
}

/// What a reply asks for, if anything.
fn asked_by(reply: &ReplySummary) -> Option<RequestKind> {
    match reply.class {
        ReplyClass::BounceHard => Some(RequestKind::Bounce),
        ReplyClass::Complaint => Some(RequestKind::Complaint),
        ReplyClass::Unsubscribe if reply.reason.as_deref() == Some("erasure") => Some(RequestKind::Erasure),
        ReplyClass::Unsubscribe => Some(RequestKind::Unsubscribe),
        ReplyClass::HumanReply | ReplyClass::AutoReply | ReplyClass::BounceSoft | ReplyClass::Other => None,
    }
}
