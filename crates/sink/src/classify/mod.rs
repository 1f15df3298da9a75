//! Reads a mail that came back: what it is, and what a person should see of it.
//!
//! A person's words are never hidden as automatic: a mail counts as automatic only where a
//! standard (RFC 3464, 3834, 5965, 8098) or a known machine says so, and as human in any doubt.
//! Reading changes nothing and costs a bounded time: see the limits of [`mime`] and [`head`].
//!
//! # Security
//! Every octet was written by a stranger. Texts that come out are decoded, bounded and free of
//! control characters and directional overrides; they still must be escaped where they are shown.

mod auto_reply;
mod bounce;
mod complaint;
mod delivery_status;
mod failure;
mod head;
mod mime;
mod newsletter;
mod quote;
mod wish;

use domain::ReplyClass;
use failure::Failure;
use mime::Mail;

/// Enough for any reply worth reading on a page; the raw mail keeps the rest.
const BODY_CHARS_MAX: usize = 20_000;

/// What was read in a mail.
#[derive(Clone, PartialEq, Eq)]
pub struct Reading {
    /// What it is.
    pub class: ReplyClass,
    /// A short word for why, e.g. `mailbox-full`, `auto-submitted`.
    pub reason: Option<String>,
    /// RFC 3463 status of a bounce, e.g. `5.1.1`.
    pub status: Option<String>,
    /// Decoded subject, one line.
    pub subject: String,
    /// Decoded From, one line.
    pub from: String,
    /// Decoded text without the quoted original, at most 20,000 characters.
    pub body_text: String,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reading({}, {:?}, {:?})", self.class, self.reason, self.status)
    }
}

impl Reading {
    /// What is said of a mail that could not be read: a person has to look.
    pub(crate) fn unread() -> Self {
        Self {
            class: ReplyClass::HumanReply,
            reason: None,
            status: None,
            subject: String::new(),
            from: String::new(),
            body_text: String::new(),
        }
    }
}

/// What is known of the envelope's sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Only the mail itself is at hand.
    Unknown,
    /// `MAIL FROM:<>`: sent by a machine (RFC 5321 §4.5.5).
    Null,
    /// An address.
    Named,
}

/// Reads a raw mail of which nothing else is known.
#[must_use]
pub fn classify(raw: &[u8]) -> Reading {
    classify_from(raw, Sender::Unknown)
}

/// Reads a raw mail that came with an envelope.
#[must_use]
pub fn classify_from(raw: &[u8], sender: Sender) -> Reading {
    let mail = Mail::read(raw, sender);
    let body_text: String = quote::without_original(mail.text()).chars().take(BODY_CHARS_MAX).collect();
    let verdict = verdict(&mail, &body_text);
    Reading {
        class: verdict.class,
        reason: verdict.reason.map(str::to_owned),
        status: verdict.status,
        subject: mail.subject().to_owned(),
        from: mail.from().to_owned(),
        body_text,
    }
}

/// How many `Received` lines stand in the header: one for each hop.
#[must_use]
pub fn received_lines(raw: &[u8]) -> usize {
    head::count(raw, "received")
}

/// A class with its why.
struct Verdict {
    class: ReplyClass,
    reason: Option<&'static str>,
    status: Option<String>,
}

impl Verdict {
    fn of(class: ReplyClass, reason: &'static str) -> Self {
        Self { class, reason: Some(reason), status: None }
    }

    fn bounce(failure: Failure) -> Self {
        Self { class: failure.class, reason: failure.reason, status: failure.status }
    }
}

/// Standards first, then wishes, which a person may have sent through a button that marks them
/// as automatic, then known machines.
fn verdict(mail: &Mail, body_text: &str) -> Verdict {
    None.or_else(|| complaint::read(mail))
        .or_else(|| delivery_status::read(mail))
        .or_else(|| wish::in_subject(mail))
        .or_else(|| auto_reply::by_header(mail).filter(|_| !bounce::looks_like_one(mail)))
        .or_else(|| bounce::read(mail))
        .or_else(|| auto_reply::by_subject(mail))
        .or_else(|| newsletter::read(mail))
        .or_else(|| wish::in_text(body_text))
        .or_else(|| auto_reply::by_null_sender(mail))
        .unwrap_or(Verdict { class: ReplyClass::HumanReply, reason: None, status: None })
}
