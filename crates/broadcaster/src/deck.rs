//! Claimed rows waiting for a connection, in order; a row whose domain has to wait does not hold
//! up the others, and one whose lease is over costs nothing: it is dropped and claimed again.

use crate::pace::{Grant, Pace};
use notice::Composer;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use store::{ClaimedRow, Full};
use tokio::{sync::Notify, time::Instant};

/// A claimed row and the approved text it gets.
pub(crate) struct Card {
    pub(crate) row: ClaimedRow,
    pub(crate) composer: Arc<Composer>,
    /// Then the lease is over, on this machine's timer: counted from before the claim was asked
    /// for, so that it is never later than on the database's clock.
    pub(crate) fresh_until: Instant,
    /// Leave of the pace, while it is in a sender's hand.
    pub(crate) grant: Option<Grant>,
}

struct Cards {
    queue: VecDeque<Card>,
    /// No lease ends before then; nothing has to be looked through until that moment.
    fresh_until: Option<Instant>,
}

pub(crate) struct Deck {
    cards: Mutex<Cards>,
    low_water: usize,
    filled: Notify,
    drained: Notify,
}

/// What the deck has to give.
pub(crate) enum Drawn {
    /// Try this one: the pace lets it.
    Card(Box<Card>),
    /// The pace lets none, for this long.
    Wait(Duration),
    /// No row.
    Empty,
}

impl Deck {
    /// `chunk` rows are claimed at once; below half of it more are asked for.
    pub(crate) fn new(chunk: usize) -> Self {
        Self {
            cards: Mutex::new(Cards { queue: VecDeque::new(), fresh_until: None }),
            low_water: chunk.div_ceil(2),
            filled: Notify::new(),
            drained: Notify::new(),
        }
    }

    /// The next row that the pace lets, of those whose domain is `wanted`.
    pub(crate) fn draw(&self, pace: &Arc<Pace>, wanted: impl Fn(&str) -> bool) -> Drawn {
        let cards = &mut self.fresh().queue;
        let mut shortest: Option<Duration> = None;
        for at in 0..cards.len() {
            let domain = cards[at].row.address.domain();
            if !wanted(domain) {
                continue;
            }
            match pace.grant(domain) {
                Ok(grant) => {
                    let mut card = cards.remove(at).expect("invariant: the index is in range");
                    if cards.len() < self.low_water {
                        self.drained.notify_one();
                    }
                    card.grant = Some(grant);
                    return Drawn::Card(Box::new(card));
                }
                Err(Full::Relay(wait)) => return Drawn::Wait(wait),
                Err(Full::Domain(wait)) => {
                    shortest = Some(shortest.map_or(wait, |found| found.min(wait)));
                }
            }
        }
        shortest.map_or(Drawn::Empty, Drawn::Wait)
    }

    pub(crate) fn put(&self, cards: impl Iterator<Item = Card>) {
        let mut held = self.lock();
        for card in cards {
            held.expect(card.fresh_until);
            held.queue.push_back(card);
        }
        drop(held);
        self.filled.notify_waiters();
    }

    pub(crate) fn put_back(&self, mut card: Card) {
        card.grant = None;
        let mut held = self.lock();
        held.expect(card.fresh_until);
        held.queue.push_front(card);
        drop(held);
        self.filled.notify_waiters();
    }

    pub(crate) fn wants_more(&self) -> bool {
        self.fresh().queue.len() < self.low_water
    }

    /// Resolves when rows were put in after this was called.
    pub(crate) fn filled(&self) -> tokio::sync::futures::Notified<'_> {
        self.filled.notified()
    }

    /// Resolves when rows ran low.
    pub(crate) async fn drained(&self) {
        self.drained.notified().await;
    }

    fn fresh(&self) -> MutexGuard<'_, Cards> {
        let mut cards = self.lock();
        let now = Instant::now();
        if cards.fresh_until.is_some_and(|until| until <= now) {
            cards.queue.retain(|card| card.fresh_until > now);
            cards.fresh_until = cards.queue.iter().map(|card| card.fresh_until).min();
            self.drained.notify_one();
        }
        cards
    }

    fn lock(&self) -> MutexGuard<'_, Cards> {
        self.cards.lock().expect("invariant: nothing panics while holding the deck")
    }
}

impl Cards {
    fn expect(&mut self, end: Instant) {
        self.fresh_until = Some(self.fresh_until.map_or(end, |found| found.min(end)));
    }
}
