//! Picks replies up from a rented mailbox by IMAP and hands each to the sink by LMTP.
//!
//! Some organizations cannot point a domain's MX at a machine of their own; their replies end in a
//! mailbox at a provider, which takes in every address of the reply domain. This crate is no part
//! of `hansho-sinkd`, because it opens connections; it can reach a mailbox and the sink, and speaks
//! no word that sends mail to anybody.
//!
//! What is guaranteed here:
//! - A mail is deleted from the mailbox only after the sink's 250, which comes when it is durable
//!   (law 10). A crash in between hands it over once more.
//! - What is not for us (no token that our key signed) or too large stays there with the flag
//!   `\Flagged`, for a person; nothing is deleted unread.
//!
//! # Security
//! The mails were written by strangers. Only the sink decides which addresses are ours: what is
//! read here is offered to it as a recipient, and nothing else comes of it.

mod envelope;
mod lmtp;
mod mailbox;
mod mailbox_url;

pub use mailbox_url::{MailboxUrl, MailboxUrlError};

use envelope::Envelope;
use lmtp::{Lmtp, NotTaken};
use mailbox::{Mailbox, MailboxError, Uid};
use std::{collections::HashSet, net::SocketAddr, time::Duration};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long a server that cannot idle is left alone, and the longest that one that can is waited
/// for: routers forget quiet connections after minutes (RFC 2177 allows 29 minutes).
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// After a trouble, doubled each time.
const PATIENCE_FIRST: Duration = Duration::from_secs(2);
const PATIENCE_MAX: Duration = Duration::from_secs(300);

/// What to empty, and where to.
#[derive(Debug, Clone)]
pub struct PickupSettings {
    /// The mailbox.
    pub mailbox: MailboxUrl,
    /// Where the sink speaks LMTP.
    pub sink: SocketAddr,
    /// The domain of the reply addresses.
    pub domain: String,
}

/// Empties one mailbox into the sink, for as long as it runs.
pub struct Pickup {
    settings: PickupSettings,
    /// Until the next try after a trouble.
    patience: Duration,
    /// Mails that the sink could not take, which wait behind the others.
    put_off: HashSet<Uid>,
}

/// Why a round did not empty the mailbox.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error("the mailbox {mailbox} cannot be read; check `pickup.url`. Replies wait there")]
    Mailbox { mailbox: MailboxUrl, source: MailboxError },
    #[error("the sink at {sink} does not take replies: {reason}. They wait in the mailbox")]
    Sink { sink: SocketAddr, reason: String },
}

/// How many mails wait in a mailbox, without touching any.
///
/// # Errors
/// Why it cannot be read, for people.
pub async fn look(mailbox: &MailboxUrl) -> Result<usize, String> {
    let looked = async {
        let mut mailbox = Mailbox::open(mailbox).await?;
        let waiting = mailbox.waiting().await?.len();
        mailbox.leave().await?;
        Ok::<_, MailboxError>(waiting)
    };
    looked.await.map_err(|problem| problem.to_string())
}

impl Pickup {
    /// Nothing is opened before [`Pickup::run`].
    #[must_use]
    pub fn new(settings: PickupSettings) -> Self {
        Self { settings, patience: PATIENCE_FIRST, put_off: HashSet::new() }
    }

    /// Empties the mailbox again and again until `shutdown`; a mail under way is finished first.
    /// Whatever goes wrong is logged and tried again.
    pub async fn run(mut self, shutdown: CancellationToken) {
        while let Err(trouble) = self.session(&shutdown).await {
            warn!(error = &trouble as &dyn std::error::Error, "replies were not picked up");
            tokio::select! {
                () = tokio::time::sleep(self.patience) => {}
                () = shutdown.cancelled() => return,
            }
            self.patience = (self.patience * 2).min(PATIENCE_MAX);
        }
    }

    /// One session with the mailbox; ends well only at shutdown.
    async fn session(&mut self, shutdown: &CancellationToken) -> Result<(), Trouble> {
        let mut mailbox = Mailbox::open(&self.settings.mailbox).await.map_err(|e| self.of_mailbox(e))?;
        info!(mailbox = %self.settings.mailbox, "picking up replies");
        loop {
            self.empty(&mut mailbox, shutdown).await?;
            self.patience = PATIENCE_FIRST;
            if shutdown.is_cancelled() {
                // Where that is not heard any more, the server finds out by itself.
                mailbox.leave().await.ok();
                return Ok(());
            }
            mailbox = mailbox.wait(LOOK_AGAIN, shutdown).await.map_err(|e| self.of_mailbox(e))?;
        }
    }

    async fn empty(&mut self, mailbox: &mut Mailbox, shutdown: &CancellationToken) -> Result<(), Trouble> {
        let mut waiting = mailbox.waiting().await.map_err(|e| self.of_mailbox(e))?;
        waiting.sort_by_key(|(uid, _)| (self.put_off.contains(uid), *uid));
        for (uid, size) in waiting {
            if shutdown.is_cancelled() {
                break;
            }
            self.hand_over(mailbox, uid, size).await?;
            self.put_off.remove(&uid);
        }
        Ok(())
    }

    /// Offers one mail to the sink, in a dialogue of its own: the sink counts what it refuses.
    async fn hand_over(&mut self, mailbox: &mut Mailbox, uid: Uid, size: usize) -> Result<(), Trouble> {
        let sink = Lmtp::connect(self.settings.sink).await.map_err(|reason| self.of_sink(reason))?;
        let offered = if sink.size_max().is_some_and(|max| size > max) {
            Err(NotTaken::Refused(format!("{size} octets are more than the sink takes")))
        } else {
            let fetched = mailbox.fetch(uid).await.map_err(|e| self.of_mailbox(e))?;
            // Somebody else may have moved it meanwhile.
            let Some(mail) = fetched else { return Ok(()) };
            sink.deliver(&Envelope::of(&mail, &self.settings.domain), &mail).await
        };
        match offered {
            Ok(()) => {
                mailbox.take_away(uid).await.map_err(|e| self.of_mailbox(e))?;
                info!(mailbox.uid = uid, "a reply was picked up");
                Ok(())
            }
            Err(NotTaken::Refused(reason)) => {
                mailbox.set_aside(uid).await.map_err(|e| self.of_mailbox(e))?;
                warn!(
                    mailbox.uid = uid,
                    reason, "a mail is no reply to us; it stays in the mailbox, flagged"
                );
                Ok(())
            }
            Err(NotTaken::NotNow(reason)) => {
                self.put_off.insert(uid);
                Err(self.of_sink(reason))
            }
        }
    }

    fn of_mailbox(&self, source: MailboxError) -> Trouble {
        Trouble::Mailbox { mailbox: self.settings.mailbox.clone(), source }
    }

    fn of_sink(&self, reason: String) -> Trouble {
        Trouble::Sink { sink: self.settings.sink, reason }
    }
}
