//! The relays in order of preference, and which of them are left alone for a while because they
//! did not work. One that works again is preferred again.

use crate::relay::RelayUrl;
use domain::{AttemptNo, retry_wait};
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

/// Longer texts help nobody.
const TROUBLE_CHARS_MAX: usize = 300;

/// Known to all connections of this process.
pub(crate) struct Relays {
    known: Vec<RelayUrl>,
    health: Mutex<Health>,
    /// For each relay: recipients refused on grounds of policy, with nobody taken in between.
    refused: Vec<AtomicU32>,
    /// Something in `health` is to be taken back when a mail is taken.
    troubled: AtomicBool,
}

struct Health {
    rests: Vec<Rest>,
    /// Of which relay, and what people read.
    trouble: Option<(usize, String)>,
}

#[derive(Clone, Copy, Default)]
struct Rest {
    until: Option<Instant>,
    failures: i32,
    /// One connection tries it; the others stay where they are.
    probed: bool,
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
        let refused = known.iter().map(|_| AtomicU32::new(0)).collect();
        let health = Mutex::new(Health { rests, trouble: None });
        Self { known, health, refused, troubled: AtomicBool::new(false) }
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

    /// Whether a connection to this relay is better opened anew, to another: one that comes before
    /// it may be tried, or it rests itself and another does not.
    pub(crate) fn has_better_than(&self, at: usize) -> bool {
        // Asked before every mail: where nothing ever failed, the first is the best.
        if at == 0 && !self.troubled.load(Ordering::Relaxed) {
            return false;
        }
        let rests = &self.health().rests;
        rests[..at].iter().any(Rest::is_over) || (!rests[at].is_over() && rests.iter().any(Rest::is_over))
    }

    /// It is about to be tried. One that failed before is tried by one connection at a time, for as
    /// long as that may take.
    pub(crate) fn tries(&self, at: usize, step_timeout: Duration) {
        let rest = &mut self.health().rests[at];
        if rest.failures > 0 && rest.is_over() {
            *rest = Rest { until: Some(Instant::now() + step_timeout), probed: true, ..*rest };
        }
    }

    /// It gave no session.
    pub(crate) fn failed(&self, at: usize, why: &dyn Error) {
        let mut health = self.health();
        let rest = &mut health.rests[at];
        // Connections that fail together are one failure.
        if rest.is_over() || rest.probed {
            let failures = rest.failures + 1;
            let wait = retry_wait(REST_FIRST, AttemptNo::new(failures)).min(REST_MAX);
            *rest = Rest { until: Some(Instant::now() + wait), failures, probed: false };
        }
        self.tell(&mut health, at, why);
    }

    /// It does not want us now. True where another relay may be tried instead; then this one rests.
    pub(crate) fn turned_away(&self, at: usize, why: &dyn Error) -> bool {
        let elsewhere = {
            let health = self.health();
            health.rests.iter().enumerate().any(|(other, rest)| other != at && rest.is_over())
        };
        if elsewhere {
            self.failed(at, why);
        } else {
            self.tell(&mut self.health(), at, why);
        }
        elsewhere
    }

    /// It took a session. Whether it takes mail is not known yet.
    pub(crate) fn opened(&self, at: usize) {
        let rest = &mut self.health().rests[at];
        *rest = Rest { until: None, probed: false, ..*rest };
    }

    /// It took a mail.
    pub(crate) fn took(&self, at: usize) {
        if self.refused[at].load(Ordering::Relaxed) > 0 {
            self.refused[at].store(0, Ordering::Relaxed);
        }
        if !self.troubled.load(Ordering::Relaxed) {
            return;
        }
        let mut health = self.health();
        health.rests[at] = Rest::default();
        health.trouble = health.trouble.take().filter(|(whose, _)| *whose < at);
        let troubled = health.trouble.is_some() || health.rests.iter().any(|rest| rest.failures > 0);
        self.troubled.store(troubled, Ordering::Relaxed);
    }

    /// It refused a recipient on grounds of policy. True where that is not about the recipients any
    /// more: a relay that does not know us says the same of everybody, until it takes a mail.
    pub(crate) fn refuses_everybody(&self, at: usize) -> bool {
        self.refused[at].fetch_add(1, Ordering::Relaxed) >= REFUSED_IN_A_ROW_MAX
    }

    /// What keeps mail from leaving, or from leaving by the preferred relay; for people.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.health().trouble.as_ref().map(|(_, text)| text.clone())
    }

    fn tell(&self, health: &mut Health, at: usize, why: &dyn Error) {
        let text: String =
            format!("{}: {}", self.known[at], in_full(why)).chars().take(TROUBLE_CHARS_MAX).collect();
        health.trouble = Some((at, text));
        self.troubled.store(true, Ordering::Relaxed);
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().expect("invariant: nothing panics while holding the relays' health")
    }
}

/// With all causes: "invalid peer certificate: Expired" stands at the end of the chain. Some errors
/// name their causes themselves.
pub(crate) fn in_full(why: &dyn Error) -> String {
    let mut text = why.to_string();
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
        assert!(relays.has_better_than(0) && !relays.has_better_than(1), "whoever is with it leaves it");
        relays.failed(1, &std::io::Error::other("refused"));
        tokio::time::advance(REST_FIRST / 2).await;
        relays.failed(2, &std::io::Error::other("refused"));
        assert_eq!(relays.in_order(), [0, 1, 2], "all rest: the one whose rest ends first");
        assert!(!relays.has_better_than(2));
        tokio::time::advance(REST_FIRST).await;
        assert_eq!(relays.in_order(), [0, 1, 2]);
        assert!(relays.has_better_than(1));
        relays.failed(0, &std::io::Error::other("refused"));
        relays.opened(0);
        assert!(relays.trouble().is_some(), "a session is no mail");
        relays.took(1);
        assert!(relays.trouble().is_some(), "what a later relay takes says nothing of the first");
        relays.took(0);
        assert_eq!(relays.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_connection_tries_a_relay_that_failed_and_the_others_stay() {
        let relays = three();
        relays.failed(0, &std::io::Error::other("refused"));
        tokio::time::advance(REST_FIRST).await;
        assert!(relays.has_better_than(1), "its rest is over");
        relays.tries(0, Duration::from_secs(60));
        assert!(!relays.has_better_than(1), "somebody tries it");
        relays.failed(0, &std::io::Error::other("refused"));
        tokio::time::advance(REST_FIRST).await;
        assert!(!relays.has_better_than(1), "the second rest is longer");
        tokio::time::advance(REST_FIRST).await;
        relays.tries(0, Duration::from_secs(60));
        relays.opened(0);
        assert!(relays.has_better_than(1), "it gave a session");
        assert!(relays.turned_away(0, &std::io::Error::other("550")), "and then did not want us");
        tokio::time::advance(3 * REST_FIRST).await;
        assert!(!relays.has_better_than(1), "a session alone does not shorten its rests");
    }

    #[tokio::test]
    async fn each_relay_answers_for_its_own_refusals() {
        let relays = three();
        for _ in 0..REFUSED_IN_A_ROW_MAX {
            assert!(!relays.refuses_everybody(0));
        }
        relays.took(1);
        assert!(relays.refuses_everybody(0), "what another relay takes does not clear it");
        assert!(!relays.refuses_everybody(1));
        relays.took(0);
        assert!(!relays.refuses_everybody(0));
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
