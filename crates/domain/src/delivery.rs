//! One ledger row's life. [`Delivery::next`] is the only door: the store writes what it returns,
//! and recovery after a crash replays through it.

use crate::{RequestKind, Timestamp, words};
use std::fmt;

/// How often a row has been tried, counting from 1 at the first intent; 0 = never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptNo(i32);

impl AttemptNo {
    /// Never tried.
    pub const NONE: Self = Self(0);

    /// From the ledger's column.
    #[must_use]
    pub const fn new(number: i32) -> Self {
        Self(number)
    }

    /// For the ledger's column.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The attempt after this one.
    #[must_use]
    pub const fn following(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// What the relay said. Line breaks and controls are gone from `text`, and it is bounded.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SmtpReply {
    /// Three-digit code, e.g. 250.
    pub code: u16,
    /// RFC 3463 status such as `4.7.1`, where the relay gives one.
    pub enhanced: Option<String>,
    /// The rest, at most [`SmtpReply::TEXT_CHARS_MAX`] characters.
    pub text: String,
}

impl SmtpReply {
    /// Longer texts are cut: a relay may send lines without end.
    pub const TEXT_CHARS_MAX: usize = 500;

    /// From a code and the text after it; finds the enhanced status in the text's first word.
    #[must_use]
    pub fn new(code: u16, text: &str) -> Self {
        let clean: String =
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(Self::TEXT_CHARS_MAX).collect();
        let (first, rest) = clean.split_once(' ').unwrap_or((&clean, ""));
        if is_enhanced_status(first) {
            Self { code, enhanced: Some(first.to_owned()), text: rest.trim().to_owned() }
        } else {
            Self { code, enhanced: None, text: clean.trim().to_owned() }
        }
    }
}

impl fmt::Display for SmtpReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if let Some(enhanced) = &self.enhanced {
            write!(f, " {enhanced}")?;
        }
        if self.text.is_empty() { Ok(()) } else { write!(f, " {}", self.text) }
    }
}

/// RFC 3463: class 2, 4 or 5, then subject and detail of one to three digits.
fn is_enhanced_status(word: &str) -> bool {
    let parts: Vec<&str> = word.split('.').collect();
    let digits = |part: &&str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    parts.len() == 3 && parts.iter().all(digits) && matches!(parts[0], "2" | "4" | "5")
}

/// Why a recipient is held back from sending before approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldReason {
    /// A merge field of the text has no value for this person.
    MissingField(String),
    /// The registry has no deliverable address for this person.
    NoAddress,
    /// Another member with the same address already stands in this audience.
    SharedAddress,
    /// Nothing is sent to this person, or to this address, until a person lifts it.
    Suppressed(RequestKind),
}

impl fmt::Display for HoldReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MissingField(field) => write!(f, "missing-field:{field}"),
            Self::NoAddress => f.write_str("no-address"),
            Self::SharedAddress => f.write_str("shared-address"),
            Self::Suppressed(kind) => write!(f, "suppressed:{kind}"),
        }
    }
}

impl std::str::FromStr for HoldReason {
    type Err = crate::UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some(("missing-field", field)) => Ok(Self::MissingField(field.to_owned())),
            Some(("suppressed", kind)) => Ok(Self::Suppressed(kind.parse()?)),
            None if text == "no-address" => Ok(Self::NoAddress),
            None if text == "shared-address" => Ok(Self::SharedAddress),
            _ => Err(crate::UnknownWord {
                what: "hold reason",
                given: text.to_owned(),
                known: "missing-field:NAME no-address shared-address suppressed:KIND".to_owned(),
            }),
        }
    }
}

/// What is known about one recipient of one broadcast.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// Not tried.
    Pending,
    /// Will not be tried: something is missing; part of what is approved.
    Held(HoldReason),
    /// Intent is durable; the final dot may or may not be out.
    Submitting {
        /// Which attempt.
        attempt: AttemptNo,
        /// When another worker may declare it unknown.
        lease_until: Timestamp,
    },
    /// The relay took it (not: it was read).
    Accepted {
        /// Which attempt succeeded.
        attempt: AttemptNo,
        /// The relay's word; `None` where a person settled an unknown row.
        reply: Option<SmtpReply>,
    },
    /// Certainly not taken; tried again at `retry_at`.
    Deferred {
        /// Attempts so far.
        attempt: AttemptNo,
        /// Not before this.
        retry_at: Timestamp,
        /// The relay's word, if it had one.
        reply: Option<SmtpReply>,
    },
    /// Refused for good.
    Rejected {
        /// Which attempt.
        attempt: AttemptNo,
        /// The relay's word.
        reply: SmtpReply,
    },
    /// The connection was lost when the dot may have been out: a person or stated policy settles it.
    Unknown {
        /// Which attempt.
        attempt: AttemptNo,
    },
    /// Tried until the time ran out.
    GaveUp {
        /// How often.
        attempts: AttemptNo,
    },
    /// A person cancelled before it was tried (again).
    Cancelled {
        /// Attempts until then.
        attempts: AttemptNo,
    },
}

/// The state's name alone: the ledger's `state` column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeliveryState {
    /// See [`Delivery::Pending`].
    Pending,
    /// See [`Delivery::Held`].
    Held,
    /// See [`Delivery::Submitting`].
    Submitting,
    /// See [`Delivery::Accepted`].
    Accepted,
    /// See [`Delivery::Deferred`].
    Deferred,
    /// See [`Delivery::Rejected`].
    Rejected,
    /// See [`Delivery::Unknown`].
    Unknown,
    /// See [`Delivery::GaveUp`].
    GaveUp,
    /// See [`Delivery::Cancelled`].
    Cancelled,
}

words!(DeliveryState, "delivery state", {
    Pending => "pending",
    Held => "held",
    Submitting => "submitting",
    Accepted => "accepted",
    Deferred => "deferred",
    Rejected => "rejected",
    Unknown => "unknown",
    GaveUp => "gave_up",
    Cancelled => "cancelled",
});

/// What happened to a row. Past tense: an event is not a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryEvent {
    /// The intent was written, in the commit that permits the submission.
    IntentCommitted {
        /// When another worker may declare the row unknown.
        lease_until: Timestamp,
    },
    /// 2xx after the final dot.
    RelayAccepted(SmtpReply),
    /// 4xx, or a failure that certainly came before the dot.
    RelayDeferred {
        /// The relay's word, if it had one.
        reply: Option<SmtpReply>,
        /// Next attempt not before this.
        retry_at: Timestamp,
    },
    /// 5xx.
    RelayRejected(SmtpReply),
    /// No answer to a dot that may have been sent; or the sender died holding the row.
    OutcomeLost,
    /// A person, on evidence, declared an unknown row as taken.
    SettledAsAccepted,
    /// A person or the stated policy `retry` ordered an unknown row to be sent again.
    SettledForResend {
        /// Not before this.
        retry_at: Timestamp,
    },
    /// The retry period or the notice's own end passed.
    TimeRanOut,
    /// A person cancelled the broadcast.
    BroadcastCancelled,
}

/// An event that cannot happen in this state: a bug or a stale worker. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a delivery that is {state} cannot take the event {event}")]
pub struct IllegalEvent {
    state: DeliveryState,
    event: String,
}

impl Delivery {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`IllegalEvent`] where the event cannot happen in this state.
    pub fn next(self, event: &DeliveryEvent) -> Result<Self, IllegalEvent> {
        use DeliveryEvent as E;
        match (self, event) {
            (Self::Pending, E::IntentCommitted { lease_until }) => {
                Ok(Self::Submitting { attempt: AttemptNo::NONE.following(), lease_until: *lease_until })
            }
            (Self::Deferred { attempt, .. }, E::IntentCommitted { lease_until }) => {
                Ok(Self::Submitting { attempt: attempt.following(), lease_until: *lease_until })
            }
            (Self::Submitting { attempt, .. }, E::RelayAccepted(reply)) => {
                Ok(Self::Accepted { attempt, reply: Some(reply.clone()) })
            }
            (Self::Submitting { attempt, .. }, E::RelayDeferred { reply, retry_at }) => {
                Ok(Self::Deferred { attempt, retry_at: *retry_at, reply: reply.clone() })
            }
            (Self::Submitting { attempt, .. }, E::RelayRejected(reply)) => {
                Ok(Self::Rejected { attempt, reply: reply.clone() })
            }
            (Self::Submitting { attempt, .. }, E::OutcomeLost) => Ok(Self::Unknown { attempt }),
            (Self::Unknown { attempt }, E::SettledAsAccepted) => Ok(Self::Accepted { attempt, reply: None }),
            (Self::Unknown { attempt }, E::SettledForResend { retry_at }) => {
                Ok(Self::Deferred { attempt, retry_at: *retry_at, reply: None })
            }
            (Self::Pending, E::TimeRanOut) => Ok(Self::GaveUp { attempts: AttemptNo::NONE }),
            (Self::Deferred { attempt, .. }, E::TimeRanOut) => Ok(Self::GaveUp { attempts: attempt }),
            (Self::Pending, E::BroadcastCancelled) => Ok(Self::Cancelled { attempts: AttemptNo::NONE }),
            (Self::Deferred { attempt, .. }, E::BroadcastCancelled) => {
                Ok(Self::Cancelled { attempts: attempt })
            }
            (state, event) => Err(IllegalEvent { state: state.state(), event: event.name().to_owned() }),
        }
    }

    /// The state's name.
    #[must_use]
    pub fn state(&self) -> DeliveryState {
        match self {
            Self::Pending => DeliveryState::Pending,
            Self::Held(_) => DeliveryState::Held,
            Self::Submitting { .. } => DeliveryState::Submitting,
            Self::Accepted { .. } => DeliveryState::Accepted,
            Self::Deferred { .. } => DeliveryState::Deferred,
            Self::Rejected { .. } => DeliveryState::Rejected,
            Self::Unknown { .. } => DeliveryState::Unknown,
            Self::GaveUp { .. } => DeliveryState::GaveUp,
            Self::Cancelled { .. } => DeliveryState::Cancelled,
        }
    }
}

impl DeliveryEvent {
    fn name(&self) -> &'static str {
        match self {
            Self::IntentCommitted { .. } => "intent-committed",
            Self::RelayAccepted(_) => "relay-accepted",
            Self::RelayDeferred { .. } => "relay-deferred",
            Self::RelayRejected(_) => "relay-rejected",
            Self::OutcomeLost => "outcome-lost",
            Self::SettledAsAccepted => "settled-as-accepted",
            Self::SettledForResend { .. } => "settled-for-resend",
            Self::TimeRanOut => "time-ran-out",
            Self::BroadcastCancelled => "broadcast-cancelled",
        }
    }
}

/// How many rows of one broadcast stand in each state. The parts always sum to the snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "the fields are the states of `Delivery`, described there")]
pub struct Tally {
    pub pending: u64,
    pub held: u64,
    pub submitting: u64,
    pub accepted: u64,
    pub deferred: u64,
    pub rejected: u64,
    pub unknown: u64,
    pub gave_up: u64,
    pub cancelled: u64,
}

impl Tally {
    /// Counts `n` more rows in `state`.
    pub fn add(&mut self, state: DeliveryState, n: u64) {
        *self.slot(state) += n;
    }

    /// Rows in `state`.
    #[must_use]
    pub fn of(mut self, state: DeliveryState) -> u64 {
        *self.slot(state)
    }

    /// All rows.
    #[must_use]
    pub fn total(self) -> u64 {
        DeliveryState::ALL.iter().map(|state| self.of(*state)).sum()
    }

    /// Rows that may still be sent or are being sent: the broadcast is not over while any is left.
    #[must_use]
    pub fn open(self) -> u64 {
        self.pending + self.deferred + self.submitting
    }

    fn slot(&mut self, state: DeliveryState) -> &mut u64 {
        match state {
            DeliveryState::Pending => &mut self.pending,
            DeliveryState::Held => &mut self.held,
            DeliveryState::Submitting => &mut self.submitting,
            DeliveryState::Accepted => &mut self.accepted,
            DeliveryState::Deferred => &mut self.deferred,
            DeliveryState::Rejected => &mut self.rejected,
            DeliveryState::Unknown => &mut self.unknown,
            DeliveryState::GaveUp => &mut self.gave_up,
            DeliveryState::Cancelled => &mut self.cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn any_event() -> impl Strategy<Value = DeliveryEvent> {
        let reply = SmtpReply::new(250, "2.0.0 ok");
        prop_oneof![
            Just(DeliveryEvent::IntentCommitted { lease_until: at(1) }),
            Just(DeliveryEvent::RelayAccepted(reply.clone())),
            Just(DeliveryEvent::RelayDeferred { reply: None, retry_at: at(2) }),
            Just(DeliveryEvent::RelayRejected(reply)),
            Just(DeliveryEvent::OutcomeLost),
            Just(DeliveryEvent::SettledAsAccepted),
            Just(DeliveryEvent::SettledForResend { retry_at: at(3) }),
            Just(DeliveryEvent::TimeRanOut),
            Just(DeliveryEvent::BroadcastCancelled),
        ]
    }

    proptest! {
        #[test]
        fn any_sequence_of_events_conserves_the_row_and_never_sends_after_the_end(
            events in proptest::collection::vec(any_event(), 0..24)
        ) {
            let mut row = Delivery::Pending;
            let mut tally = Tally::default();
            for event in &events {
                let before = row.state();
                match row.clone().next(event) {
                    Ok(next) => row = next,
                    Err(_) => prop_assert_eq!(row.state(), before),
                }
                let ended = matches!(
                    before,
                    DeliveryState::Accepted | DeliveryState::Rejected | DeliveryState::GaveUp | DeliveryState::Cancelled
                );
                prop_assert!(!ended || row.state() == before, "an ended row moved");
            }
            tally.add(row.state(), 1);
            prop_assert_eq!(tally.total(), 1);
        }
    }

    #[test]
    fn an_unknown_row_is_never_tried_again_without_a_decision() {
        let unknown = Delivery::Unknown { attempt: AttemptNo::new(1) };
        assert!(unknown.clone().next(&DeliveryEvent::IntentCommitted { lease_until: at(9) }).is_err());
        assert!(unknown.clone().next(&DeliveryEvent::TimeRanOut).is_err());
        assert!(unknown.next(&DeliveryEvent::SettledForResend { retry_at: at(9) }).is_ok());
    }

    #[test]
    fn the_enhanced_status_is_taken_from_the_first_word() {
        let reply = SmtpReply::new(451, "4.7.1 greylisted,\r\ntry later");
        assert_eq!(reply.enhanced.as_deref(), Some("4.7.1"));
        assert_eq!(reply.text, "greylisted,  try later");
        assert_eq!(SmtpReply::new(250, "Ok: queued as 1.2").enhanced, None);
    }
}
