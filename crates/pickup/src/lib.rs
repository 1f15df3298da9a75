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
use std::{collections::HashMap, net::SocketAddr, time::Duration};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long a server that cannot idle is left alone, and the longest that one that can is waited
/// for: routers forget quiet connections after minutes (RFC 2177 allows 29 minutes).
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// Between two rounds that found nothing.
const BREATH: Duration = Duration::from_secs(1);
/// So many mails in a row that the sink does not take are the sink's trouble, not theirs.
const IN_VAIN_MAX: u32 = 3;
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
    /// The longest mail that the sink takes, in octets, as far as it said.
    size_max: Option<usize>,
    known: Known,
}

/// What is remembered of mails that are still in the mailbox.
#[derive(Default)]
struct Known {
    validity: Option<u32>,
    /// How often a mail was tried in vain: those tried least go first.
    tries: HashMap<Uid, u32>,
    /// Mails that were dealt with and are waiting all the same, as long as they do: they could not
    /// be marked, or the server said so and did not. They are not offered again.
    fates: HashMap<Uid, Fate>,
}

/// What became of a mail.
#[derive(Clone, Copy)]
enum Fate {
    /// Durable at the sink.
    Delivered,
    /// For a person.
    SetAside,
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
        Self { settings, patience: PATIENCE_FIRST, size_max: None, known: Known::default() }
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
        if self.known.validity != mailbox.validity {
            self.known = Known { validity: mailbox.validity, ..Known::default() };
        }
        info!(mailbox = %self.settings.mailbox, "picking up replies");
        loop {
            let found = self.empty(&mut mailbox, shutdown).await?;
            self.patience = PATIENCE_FIRST;
            if shutdown.is_cancelled() {
                // Where that is not heard any more, the server finds out by itself.
                mailbox.leave().await.ok();
                return Ok(());
            }
            mailbox = mailbox.wait(LOOK_AGAIN, shutdown).await.map_err(|e| self.of_mailbox(e))?;
            if found == 0 {
                // Some servers have something to say at the beginning of each wait.
                tokio::time::sleep(BREATH).await;
            }
        }
    }

    /// Hands over what waits; how many of them were taken care of.
    async fn empty(&mut self, mailbox: &mut Mailbox, shutdown: &CancellationToken) -> Result<usize, Trouble> {
        let mut waiting = mailbox.waiting().await.map_err(|e| self.of_mailbox(e))?;
        self.known.fates.retain(|uid, _| waiting.iter().any(|(waits, _)| waits == uid));
        waiting.sort_by_key(|(uid, _)| (self.known.tries.get(uid).copied().unwrap_or_default(), *uid));
        let (mut done, mut in_vain) = (0, 0);
        for (uid, size) in waiting {
            if shutdown.is_cancelled() {
                break;
            }
            // Before anything can fail, so that one mail does not keep its place before the others.
            *self.known.tries.entry(uid).or_default() += 1;
            match self.hand_over(mailbox, uid, size).await? {
                Ok(()) => {
                    self.known.tries.remove(&uid);
                    (done, in_vain) = (done + 1, 0);
                }
                Err(reason) if in_vain + 1 < IN_VAIN_MAX => {
                    warn!(mailbox.uid = uid, reason, "a mail waits in the mailbox until the next try");
                    in_vain += 1;
                }
                Err(reason) => return Err(self.of_sink(reason)),
            }
        }
        Ok(done)
    }

    /// Offers one mail to the sink, in a dialogue of its own: the sink counts what it refuses. The
    /// inner error says why it has to be tried again.
    async fn hand_over(
        &mut self,
        mailbox: &mut Mailbox,
        uid: Uid,
        size: usize,
    ) -> Result<Result<(), String>, Trouble> {
        let known = self.known.fates.get(&uid).copied();
        let fate = match known {
            Some(fate) => fate,
            None => match self.offer(mailbox, uid, size).await? {
                Ok(()) => Fate::Delivered,
                Err(NotTaken::NotNow(reason)) => return Ok(Err(reason)),
                Err(NotTaken::Refused(reason)) => {
                    warn!(mailbox.uid = uid, reason, "a mail is no reply to us; it stays there, flagged");
                    Fate::SetAside
                }
            },
        };
        self.known.fates.insert(uid, fate);
        let marked = match fate {
            Fate::Delivered => mailbox.take_away(uid).await,
            Fate::SetAside => mailbox.set_aside(uid).await,
        };
        marked.map_err(|e| self.of_mailbox(e))?;
        match (known, fate) {
            (Some(_), _) => warn!(
                mailbox.uid = uid,
                "a mail was still there: the login needs the right to delete and to flag"
            ),
            (None, Fate::Delivered) => info!(mailbox.uid = uid, "a reply was picked up"),
            (None, Fate::SetAside) => {}
        }
        Ok(Ok(()))
    }

    async fn offer(
        &mut self,
        mailbox: &mut Mailbox,
        uid: Uid,
        size: usize,
    ) -> Result<Result<(), NotTaken>, Trouble> {
        // Spares the way; where nobody has said yet how much is too much, the sink refuses it.
        if self.size_max.is_some_and(|max| size > max) {
            return Ok(Err(NotTaken::Refused(format!("{size} octets are more than the sink takes"))));
        }
        // First, because the sink does not wait as long as a slow line may take.
        let fetched = mailbox.fetch(uid).await.map_err(|e| self.of_mailbox(e))?;
        let Some(mail) = fetched else {
            return Ok(Err(NotTaken::NotNow("the server does not hand it out".to_owned())));
        };
        let sink = match Lmtp::connect(self.settings.sink).await {
            Ok(sink) => sink,
            Err(reason) => return Ok(Err(NotTaken::NotNow(reason))),
        };
        self.size_max = sink.size_max();
        Ok(sink.deliver(&Envelope::of(&mail, &self.settings.domain), &mail).await)
    }

    fn of_mailbox(&self, source: MailboxError) -> Trouble {
        Trouble::Mailbox { mailbox: self.settings.mailbox.clone(), source }
    }

    fn of_sink(&self, reason: String) -> Trouble {
        Trouble::Sink { sink: self.settings.sink, reason }
    }
}
