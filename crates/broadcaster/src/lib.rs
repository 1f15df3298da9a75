//! The rate-limited broadcaster: claims chunks of ledger rows, paces, renders, submits, records.
//!
//! One mail's way through the files: [`feeder`] verifies the approval of a released broadcast and
//! claims rows → [`deck`] holds them → a [`sender`] owns one connection, takes a row when [`pace`]
//! lets it → [`clerk`] makes the intent durable, together with the outcome of the mail before →
//! [`session`] speaks one SMTP transaction with one recipient → the outcome waits for the next
//! commit. [`sweep`] completes, expires and recovers.
//!
//! Guaranteed: no mail leaves without a [`store::SubmitPermit`]; at most one submission per
//! connection is without a recorded outcome at any time; a stop takes effect at the next permit.

mod clerk;
mod deck;
mod feeder;
mod pace;
mod post;
mod relay;
mod retry;
mod sender;
mod session;
mod stream;
mod sweep;

pub use relay::{Login, RelayError, RelayUrl, Security};

use clerk::Clerk;
use deck::Deck;
use domain::{Actor, BroadcastId, Clock, Keyring, Timestamp};
use pace::Pace;
use std::{sync::Arc, time::Duration};
use store::{Limits, Settlement, Store, StoreError, WorkerTerms};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info, warn};

/// Steps before the final dot: greeting, EHLO, STARTTLS, AUTH, MAIL, RCPT, DATA, RSET.
const STEPS_MAX: u32 = 8;
/// What a submission's lease adds to the sum of its timeouts.
const LEASE_MARGIN: Duration = Duration::from_secs(30);

/// What becomes of rows whose outcome was lost (law 4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownPolicy {
    /// A person decides.
    Hold,
    /// Sent again with the same Message-ID: the stated policy of the installation.
    Retry,
}

/// How to send.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to.
    pub relay: RelayUrl,
    /// Connections at once; each carries one mail at a time.
    pub connections: u32,
    /// Mails per connection, where the relay wants it opened anew after so many.
    pub messages_per_connection: Option<u32>,
    /// Rate windows that all hold at once, over all processes on this database.
    pub limits: Limits,
    /// How long a step before the dot may take.
    pub step_timeout: Duration,
    /// How long the reply to the dot may take (RFC 5321 §4.5.3.2.6: ten minutes).
    pub dot_timeout: Duration,
    /// Rows per claim.
    pub chunk_size: u32,
    /// How long a claim lasts.
    pub chunk_budget: Duration,
    /// First wait after a deferral; doubles.
    pub retry_first: Duration,
    /// Deferred rows are given up this long after the release.
    pub retry_for: Duration,
    /// See [`UnknownPolicy`].
    pub unknown: UnknownPolicy,
    /// Sender of mail to staff.
    pub from: String,
    /// Base of links in mail to staff.
    pub public_url: String,
    /// Shown in the worker table: which process this is.
    pub worker_name: String,
}

impl Settings {
    fn worker_terms(&self) -> WorkerTerms {
        WorkerTerms {
            chunk_size: self.chunk_size,
            chunk_budget: self.chunk_budget,
            submission_max: self.step_timeout * STEPS_MAX + self.dot_timeout + LEASE_MARGIN,
            limits: self.limits.clone(),
        }
    }
}

/// The sending part of the service.
#[derive(Clone)]
pub struct Broadcaster {
    store: Store,
    settings: Arc<Settings>,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
}

impl Broadcaster {
    /// Connects nothing yet.
    #[must_use]
    pub fn new(store: Store, settings: Settings, keyring: Keyring, clock: Arc<dyn Clock>) -> Self {
        Self { store, settings: Arc::new(settings), keyring, clock }
    }

    /// Sends what is released until `shutdown`, then finishes what is in flight and gives the
    /// rest back.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails at the start or at the end; in between it is
    /// waited for.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let worker = self.store.register_worker(&self.settings.worker_name).await?;
        self.recover_abandoned(worker).await?;
        let terms = self.settings.worker_terms();
        let deck = Arc::new(Deck::new(self.settings.chunk_size as usize));
        let clerk =
            Clerk::start(self.store.clone(), worker, terms.clone(), self.settings.connections as usize);
        let pace = Arc::new(Pace::new(&terms.limits));
        info!(
            worker.id = %worker.id(),
            relay.host = %self.settings.relay.host,
            connections = self.settings.connections,
            "broadcaster started"
        );

        let senders = TaskTracker::new();
        for _ in 0..self.settings.connections {
            senders.spawn(sender::run(
                self.clone(),
                deck.clone(),
                pace.clone(),
                clerk.clone(),
                shutdown.clone(),
            ));
        }
        let others = TaskTracker::new();
        others.spawn(feeder::run(self.clone(), worker, terms.clone(), deck.clone(), shutdown.clone()));
        others.spawn(sweep::run(self.clone(), worker, shutdown.clone()));
        others.spawn(post::run(self.clone(), terms, shutdown.clone()));
        shutdown.cancelled().await;
        others.close();
        senders.close();
        senders.wait().await;
        others.wait().await;
        self.store.release_claims(worker).await?;
        info!(worker.id = %worker.id(), "broadcaster drained");
        Ok(())
    }

    /// Rows that a dead sender was submitting become unknown.
    async fn recover_abandoned(&self, worker: store::Worker) -> Result<(), StoreError> {
        let lost = self.store.recover(worker).await?;
        if lost > 0 {
            warn!(rows = lost, "a sender died while these rows were being submitted; they are unknown now");
        }
        Ok(())
    }

    /// Under policy `retry`, unknown rows are ordered to be sent again; how many.
    async fn apply_unknown_policy(&self, id: BroadcastId, now: Timestamp) -> Result<u64, StoreError> {
        if self.settings.unknown == UnknownPolicy::Hold || !self.store.has_unknown(id).await? {
            return Ok(0);
        }
        let later = Settlement::ResendLater { first_wait: self.settings.retry_first };
        self.store.settle(Actor::Scheduler, id, later, &[], now).await
    }
}

/// Runs a step against the database until it works; the database being away loses nothing.
async fn persist<T, F: Future<Output = Result<T, StoreError>>>(what: &str, mut step: impl FnMut() -> F) -> T {
    let mut wait = retry::Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
    loop {
        match step().await {
            Ok(value) => return value,
            Err(problem) => {
                error!(
                    error = &problem as &dyn std::error::Error,
                    "{what}: the database does not answer; trying again"
                );
                tokio::time::sleep(wait.next()).await;
            }
        }
    }
}
