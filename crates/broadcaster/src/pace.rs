//! Pacing: the relay's windows and those of recipient domains.
//!
//! Short windows are paced evenly by governor (a burst of one: a relay that counts per second
//! never sees two in one slot). Windows longer than a minute are counted, starting from what the
//! ledger says was submitted before, so that a restart forgets nothing.

use crate::Settings;
use domain::{Clock, Rate, Timestamp};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter, clock::Clock as _, clock::DefaultClock};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Longer windows are counted instead of paced; the forecast in `notice` says the same.
const PACED_WINDOW_MAX: Duration = notice::preflight::PACED_WINDOW_MAX;

pub(crate) struct Pace {
    paced: Vec<DefaultDirectRateLimiter>,
    counted: Mutex<Vec<Window>>,
    domains: HashMap<String, DefaultDirectRateLimiter>,
    clock: Arc<dyn Clock>,
    timer: DefaultClock,
}

struct Window {
    rate: Rate,
    sent: VecDeque<Timestamp>,
}

impl Pace {
    pub(crate) fn new(settings: &Settings, recent: Vec<Timestamp>, clock: Arc<dyn Clock>) -> Self {
        let (paced, counted): (Vec<Rate>, Vec<Rate>) =
            settings.rates.iter().partition(|rate| rate.per() <= PACED_WINDOW_MAX);
        let windows = counted.into_iter().map(|rate| Window { rate, sent: recent.iter().copied().collect() });
        Self {
            paced: paced.into_iter().map(limiter).collect(),
            counted: Mutex::new(windows.collect()),
            domains: settings
                .per_domain
                .iter()
                .map(|(domain, rate)| (domain.clone(), limiter(*rate)))
                .collect(),
            clock,
            timer: DefaultClock::default(),
        }
    }

    /// One submission to the relay, or how long to wait before asking again.
    pub(crate) fn grant(&self) -> Result<(), Duration> {
        let now = self.clock.now();
        let mut windows = self.counted.lock().expect("invariant: nothing panics while counting");
        for window in windows.iter_mut() {
            window.forget_before(now);
            if let Some(wait) = window.full_for(now) {
                return Err(wait);
            }
        }
        for limiter in &self.paced {
            limiter.check().map_err(|until| until.wait_time_from(self.timer.now()))?;
        }
        for window in windows.iter_mut() {
            window.sent.push_back(now);
        }
        Ok(())
    }

    /// One submission to a recipient's domain, or how long to wait.
    pub(crate) fn grant_domain(&self, domain: &str) -> Result<(), Duration> {
        match self.domains.get(domain) {
            Some(limiter) => limiter.check().map_err(|until| until.wait_time_from(self.timer.now())),
            None => Ok(()),
        }
    }
}

impl Window {
    fn forget_before(&mut self, now: Timestamp) {
        let oldest = now.minus(self.rate.per());
        while self.sent.front().is_some_and(|at| *at <= oldest) {
            self.sent.pop_front();
        }
    }

    fn full_for(&self, now: Timestamp) -> Option<Duration> {
        let over = (self.sent.len() + 1).checked_sub(self.rate.count() as usize + 1)?;
        let leaves = self.sent.get(over)?.plus(self.rate.per());
        Some(leaves.since(now).max(Duration::from_millis(1)))
    }
}

fn limiter(rate: Rate) -> DefaultDirectRateLimiter {
    let quota =
        Quota::with_period(rate.interval()).expect("invariant: a rate's interval is longer than nothing");
    RateLimiter::direct(quota.allow_burst(std::num::NonZeroU32::MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_window_lets_its_count_go_and_then_waits_for_the_oldest() {
        let rate: Rate = "3/h".parse().expect("a rate");
        let at = Timestamp::from_millis;
        let mut window = Window { rate, sent: [at(1_000), at(2_000)].into() };
        assert_eq!(window.full_for(at(3_000)), None);
        window.sent.push_back(at(3_000));
        assert_eq!(window.full_for(at(4_000)), Some(Duration::from_millis(3_597_000)));
        window.forget_before(at(3_601_000));
        assert_eq!(window.full_for(at(3_601_000)), None);
    }
}
