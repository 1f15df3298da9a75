//! From an accepted recipient to a durable row.
//!
//! # Security
//! The only question that grants anything is whether our key signed the recipient's token. The
//! mail's content can neither widen nor redirect what is stored. A fault while reading it (even a
//! panic of a parser) costs the label, never the mail.

use crate::classify::{Reading, Sender, classify_from, received_lines};
use domain::{Clock, Keyring, RecipientToken, TokenKind};
use replybox::{ArrivedBy, NewReply, ReplyBox};
use std::{net::IpAddr, sync::Arc};
use tracing::{info, warn};

/// RFC 5321 §6.3 suggests at least 100 for a relay; a mail that reaches its end after fifty hops
/// has been going round.
const RECEIVED_MAX: usize = 50;

/// Takes mails in for the addresses our key signed.
pub(crate) struct Intake {
    domain: String,
    keyring: Keyring,
    replybox: ReplyBox,
    clock: Arc<dyn Clock>,
}

/// A recipient whose token our key signed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipient {
    token: RecipientToken,
    arrived_by: ArrivedBy,
}

impl Recipient {
    /// Whether our notices name it as their envelope's sender.
    pub(crate) fn is_return_path(&self) -> bool {
        self.arrived_by == ArrivedBy::Bounce
    }
}

/// Why an address is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOurs {
    /// Another domain.
    Elsewhere,
    /// Our domain; no token of ours for mail.
    Unknown,
}

impl NotOurs {
    pub(crate) fn answer(self) -> &'static str {
        match self {
            Self::Elsewhere => "550 5.7.1 relaying denied",
            Self::Unknown => "550 5.1.1 no such address",
        }
    }
}

/// Why a mail was not taken. Nothing of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotStored {
    /// Over the limit.
    TooLarge,
    /// Too many hops.
    Loop,
    /// Too many large mails at once.
    NoMemory,
    /// The database is full, locked or away: the peer keeps the mail and comes back.
    DatabaseBusy,
    /// The database refuses for another reason: ours to mend, so the peer comes back too.
    DatabaseBroken,
}

impl NotStored {
    pub(crate) fn answer(self) -> &'static str {
        match self {
            Self::TooLarge => "552 5.3.4 too large",
            Self::Loop => "554 5.4.6 too many hops, this mail is in a loop",
            Self::NoMemory => "452 4.3.1 too many mails at once, come back later",
            Self::DatabaseBusy => "452 4.3.1 cannot store now, come back later",
            Self::DatabaseBroken => "451 4.3.0 cannot store now, come back later",
        }
    }
}

impl Intake {
    pub(crate) fn new(domain: String, keyring: Keyring, replybox: ReplyBox, clock: Arc<dyn Clock>) -> Self {
        Self { domain, keyring, replybox, clock }
    }

    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// Whether mail for `address` ends here. Postmaster (RFC 5321 §4.5.1) does not: who runs this
    /// domain is reached at the organization's own.
    pub(crate) fn recipient(&self, address: &str) -> Result<Recipient, NotOurs> {
        let (local, domain) = address.rsplit_once('@').ok_or(NotOurs::Unknown)?;
        if !domain.eq_ignore_ascii_case(&self.domain) {
            return Err(NotOurs::Elsewhere);
        }
        let token = self.keyring.read(local).map_err(|_| NotOurs::Unknown)?;
        match token.kind {
            TokenKind::Reply => Ok(Recipient { token, arrived_by: ArrivedBy::Reply }),
            TokenKind::Bounce => Ok(Recipient { token, arrived_by: ArrivedBy::Bounce }),
            TokenKind::Answer | TokenKind::Unsubscribe => Err(NotOurs::Unknown),
        }
    }

    /// Stores `raw` once for each recipient; all rows are durable when this returns.
    pub(crate) async fn store(
        &self,
        sender: &str,
        peer: IpAddr,
        recipients: &[Recipient],
        raw: Vec<u8>,
    ) -> Result<(), NotStored> {
        let raw: Arc<[u8]> = raw.into();
        if received_lines(&raw) > RECEIVED_MAX {
            return Err(NotStored::Loop);
        }
        let reading = read(raw.clone(), if sender.is_empty() { Sender::Null } else { Sender::Named }).await;
        let received_at = self.clock.now();
        let row = |recipient: &Recipient| NewReply {
            received_at,
            broadcast: recipient.token.broadcast,
            member: recipient.token.member,
            arrived_by: recipient.arrived_by,
            envelope_from: sender.to_owned(),
            peer: peer.to_string(),
            class: reading.class,
            reason: reading.reason.clone(),
            status: reading.status.clone(),
            subject: reading.subject.clone(),
            from_header: reading.from.clone(),
            body_text: reading.body_text.clone(),
            raw: raw.clone(),
        };
        let rows: Vec<NewReply> = recipients.iter().map(row).collect();
        match self.replybox.insert_all(rows).await {
            Ok(ids) => {
                info!(reply.class = %reading.class, reply.rows = ids.len(), reply.size = raw.len(), "reply stored");
                Ok(())
            }
            Err(error) if error.is_temporary() => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "a reply could not be stored, its sender will retry"
                );
                Err(NotStored::DatabaseBusy)
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "replies cannot be stored: check the reply database; senders retry for days"
                );
                Err(NotStored::DatabaseBroken)
            }
        }
    }
}

/// Reads on a thread of its own: a large mail takes milliseconds, and a panicking parser must not
/// take the session with it. What cannot be read is shown to a person.
async fn read(raw: Arc<[u8]>, sender: Sender) -> Reading {
    match tokio::task::spawn_blocking(move || classify_from(&raw, sender)).await {
        Ok(reading) => reading,
        Err(_) => {
            warn!("a reply could not be read; it is stored as human");
            Reading::unread()
        }
    }
}
