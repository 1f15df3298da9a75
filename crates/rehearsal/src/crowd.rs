//! The simulated members: they open their links, answer, reply, and some of their mailboxes bounce.
//!
//! Guarantees: a member acts at most once on the same mail, however often it arrives; answers a
//! questionnaire at most once; and at most one mail comes back from each. Over a crowd's life
//! exactly the planned numbers of replies and bounces are tried, provided enough people are
//! written to. Whether and when a member answers follows from seed, address and Message-ID alone;
//! who replies follows from these and the order of the mails.
//!
//! # Security
//! Members speak to loopback addresses only, whatever a mail or the plan says; a page is read up
//! to a limit, and addresses taken from a mail are checked before they enter a command.

mod decision;
mod letter;
mod post;

use crate::browser::{Browser, BrowserError};
use crate::relay::{Answer, Captured, RelayRecord};
use decision::{Decision, Link, Memory};
use domain::Clock;
use letter::Letter;
use post::Delivered;
use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How many members act at the same moment: enough to keep a server busy, few enough for two
/// cores and the usual limit on descriptors.
const TURNS: usize = 32;

/// Fills a page in: a number that is the member's own for the whole crowd, and the page's HTML,
/// give the fields to post. No fields: nothing is posted.
pub type AnswerSheet = Arc<dyn Fn(u64, &str) -> Vec<(String, String)> + Send + Sync>;

/// How the members behave.
#[derive(Clone)]
pub struct CrowdPlan {
    /// The same seed decides the same.
    pub seed: u64,
    /// 1.0: members take minutes. 0.02: seconds. 0.0: no delay at all.
    pub time_scale: f64,
    /// Roughly how many people one notice reaches: those who reply are spread over them.
    pub audience: usize,
    /// Share (0 to 1) of the people with a link who answer through it.
    pub answer_share: f64,
    /// Fills the page in.
    pub answers: AnswerSheet,
    /// Where replies and bounces are delivered by SMTP; loopback only.
    pub sink: SocketAddr,
    /// People who simply reply.
    pub plain_replies: usize,
    /// People who reply "to all": five made-up colleagues in Cc, tried as recipients too.
    pub reply_alls: usize,
    /// People who are away, with a machine that says so.
    pub auto_replies: usize,
    /// Mailboxes that do not exist or are full. Their owners do nothing else.
    pub bounces: usize,
}

impl CrowdPlan {
    /// The crowd of incidents.md A: 17 replies, three of them more to all; ordinary numbers of
    /// absences and bounces for 4,000 people; 60 % answer, within minutes.
    #[must_use]
    pub fn new(seed: u64, sink: SocketAddr, answers: AnswerSheet) -> Self {
        Self {
            seed,
            time_scale: 1.0,
            audience: 4_000,
            answer_share: 0.6,
            answers,
            sink,
            plain_replies: 17,
            reply_alls: 3,
            auto_replies: 24,
            bounces: 12,
        }
    }
}

impl fmt::Debug for CrowdPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrowdPlan")
            .field("seed", &self.seed)
            .field("time_scale", &self.time_scale)
            .field("answer_share", &self.answer_share)
            .finish_non_exhaustive()
    }
}

/// What the members did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CrowdTally {
    /// Mails that arrived, repeated ones included.
    pub received: u64,
    /// Pages opened.
    pub opened: u64,
    /// Answer sheets taken by the server (2xx or 3xx).
    pub answered: u64,
    /// Pages or sheets that failed.
    pub answer_failures: u64,
    /// Plain replies taken by the sink.
    pub plain_replies: u64,
    /// Replies to all taken by the sink.
    pub reply_alls: u64,
    /// Automatic replies taken by the sink.
    pub auto_replies: u64,
    /// Bounces taken by the sink.
    pub bounces: u64,
    /// Replies or bounces not taken.
    pub reply_failures: u64,
    /// Colleagues in Cc that the sink refused, as it must.
    pub foreign_rcpt_refused: u64,
    /// Colleagues in Cc that the sink took: has to stay 0.
    pub foreign_rcpt_accepted: u64,
    /// The relay's record is read up to this number.
    pub seen: u64,
    /// Actions decided and not yet done.
    pub pending: u64,
}

/// A running crowd; dropping it stops it.
#[derive(Debug)]
pub struct Crowd {
    shared: Arc<Shared>,
}

/// Why no crowd was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CrowdError {
    /// Simulated mail must not leave this machine.
    #[error("the sink of simulated replies has to be a loopback address")]
    SinkNotLoopback,
}

impl Crowd {
    /// Follows `relay` from its first mail on. Has to be called within a tokio runtime.
    ///
    /// # Errors
    /// [`CrowdError::SinkNotLoopback`].
    pub fn start(relay: RelayRecord, plan: CrowdPlan, clock: Arc<dyn Clock>) -> Result<Self, CrowdError> {
        if !plan.sink.ip().is_loopback() {
            return Err(CrowdError::SinkNotLoopback);
        }
        let shared = Arc::new(Shared {
            memory: Mutex::new(Memory::new(&plan)),
            plan,
            relay,
            clock,
            browser: Browser::new(),
            turns: Semaphore::new(TURNS),
            tally: watch::Sender::new(CrowdTally::default()),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        shared.tasks.spawn(Arc::clone(&shared).follow());
        Ok(Self { shared })
    }

    /// What was done so far.
    #[must_use]
    pub fn tally(&self) -> CrowdTally {
        *self.shared.tally.borrow()
    }

    /// Follows the tally.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<CrowdTally> {
        self.shared.tally.subscribe()
    }

    /// Waits until the tally is as wanted; `false` if that takes longer than `timeout`.
    pub async fn wait_until(&self, timeout: Duration, wanted: impl FnMut(&CrowdTally) -> bool) -> bool {
        let mut tallies = self.subscribe();
        tokio::time::timeout(timeout, tallies.wait_for(wanted)).await.is_ok_and(|seen| seen.is_ok())
    }

    /// Waits until every mail in the relay's record was read and nobody has anything left to do.
    pub async fn quiet(&self, timeout: Duration) -> bool {
        let relay = self.shared.relay.clone();
        self.wait_until(timeout, move |tally| tally.seen >= relay.count() && tally.pending == 0).await
    }

    /// Ends every action where it stands and waits for that.
    pub async fn stop(&self) {
        self.shared.stop.cancel();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

struct Shared {
    plan: CrowdPlan,
    relay: RelayRecord,
    clock: Arc<dyn Clock>,
    browser: Browser,
    memory: Mutex<Memory>,
    turns: Semaphore,
    tally: watch::Sender<CrowdTally>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("plan", &self.plan).finish_non_exhaustive()
    }
}

/// What comes back by mail.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    ToAll,
    Away,
    Bounce,
}

impl Shared {
    async fn follow(self: Arc<Self>) {
        let mut arrivals = self.relay.subscribe();
        let mut seen = 0;
        loop {
            arrivals.borrow_and_update();
            for mail in self.relay.captured_since(seen) {
                seen = mail.seq;
                self.receive(&mail);
                self.tally.send_modify(|tally| tally.seen = seen);
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                changed = arrivals.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Refused and deferred mails reach nobody. One that was cut or left unanswered may have
    /// arrived, which is the harder case for the sender: here it always has.
    fn receive(self: &Arc<Self>, mail: &Captured) {
        match mail.answer {
            Answer::Refused(_) | Answer::Deferred(_) => return,
            Answer::Accepted | Answer::Cut | Answer::Unanswered => {}
        }
        for recipient in &mail.recipients {
            self.tally.send_modify(|tally| tally.received += 1);
            let Some(letter) = Letter::read(&mail.raw, &mail.mail_from, recipient) else { continue };
            let decision = self.memory().decide(&self.plan, &letter);
            self.act(Arc::new(letter), decision);
        }
    }

    fn act(self: &Arc<Self>, letter: Arc<Letter>, decision: Decision) {
        if let Some((link, delay)) = decision.link {
            let (shared, letter) = (Arc::clone(self), Arc::clone(&letter));
            let person = decision.person;
            self.later(delay, async move { shared.visit(person, &letter, link).await });
        }
        if let Some((kind, delay)) = decision.mail {
            let shared = Arc::clone(self);
            let draw = decision.draw;
            self.later(delay, async move { shared.send_back(&letter, kind, draw).await });
        }
    }

    fn later(self: &Arc<Self>, delay: Duration, action: impl Future<Output = ()> + Send + 'static) {
        let shared = Arc::clone(self);
        self.tally.send_modify(|tally| tally.pending += 1);
        self.tasks.spawn(async move {
            let done = async {
                tokio::time::sleep(delay).await;
                // The semaphore is never closed; without a turn nothing is done.
                if let Ok(_turn) = shared.turns.acquire().await {
                    action.await;
                }
            };
            tokio::select! {
                () = shared.stop.cancelled() => {}
                () = done => {}
            }
            shared.tally.send_modify(|tally| tally.pending -= 1);
        });
    }

    async fn visit(&self, person: u64, letter: &Letter, link: Link) {
        let Some(url) = &letter.link else { return };
        let page = match self.browser.open(url).await {
            Ok(page) => page,
            Err(error) => return self.visit_failed(&error),
        };
        self.tally.send_modify(|tally| tally.opened += 1);
        if link == Link::OpenOnly {
            return;
        }
        let fields = (self.plan.answers)(person, &page);
        if fields.is_empty() {
            return;
        }
        let sheet = decision::sheet(person, &page, &fields);
        if !self.memory().begin_answering(sheet) {
            return;
        }
        match self.browser.post(url, &fields).await {
            Ok(()) => self.tally.send_modify(|tally| tally.answered += 1),
            Err(error) => {
                self.memory().forget_answering(sheet);
                self.visit_failed(&error);
            }
        }
    }

    fn visit_failed(&self, error: &BrowserError) {
        tracing::debug!(%error, "a simulated member could not answer");
        self.tally.send_modify(|tally| tally.answer_failures += 1);
    }

    async fn send_back(&self, letter: &Letter, kind: Kind, draw: u64) {
        let mail = match kind {
            Kind::Plain => letter::plain_reply(letter, self.clock.now(), draw),
            Kind::ToAll => letter::reply_to_all(letter, self.clock.now(), draw),
            Kind::Away => letter::away_notice(letter, self.clock.now(), draw),
            Kind::Bounce => letter::bounce(letter, self.clock.now(), draw),
        };
        match post::deliver(self.plan.sink, &mail).await {
            Ok(delivered) => self.tally.send_modify(|tally| tally.delivered(kind, delivered)),
            Err(error) => {
                tracing::debug!(%error, ?kind, "a simulated member's mail was not taken");
                self.tally.send_modify(|tally| tally.reply_failures += 1);
            }
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CrowdTally {
    fn delivered(&mut self, kind: Kind, delivered: Delivered) {
        match kind {
            Kind::Plain => self.plain_replies += 1,
            Kind::ToAll => self.reply_alls += 1,
            Kind::Away => self.auto_replies += 1,
            Kind::Bounce => self.bounces += 1,
        }
        self.foreign_rcpt_refused += delivered.foreign_refused;
        self.foreign_rcpt_accepted += delivered.foreign_accepted;
    }
}

#[cfg(test)]
mod tests;
