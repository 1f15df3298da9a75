//! Reads a mail that came back: what it is, and what a person should see of it.
//!
//! A person's words are never hidden as automatic: a mail counts as automatic only where a
//! standard (RFC 3464, 3834, 5965, 8098) or a known machine says so, and as human in any doubt.
//! Reading changes nothing and costs a bounded time: depth, parts and octets are limited.
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

#[cfg(test)]
mod tests {
    use super::*;
    use ReplyClass::{AutoReply, BounceHard, BounceSoft, Complaint, HumanReply, Other, Unsubscribe};

    fn report(kind: &str, fields: &str) -> String {
        format!(
            "From: MAILER-DAEMON@b.jp\r\nSubject: Undelivered Mail Returned to Sender\r\n\
             Auto-Submitted: auto-replied\r\nContent-Type: multipart/report; boundary=\"x\"\r\n\r\n\
             --x\r\n\r\nThis is the mail system.\r\n--x\r\nContent-Type: {kind}\r\n\r\n{fields}\r\n\
             --x\r\nContent-Type: message/rfc822\r\n\r\nSubject: drill\r\n\r\nunsubscribe: user unknown\r\n--x--\r\n"
        )
    }

    #[test]
    fn standards_are_read_by_the_book() {
        let dsn = |fields: &str| {
            report("message/delivery-status", &format!("Reporting-MTA: dns; b.jp\r\n\r\n{fields}"))
        };
        for (mail, class, status) in [
            (
                dsn("Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 User unknown"),
                BounceHard,
                Some("5.1.1"),
            ),
            (
                dsn("Action: failed\r\nStatus: 5.2.2\r\nDiagnostic-Code: smtp; 552 5.2.2\r\n mailbox full"),
                BounceSoft,
                Some("5.2.2"),
            ),
            (dsn("Action: delayed\r\nStatus: 4.4.1"), BounceSoft, Some("4.4.1")),
            (dsn("Action: delivered\r\nStatus: 2.0.0"), Other, None),
            (report("message/feedback-report", "Feedback-Type: abuse\r\nVersion: 1"), Complaint, None),
            (report("message/feedback-report", "Feedback-Type: auth-failure"), Other, None),
            (
                report("message/disposition-notification", "Disposition: manual-action/x; displayed"),
                Other,
                None,
            ),
        ] {
            let reading = classify(mail.as_bytes());
            assert_eq!((reading.class, reading.status.as_deref()), (class, status), "{mail}");
        }
    }

    #[test]
    fn machines_without_a_standard_are_known_by_their_words() {
        for (mail, class) in [
            ("Auto-Submitted: auto-replied\r\nSubject: Re: drill\r\n\r\nI am away.", AutoReply),
            ("Subject: =?utf-8?B?6Ieq5YuV5b+c562U?=: drill\r\n\r\nx", AutoReply),
            ("Precedence: auto_reply\r\n\r\nx", AutoReply),
            (
                "From: postmaster@b.jp\r\nSubject: failure notice\r\n\r\n<a@b.jp>:\r\n宛先不明です。",
                BounceHard,
            ),
            ("From: MAILER-DAEMON@b.jp\r\nSubject: x\r\n\r\n552 mailbox full", BounceSoft),
            ("List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\nSubject: Sale\r\n\r\nbuy", Other),
            ("Auto-Submitted: auto-replied\r\nSubject: unsubscribe\r\n\r\n", Unsubscribe),
            ("Subject: Re: drill\r\n\r\n退会したいです。", Unsubscribe),
        ] {
            assert_eq!(classify(mail.as_bytes()).class, class, "{mail}");
        }
    }

    #[test]
    fn a_person_is_never_hidden_as_a_machine() {
        for mail in [
            "",
            "\r\n",
            "no header at all",
            "Subject: Re: drill\r\n\r\nI was out of office. My mailbox was full: 550 user unknown.",
            "Subject: Re: Out of office\r\n\r\nWelcome back",
            "Subject: Re: Undelivered Mail Returned to Sender\r\n\r\nWhat is this?",
            "From: postmaster@b.jp\r\nSubject: Re: drill\r\n\r\nsafe",
            "Auto-Submitted: no\r\nSubject: x\r\n\r\nsafe",
            "List-Id: staff\r\nList-Post: <mailto:x@y>\r\nList-Unsubscribe: <mailto:x@y>\r\nPrecedence: list\r\n\r\nsafe",
            "Subject: =?utf-8?B?5LiN5Zyo6ICF5oqV56Wo?=\r\n\r\nsafe",
            "Subject: Re: drill\r\n\r\nsafe\r\n\r\n> unsubscribe here",
        ] {
            assert_eq!(classify(mail.as_bytes()).class, HumanReply, "{mail}");
        }
    }

    #[test]
    fn the_envelope_tells_a_machine_where_the_mail_does_not() {
        let mail = b"Subject: Thank you\r\n\r\nWe have received your mail.";
        assert_eq!(classify_from(mail, Sender::Named).class, HumanReply);
        assert_eq!(classify_from(mail, Sender::Null).class, AutoReply);
    }

    #[test]
    fn no_damage_to_a_mail_makes_reading_panic() {
        let mail = report("message/delivery-status", "Action: failed\r\nStatus: 5.1.1\r\n");
        for at in 0..mail.len() {
            let mut damaged = mail.as_bytes().to_vec();
            damaged[at] = damaged[at].wrapping_mul(31).wrapping_add(0x80);
            for bytes in [&damaged[..], &mail.as_bytes()[..at], &mail.as_bytes()[at..]] {
                assert!(classify(bytes).body_text.len() <= mail.len());
            }
        }
    }
}
