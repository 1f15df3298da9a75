//! A mail as the relay saw it: what really left.

use mail_parser::{HeaderValue, MessageParser};
use rehearsal::relay::{Answer, Captured};

/// One final dot, read.
#[derive(Debug, Clone)]
pub struct Dot {
    /// Counts from 1, in the order of the dots.
    pub seq: u64,
    /// Who was in the envelope.
    pub recipients: Vec<String>,
    /// What the relay answered.
    pub answer: Answer,
    /// With angle brackets, as in the ledger.
    pub message_id: String,
    /// Decoded.
    pub subject: String,
    /// The text a member reads, decoded.
    pub text: String,
    /// Addresses in `To`.
    pub to: Vec<String>,
    /// Addresses in `Cc` and `Bcc`.
    pub copies_to: Vec<String>,
    /// The address that `Reply-To` names.
    pub reply_to: String,
    /// The return path.
    pub mail_from: String,
    /// Whether it answers another mail (`In-Reply-To`).
    pub answers_another: bool,
    /// Every octet.
    pub raw: String,
}

impl Dot {
    /// What a mail system says of it where there is no such mailbox (RFC 3464).
    #[must_use]
    pub fn bounce(&self) -> String {
        format!(
            "From: <mailer-daemon@example.jp>\nTo: <{to}>\nSubject: Undelivered Mail Returned to Sender\n\
             Auto-Submitted: auto-replied\nMIME-Version: 1.0\n\
             Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
             --b\nContent-Type: text/plain\n\nThe mailbox does not exist.\n\
             --b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; mx.example.jp\n\n\
             Final-Recipient: rfc822; {own}\nAction: failed\nStatus: 5.1.1\n\
             Diagnostic-Code: smtp; 550 5.1.1 no such user\n\
             --b\nContent-Type: text/rfc822-headers\n\nMessage-ID: {id}\n\n--b--\n",
            to = self.mail_from,
            own = self.to[0],
            id = self.message_id,
        )
    }

    /// Whether the relay took it.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.answer == Answer::Accepted
    }

    /// The first link in the text, e.g. a member's own page.
    #[must_use]
    pub fn link(&self) -> Option<&str> {
        self.text.split_whitespace().find(|word| word.starts_with("http://"))
    }
}

impl From<Captured> for Dot {
    fn from(captured: Captured) -> Self {
        let mail = MessageParser::default().parse(captured.raw.as_ref());
        let mail = mail.expect("what leaves is a mail");
        let addresses = |header: Option<&mail_parser::Address<'_>>| -> Vec<String> {
            let all = header.into_iter().flat_map(|list| list.iter());
            all.filter_map(|one| one.address().map(str::to_owned)).collect()
        };
        let mut copies_to = addresses(mail.cc());
        copies_to.extend(addresses(mail.bcc()));
        Self {
            seq: captured.seq,
            message_id: format!("<{}>", mail.message_id().unwrap_or_default()),
            subject: mail.subject().unwrap_or_default().to_owned(),
            text: mail.body_text(0).unwrap_or_default().into_owned(),
            to: addresses(mail.to()),
            copies_to,
            reply_to: addresses(mail.reply_to()).pop().unwrap_or_default(),
            answers_another: !matches!(mail.in_reply_to(), HeaderValue::Empty),
            raw: String::from_utf8_lossy(&captured.raw).into_owned(),
            recipients: captured.recipients.clone(),
            mail_from: captured.mail_from.clone(),
            answer: captured.answer,
        }
    }
}
