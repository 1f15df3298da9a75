//! The digest that approvers sign and the sender checks (law 5).
//!
//! Guarantees: everything that decides what leaves, to whom, when and how fast is inside, each
//! field with its tag and its length, so that no two different contents share a digest by running
//! together. The same content gives the same digest on every machine.

use crate::Terms;
use domain::{ContentDigest, SnapshotRow};
use sha2::{Digest, Sha256};

/// Changes with the encoding, so that a signature over an older one does not fit a newer one.
const DOMAIN: &[u8] = b"hansho content digest v1";

/// Takes the terms, then the rows in the order of member ids, then gives the digest.
#[derive(Debug, Clone)]
pub struct DigestBuilder {
    hash: Sha256,
    rows: u64,
}

impl DigestBuilder {
    /// Begins with what is the same for all.
    #[must_use]
    pub fn new(terms: &Terms) -> Self {
        let mut builder = Self { hash: Sha256::new(), rows: 0 };
        builder.field(b'!', DOMAIN);
        builder.field(b'n', terms.nature.as_str().as_bytes());
        builder.field(b's', terms.text.subject.as_bytes());
        builder.field(b'b', terms.text.body.as_bytes());
        builder.optional(b'q', terms.questionnaire.as_deref().map(str::as_bytes));
        builder.field(b'f', terms.from.as_bytes());
        for line in [&terms.organization, &terms.contact, &terms.public_url, &terms.sink_domain] {
            builder.field(b'o', line.as_bytes());
        }
        builder.field(b'a', terms.audience.as_bytes());
        builder.optional(
            b't',
            terms.finish_by.map(|at| at.millis().to_be_bytes()).as_ref().map(<[u8; 8]>::as_slice),
        );
        builder.field(b'c', &terms.daily_cap.to_be_bytes());
        for rate in &terms.rates {
            builder.field(b'r', rate.to_string().as_bytes());
        }
        builder.field(b'k', &terms.connections.to_be_bytes());
        // Only where it is offered: what was signed before it was known stays signed.
        if terms.one_click_unsubscribe {
            builder.field(b'u', b"one-click");
        }
        builder
    }

    /// Adds the next recipient.
    pub fn row(&mut self, row: &SnapshotRow) {
        self.rows += 1;
        self.field(b'R', &row.member.get().to_be_bytes());
        self.field(b'M', row.member_no.as_bytes());
        self.field(b'A', row.address.as_bytes());
        self.optional(b'H', row.held.as_deref().map(str::as_bytes));
        self.field(b'F', row.fields.as_bytes());
    }

    /// The digest over all that was added.
    #[must_use]
    pub fn finish(mut self) -> ContentDigest {
        self.field(b'E', &self.rows.to_be_bytes());
        ContentDigest::new(self.hash.finalize().into())
    }

    /// Tag, length in eight bytes, bytes: an encoding that can be read back in one way only.
    fn field(&mut self, tag: u8, bytes: &[u8]) {
        self.hash.update([tag]);
        self.hash.update((bytes.len() as u64).to_be_bytes());
        self.hash.update(bytes);
    }

    /// "Not there" has its own tag: it differs from "there and empty".
    fn optional(&mut self, tag: u8, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.field(tag, bytes),
            None => self.field(b'-', &[tag]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NoticeText;
    use domain::{MemberId, Nature, Rate, Timestamp};
    use proptest::prelude::*;

    fn facts(subject: &str, body: &str) -> Terms {
        Terms {
            nature: Nature::Exercise,
            text: NoticeText { subject: subject.into(), body: body.into() },
            questionnaire: None,
            from: "drill@example.jp".into(),
            organization: "会".into(),
            contact: "係".into(),
            public_url: "https://drill.example.jp".into(),
            sink_domain: "reply.example.jp".into(),
            audience: "all".into(),
            finish_by: None,
            daily_cap: 3_000,
            rates: Vec::new(),
            connections: 8,
            one_click_unsubscribe: false,
        }
    }

    fn row(id: i64, number: &str, fields: &str) -> SnapshotRow {
        SnapshotRow {
            member: MemberId::new(id),
            member_no: number.into(),
            address: format!("{number}@example.jp"),
            fields: fields.into(),
            held: None,
        }
    }

    fn digest(facts: &Terms, people: &[(i64, &str, &str)]) -> ContentDigest {
        let mut builder = DigestBuilder::new(facts);
        for (id, number, fields_json) in people {
            builder.row(&row(*id, number, fields_json));
        }
        builder.finish()
    }

    #[test]
    fn the_same_content_has_the_same_digest() {
        let people = [(1, "100", "{}"), (2, "200", "{}")];
        assert_eq!(digest(&facts("a", "b"), &people), digest(&facts("a", "b"), &people));
        assert_eq!(
            digest(&facts("a", "b"), &people).to_string(),
            "4c31267d5168474a5e5c9edf6b13b3f521b99e6177cf76e60d9743011c6fa0d8",
            "a changed encoding voids every signature given: it needs a new DOMAIN"
        );
    }

    #[test]
    fn every_fact_is_signed() {
        let base = facts("a", "b");
        let rate: Rate = "10/s".parse().expect("a rate");
        let change = |change: &dyn Fn(&mut Terms)| {
            let mut terms = base.clone();
            change(&mut terms);
            terms
        };
        let variants = [
            change(&|t| t.nature = Nature::Actual),
            change(&|t| t.text.subject = "A".into()),
            change(&|t| t.text.body = "B".into()),
            change(&|t| t.questionnaire = Some(String::new())),
            change(&|t| t.questionnaire = Some("{}".into())),
            change(&|t| t.from = "other@example.jp".into()),
            change(&|t| t.organization = "別の会".into()),
            change(&|t| t.contact = "別の係".into()),
            change(&|t| t.public_url = "https://evil.example".into()),
            change(&|t| t.sink_domain = "evil.example".into()),
            change(&|t| t.audience = "宮城".into()),
            change(&|t| t.finish_by = Some(Timestamp::from_millis(1))),
            change(&|t| t.daily_cap = 3_001),
            change(&|t| t.rates = vec![rate]),
            change(&|t| t.connections = 9),
            change(&|t| t.one_click_unsubscribe = true),
        ];
        let mut seen = vec![digest(&base, &[]).to_string()];
        seen.extend(variants.iter().map(|facts| digest(facts, &[]).to_string()));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), variants.len() + 1);
    }

    #[test]
    fn every_recipient_is_signed() {
        let base = facts("a", "b");
        let one = digest(&base, &[(1, "100", "{}")]);
        for other in [
            digest(&base, &[]),
            digest(&base, &[(2, "100", "{}")]),
            digest(&base, &[(1, "101", "{}")]),
            digest(&base, &[(1, "100", r#"{"name":"x"}"#)]),
            digest(&base, &[(1, "100", "{}"), (2, "200", "{}")]),
        ] {
            assert_ne!(one, other);
        }
        let mut held = DigestBuilder::new(&base);
        held.row(&SnapshotRow { held: Some("shared-address".into()), ..row(1, "100", "{}") });
        assert_ne!(one, held.finish());
    }

    proptest! {
        #[test]
        fn moving_a_boundary_between_neighbouring_fields_changes_the_digest(
            text in "[ab\0{}]{1,12}", from in 0..12usize, to in 0..12usize
        ) {
            let (from, to) = (from.min(text.len()), to.min(text.len()));
            let left = digest(&facts(&text[..from], &text[from..]), &[]);
            let right = digest(&facts(&text[..to], &text[to..]), &[]);
            prop_assert_eq!(left == right, from == to);
        }

        #[test]
        fn different_audiences_have_different_digests(
            left in proptest::collection::vec((1..5i64, "[ab]{1,3}", "[ab]{0,3}"), 0..4),
            right in proptest::collection::vec((1..5i64, "[ab]{1,3}", "[ab]{0,3}"), 0..4),
        ) {
            fn borrowed(rows: &[(i64, String, String)]) -> Vec<(i64, &str, &str)> {
                rows.iter().map(|(id, no, json)| (*id, no.as_str(), json.as_str())).collect()
            }
            let base = facts("a", "b");
            let same = digest(&base, &borrowed(&left)) == digest(&base, &borrowed(&right));
            prop_assert_eq!(same, left == right);
        }
    }
}
