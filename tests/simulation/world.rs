//! Chance, time and the processes of one simulated run. Everything draws from one seed, on one
//! thread, in the time of tokio's paused clock: the same seed gives the same run.

use domain::{Clock, Timestamp};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use sea_orm::DbErr;
use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use store::{StoreError, model::Books, model::Weather};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

/// How likely what is, in a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Odds {
    /// A process dies at a ledger operation or a piece of network traffic.
    pub(crate) crash: u32,
    /// A process hangs at a ledger operation, longer than others believe it alive.
    pub(crate) pause: u32,
    /// An operation fails before or after its commit.
    pub(crate) commit: u32,
    /// A step of a relay session goes wrong.
    pub(crate) relay: u32,
}

/// What all parts of a run share.
pub(crate) struct World {
    dice: Mutex<StdRng>,
    pub(crate) odds: Odds,
    calm: AtomicBool,
    hangs: AtomicU32,
    trace: Mutex<Vec<String>>,
    began: Instant,
}

impl World {
    pub(crate) fn new(seed: u64, odds: Odds) -> Arc<Self> {
        Arc::new(Self {
            dice: Mutex::new(StdRng::seed_from_u64(seed)),
            odds,
            calm: AtomicBool::new(false),
            hangs: AtomicU32::new(0),
            trace: Mutex::default(),
            began: Instant::now(),
        })
    }

    /// Whether something that happens so many times in a thousand happens now.
    pub(crate) fn strikes(&self, per_mille: u32) -> bool {
        per_mille > 0 && !self.is_calm() && self.pick(1_000) < per_mille
    }

    /// A number below `end`.
    pub(crate) fn pick(&self, end: u32) -> u32 {
        self.dice.lock().expect("one thread").random_range(0..end)
    }

    pub(crate) fn millis(&self, end: u32) -> Duration {
        Duration::from_millis(self.pick(end).into())
    }

    /// From now on nothing goes wrong any more.
    pub(crate) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// How often a process has hung.
    pub(crate) fn hangs(&self) -> u32 {
        self.hangs.load(Ordering::Relaxed)
    }

    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        let line = format!("{:>9.3} {}", self.began.elapsed().as_secs_f64(), what());
        self.trace.lock().expect("one thread").push(line);
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.trace.lock().expect("one thread").clone()
    }
}

/// One process: alive until it dies.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) name: u32,
    pub(crate) world: Arc<World>,
    fate: Arc<Fate>,
}

struct Fate {
    dead: AtomicBool,
    died: Notify,
    awake_at: Mutex<Instant>,
}

impl Process {
    pub(crate) fn new(name: u32, world: Arc<World>) -> Self {
        let awake_at = Mutex::new(Instant::now());
        Self {
            name,
            world,
            fate: Arc::new(Fate { dead: AtomicBool::new(false), died: Notify::new(), awake_at }),
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.fate.dead.load(Ordering::Relaxed)
    }

    /// Resolves when the process has died.
    pub(crate) async fn died(&self) {
        self.fate.died.notified().await;
    }

    /// Dies here, perhaps.
    pub(crate) fn may_die(&self, at: &str) -> bool {
        if !self.is_dead() && self.world.strikes(self.world.odds.crash) {
            self.world.note(|| format!("process {} dies at {at}", self.name));
            self.fate.dead.store(true, Ordering::Relaxed);
            self.fate.died.notify_one();
        }
        self.is_dead()
    }

    async fn step(&self, operation: &'static str) -> Result<(), StoreError> {
        let watched = matches!(operation, "turn" | "claim rows");
        if self.is_dead() || (watched && self.may_die(operation)) {
            return std::future::pending().await;
        }
        if watched && self.world.strikes(self.world.odds.pause) {
            let until = Instant::now() + Duration::from_secs(35) + self.world.millis(40_000);
            self.world.note(|| format!("process {} hangs at {operation}", self.name));
            self.world.hangs.fetch_add(1, Ordering::Relaxed);
            *self.fate.awake_at.lock().expect("one thread") = until;
        }
        let awake_at = *self.fate.awake_at.lock().expect("one thread");
        sleep_until(awake_at).await;
        if watched {
            sleep(self.world.millis(4)).await;
        }
        if self.is_dead() {
            return std::future::pending().await;
        }
        if self.world.strikes(self.world.odds.commit) {
            self.world.note(|| format!("process {}: {operation} fails", self.name));
            return Err(StoreError::query(operation)(DbErr::Custom("the simulated database is away".into())));
        }
        Ok(())
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Process({})", self.name)
    }
}

impl Weather for Process {
    async fn before(&self, operation: &'static str) -> Result<(), StoreError> {
        self.step(operation).await
    }

    async fn after(&self, operation: &'static str) -> Result<(), StoreError> {
        self.step(operation).await
    }
}

/// The application's clock: a little off the database's.
pub(crate) struct SimClock {
    pub(crate) books: Arc<Mutex<Books>>,
    pub(crate) ahead: Duration,
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        self.books.lock().expect("one thread").now().plus(self.ahead)
    }
}
