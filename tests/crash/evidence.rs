//! The relay's record beside the ledger.

use hansho_tests::{Broadcast, Society};
use rehearsal::relay::{Answer, CaptureRelay};
use std::collections::{BTreeSet, HashMap};
use store::LedgerRow;

/// Every dot by its recipient, and every row by its address.
pub(crate) struct Evidence {
    dots: HashMap<String, Vec<Answer>>,
    rows: HashMap<String, LedgerRow>,
}

impl Evidence {
    /// The record first, the ledger after it: a dot in it had its intent long before.
    pub(crate) async fn of(society: &Society, notice: &Broadcast<'_>) -> Self {
        Self::at(&society.relay, notice).await
    }

    pub(crate) async fn at(relay: &CaptureRelay, notice: &Broadcast<'_>) -> Self {
        let mut dots: HashMap<String, Vec<Answer>> = HashMap::new();
        for dot in relay.captured() {
            let [recipient] = &dot.recipients[..] else { panic!("one envelope, one recipient: {dot:?}") };
            dots.entry(recipient.clone()).or_default().push(dot.answer);
        }
        let rows = notice.ledger().await.into_iter().map(|row| (row.address.clone(), row)).collect();
        Self { dots, rows }
    }

    /// Law 4, at any moment: whoever may have been mailed does not look unsent.
    pub(crate) fn shows_no_mailed_row_as_unsent(&self) {
        for address in self.dots.keys() {
            let state = &self.rows[address].state;
            let known = matches!(state.as_str(), "accepted" | "submitting" | "unknown");
            assert!(known, "{address} was mailed, and the ledger says {state}");
        }
    }

    /// After the end: nobody left out, nobody mailed twice, every `accepted` is a mail the relay
    /// took, and only `unknown` rows may be either.
    pub(crate) fn shows_everyone_mailed_once_but_the_unknown(&self) {
        for (address, row) in &self.rows {
            let dots = self.dots.get(address).map_or(&[][..], Vec::as_slice);
            match row.state.as_str() {
                "accepted" => assert_eq!(dots, [Answer::Accepted], "{address} is accepted"),
                "unknown" => assert!(dots.len() <= 1, "{address} is unknown and got {dots:?}"),
                other => panic!("{address} is {other} after the end and got {dots:?}"),
            }
        }
        let strangers: Vec<&String> = self.dots.keys().filter(|to| !self.rows.contains_key(*to)).collect();
        assert!(strangers.is_empty(), "mail left to people who are not in the ledger: {strangers:?}");
    }

    /// Addresses of the rows in `state`.
    pub(crate) fn addresses(&self, state: &str) -> BTreeSet<String> {
        let rows = self.rows.values().filter(|row| row.state == state);
        rows.map(|row| row.address.clone()).collect()
    }

    /// How many mails each address got.
    pub(crate) fn counts(&self) -> HashMap<String, usize> {
        self.dots.iter().map(|(address, dots)| (address.clone(), dots.len())).collect()
    }

    /// Rows in `submitting` at this moment.
    pub(crate) fn submitting(&self) -> usize {
        self.addresses("submitting").len()
    }
}

/// The product's own view of its books.
pub(crate) async fn the_books_hold(society: &Society) {
    assert_eq!(society.hansho(&["ledger", "verify"]).await.done()["ok"], true);
    assert_eq!(society.hansho(&["audit", "verify"]).await.done()["ok"], true);
}
