//! The relays in order of preference, and which of them are left alone for a while because they
//! did not work. One that works again is preferred again.

use crate::relay::RelayUrl;
use std::{
    error::Error,
    fmt::Write as _,
    sync::{
        Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// After a failure a relay rests so long, then twice as long …
const REST_FIRST: Duration = Duration::from_secs(5);
/// … up to this: then it is tried once in a while, and costs nobody more than one attempt.
const REST_MAX: Duration = Duration::from_secs(300);

/// So many recipients refused on grounds of policy, and none taken, are about us.
const REFUSED_IN_A_ROW_MAX: u32 = 10;

/// Known to all connections of this process.
pub(crate) struct Relays {
    known: Vec<RelayUrl>,
    health: Mutex<Health>,
    /// Recipients refused on grounds of policy, with nobody taken in between.
    refused: AtomicU32,
    /// There is a trouble to be taken back.
    troubled: AtomicBool,
}

struct Health {
    rests: Vec<Rest>,
    trouble: Option<String>,
}

#[derive(Clone, Copy, Default)]
struct Rest {
    until: Option<Instant>,
    failures: u32,
}

impl Rest {
    fn is_over(&self) -> bool {
        self.until.is_none_or(|until| until <= Instant::now())
    }
}

impl Relays {
    /// The first is the preferred one.
    pub(crate) fn new(known: Vec<RelayUrl>) -> Self {
        let rests = vec![Rest::default(); known.len()];
        Self {
            known,
            health: Mutex::new(Health { rests, trouble: None }),
            refused: AtomicU32::new(0),
            troubled: AtomicBool::new(false),
        }
    }

    pub(crate) fn url(&self, at: usize) -> &RelayUrl {
        &self.known[at]
    }

    /// In which order to try: those that do not rest first, in order of preference, then the others
    /// as their rests end. None is left out: something has to be tried.
    pub(crate) fn in_order(&self) -> Vec<usize> {
        let health = self.health();
        let mut order: Vec<usize> = (0..self.known.len()).collect();
        order.sort_by_key(|at| health.rests[*at].until.filter(|_| !health.rests[*at].is_over()));
        order
    }

    /// Whether a relay that comes before this one may be tried.
    pub(crate) fn has_better_than(&self, at: usize) -> bool {
        self.health().rests[..at].iter().any(Rest::is_over)
    }

    /// Whether another relay than this one may be tried now.
    pub(crate) fn has_other_than(&self, at: usize) -> bool {
        self.health().rests.iter().enumerate().any(|(other, rest)| other != at && rest.is_over())
    }

    /// It does not work, or does not want us.
    pub(crate) fn failed(&self, at: usize, why: &dyn Error) {
        let mut health = self.health();
        let rest = &mut health.rests[at];
        // Connections that fail together are one failure.
        if rest.is_over() {
            let wait = REST_FIRST.saturating_mul(1 << rest.failures.min(10)).min(REST_MAX);
            *rest = Rest { until: Some(Instant::now() + wait), failures: rest.failures + 1 };
        }
        self.tell(&mut health, at, why);
    }

    /// It took a session.
    pub(crate) fn works(&self, at: usize) {
        let mut health = self.health();
        health.rests[at] = Rest::default();
        if health.rests.iter().all(Rest::is_over) || at == 0 {
            health.trouble = None;
            self.troubled.store(false, Ordering::Relaxed);
        }
    }

    /// It took a mail.
    pub(crate) fn took(&self, at: usize) {
        if self.refused.load(Ordering::Relaxed) > 0 {
            self.refused.store(0, Ordering::Relaxed);
        }
        if self.troubled.load(Ordering::Relaxed) {
            self.works(at);
        }
    }

    /// It refused a recipient on grounds of policy. True where that is not about the recipients any
    /// more: a relay that does not know us says the same of everybody.
    pub(crate) fn refuses_everybody(&self) -> bool {
        self.refused.fetch_add(1, Ordering::Relaxed) >= REFUSED_IN_A_ROW_MAX
    }

    /// Without a rest: there is no other relay to go to.
    pub(crate) fn complain(&self, at: usize, why: &dyn Error) {
        self.tell(&mut self.health(), at, why);
    }

    fn tell(&self, health: &mut Health, at: usize, why: &dyn Error) {
        health.trouble = Some(in_full(&self.known[at], why));
        self.troubled.store(true, Ordering::Relaxed);
    }

    /// What keeps mail from leaving, or from leaving by the preferred relay; for people.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.health().trouble.clone()
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().expect("invariant: nothing panics while holding the relays' health")
    }
}

/// With all causes: "invalid peer certificate: Expired" stands at the end of the chain. Some errors
/// name their causes themselves.
fn in_full(relay: &RelayUrl, why: &dyn Error) -> String {
    let mut text = format!("{relay}: {why}");
    let mut cause = why.source();
    while let Some(error) = cause {
        let cause_said = error.to_string();
        if !text.contains(&cause_said) {
            let _infallible = write!(text, ": {cause_said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> Relays {
        let url = |port: u16| format!("smtp://127.0.0.1:{port}").parse().expect("a relay");
        Relays::new(vec![url(1), url(2), url(3)])
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_that_failed_comes_last_and_then_first_again() {
        let relays = three();
        assert_eq!(relays.in_order(), [0, 1, 2]);
        relays.failed(0, &std::io::Error::other("refused"));
        assert_eq!(relays.in_order(), [1, 2, 0]);
        assert!(relays.has_other_than(0) && !relays.has_better_than(1));
        relays.failed(1, &std::io::Error::other("refused"));
        tokio::time::advance(REST_FIRST / 2).await;
        relays.failed(2, &std::io::Error::other("refused"));
        assert_eq!(relays.in_order(), [0, 1, 2], "all rest: the one whose rest ends first");
        assert!(!relays.has_better_than(2));
        tokio::time::advance(REST_FIRST).await;
        assert_eq!(relays.in_order(), [0, 1, 2]);
        assert!(relays.has_better_than(1));
        relays.works(0);
        assert_eq!(relays.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn rests_grow_and_failures_together_are_one() {
        let relays = three();
        for rest in [5, 10, 20, 40, 80, 160, 300, 300] {
            for _ in 0..8 {
                relays.failed(0, &std::io::Error::other("refused"));
            }
            tokio::time::advance(Duration::from_secs(rest) - Duration::from_millis(1)).await;
            assert!(!relays.has_better_than(1), "{rest} s");
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(relays.has_better_than(1), "{rest} s");
        }
        assert!(relays.trouble().is_some_and(|said| said.contains("127.0.0.1:1: refused")));
    }
}
