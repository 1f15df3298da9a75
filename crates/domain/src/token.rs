//! Signed personal addresses and links: broadcast and member are inside, so that whoever
//! receives one needs no database to know that we issued it.
//!
//! # Security
//! Anything a stranger types into a link or an envelope reaches [`Keyring::read`]. The tag is
//! 128 bits of HMAC-SHA-256, compared in constant time; kinds are not interchangeable. What
//! the address or the form of an answer page carries reaches [`Keyring::is_proof`], which takes nothing but what was signed for that very link.

use crate::{BroadcastId, MemberId, Timestamp};
use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Ids are carried in seven bytes: 2^56 rows are enough, and the token stays under 64 octets,
/// the limit of a local part (RFC 5321 §4.5.3.1.1).
const ID_BYTES: usize = 7;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 2 + 2 * ID_BYTES;
const TOKEN_CHARS: usize = 52;
/// Key id, end and tag in base32.
const PROOF_CHARS: usize = 40;

/// What a token is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// The Reply-To address of a notice.
    Reply,
    /// The return path (VERP) of a notice.
    Bounce,
    /// The member's personal answer page.
    Answer,
    /// One-click unsubscription (RFC 8058).
    Unsubscribe,
}

impl TokenKind {
    fn code(self) -> u8 {
        match self {
            Self::Reply => 1,
            Self::Bounce => 2,
            Self::Answer => 3,
            Self::Unsubscribe => 4,
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        [Self::Reply, Self::Bounce, Self::Answer, Self::Unsubscribe].into_iter().find(|k| k.code() == code)
    }
}

/// What a verified token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecipientToken {
    /// What it is good for.
    pub kind: TokenKind,
    /// Which broadcast.
    pub broadcast: BroadcastId,
    /// Which member.
    pub member: MemberId,
}

/// One signing key with its id; the id travels in the token so that keys can be changed.
#[derive(Clone)]
pub struct TokenKey {
    id: u8,
    secret: [u8; 32],
}

impl TokenKey {
    /// A key from 32 secret random bytes.
    #[must_use]
    pub const fn new(id: u8, secret: [u8; 32]) -> Self {
        Self { id, secret }
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenKey({})", self.id)
    }
}

/// The text is not a token of ours. Says no more: an attacker learns nothing from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid token")]
pub struct TokenError;

/// The key that signs, and older ones that are still recognised.
#[derive(Debug, Clone)]
pub struct Keyring {
    current: TokenKey,
    older: Vec<TokenKey>,
}

impl Keyring {
    /// A keyring that signs with `current` and also reads tokens made with `older`.
    #[must_use]
    pub fn new(current: TokenKey, older: Vec<TokenKey>) -> Self {
        Self { current, older }
    }

    /// The token: 52 characters of lower-case base32.
    #[must_use]
    pub fn write(&self, token: RecipientToken) -> String {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + TAG_BYTES);
        bytes.push(token.kind.code());
        bytes.push(self.current.id);
        bytes.extend_from_slice(&token.broadcast.get().to_be_bytes()[8 - ID_BYTES..]);
        bytes.extend_from_slice(&token.member.get().to_be_bytes()[8 - ID_BYTES..]);
        let tag = mac(&self.current, &bytes).finalize().into_bytes();
        bytes.extend_from_slice(&tag[..TAG_BYTES]);
        BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
    }

    /// Reads and verifies a token, in any letter case: mail systems change it.
    ///
    /// # Errors
    /// [`TokenError`] for anything this keyring did not sign.
    pub fn read(&self, text: &str) -> Result<RecipientToken, TokenError> {
        if text.len() != TOKEN_CHARS {
            return Err(TokenError);
        }
        let bytes = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()).map_err(|_| TokenError)?;
        let (head, tag) = bytes.split_at_checked(HEAD_BYTES).ok_or(TokenError)?;
        let key = self.key(head[1]).ok_or(TokenError)?;
        mac(key, head).verify_truncated_left(tag).map_err(|_| TokenError)?;
        let (broadcast, member) = head[2..].split_at(ID_BYTES);
        Ok(RecipientToken {
            kind: TokenKind::from_code(head[0]).ok_or(TokenError)?,
            broadcast: BroadcastId::new(id_from(broadcast)),
            member: MemberId::new(id_from(member)),
        })
    }

    /// Reads a token and insists on its kind.
    ///
    /// # Errors
    /// [`TokenError`] for anything else.
    pub fn read_as(&self, kind: TokenKind, text: &str) -> Result<RecipientToken, TokenError> {
        self.read(text).and_then(|token| if token.kind == kind { Ok(token) } else { Err(TokenError) })
    }

    /// What an answer page keeps to show that whoever uses it has proven to be the member of `link`: 40
    /// characters of lower-case base32, good until `until` for this broadcast and member.
    #[must_use]
    pub fn write_proof(&self, link: RecipientToken, until: Timestamp) -> String {
        let mut bytes = vec![self.current.id];
        bytes.extend_from_slice(&until.millis().to_be_bytes());
        let tag = proof_mac(&self.current, link, until).finalize().into_bytes();
        bytes.extend_from_slice(&tag[..TAG_BYTES]);
        BASE32_NOPAD.encode(&bytes).to_ascii_lowercase()
    }

    /// Whether this keyring wrote the proof for this link, and it is still good at `now`.
    #[must_use]
    pub fn is_proof(&self, link: RecipientToken, text: &str, now: Timestamp) -> bool {
        if text.len() != PROOF_CHARS {
            return false;
        }
        let Ok(bytes) = BASE32_NOPAD.decode(text.to_ascii_uppercase().as_bytes()) else { return false };
        let Some((id, rest)) = bytes.split_first() else { return false };
        let Some((until, tag)) = rest.split_first_chunk() else { return false };
        let until = Timestamp::from_millis(i64::from_be_bytes(*until));
        let is_ours = |key: &TokenKey| proof_mac(key, link, until).verify_truncated_left(tag).is_ok();
        now < until && self.key(*id).is_some_and(is_ours)
    }

    /// The current one first.
    fn keys(&self) -> impl Iterator<Item = &TokenKey> {
        std::iter::once(&self.current).chain(&self.older)
    }

    fn key(&self, id: u8) -> Option<&TokenKey> {
        self.keys().find(|key| key.id == id)
    }

    /// A keyed hash of `text` for another purpose than a token, under every key, the current one
    /// first.
    pub(crate) fn hashes(&self, purpose: &[u8], text: &str) -> Vec<[u8; 32]> {
        self.keys()
            .map(|key| {
                let mut mac = mac_of(key, purpose);
                mac.update(text.as_bytes());
                mac.finalize().into_bytes().into()
            })
            .collect()
    }
}

fn mac(key: &TokenKey, head: &[u8]) -> Hmac<Sha256> {
    let mut mac = mac_of(key, b"hansho recipient token v1\0");
    mac.update(head);
    mac
}

fn proof_mac(key: &TokenKey, link: RecipientToken, until: Timestamp) -> Hmac<Sha256> {
    let mut mac = mac_of(key, b"hansho membership proof v1\0");
    for part in [link.broadcast.get(), link.member.get(), until.millis()] {
        mac.update(&part.to_be_bytes());
    }
    mac
}

/// `purpose` keeps what is signed for one thing from being taken for another.
fn mac_of(key: &TokenKey, purpose: &[u8]) -> Hmac<Sha256> {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key.secret)
        .expect("invariant: HMAC takes a key of any length");
    mac.update(purpose);
    mac
}

fn id_from(bytes: &[u8]) -> i64 {
    bytes.iter().fold(0, |id, byte| id << 8 | i64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ring() -> Keyring {
        Keyring::new(TokenKey::new(2, [9; 32]), vec![TokenKey::new(1, [8; 32])])
    }

    fn token() -> RecipientToken {
        RecipientToken {
            kind: TokenKind::Reply,
            broadcast: BroadcastId::new(7),
            member: MemberId::new(4_000),
        }
    }

    #[test]
    fn a_token_survives_mail_systems_and_fits_a_local_part() {
        let text = ring().write(token());
        assert_eq!(text.len(), TOKEN_CHARS);
        assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        assert_eq!(ring().read(&text), Ok(token()));
        assert_eq!(ring().read(&text.to_ascii_uppercase()), Ok(token()));
    }

    #[test]
    fn an_older_key_still_reads_and_a_foreign_one_does_not() {
        let old = Keyring::new(TokenKey::new(1, [8; 32]), vec![]);
        assert_eq!(ring().read(&old.write(token())), Ok(token()));
        let foreign = Keyring::new(TokenKey::new(2, [1; 32]), vec![]);
        assert_eq!(ring().read(&foreign.write(token())), Err(TokenError));
    }

    proptest! {
        /// `PROPTEST_CASES=100000` looks longer.
        #[test]
        fn nothing_that_was_not_signed_is_read(text in ".{0,60}|[a-z2-7]{52}", at in 0..TOKEN_CHARS, c in any::<char>()) {
            prop_assert_eq!(ring().read(&text), Err(TokenError));
            let signed = ring().write(token());
            let mut changed: Vec<char> = signed.chars().collect();
            changed[at] = c;
            let changed: String = changed.into_iter().collect();
            let same = changed.eq_ignore_ascii_case(&signed);
            prop_assert_eq!(ring().read(&changed).is_ok(), same, "{}", changed);
        }
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let text = ring().write(token());
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).expect("ascii");
            assert_eq!(ring().read(&changed), Err(TokenError), "change at {at}");
        }
        assert_eq!(ring().read(""), Err(TokenError));
        assert_eq!(ring().read(&"é".repeat(26)), Err(TokenError));
    }

    #[test]
    fn a_proof_is_good_for_one_link_and_for_a_while() {
        let (until, link) = (Timestamp::from_millis(1_000), token());
        let (before, proof) = (Timestamp::from_millis(999), ring().write_proof(link, until));
        assert_eq!(proof.len(), PROOF_CHARS);
        assert!(ring().is_proof(link, &proof, before));
        assert!(!ring().is_proof(link, &proof, until), "over");
        let others = [
            RecipientToken { broadcast: BroadcastId::new(8), ..link },
            RecipientToken { member: MemberId::new(4_001), ..link },
        ];
        for other in others {
            assert!(!ring().is_proof(other, &proof, before), "{other:?}");
        }
        let foreign = Keyring::new(TokenKey::new(2, [1; 32]), vec![]);
        assert!(!foreign.is_proof(link, &proof, before));
        for at in 0..proof.len() {
            let mut changed = proof.clone().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let changed = String::from_utf8(changed).expect("ascii");
            assert!(!ring().is_proof(link, &changed, before), "change at {at}");
        }
        for text in ["", &proof[1..], &ring().write(link), &"é".repeat(20)] {
            assert!(!ring().is_proof(link, text, before), "{text}");
        }
    }

    #[test]
    fn a_reply_address_is_no_answer_link() {
        let text = ring().write(token());
        assert_eq!(ring().read_as(TokenKind::Answer, &text), Err(TokenError));
    }
}
