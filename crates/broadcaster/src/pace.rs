//! Pacing within this process: submissions of short windows are spread evenly, and a relay or
//! domain that has no room, or asks for patience, is left alone for a while.
//!
//! What the limits allow is decided by the ledger, in the transaction that grants a permit: exact
//! over all processes (ADR-0005). Left to itself that would let everything go at once and then
//! pause; governor spreads. It runs a little ahead of the limit, because a limiter that is itself
//! exact and asked a moment too late each time uses only 95 % of it.

use crate::{
    manners::Manners,
    planted::{Bug, is_planted},
    session::Patience,
};
use domain::Rate;
use governor::{
    Quota, RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use store::{Full, Limits};
use tokio::time::Instant;

/// Within longer windows nothing is spread; the forecast in `notice` says the same.
const SPREAD_WINDOW_MAX: Duration = notice::preflight::PACED_WINDOW_MAX;
/// How much faster than the limit the spreading runs.
const SPREAD_AHEAD: f64 = 1.05;
/// A relay or domain that asked for patience is tried again after this long, then twice as long …
const BRAKE_FIRST: Duration = Duration::from_secs(1);
/// … up to this long, which is what relays that count by the five minutes ask for.
const BRAKE_MAX: Duration = Duration::from_secs(300);
/// A domain that was not written to for so long is approached slowly again.
const RAMP_FORGOTTEN: Duration = Duration::from_secs(3_600);
/// A ramp begins at this part of the domain's rate.
const RAMP_LEAST: f64 = 0.05;
/// The pace at which a ramp ends for a domain without a rate.
const RAMP_INTERVAL: Duration = Duration::from_millis(20);
/// How soon to look again whether one of those under way has ended.
const AT_ONCE_LOOK: Duration = Duration::from_millis(20);
/// A shorter gap is none.
const BRAKE_LEAST: Duration = Duration::from_millis(50);
/// As many as come in this time may leave together: timers wake to the millisecond.
const SPREAD_TOGETHER: Duration = Duration::from_millis(10);

/// The relay's and every domain's pace.
pub(crate) struct Pace {
    relay: Vec<Spread>,
    domains: HashMap<String, Spread>,
    manners: BTreeMap<String, (Manners, Duration)>,
    rests: Mutex<Rests>,
}

/// Leave for one submission; its domain has one under way until this is dropped.
pub(crate) struct Grant(Option<(Arc<Pace>, String)>);

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some((pace, domain)) = self.0.take() {
            pace.rests().visit(&domain).under_way -= 1;
        }
    }
}

/// Until when nothing is tried, and how far apart tries are kept.
#[derive(Default)]
struct Rests {
    relay: Rest,
    domains: HashMap<String, Rest>,
    visits: HashMap<String, Visit>,
}

impl Rests {
    fn visit(&mut self, domain: &str) -> &mut Visit {
        self.visits.entry(domain.to_owned()).or_default()
    }
}

/// How a domain with manners is visited now.
#[derive(Default)]
struct Visit {
    under_way: u32,
    began: Option<Instant>,
    last: Option<Instant>,
    /// While it ramps, nothing before then.
    next: Option<Instant>,
}

impl Visit {
    /// None where it is open at full speed, else how far apart submissions are kept while it ramps.
    fn apart(&mut self, ramp: Duration, interval: Duration, now: Instant) -> Option<Duration> {
        if self.last.is_none_or(|last| now - last > RAMP_FORGOTTEN) {
            self.began = Some(now);
        }
        self.last = Some(now);
        let done = (now - self.began?).as_secs_f64() / ramp.as_secs_f64().max(0.001);
        (done < 1.0).then(|| interval.div_f64(done.max(RAMP_LEAST)))
    }
}

#[derive(Default)]
struct Rest {
    until: Option<Instant>,
    /// Zero where nobody asked for patience.
    gap: Duration,
    braked_at: Option<Instant>,
}

type Spread = RateLimiter<NotKeyed, InMemoryState, Timer, NoOpMiddleware<Duration>>;

impl Pace {
    pub(crate) fn new(limits: &Limits, manners: BTreeMap<String, Manners>) -> Self {
        let short = |rate: &Rate| rate.per() <= SPREAD_WINDOW_MAX;
        let relay = limits.relay.iter().copied().filter(short).map(spread).collect();
        let domains = limits.domains.iter().filter(|(_, rate)| short(rate));
        let domains = domains.map(|(domain, rate)| (domain.clone(), spread(*rate))).collect();
        let interval =
            |domain: &str| limits.domains.get(domain).map_or(RAMP_INTERVAL, |rate| rate.interval());
        let manners = manners.into_iter().map(|(domain, kind)| {
            let interval = interval(&domain);
            (domain, (kind, interval))
        });
        Self { relay, domains, manners: manners.collect(), rests: Mutex::default() }
    }

    /// Whether a recipient at `domain` may be tried now.
    pub(crate) fn grant(self: &Arc<Self>, domain: &str) -> Result<Grant, Full> {
        let now = Instant::now();
        let mut rests = self.rests();
        rests.relay.over(now).map_err(Full::Relay)?;
        rests.domains.get(domain).map_or(Ok(()), |rest| rest.over(now)).map_err(Full::Domain)?;
        let manners = self.manners.get(domain);
        if let Some((kind, _)) = manners {
            let visit = rests.visit(domain);
            if kind.at_once.is_some_and(|at_once| visit.under_way >= at_once) {
                return Err(Full::Domain(AT_ONCE_LOOK));
            }
            if let Some(next) = visit.next.filter(|next| *next > now) {
                return Err(Full::Domain(next - now));
            }
        }
        self.domains.get(domain).map_or(Ok(()), check).map_err(Full::Domain)?;
        self.relay.iter().try_for_each(check).map_err(Full::Relay)?;
        rests.relay.keep_apart(now);
        if let Some(rest) = rests.domains.get_mut(domain) {
            rest.keep_apart(now);
        }
        let Some((kind, interval)) = manners else { return Ok(Grant(None)) };
        let visit = rests.visit(domain);
        visit.under_way += 1;
        visit.next = kind.ramp.and_then(|ramp| visit.apart(ramp, *interval, now)).map(|apart| now + apart);
        Ok(Grant(Some((self.clone(), domain.to_owned()))))
    }

    /// The relay asked for patience, in answer to a submission that began at `began`.
    pub(crate) fn brake(&self, domain: &str, patience: Patience, began: Instant) {
        if is_planted(Bug::NoPatience) {
            return;
        }
        let mut rests = self.rests();
        match patience {
            Patience::Recipient => {}
            Patience::Domain => rests.domains.entry(domain.to_owned()).or_default().brake(began),
            Patience::Relay => rests.relay.brake(began),
        }
    }

    /// The relay took a mail: whoever was slowed down recovers.
    pub(crate) fn ease(&self, domain: &str) {
        let mut rests = self.rests();
        rests.relay.ease();
        if let Some(rest) = rests.domains.get_mut(domain) {
            rest.ease();
            if rest.gap.is_zero() {
                rests.domains.remove(domain);
            }
        }
    }

    /// The ledger had no room.
    pub(crate) fn rest(&self, domain: &str, full: Full) {
        let now = Instant::now();
        let mut rests = self.rests();
        match full {
            Full::Relay(wait) => rests.relay.until(now + wait),
            Full::Domain(wait) => rests.domains.entry(domain.to_owned()).or_default().until(now + wait),
        }
    }

    fn rests(&self) -> MutexGuard<'_, Rests> {
        self.rests.lock().expect("invariant: nothing panics while looking at the clock")
    }
}

impl Rest {
    fn over(&self, now: Instant) -> Result<(), Duration> {
        match self.until {
            Some(until) if until > now => Err(until - now),
            Some(_) | None => Ok(()),
        }
    }

    fn until(&mut self, until: Instant) {
        self.until = self.until.max(Some(until));
    }

    fn keep_apart(&mut self, now: Instant) {
        if !self.gap.is_zero() {
            self.until(now + self.gap);
        }
    }

    /// What began before the last brake says nothing new: all connections hear the same at once.
    fn brake(&mut self, began: Instant) {
        if self.braked_at.is_some_and(|braked| began < braked) {
            return;
        }
        let now = Instant::now();
        self.gap = (self.gap * 2).clamp(BRAKE_FIRST, BRAKE_MAX);
        self.braked_at = Some(now);
        self.until(now + self.gap);
    }

    fn ease(&mut self) {
        self.gap /= 2;
        if self.gap < BRAKE_LEAST {
            self.gap = Duration::ZERO;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn full(pace: &Arc<Pace>, domain: &str) -> Option<Full> {
        pace.grant(domain).err()
    }

    fn with_manners(manners: Manners) -> Arc<Pace> {
        let rate: Rate = "5/s".parse().expect("a rate");
        let limits = Limits { relay: Vec::new(), domains: [("docomo.ne.jp".to_owned(), rate)].into() };
        Arc::new(Pace::new(&limits, [("docomo.ne.jp".to_owned(), manners)].into()))
    }

    #[tokio::test(start_paused = true)]
    async fn few_at_once_means_under_way_at_the_same_time() {
        let pace = with_manners(Manners { at_once: Some(2), ..Manners::default() });
        let mut under_way = Vec::new();
        for _ in 0..2 {
            under_way.push(pace.grant("docomo.ne.jp").expect("there is room"));
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(full(&pace, "docomo.ne.jp"), Some(Full::Domain(AT_ONCE_LOOK)));
        assert_eq!(full(&pace, "example.jp"), None);
        under_way.pop();
        assert_eq!(full(&pace, "docomo.ne.jp"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_ramp_begins_slowly_reaches_the_rate_and_is_forgotten_after_a_while() {
        let ramp = Duration::from_secs(600);
        let pace = with_manners(Manners { ramp: Some(ramp), ..Manners::default() });
        let minute = async |pace: &Arc<Pace>| {
            let (began, mut granted) = (Instant::now(), 0_u32);
            while began.elapsed() < Duration::from_secs(60) {
                if pace.grant("docomo.ne.jp").is_ok() {
                    granted += 1;
                    pace.ease("docomo.ne.jp");
                }
                tokio::time::advance(Duration::from_millis(10)).await;
            }
            granted
        };
        let mut minutes = Vec::new();
        for _ in 0..12 {
            minutes.push(minute(&pace).await);
        }
        assert!((10..=25).contains(&minutes[0]), "a twentieth of 300: {minutes:?}");
        assert!(minutes.windows(2).take(9).all(|two| two[0] < two[1]), "it grows: {minutes:?}");
        assert!(minutes[11] >= 285, "in the end it is the rate: {minutes:?}");
        tokio::time::advance(RAMP_FORGOTTEN * 2).await;
        assert!(minute(&pace).await <= 25, "after a while without mail it begins anew");
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_patience_gets_more_each_time_and_success_recovers() {
        let pace = Arc::new(Pace::new(&Limits::NONE, BTreeMap::new()));
        for seconds in [1, 2, 4, 8] {
            pace.brake("example.jp", Patience::Relay, Instant::now());
            assert_eq!(full(&pace, "example.com"), Some(Full::Relay(Duration::from_secs(seconds))));
            tokio::time::sleep(Duration::from_secs(seconds)).await;
        }
        assert_eq!(full(&pace, "example.jp"), None, "one is tried");
        assert_eq!(full(&pace, "example.jp"), Some(Full::Relay(Duration::from_secs(8))), "and no other yet");
        for _ in 0..8 {
            pace.ease("example.jp");
        }
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!((full(&pace, "example.jp"), full(&pace, "example.jp")), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_domain_is_slow_alone_and_one_storm_counts_once() {
        let pace = Arc::new(Pace::new(&Limits::NONE, BTreeMap::new()));
        let began = Instant::now();
        tokio::time::sleep(Duration::from_millis(5)).await;
        for _ in 0..8 {
            pace.brake("docomo.ne.jp", Patience::Domain, began);
        }
        assert_eq!(full(&pace, "docomo.ne.jp"), Some(Full::Domain(Duration::from_secs(1))));
        assert_eq!(full(&pace, "example.jp"), None);
        pace.brake("example.jp", Patience::Recipient, Instant::now());
        assert_eq!(full(&pace, "example.jp"), None, "a greylisted recipient waits alone");
    }
}
