//! The rate-limited broadcaster: claims chunks of ledger rows, paces, renders, submits, records.
//!
//! One mail's way through the files: [`feeder`] verifies the approval of a released broadcast and
//! claims rows → [`deck`] holds them → a [`sender`] owns one connection, takes a row when [`pace`]
//! lets it → [`clerk`] makes the intent durable, together with the outcome of the mail before →
//! [`session`] speaks one SMTP transaction with one recipient → the outcome waits for the next
//! commit. [`sweep`] completes, expires and recovers; [`shift`] keeps this process known as alive.
//!
//! Guaranteed: no mail leaves without a [`store::SubmitPermit`]; at most one submission per
//! connection is without a recorded outcome at any time; a stop takes effect at the next permit.

mod clerk;
mod deck;
mod feeder;
mod greet;
mod manners;
mod pace;
mod planted;
mod post;
mod relay;
mod relays;
mod retry;
mod sender;
mod session;
mod shift;
mod stream;
mod sweep;
mod tls;

pub use greet::greet;
pub use manners::{Manners, carriers};
#[cfg(feature = "planted")]
pub use planted::{Bug, plant};
pub use post::run as run_post;
pub use relay::{Login, RelayError, RelayUrl, Security};
pub use stream::{Dial, Octets, Tcp, Wire};

use clerk::Clerk;
use deck::Deck;
use domain::{Actor, BroadcastId, Clock, EmailAddress, Keyring, Timestamp};
use notice::Dkim;
use pace::Pace;
use relays::Relays;
use shift::Shift;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use store::{Ledger, Limits, Settlement, Store, StoreError, WorkerTerms};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// Steps before the final dot: MAIL, RCPT (twice where an address has two spellings), DATA, RSET,
/// and some to spare.
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
    /// Where to, in order of preference: at least one.
    pub relays: Vec<RelayUrl>,
    /// Connections at once; each carries one mail at a time.
    pub connections: u32,
    /// Mails per connection, where the relay wants it opened anew after so many.
    pub messages_per_connection: Option<u32>,
    /// Rate windows that all hold at once, over all processes on this database.
    pub limits: Limits,
    /// What some recipient domains are spared beyond that.
    pub manners: BTreeMap<String, Manners>,
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
    /// Who gets a first copy of each notice. Only to these it goes, whatever the database says.
    pub operators: Vec<EmailAddress>,
    /// Base of links in mail to staff.
    pub public_url: String,
    /// Signs each mail, where the relay does not.
    pub dkim: Option<Arc<Dkim>>,
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

/// The sending part of the service: over the database and the network, or over models of them.
#[derive(Clone)]
pub struct Broadcaster<L = Store, D = Tcp> {
    ledger: L,
    dial: D,
    settings: Arc<Settings>,
    keyring: Keyring,
    clock: Arc<dyn Clock>,
    relays: Arc<Relays>,
}

impl<L: Ledger, D: Dial> Broadcaster<L, D> {
    /// Connects nothing yet.
    #[must_use]
    pub fn new(ledger: L, dial: D, settings: Settings, keyring: Keyring, clock: Arc<dyn Clock>) -> Self {
        let relays = Arc::new(Relays::new(settings.relays.clone()));
        Self { ledger, dial, settings: Arc::new(settings), keyring, clock, relays }
    }

    /// Sends what is released until `shutdown`, then finishes what is in flight and gives the
    /// rest back. Dropped before that, it stops where it is, as a process that dies.
    ///
    /// # Errors
    /// [`StoreError`] when the database fails at the start or at the end; in between it is
    /// waited for.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let shift = Arc::new(Shift::begin(&self).await?);
        self.recover_abandoned(shift.worker()).await?;
        let terms = self.settings.worker_terms();
        let connections = self.settings.connections;
        let deck = Arc::new(Deck::new(self.settings.chunk_size as usize));
        let (clerk, writing) = Clerk::new(&self.ledger, &shift, &terms, connections as usize);
        let pace = Arc::new(Pace::new(&terms.limits, self.settings.manners.clone()));
        info!(
            worker.id = %shift.worker().id(),
            relays = self.settings.relays.len(),
            connections,
            "broadcaster started"
        );

        let mut pulse = JoinSet::new();
        let (beating, beaten) = (self.clone(), shift.clone());
        pulse.spawn(async move { beaten.beat(&beating).await });
        let mut work = JoinSet::new();
        for part in writing {
            work.spawn(part);
        }
        for _ in 0..connections {
            let (deck, pace) = (deck.clone(), pace.clone());
            work.spawn(sender::run(self.clone(), shift.clone(), deck, pace, clerk.clone(), shutdown.clone()));
        }
        // It ends with its last handle.
        drop(clerk);
        work.spawn(feeder::run(self.clone(), shift.clone(), terms, deck, shutdown.clone()));
        work.spawn(sweep::run(self.clone(), shift.clone(), shutdown));
        while let Some(ended) = work.join_next().await {
            ended.expect("invariant: no part of the broadcaster panics or is aborted");
        }
        drop(pulse);
        self.ledger.note_trouble(shift.worker(), None).await?;
        self.ledger.release_claims(shift.worker()).await?;
        info!(worker.id = %shift.worker().id(), "broadcaster drained");
        Ok(())
    }

    /// Rows that a dead sender was submitting become unknown.
    async fn recover_abandoned(&self, worker: store::Worker) -> Result<(), StoreError> {
        let lost = self.ledger.recover(worker).await?;
        if lost > 0 {
            warn!(rows = lost, "a sender died while these rows were being submitted; they are unknown now");
        }
        Ok(())
    }

    /// Under policy `retry`, unknown rows are ordered to be sent again; how many.
    async fn apply_unknown_policy(&self, id: BroadcastId, now: Timestamp) -> Result<u64, StoreError> {
        if self.settings.unknown == UnknownPolicy::Hold || !self.ledger.has_unknown(id).await? {
            return Ok(0);
        }
        let later = Settlement::ResendLater { first_wait: self.settings.retry_first };
        self.ledger.settle(Actor::Scheduler, id, later, &[], now).await
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
                    "{what}: the database does not answer; nothing is lost, trying again. If this goes on, \
                     check the database and the space on its disk"
                );
                tokio::time::sleep(wait.next()).await;
            }
        }
    }
}
