//! What is left of an erased person, and how long anything about a person is kept.
//!
//! # Security
//! Member numbers are few and easily tried out one by one, so a plain hash would hide nobody. These
//! are keyed: without the installation's key file they say nothing, and none is a token.

use crate::{EmailAddress, Keyring, MemberNo, Span};
use data_encoding::HEXLOWER;

const PURPOSE: &[u8] = b"hansho erased person v1\0";

/// What an erased person's number or mailbox is recognised by when a roster brings it again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ErasedKey {
    what: &'static str,
    hex: String,
}

impl ErasedKey {
    /// 64 hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.hex
    }

    /// `member_no` or `mailbox`.
    #[must_use]
    pub fn what(&self) -> &'static str {
        self.what
    }
}

impl Keyring {
    /// The keys of a member number, the one that is written first: an older key of the file made
    /// the others, and what was written with it is still recognised.
    #[must_use]
    pub fn erased_numbers(&self, number: &MemberNo) -> Vec<ErasedKey> {
        self.erased("member_no", number.as_str())
    }

    /// The same of a mailbox, however its address is spelt.
    #[must_use]
    pub fn erased_mailboxes(&self, address: &EmailAddress) -> Vec<ErasedKey> {
        self.erased("mailbox", &address.key())
    }

    fn erased(&self, what: &'static str, text: &str) -> Vec<ErasedKey> {
        self.hashes(PURPOSE, &format!("{what}:{text}"))
            .iter()
            .map(|hash| ErasedKey { what, hex: HEXLOWER.encode(hash) })
            .collect()
    }
}

/// How long things are kept; none: for ever.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RetentionPeriods {
    /// Replies, from when they came.
    pub replies: Option<Span>,
    /// Addresses and merge fields of a broadcast's recipients, from its end.
    pub recipients: Option<Span>,
    /// Members who have left, from when their data changed last.
    pub left_members: Option<Span>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenKey;

    fn number(text: &str) -> MemberNo {
        text.parse().expect("a number")
    }

    #[test]
    fn a_key_depends_on_the_key_file_and_on_what_it_is_of() {
        let ring = Keyring::new(TokenKey::new(1, [7; 32]), vec![]);
        let other = Keyring::new(TokenKey::new(1, [8; 32]), vec![]);
        let of = |ring: &Keyring, text: &str| ring.erased_numbers(&number(text));
        assert_eq!(of(&ring, "K1"), of(&ring, "K1"));
        assert_ne!(of(&ring, "K1"), of(&ring, "K2"));
        assert_ne!(of(&ring, "K1"), of(&other, "K1"));
        let address = |text: &str| EmailAddress::parse(text).expect("an address");
        let mailbox = ring.erased_mailboxes(&address("Hanako@example.jp"));
        assert_eq!(mailbox, ring.erased_mailboxes(&address("hanako@Example.jp")));
        assert_eq!(mailbox[0].as_str().len(), 64);
        assert_ne!(mailbox, of(&ring, "hanako@example.jp"));
    }

    #[test]
    fn what_an_older_key_made_is_recognised() {
        let old = Keyring::new(TokenKey::new(1, [7; 32]), vec![]);
        let new = Keyring::new(TokenKey::new(2, [8; 32]), vec![TokenKey::new(1, [7; 32])]);
        let keys = new.erased_numbers(&number("K1"));
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.last(), old.erased_numbers(&number("K1")).first());
    }
}
