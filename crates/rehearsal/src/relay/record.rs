//! What the relay was handed and what it answered, in order, with the counts a script needs.
//!
//! Decision and record are one step under one lock: no answer is decided that is not recorded.

use super::script::{Cut, Script, Stage, Verdict};
use domain::{Clock, Timestamp};
use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

pub(super) const NO_SUCH_RECIPIENT: u16 = 550;
pub(super) const NOT_AN_ADDRESS: u16 = 553;
pub(super) const TRY_LATER: u16 = 451;
pub(super) const TOO_BIG: u16 = 552;

/// What the relay answered to a final dot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 250.
    Accepted,
    /// Refused for good, with this code.
    Refused(u16),
    /// Refused for now, with this code.
    Deferred(u16),
    /// The connection was closed instead.
    Cut,
    /// Nothing: the relay had stopped answering while this mail was on its way.
    Unanswered,
}

/// One final dot.
#[derive(Clone)]
pub struct Captured {
    /// Counts from 1 in the order of the dots.
    pub seq: u64,
    /// When the dot was read.
    pub at: Timestamp,
    /// Which connection brought it, counting from 1.
    pub connection: u64,
    /// The return path as written, without angle brackets; empty = null sender.
    pub mail_from: String,
    /// The recipients as written, without angle brackets.
    pub recipients: Vec<String>,
    /// The mail, dot-stuffing undone, every other octet as received.
    pub raw: Arc<[u8]>,
    /// What was answered.
    pub answer: Answer,
}

impl fmt::Debug for Captured {
    /// Covers the addresses (law 12).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Captured")
            .field("seq", &self.seq)
            .field("connection", &self.connection)
            .field("recipients", &self.recipients.len())
            .field("octets", &self.raw.len())
            .field("answer", &self.answer)
            .finish_non_exhaustive()
    }
}

/// One recipient refused in the answer to RCPT.
#[derive(Clone, PartialEq, Eq)]
pub struct RefusedRecipient {
    /// When RCPT was read.
    pub at: Timestamp,
    /// Which connection.
    pub connection: u64,
    /// The return path as written.
    pub mail_from: String,
    /// The recipient as written, without angle brackets.
    pub recipient: String,
    /// 451, 550 or 553.
    pub code: u16,
}

impl fmt::Debug for RefusedRecipient {
    /// Covers the addresses (law 12).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefusedRecipient")
            .field("connection", &self.connection)
            .field("code", &self.code)
            .finish_non_exhaustive()
    }
}

/// The relay's record. Clones are handles on the same record.
#[derive(Clone)]
pub struct RelayRecord {
    shared: Arc<Shared>,
}

impl RelayRecord {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Every final dot so far, in order.
    #[must_use]
    pub fn captured(&self) -> Vec<Captured> {
        self.captured_since(0)
    }

    /// The dots after number `seq`; 0 gives all.
    #[must_use]
    pub fn captured_since(&self, seq: u64) -> Vec<Captured> {
        let state = self.shared.lock();
        let from = usize::try_from(seq).unwrap_or(usize::MAX).min(state.captured.len());
        state.captured[from..].to_vec()
    }

    /// The dot with number `seq`.
    #[must_use]
    pub fn get(&self, seq: u64) -> Option<Captured> {
        let index = usize::try_from(seq.checked_sub(1)?).ok()?;
        self.shared.lock().captured.get(index).cloned()
    }

    /// How many dots so far, whatever they were answered.
    #[must_use]
    pub fn count(&self) -> u64 {
        *self.shared.count.borrow()
    }

    /// Recipients refused or deferred at RCPT, in order.
    #[must_use]
    pub fn refused_at_rcpt(&self) -> Vec<RefusedRecipient> {
        self.shared.lock().refused.clone()
    }

    /// Waits until at least `count` dots are recorded; `false` if that takes longer than `timeout`.
    pub async fn wait_for(&self, count: u64, timeout: Duration) -> bool {
        let mut arrivals = self.subscribe();
        tokio::time::timeout(timeout, arrivals.wait_for(|seen| *seen >= count)).await.is_ok_and(|r| r.is_ok())
    }

    /// Follows [`RelayRecord::count`].
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.shared.count.subscribe()
    }

    /// Connections open now.
    #[must_use]
    pub fn connections_open(&self) -> u64 {
        self.shared.open.load(Ordering::SeqCst)
    }

    /// The most connections that were open at the same time.
    #[must_use]
    pub fn connections_peak(&self) -> u64 {
        self.shared.peak.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for RelayRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RelayRecord").field("count", &self.count()).finish_non_exhaustive()
    }
}

/// The envelope of one transaction.
#[derive(Debug, Default)]
pub(super) struct Envelope {
    pub(super) mail_from: String,
    pub(super) recipients: Vec<String>,
}

/// What was decided about a recorded dot.
pub(super) struct Decision {
    pub(super) seq: u64,
    pub(super) answer: Answer,
    pub(super) delay: Duration,
}

pub(super) struct Shared {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    count: watch::Sender<u64>,
    pub(super) connections: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) peak: AtomicU64,
}

struct State {
    script: Arc<Script>,
    /// Dots accepted and recipients tried, since this script was set.
    accepted: u64,
    tries: HashMap<String, u32>,
    captured: Vec<Captured>,
    refused: Vec<RefusedRecipient>,
}

impl Shared {
    pub(super) fn new(script: Script, clock: Arc<dyn Clock>) -> Self {
        Self {
            state: Mutex::new(State {
                script: Arc::new(script),
                accepted: 0,
                tries: HashMap::new(),
                captured: Vec::new(),
                refused: Vec::new(),
            }),
            clock,
            count: watch::Sender::new(0),
            connections: AtomicU64::new(0),
            open: AtomicU64::new(0),
            peak: AtomicU64::new(0),
        }
    }

    pub(super) fn set_script(&self, script: Script) {
        let mut state = self.lock();
        state.script = Arc::new(script);
        state.accepted = 0;
        state.tries.clear();
    }

    pub(super) fn is_silent(&self) -> bool {
        let state = self.lock();
        state.script.is_silent(state.accepted)
    }

    pub(super) fn refuses_connections(&self) -> bool {
        let state = self.lock();
        state.script.refuses_connections(state.accepted)
    }

    /// The code that refuses `recipient` at RCPT, recorded; `None` lets it pass.
    pub(super) fn refuse_at_rcpt(&self, connection: u64, mail_from: &str, recipient: &str) -> Option<u16> {
        let verdict = self.verdict(recipient);
        let mut state = self.lock();
        let code = match verdict {
            Verdict::Refuse { at: Stage::Rcpt } => NO_SUCH_RECIPIENT,
            Verdict::Misread => NOT_AN_ADDRESS,
            Verdict::Defer { tries, at: Stage::Rcpt } if state.count_try(recipient) <= tries => TRY_LATER,
            Verdict::Accept
            | Verdict::AcceptAfter(_)
            | Verdict::Defer { .. }
            | Verdict::Refuse { at: Stage::AfterDot }
            | Verdict::CutAfterDot(_) => return None,
        };
        state.refused.push(RefusedRecipient {
            at: self.clock.now(),
            connection,
            mail_from: mail_from.to_owned(),
            recipient: recipient.to_owned(),
            code,
        });
        Some(code)
    }

    /// Records a final dot together with the answer it will get.
    pub(super) fn record(&self, connection: u64, envelope: Envelope, raw: Vec<u8>, fits: bool) -> Decision {
        let script = Arc::clone(&self.lock().script);
        envelope.recipients.iter().for_each(|recipient| script.show_dot(recipient));
        let verdicts: Vec<Verdict> = envelope.recipients.iter().map(|r| script.verdict(r)).collect();
        let mut state = self.lock();
        let (answer, delay) = if state.script.is_silent(state.accepted) {
            (Answer::Unanswered, Duration::ZERO)
        } else if fits {
            state.answer(&envelope.recipients, &verdicts)
        } else {
            (Answer::Refused(TOO_BIG), Duration::ZERO)
        };
        if answer == Answer::Accepted {
            state.accepted += 1;
        }
        let seq = state.captured.len() as u64 + 1;
        state.captured.push(Captured {
            seq,
            at: self.clock.now(),
            connection,
            mail_from: envelope.mail_from,
            recipients: envelope.recipients,
            raw: raw.into(),
            answer,
        });
        // Still under the lock, so that subscribers never see the count go back.
        self.count.send_replace(seq);
        Decision { seq, answer, delay }
    }

    /// Asks the script outside the lock: a hook may look at the record.
    fn verdict(&self, recipient: &str) -> Verdict {
        let script = Arc::clone(&self.lock().script);
        script.verdict(recipient)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Which try of this recipient this is, counting from 1.
    fn count_try(&mut self, recipient: &str) -> u32 {
        let tries = self.tries.entry(recipient.to_ascii_lowercase()).or_default();
        *tries += 1;
        *tries
    }

    /// One answer for all recipients of a mail: the worst of their verdicts, the longest delay.
    fn answer(&mut self, recipients: &[String], verdicts: &[Verdict]) -> (Answer, Duration) {
        let mut worst = Answer::Accepted;
        let mut delay = Duration::ZERO;
        for (recipient, verdict) in recipients.iter().zip(verdicts) {
            let answer = match *verdict {
                Verdict::AcceptAfter(wait) => {
                    delay = delay.max(wait);
                    Answer::Accepted
                }
                Verdict::Defer { tries, at: Stage::AfterDot } if self.count_try(recipient) <= tries => {
                    Answer::Deferred(TRY_LATER)
                }
                Verdict::Refuse { at: Stage::AfterDot } => Answer::Refused(NO_SUCH_RECIPIENT),
                Verdict::CutAfterDot(Cut::Always) => Answer::Cut,
                Verdict::CutAfterDot(Cut::FirstTry) if self.count_try(recipient) == 1 => Answer::Cut,
                Verdict::Accept
                | Verdict::Defer { .. }
                | Verdict::Refuse { at: Stage::Rcpt }
                | Verdict::Misread
                | Verdict::CutAfterDot(Cut::FirstTry) => Answer::Accepted,
            };
            if severity(answer) > severity(worst) {
                worst = answer;
            }
        }
        (worst, delay)
    }
}

fn severity(answer: Answer) -> u8 {
    match answer {
        Answer::Accepted => 0,
        Answer::Deferred(_) => 1,
        Answer::Refused(_) => 2,
        Answer::Cut => 3,
        Answer::Unanswered => 4,
    }
}
