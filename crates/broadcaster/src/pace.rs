//! Pacing within this process: submissions of short windows are spread evenly, and a relay or
//! domain that has no room, or asks for patience, is left alone for a while.
//!
//! What the limits allow is decided by the ledger, in the transaction that grants a permit: exact
//! over all processes (ADR-0005). Left to itself that would let everything go at once and then
//! pause; governor spreads. It runs a little ahead of the limit, because a limiter that is itself
//! exact and asked a moment too late each time uses only 95 % of it.

use domain::Rate;
use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard},
    time::Duration,
};
use store::{Full, Limits};
use tokio::time::Instant;

/// Within longer windows nothing is spread; the forecast in `notice` says the same.
const SPREAD_WINDOW_MAX: Duration = notice::preflight::PACED_WINDOW_MAX;
/// How much faster than the limit the spreading runs.
const SPREAD_AHEAD: f64 = 1.05;
/// As many as come in this time may leave together: timers wake to the millisecond.
const SPREAD_TOGETHER: Duration = Duration::from_millis(10);

/// The relay's and every domain's pace.
pub(crate) struct Pace {
    relay: Vec<Spread>,
    domains: HashMap<String, Spread>,
    rests: Mutex<Rests>,
}

/// Until when nothing is tried.
#[derive(Default)]
struct Rests {
    relay: Option<Instant>,
    domains: HashMap<String, Instant>,
}

type Spread = RateLimiter<NotKeyed, InMemoryState, Timer, NoOpMiddleware<Duration>>;

impl Pace {
    pub(crate) fn new(limits: &Limits) -> Self {
        let short = |rate: &Rate| rate.per() <= SPREAD_WINDOW_MAX;
        let relay = limits.relay.iter().copied().filter(short).map(spread).collect();
        let domains = limits.domains.iter().filter(|(_, rate)| short(rate));
        let domains = domains.map(|(domain, rate)| (domain.clone(), spread(*rate))).collect();
        Self { relay, domains, rests: Mutex::default() }
    }

    /// Whether a recipient at `domain` may be tried now.
    pub(crate) fn grant(&self, domain: &str) -> Result<(), Full> {
        let now = Instant::now();
        let rests = self.rests();
        rests.relay.map_or(Ok(()), |until| over(until, now)).map_err(Full::Relay)?;
        rests.domains.get(domain).map_or(Ok(()), |until| over(*until, now)).map_err(Full::Domain)?;
        self.domains.get(domain).map_or(Ok(()), check).map_err(Full::Domain)?;
        self.relay.iter().try_for_each(check).map_err(Full::Relay)
    }

    /// The ledger had no room.
    pub(crate) fn rest(&self, domain: &str, full: Full) {
        let now = Instant::now();
        let mut rests = self.rests();
        match full {
            Full::Relay(wait) => rests.relay = rests.relay.max(Some(now + wait)),
            Full::Domain(wait) => {
                let until = rests.domains.entry(domain.to_owned()).or_insert(now);
                *until = (*until).max(now + wait);
            }
        }
    }

    fn rests(&self) -> MutexGuard<'_, Rests> {
        self.rests.lock().expect("invariant: nothing panics while looking at the clock")
    }
}

fn over(until: Instant, now: Instant) -> Result<(), Duration> {
    if until <= now { Ok(()) } else { Err(until - now) }
}

fn check(spread: &Spread) -> Result<(), Duration> {
    spread.check().map_err(|until| until.wait_time_from(spread.clock().now()))
}

fn spread(rate: Rate) -> Spread {
    let interval = rate.interval().div_f64(SPREAD_AHEAD);
    let together = (SPREAD_TOGETHER.as_nanos() / interval.as_nanos().max(1)).clamp(1, u128::from(u32::MAX));
    let burst = u32::try_from(together).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(interval).expect("invariant: a rate's interval is longer than nothing");
    RateLimiter::direct_with_clock(quota.allow_burst(burst), Timer(Instant::now()))
}

/// Governor on tokio's clock, which tests can move.
#[derive(Debug, Clone)]
struct Timer(Instant);

impl Clock for Timer {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
