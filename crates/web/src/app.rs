//! What the pages stand on: stores, settings, clock and randomness, handed in by the executable.

use crate::{demo::DemoMailbox, i18n::Lang, password, security};
use chrono_tz::Tz;
use domain::{AudienceId, Clock, FiscalYear, Keyring, Nature, RetentionPeriods, Timestamp};
use rand::{Rng, rngs::StdRng};
use registry::Progress;
use replybox::ReplyBox;
use scheduler::Desk;
use std::{
    collections::HashMap,
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};
use store::Store;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Hashing one password takes 19 MiB and a core for tens of milliseconds; more at once would
/// only make everything else wait.
const HASHES_AT_ONCE: usize = 2;
/// Each open stream reads the database once a second.
const STREAMS_MAX: usize = 200;
/// Each takes as much of the disk as a roster of a million members.
const UPLOADS_MAX: usize = 2;

/// Settings of the web pages, from `[site]` and `[web]`.
#[derive(Debug, Clone)]
pub struct WebSettings {
    /// The society's name.
    pub organization: String,
    /// How members reach a person: shown on members' pages.
    pub contact: String,
    /// Where the pages are reached, e.g. `https://drill.example.jp`; links use nothing else.
    pub public_url: String,
    /// Language of first sight.
    pub language: Lang,
    /// Where to listen.
    pub listen: SocketAddr,
    /// For every time on a page.
    pub time_zone: Tz,
    /// A rehearsal installation says so on every page.
    pub rehearsal: bool,
    /// Answer pages of these show nothing of the member's before the number was shown.
    pub prove_membership: Vec<Nature>,
    /// How long things are kept, to be shown.
    pub retention: RetentionPeriods,
}

impl WebSettings {
    pub(crate) fn is_https(&self) -> bool {
        self.public_url.starts_with("https://")
    }

    pub(crate) fn origin(&self) -> &str {
        security::origin_of(&self.public_url)
    }
}

/// Everything the pages need.
pub struct Web {
    /// The core database.
    pub store: Store,
    /// Replies and bounces; `None` where this process may not read them.
    pub replybox: Option<ReplyBox>,
    /// The broadcasting desk: every action on a broadcast goes through it.
    pub desk: Desk,
    /// Settings.
    pub settings: WebSettings,
    /// Signs and reads personal links.
    pub keyring: Keyring,
    /// Now.
    pub clock: Arc<dyn Clock>,
    /// Seeded by the operating system; tests seed it themselves.
    pub rng: StdRng,
    /// The demonstration's captured mail.
    pub demo: Option<Arc<dyn DemoMailbox>>,
}

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub(crate) struct App(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) web: Web,
    rng: Mutex<StdRng>,
    pub(crate) hashes: Arc<Semaphore>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
    /// What an unknown account's password is compared with, so that it takes as long.
    pub(crate) nobodys_hash: String,
    pub(crate) stop: CancellationToken,
    /// How far the imports are that this process plans or writes.
    imports: Mutex<HashMap<i64, Progress>>,
    /// How many each audience held, and when.
    audience_counts: Mutex<HashMap<AudienceId, (CountedAt, u64)>>,
}

/// What an audience's size depends on besides its conditions: the roster's mark, and the year.
pub(crate) type CountedAt = (i64, FiscalYear);

impl Deref for App {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl App {
    pub(crate) fn new(mut web: Web) -> Self {
        let mut seed = [0; 32];
        web.rng.fill_bytes(&mut seed);
        let rng = <StdRng as rand::SeedableRng>::from_seed(seed);
        let nobodys_hash = password::hash("nobody", &[0; 16]).unwrap_or_default();
        Self(Arc::new(Inner {
            web,
            rng: Mutex::new(rng),
            hashes: Arc::new(Semaphore::new(HASHES_AT_ONCE)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            uploads: Arc::new(Semaphore::new(UPLOADS_MAX)),
            nobodys_hash,
            stop: CancellationToken::new(),
            imports: Mutex::default(),
            audience_counts: Mutex::default(),
        }))
    }

    /// How far an import is, while this process plans or writes it.
    pub(crate) fn import_progress(&self, plan: i64) -> Option<Progress> {
        self.imports.lock().unwrap_or_else(PoisonError::into_inner).get(&plan).copied()
    }

    /// Notes how far an import is; `None` where nothing is under way any more.
    pub(crate) fn note_import(&self, plan: i64, progress: Option<Progress>) {
        let mut imports = self.imports.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Some(progress) => imports.insert(plan, progress),
            None => imports.remove(&plan),
        };
    }

    /// How many an audience holds, where it was counted under these circumstances.
    pub(crate) fn audience_count(&self, id: AudienceId, at: CountedAt) -> Option<u64> {
        let counts = self.audience_counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&id).filter(|(then, _)| *then == at).map(|(_, count)| *count)
    }

    /// Keeps what was counted.
    pub(crate) fn note_audience_count(&self, id: AudienceId, at: CountedAt, count: u64) {
        let mut counts = self.audience_counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.insert(id, (at, count));
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.web.clock.now()
    }

    /// 256 random bits as 64 hex digits: session tokens, idempotency keys.
    pub(crate) fn random_token(&self) -> String {
        let mut bytes = [0; 32];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        data_encoding::HEXLOWER.encode(&bytes)
    }
}
