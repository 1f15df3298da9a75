//! A sender owns one connection and takes one row after the other.

use crate::{
    Broadcaster, Settings,
    clerk::{Answer, Clerk},
    deck::{Card, Deck, Drawn},
    pace::Pace,
    planted::{Bug, is_planted},
    retry::{Backoff, wait_after},
    session::{Patience, Session, Submitted},
    shift::Shift,
    stream::Dial,
};
use domain::{DeliveryEvent, SmtpReply, Timestamp};
use notice::{Envelope, Letter, MessageId, Recipient};
use std::{sync::Arc, time::Duration};
use store::{ClaimedRow, Ledger, Outcome, SubmitPermit};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// A relay that is away is asked again this often at most, and this often at least.
const RECONNECT_FIRST: Duration = Duration::from_millis(500);
const RECONNECT_MAX: Duration = Duration::from_secs(30);
/// A row lost before the dot for want of a connection is tried again soon: it is nobody's refusal.
const LOST_BEFORE_DOT_WAIT: Duration = Duration::from_secs(2);

pub(crate) async fn run<L: Ledger, D: Dial>(
    broadcaster: Broadcaster<L, D>,
    shift: Arc<Shift>,
    deck: Arc<Deck>,
    pace: Arc<Pace>,
    clerk: Clerk,
    shutdown: CancellationToken,
) {
    let session = Session::new(&broadcaster.settings, broadcaster.relays.clone(), broadcaster.dial.clone());
    let mut sender = Sender { broadcaster, shift, deck, pace, clerk, session, outcome: None, next: None };
    while let Some(hand) = sender.next_hand(&shutdown).await {
        sender.send(hand).await;
    }
    sender.flush().await;
    sender.session.close().await;
}

impl Patience {
    /// Whether another row has to wait as well, after one at `domain`.
    fn concerns(self, domain: &str, other: &Card) -> bool {
        match self {
            Self::Recipient => false,
            Self::Domain => other.row.address.domain() == domain,
            Self::Relay => true,
        }
    }
}

struct Sender<L, D> {
    broadcaster: Broadcaster<L, D>,
    shift: Arc<Shift>,
    deck: Arc<Deck>,
    pace: Arc<Pace>,
    clerk: Clerk,
    session: Session<D>,
    /// Of the mail before; durable with the next permit, or at once when there is nothing to send.
    outcome: Option<Outcome>,
    /// Drawn when the mail before went out, and its envelope perhaps with it.
    next: Option<Hand>,
}

/// A row and its mail.
struct Hand {
    card: Card,
    letter: Result<Letter, SmtpReply>,
}

/// A row and from where to where its mail will go.
struct Addressed {
    card: Card,
    envelope: Result<Envelope, SmtpReply>,
}

impl<L: Ledger, D: Dial> Sender<L, D> {
    /// The next row that may be tried now, and an open connection. None at shutdown.
    async fn next_hand(&mut self, shutdown: &CancellationToken) -> Option<Hand> {
        if let Some(hand) = self.next.take() {
            if !shutdown.is_cancelled() && self.session.is_ready(hand.card.row.address.domain()) {
                return Some(hand);
            }
            self.session.abandon();
            self.deck.put_back(hand.card);
        }
        let mut backoff = Backoff::new(RECONNECT_FIRST, RECONNECT_MAX);
        loop {
            let card = self.draw(shutdown).await?;
            if self.session.is_ready(card.row.address.domain()) {
                return Some(compose(&self.broadcaster, address(card)));
            }
            self.flush().await;
            let Err(problem) = self.session.open().await else {
                return Some(compose(&self.broadcaster, address(card)));
            };
            warn!(
                relays = self.broadcaster.settings.relays.len(),
                error = &problem as &dyn std::error::Error,
                "the relay cannot be reached; nothing is lost, trying again"
            );
            // Whoever has a connection may take it meanwhile.
            self.deck.put_back(card);
            pause(backoff.next(), shutdown).await.ok()?;
        }
    }

    async fn draw(&mut self, shutdown: &CancellationToken) -> Option<Card> {
        loop {
            if shutdown.is_cancelled() {
                return None;
            }
            let deck = self.deck.clone();
            let filled = deck.filled();
            let wait = match self.deck.draw(&self.pace, |_| true) {
                Drawn::Card(card) => return Some(*card),
                Drawn::Wait(wait) => Some(wait),
                Drawn::Empty => None,
            };
            self.flush().await;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                () = filled => {}
                () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    async fn send(&mut self, hand: Hand) {
        if !self.shift.is_sure(self.shift.worker()) {
            // What is known already must not wait for that.
            self.flush().await;
            self.shift.sure().await;
        }
        let Hand { card: Card { row, composer, fresh_until, grant: _under_way }, letter } = hand;
        let (permit, worker) = match self.clerk.turn(self.outcome.take(), row).await {
            Answer::Permit(permit, worker) => (permit, worker),
            Answer::Full(row, full) => {
                self.session.abandon();
                self.pace.rest(row.address.domain(), full);
                self.deck.put_back(Card { row, composer, fresh_until, grant: None });
                return;
            }
            Answer::Refused => {
                self.session.abandon();
                return;
            }
        };
        let began = Instant::now();
        let submitted = match &letter {
            Ok(letter) => {
                let next = self.draw_ahead();
                let ahead = next.as_ref().and_then(|next| next.envelope.as_ref().ok()).cloned();
                let may_begin = || self.shift.is_sure(worker);
                // The next mail is composed while the relay has this one.
                let (mut submitted, next) = tokio::join!(
                    biased;
                    self.session.submit(letter, ahead.as_ref(), may_begin),
                    async { next.map(|next| compose(&self.broadcaster, next)) }
                );
                self.next = next;
                if is_planted(Bug::PermitUsedTwice) && submitted == Submitted::Lost {
                    let _unreachable = self.session.open().await;
                    submitted = self.session.submit(letter, None, may_begin).await;
                }
                submitted
            }
            Err(reply) => {
                self.session.abandon();
                Submitted::Rejected(reply.clone())
            }
        };
        let relay = self.session.relay().to_string();
        let domain = permit.row().address.domain();
        let first_wait = self.listen(&relay, domain, &submitted, began);
        if let Submitted::NotTaken(Some(_), patience) = &submitted
            && let Some(hand) = self.next.take_if(|hand| patience.concerns(domain, &hand.card))
        {
            // It was drawn before the relay asked for patience.
            self.session.abandon();
            self.deck.put_back(hand.card);
        }
        self.outcome = outcome(&self.broadcaster, permit, &relay, first_wait, submitted);
    }

    /// The row after this one, for its envelope to go out with this one's dot. Not where a window
    /// may be full when its turn comes, or the connection may be for other domains only: it would
    /// be lost for nothing.
    fn draw_ahead(&self) -> Option<Addressed> {
        let Settings { limits, manners, .. } = &*self.broadcaster.settings;
        if !limits.relay.is_empty() {
            return None;
        }
        let unlimited = |domain: &str| {
            !limits.domains.contains_key(domain)
                && manners.get(domain).is_none_or(|manners| manners.messages_per_connection.is_none())
        };
        let Drawn::Card(card) = self.deck.draw(&self.pace, unlimited) else { return None };
        Some(address(*card))
    }

    /// What the relay's answer means for the pace.
    ///
    /// Gives how long the row waits at least, if it was not taken.
    fn listen(&mut self, relay: &str, domain: &str, submitted: &Submitted, began: Instant) -> Duration {
        let mut first_wait = self.broadcaster.settings.retry_first;
        match submitted {
            Submitted::Accepted(_) => self.pace.ease(domain),
            Submitted::NotTaken(Some(reply), Patience::Relay) => {
                let elsewhere = self.session.turn_away(reply);
                if elsewhere {
                    first_wait = LOST_BEFORE_DOT_WAIT;
                } else {
                    self.pace.brake(domain, Patience::Relay, began);
                }
                warn!(
                    relay,
                    elsewhere,
                    smtp.code = reply.code,
                    smtp.status = reply.enhanced.as_deref().unwrap_or(""),
                    "the relay refuses or slows down the sender, not a recipient: another one is tried, or \
                     everything waits. If this goes on, check the sender, the login and the limits at the relay"
                );
            }
            Submitted::NotTaken(_, patience) => self.pace.brake(domain, *patience, began),
            Submitted::Rejected(_) | Submitted::Lost => {}
        }
        first_wait
    }

    async fn flush(&mut self) {
        if let Some(outcome) = self.outcome.take().filter(|_| !is_planted(Bug::OutcomeForgotten)) {
            self.clerk.settle(outcome).await;
        }
    }
}

fn address(card: Card) -> Addressed {
    let row = &card.row;
    let envelope = card.composer.envelope(row.broadcast, row.member, &row.address);
    let envelope = envelope.map_err(|problem| cannot_be_composed(row, &problem));
    Addressed { card, envelope }
}

fn compose<L: Ledger, D: Dial>(broadcaster: &Broadcaster<L, D>, addressed: Addressed) -> Hand {
    let Addressed { card, envelope } = addressed;
    let letter = envelope.and_then(|envelope| {
        let raw = mail(&card, broadcaster.clock.now())?;
        Ok(Letter { envelope, raw })
    });
    Hand { card, letter }
}

fn mail(card: &Card, date: Timestamp) -> Result<String, SmtpReply> {
    let row = &card.row;
    let message_id: MessageId = row.message_id.parse().map_err(|e| cannot_be_composed(row, &e))?;
    let recipient = Recipient {
        broadcast: row.broadcast,
        member: row.member,
        address: &row.address,
        fields: &row.fields,
        message_id: &message_id,
    };
    card.composer.mail(&recipient, date).map_err(|e| cannot_be_composed(row, &e))
}

/// Preflight rendered every recipient: the frozen row was changed.
fn cannot_be_composed(row: &ClaimedRow, problem: &(dyn std::error::Error + 'static)) -> SmtpReply {
    error!(delivery.id = %row.id, error = problem, "a frozen recipient cannot be rendered; the row is rejected");
    SmtpReply::new(554, "5.6.0 hansho: this recipient's mail cannot be composed")
}

fn outcome<L: Ledger, D: Dial>(
    broadcaster: &Broadcaster<L, D>,
    permit: SubmitPermit,
    relay: &str,
    first_wait: Duration,
    submitted: Submitted,
) -> Option<Outcome> {
    let now = broadcaster.clock.now();
    let row = permit.row().id;
    let event = match submitted {
        Submitted::Accepted(reply) => DeliveryEvent::RelayAccepted(reply),
        Submitted::Rejected(reply) => {
            info!(delivery.id = %row, smtp.code = reply.code, "recipient rejected");
            DeliveryEvent::RelayRejected(reply)
        }
        Submitted::NotTaken(Some(reply), _) => {
            let wait = wait_after(first_wait, permit.attempt(), row);
            DeliveryEvent::RelayDeferred { reply: Some(reply), retry_at: now.plus(wait) }
        }
        Submitted::NotTaken(None, _) => {
            let wait = wait_after(LOST_BEFORE_DOT_WAIT, permit.attempt(), row);
            DeliveryEvent::RelayDeferred { reply: None, retry_at: now.plus(wait) }
        }
        Submitted::Lost => {
            warn!(delivery.id = %row, "no answer to the final dot; the row is unknown");
            DeliveryEvent::OutcomeLost
        }
    };
    match permit.outcome(&event, relay, now) {
        Ok(outcome) => Some(outcome),
        Err(illegal) => {
            error!(delivery.id = %row, error = &illegal as &dyn std::error::Error, "impossible outcome");
            None
        }
    }
}

/// Waits, or ends early at shutdown.
async fn pause(wait: Duration, shutdown: &CancellationToken) -> Result<(), ()> {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Err(()),
        () = sleep(wait) => Ok(()),
    }
}
