//! What the relay answers: data, decided per recipient and for the relay as a whole.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

/// Picks a verdict for a recipient as written on the wire; `None` leaves it to the script.
pub type Hook = Arc<dyn Fn(&str) -> Option<Verdict> + Send + Sync>;

/// Is shown each recipient as written on the wire.
pub type Watch = Arc<dyn Fn(&str) + Send + Sync>;

/// When a recipient is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// In the answer to RCPT.
    Rcpt,
    /// In the answer to the final dot.
    AfterDot,
}

/// How often a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// At the recipient's first dot only; later ones are accepted.
    FirstTry,
    /// At every dot.
    Always,
}

/// What happens to a mail for one recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// `250 2.0.0 queued as N`.
    Accept,
    /// The same, but the answer waits.
    AcceptAfter(Duration),
    /// `451 4.7.1` for the first `tries`, then accepted.
    Defer {
        /// How many tries are deferred.
        tries: u32,
        /// When the recipient is told.
        at: Stage,
    },
    /// `550 5.1.1`.
    Refuse {
        /// When the recipient is told.
        at: Stage,
    },
    /// `553 5.1.3` to RCPT: it cannot read the address as it is written.
    Misread,
    /// The mail is kept and the connection closed without an answer to the dot.
    CutAfterDot(Cut),
}

/// The relay's behaviour. Where several rules fit a recipient, the named one wins, then the
/// hook, then the one for everyone else.
#[derive(Clone)]
pub struct Script {
    named: HashMap<String, Verdict>,
    hook: Option<Hook>,
    dots: Option<Watch>,
    otherwise: Verdict,
    stop_answering_after: Option<u64>,
    refuse_connections_after: Option<u64>,
}

impl Script {
    /// Takes everything.
    #[must_use]
    pub fn accept_all() -> Self {
        Self {
            named: HashMap::new(),
            hook: None,
            dots: None,
            otherwise: Verdict::Accept,
            stop_answering_after: None,
            refuse_connections_after: None,
        }
    }

    /// `verdict` for the recipient written `address` on the wire (letter case is ignored).
    #[must_use]
    pub fn recipient(mut self, address: &str, verdict: Verdict) -> Self {
        self.named.insert(address.to_ascii_lowercase(), verdict);
        self
    }

    /// Asks `hook` about each recipient that is not named.
    #[must_use]
    pub fn decide_by(mut self, hook: Hook) -> Self {
        self.hook = Some(hook);
        self
    }

    /// Shows `watch` the recipient of each final dot, before it is answered.
    #[must_use]
    pub fn watch_dots(mut self, watch: Watch) -> Self {
        self.dots = Some(watch);
        self
    }

    /// `verdict` for everyone neither named nor picked by the hook.
    #[must_use]
    pub fn everyone_else(mut self, verdict: Verdict) -> Self {
        self.otherwise = verdict;
        self
    }

    /// After `dots` accepted dots the relay still takes connections and commands, and answers
    /// none of them any more (incidents.md A: the server that timed out).
    #[must_use]
    pub fn stop_answering_after(mut self, dots: u64) -> Self {
        self.stop_answering_after = Some(dots);
        self
    }

    /// After `dots` accepted dots new connections are closed at once; open ones go on.
    #[must_use]
    pub fn refuse_connections_after(mut self, dots: u64) -> Self {
        self.refuse_connections_after = Some(dots);
        self
    }

    pub(super) fn show_dot(&self, recipient: &str) {
        if let Some(watch) = &self.dots {
            watch(recipient);
        }
    }

    pub(super) fn verdict(&self, recipient: &str) -> Verdict {
        self.named
            .get(&recipient.to_ascii_lowercase())
            .copied()
            .or_else(|| self.hook.as_ref().and_then(|hook| hook(recipient)))
            .unwrap_or(self.otherwise)
    }

    pub(super) fn is_silent(&self, accepted: u64) -> bool {
        self.stop_answering_after.is_some_and(|dots| accepted >= dots)
    }

    pub(super) fn refuses_connections(&self, accepted: u64) -> bool {
        self.refuse_connections_after.is_some_and(|dots| accepted >= dots)
    }
}

impl Default for Script {
    fn default() -> Self {
        Self::accept_all()
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("named", &self.named.len())
            .field("hook", &self.hook.is_some())
            .field("dots", &self.dots.is_some())
            .field("otherwise", &self.otherwise)
            .field("stop_answering_after", &self.stop_answering_after)
            .field("refuse_connections_after", &self.refuse_connections_after)
            .finish()
    }
}
