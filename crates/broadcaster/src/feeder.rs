//! The feeder looks for released broadcasts, verifies each one's approval against the rows as
//! they stand, and keeps the deck filled with claims.

use crate::{
    Broadcaster,
    deck::{Card, Deck},
    planted::{Bug, is_planted},
    shift::Shift,
    stream::Dial,
};
use domain::{ApprovalGap, Approved, BroadcastId, BroadcastState, Frozen, SignaturesRequired};
use notice::{ComposeError, Composer, DigestBuilder, Terms};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use store::{Broadcast, Ledger, StoreError, Worker, WorkerTerms};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// How often to look for new releases and due retries when the deck is not asking.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Why a released broadcast is not sent.
#[derive(Debug, thiserror::Error)]
enum NotSendable {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the frozen terms cannot be read")]
    Terms(#[from] serde_json::Error),
    #[error(transparent)]
    Compose(#[from] ComposeError),
    #[error(transparent)]
    Approval(#[from] ApprovalGap),
}

/// A broadcast that may be sent, with the evidence.
struct Feed {
    approved: Approved<Frozen>,
    composer: Arc<Composer>,
}

pub(crate) async fn run<L: Ledger, D: Dial>(
    broadcaster: Broadcaster<L, D>,
    shift: Arc<Shift>,
    terms: WorkerTerms,
    deck: Arc<Deck>,
    shutdown: CancellationToken,
) {
    let mut feeder = Feeder { broadcaster, feeds: HashMap::new(), refused: HashSet::new() };
    while !shutdown.is_cancelled() {
        let mut claimed = 0;
        if deck.wants_more() {
            match feeder.feed(shift.worker(), &terms, &deck).await {
                Ok(rows) => claimed = rows,
                Err(problem) => {
                    error!(
                        error = &problem as &dyn std::error::Error,
                        "no rows can be claimed; trying again"
                    );
                }
            }
        }
        if claimed > 0 {
            continue;
        }
        tokio::select! {
            biased;
            () = deck.drained() => {}
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            () = shutdown.cancelled() => {}
        }
    }
}

struct Feeder<L, D> {
    broadcaster: Broadcaster<L, D>,
    feeds: HashMap<BroadcastId, Feed>,
    /// Said once: a person must act.
    refused: HashSet<BroadcastId>,
}

impl<L: Ledger, D: Dial> Feeder<L, D> {
    async fn feed(&mut self, worker: Worker, terms: &WorkerTerms, deck: &Deck) -> Result<usize, StoreError> {
        let sending = self.broadcaster.ledger.broadcasts_in(BroadcastState::Sending).await?;
        self.feeds.retain(|id, _| sending.iter().any(|broadcast| broadcast.id == *id));
        let mut claimed = 0;
        for broadcast in &sending {
            self.learn(broadcast).await;
            let Some(feed) = self.feeds.get(&broadcast.id) else { continue };
            let fresh_until = Instant::now() + terms.chunk_budget;
            let rows = self.broadcaster.ledger.claim(worker, &feed.approved, terms).await?;
            claimed += rows.len();
            let composer = &feed.composer;
            let card = |row| Card { row, composer: composer.clone(), fresh_until, grant: None };
            deck.put(rows.into_iter().map(card));
        }
        Ok(claimed)
    }

    async fn learn(&mut self, broadcast: &Broadcast) {
        if self.feeds.contains_key(&broadcast.id) || self.refused.contains(&broadcast.id) {
            return;
        }
        match self.verify(broadcast).await {
            Ok(feed) => {
                info!(broadcast.id = %broadcast.id, recipients = feed.approved.get().recipients, "sending");
                self.feeds.insert(broadcast.id, feed);
            }
            Err(NotSendable::Store(problem)) => {
                error!(broadcast.id = %broadcast.id, error = &problem as &dyn std::error::Error, "cannot be read");
            }
            Err(problem) => {
                error!(
                    broadcast.id = %broadcast.id,
                    error = &problem as &dyn std::error::Error,
                    "what stands in the database is not what was approved; nothing is sent: stop this broadcast"
                );
                self.refused.insert(broadcast.id);
            }
        }
    }

    /// The approval is verified again whenever a process begins to send: against the digest of
    /// what stands in the database now.
    async fn verify(&self, broadcast: &Broadcast) -> Result<Feed, NotSendable> {
        let ledger = &self.broadcaster.ledger;
        let terms: Terms = serde_json::from_str(&broadcast.terms)?;
        let mut digest = DigestBuilder::new(&terms);
        ledger.each_frozen_row(broadcast.id, |row| digest.row(row)).await?;
        let digest = match broadcast.digest {
            Some(signed) if is_planted(Bug::NotVerified) => signed,
            _ => digest.finish(),
        };
        let frozen = Frozen { nature: terms.nature, ..broadcast.frozen(digest) };
        let signatures = ledger.signatures(broadcast.id).await?;
        let required = SignaturesRequired::for_release(broadcast.signatures_required > 1);
        let approved = Approved::verify(frozen, &signatures, required)?;
        let dkim = self.broadcaster.settings.dkim.clone();
        let composer = terms.composer(self.broadcaster.keyring.clone())?.signed_by(dkim);
        Ok(Feed { approved, composer: Arc::new(composer) })
    }
}
