//! One broadcast, decided about by people and looked at in the ledger.

use crate::{Society, call::Answer, dot::Dot, society::Person, wait::until};
use domain::{BroadcastId, BroadcastState, Tally};
use serde_json::Value;
use std::{collections::HashSet, fmt::Debug, time::Duration};
use store::{LedgerFilter, LedgerRow};

const PAGE: i64 = 2_000;

/// A handle; cheap to copy.
#[derive(Debug, Clone, Copy)]
pub struct Broadcast<'a> {
    society: &'a Society,
    id: i64,
}

impl<'a> Broadcast<'a> {
    pub(crate) fn new(society: &'a Society, id: i64) -> Self {
        Self { society, id }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> BroadcastId {
        BroadcastId::new(self.id)
    }

    /// The author's preflight, passed or blocked.
    ///
    /// # Panics
    /// Where there is no answer at all.
    pub async fn preflight(&self) -> Value {
        self.ask("preflight", &[], &self.society.coordinator).await.json()
    }

    /// This person signs; an actual notice with its word.
    pub async fn approve_by(&self, person: &Person) -> Answer {
        self.ask("approve", &[], person).await
    }

    /// This person signs an actual notice, typing `word`.
    pub async fn approve_as_actual_by(&self, person: &Person, word: &str) -> Answer {
        self.ask("approve", &["--confirm", word], person).await
    }

    /// The author releases it.
    pub async fn send(&self) -> Answer {
        self.ask("send", &[], &self.society.coordinator).await
    }

    /// This person stops it.
    pub async fn stop_by(&self, person: &Person) -> Answer {
        self.ask("stop", &[], person).await
    }

    /// This person resumes it.
    pub async fn resume_by(&self, person: &Person, reason: &str) -> Answer {
        self.ask("resume", &["--reason", reason], person).await
    }

    /// This person ends it for good.
    pub async fn cancel_by(&self, person: &Person, reason: &str) -> Answer {
        self.ask("cancel", &["--reason", reason], person).await
    }

    /// This person settles its unknown rows, `as` `accepted` or `resend`; none named = all.
    pub async fn settle_by(&self, person: &Person, settlement: &str, members: &[&str]) -> Answer {
        let mut arguments = vec!["--as", settlement];
        for member in members {
            arguments.extend(["--member", member]);
        }
        self.ask("settle", &arguments, person).await
    }

    /// The author drafts a correction to those it reached or may have reached.
    ///
    /// # Panics
    /// Where it is refused.
    pub async fn correct(&self, subject: &str, body: &str) -> Broadcast<'a> {
        let file = self.society.text(body);
        let arguments = ["--subject", subject, "--body-file", &file];
        let created = self.ask("correct", &arguments, &self.society.coordinator).await.done();
        Self::new(self.society, created["id"].as_i64().expect("an id"))
    }

    /// What `broadcast status` says.
    ///
    /// # Panics
    /// Where it fails, or where the parts do not sum to the total.
    pub async fn status(&self) -> Value {
        let status = self.ask("status", &[], &self.society.viewer).await.done();
        let states = domain::DeliveryState::ALL.iter();
        let sum: u64 = states.map(|state| status[state.as_str()].as_u64().expect("a count")).sum();
        assert_eq!(status["total"], sum, "the parts sum to the total: {status}");
        status
    }

    /// A command about it by this person, e.g. `ledger`.
    pub async fn ask(&self, command: &str, arguments: &[&str], person: &Person) -> Answer {
        let id = self.id.to_string();
        let all = [&["broadcast", command, &id], arguments].concat();
        self.society.hansho(&all).by(person).await
    }

    /// Counts straight from the ledger.
    ///
    /// # Panics
    /// Where it cannot be read.
    pub async fn tally(&self) -> Tally {
        self.society.store().tally(self.id()).await.expect("the ledger can be counted")
    }

    /// Where it stands.
    ///
    /// # Panics
    /// Where it cannot be read.
    pub async fn state(&self) -> BroadcastState {
        let found = self.society.store().broadcast(self.id()).await.expect("a broadcast can be read");
        found.expect("the broadcast exists").state
    }

    /// Every row of its ledger.
    ///
    /// # Panics
    /// Where it cannot be read.
    pub async fn ledger(&self) -> Vec<LedgerRow> {
        let mut rows: Vec<LedgerRow> = Vec::new();
        loop {
            let after = rows.last().map_or(0, |row| row.id);
            let page =
                self.society.store().ledger_page(self.id(), LedgerFilter::default(), after, PAGE).await;
            let page = page.expect("the ledger can be read");
            if page.is_empty() {
                return rows;
            }
            rows.extend(page);
        }
    }

    /// Its mails among those that left, in order.
    ///
    /// # Panics
    /// Where the ledger cannot be read.
    pub async fn dots(&self) -> Vec<Dot> {
        let own: HashSet<String> = self.ledger().await.into_iter().map(|row| row.message_id).collect();
        self.society.dots().into_iter().filter(|dot| own.contains(&dot.message_id)).collect()
    }

    /// Waits until it stands in `state`.
    ///
    /// # Panics
    /// Where it does not within `limit`; says where it stands.
    pub async fn becomes(&self, state: BroadcastState, limit: Duration) {
        self.wait_for(&format!("broadcast {} to be {state}", self.id), limit, async || {
            self.state().await == state
        })
        .await;
    }

    /// Waits until its counts satisfy `holds`.
    ///
    /// # Panics
    /// Where they do not within `limit`; says what they are.
    pub async fn counts(&self, what: &str, limit: Duration, holds: impl Fn(Tally) -> bool) {
        self.wait_for(what, limit, async || holds(self.tally().await)).await;
    }

    async fn wait_for(&self, what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
        let waited =
            tokio::time::timeout(limit, until(what, limit * 2, async || holds().await.then_some(())));
        if waited.await.is_err() {
            let now: [&dyn Debug; 2] = [&self.state().await, &self.tally().await];
            panic!("waited {limit:?} in vain for {what}: it is {now:?}");
        }
    }
}
