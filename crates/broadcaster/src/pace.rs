//! Pacing: the relay's windows and those of recipient domains, exact as the relay sees them.
//!
//! A submission holds a [`Slot`] from before its envelope until after the reply to its dot, and
//! the slot counts in each of its windows for the whole of that time and one window longer. The
//! relay saw the mail at some moment in between, so whatever the way from here to there took, no
//! window of the relay's ever holds more than the limit. What the ledger says was submitted before
//! counts too: a restart forgets nothing.
//!
//! Exact windows alone would let everything go at once and then pause; governor spreads the
//! submissions of short windows evenly. It runs a little ahead of the limit, because a limiter
//! that is itself exact and asked a moment too late each time uses only 95 % of it.

use crate::Settings;
use domain::Rate;
use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use std::{
    collections::{HashMap, VecDeque},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::Instant;

/// Within longer windows nothing is spread; the forecast in `notice` says the same.
const SPREAD_WINDOW_MAX: Duration = notice::preflight::PACED_WINDOW_MAX;
/// How much faster than the limit the spreading runs.
const SPREAD_AHEAD: f64 = 1.05;
/// As many as come in this time may leave together: timers wake to the millisecond.
const SPREAD_TOGETHER: Duration = Duration::from_millis(10);
/// A window filled by submissions under way has room as soon as one of them ends.
const UNDER_WAY_LOOK: Duration = Duration::from_millis(5);

/// All windows of one process.
pub(crate) struct Pace {
    books: Mutex<Books>,
}

struct Books {
    relay: Vec<Window>,
    domains: HashMap<String, Vec<Window>>,
}

struct Window {
    rate: Rate,
    spread: Option<Spread>,
    under_way: usize,
    /// When submissions ended that still count, oldest first.
    ended: VecDeque<Instant>,
}

type Spread = RateLimiter<NotKeyed, InMemoryState, Timer, NoOpMiddleware<Duration>>;

/// Room for one submission. Dropped, it counts as submitted until now.
#[must_use = "a slot is held until its submission has ended"]
pub(crate) struct Slot {
    pace: Arc<Pace>,
    domain: String,
    used: bool,
}

/// There is no room yet; ask again after this long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// For nobody.
    Relay(Duration),
    /// Not for this domain.
    Domain(Duration),
}

/// A submission of the past that may still count.
pub(crate) struct Past {
    pub(crate) domain: String,
    /// How long ago it ended.
    pub(crate) age: Duration,
}

impl Pace {
    /// `past`: oldest first.
    pub(crate) fn new(settings: &Settings, past: &[Past]) -> Self {
        let now = Instant::now();
        let relay = settings.rates.iter().map(|rate| Window::new(*rate, now, past.iter()));
        let domains = settings.per_domain.iter().map(|(domain, rate)| {
            let own = past.iter().filter(|submission| submission.domain == *domain);
            (domain.clone(), vec![Window::new(*rate, now, own)])
        });
        Self { books: Mutex::new(Books { relay: relay.collect(), domains: domains.collect() }) }
    }

    /// Room for one submission to a recipient at `domain`.
    pub(crate) fn grant(self: &Arc<Self>, domain: &str) -> Result<Slot, Full> {
        let now = Instant::now();
        let mut books = self.books();
        let Books { relay, domains } = &mut *books;
        let own = domains.get_mut(domain).map_or(&mut [][..], Vec::as_mut_slice);
        relay.iter_mut().try_for_each(|window| window.room(now)).map_err(Full::Relay)?;
        own.iter_mut().try_for_each(|window| window.room(now)).map_err(Full::Domain)?;
        own.iter().try_for_each(Window::spread).map_err(Full::Domain)?;
        relay.iter().try_for_each(Window::spread).map_err(Full::Relay)?;
        relay.iter_mut().chain(own).for_each(|window| window.under_way += 1);
        Ok(Slot { pace: self.clone(), domain: domain.to_owned(), used: true })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("invariant: nothing panics while counting")
    }
}

impl Slot {
    /// No envelope was begun: the room is free again.
    pub(crate) fn unused(mut self) {
        self.used = false;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let ended = self.used.then(Instant::now);
        let mut books = self.pace.books();
        let Books { relay, domains } = &mut *books;
        for window in relay.iter_mut().chain(domains.get_mut(&self.domain).into_iter().flatten()) {
            window.under_way -= 1;
            window.ended.extend(ended);
        }
    }
}

impl Window {
    fn new<'a>(rate: Rate, now: Instant, past: impl Iterator<Item = &'a Past>) -> Self {
        let ended = past.filter_map(|submission| now.checked_sub(submission.age)).collect();
        let spread = (rate.per() <= SPREAD_WINDOW_MAX).then(|| spread_of(rate));
        Self { rate, spread, under_way: 0, ended }
    }

    /// Whether one more fits, or how long none will.
    fn room(&mut self, now: Instant) -> Result<(), Duration> {
        let per = self.rate.per();
        while self.ended.front().is_some_and(|ended| *ended + per < now) {
            self.ended.pop_front();
        }
        let count = self.rate.count() as usize;
        let Some(over) = (self.under_way + self.ended.len()).checked_sub(count) else { return Ok(()) };
        // Strictly after the window: at its very end both mails are within it.
        let free = self.ended.get(over).map(|ended| *ended + per - now + Duration::from_millis(1));
        Err(free.unwrap_or(UNDER_WAY_LOOK))
    }

    fn spread(&self) -> Result<(), Duration> {
        let Some(spread) = &self.spread else { return Ok(()) };
        spread.check().map_err(|until| until.wait_time_from(spread.clock().now()))
    }
}

fn spread_of(rate: Rate) -> Spread {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(rates: &[&str], past: &[Past]) -> Arc<Pace> {
        let rates = rates.iter().map(|rate| rate.parse().expect("a rate"));
        let relay = rates.map(|rate| Window::new(rate, Instant::now(), past.iter())).collect();
        Arc::new(Pace { books: Mutex::new(Books { relay, domains: HashMap::new() }) })
    }

    /// Takes what there is room for; each submission takes `took`. How many in `during`.
    async fn run(pace: &Arc<Pace>, took: Duration, during: Duration) -> Vec<Duration> {
        let began = Instant::now();
        let mut seen = Vec::new();
        while began.elapsed() < during {
            match pace.grant("example.jp") {
                Ok(slot) => {
                    tokio::time::sleep(took).await;
                    // The relay saw it just before it answered.
                    seen.push(began.elapsed());
                    drop(slot);
                }
                Err(Full::Relay(wait) | Full::Domain(wait)) => tokio::time::sleep(wait).await,
            }
        }
        seen
    }

    /// The most that any window of the relay's held; `seen` is in order.
    fn most_within(per: Duration, seen: &[Duration]) -> usize {
        let mut first = 0;
        let held = seen.iter().enumerate().map(|(last, at)| {
            while *at - seen[first] > per {
                first += 1;
            }
            last - first + 1
        });
        held.max().unwrap_or(0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_limit_is_kept_and_at_least_98_percent_used() {
        for (rate, per_second) in [("10/s", 10), ("50/s", 50), ("600/m", 10)] {
            let seen = run(&pace(&[rate], &[]), Duration::from_millis(2), Duration::from_secs(240)).await;
            let rate: Rate = rate.parse().expect("a rate");
            assert!(most_within(rate.per(), &seen) <= rate.count() as usize, "{rate}");
            assert!(seen.len() * 100 >= 240 * per_second * 98, "{rate}: {} in 240 s", seen.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn several_windows_hold_at_once() {
        let seen = run(&pace(&["10/s", "100/m"], &[]), Duration::ZERO, Duration::from_secs(130)).await;
        assert!(most_within(Duration::from_secs(1), &seen) <= 10);
        assert!(most_within(Duration::from_secs(60), &seen) <= 100);
        assert!(seen.len() >= 200, "{}", seen.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_submission_that_takes_long_counts_until_a_window_after_its_end() {
        let pace = pace(&["2/s"], &[]);
        let first = pace.grant("example.jp").expect("room");
        tokio::time::sleep(Duration::from_secs(5)).await;
        let second = pace.grant("example.jp").expect("room for two");
        assert_eq!(pace.grant("example.jp").err(), Some(Full::Relay(UNDER_WAY_LOOK)));
        drop(first);
        tokio::time::sleep(Duration::from_millis(999)).await;
        assert!(pace.grant("example.jp").is_err(), "the relay may have seen the first a moment ago");
        second.unused();
        assert!(pace.grant("example.jp").is_ok(), "what was never sent takes no room");
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_submitted_before_a_restart_counts() {
        let now = [50, 40, 10].map(|age| Past { domain: "example.jp".into(), age: Duration::from_secs(age) });
        tokio::time::sleep(Duration::from_secs(100)).await;
        let pace = pace(&["3/m"], &now);
        let full = pace.grant("example.jp").err();
        assert_eq!(full, Some(Full::Relay(Duration::from_millis(10_001))));
    }
}
