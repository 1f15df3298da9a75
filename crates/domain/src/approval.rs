//! Four eyes, as evidence: what may be sent is a type that only verification can make (law 5).

use crate::{BroadcastId, MemberId, Nature, Role, StaffId, Timestamp};
use std::{collections::BTreeSet, fmt, str::FromStr};

/// A tenth of the people …
const AUDIENCE_CHANGE_DIVISOR: u64 = 10;
/// … and at least so many: in a small society every newcomer is a tenth.
const AUDIENCE_CHANGE_LEAST: u64 = 10;

/// SHA-256 over everything a signature covers: text, nature, audience snapshot, send window, limits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentDigest([u8; 32]);

impl ContentDigest {
    /// Wraps a finished SHA-256.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first twelve hex digits in groups of four: what two people compare by eye.
    #[must_use]
    pub fn short(&self) -> String {
        let hex = self.to_string();
        format!("{} {} {}", &hex[0..4], &hex[4..8], &hex[8..12])
    }
}

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentDigest({self})")
    }
}

/// A text is not 64 hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 lower-case hex digits")]
pub struct DigestError;

impl FromStr for ContentDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| DigestError)?;
        bytes.try_into().map(Self).map_err(|_| DigestError)
    }
}

/// A broadcast whose text, audience and limits no longer move. `digest` is computed from the
/// rows as they stand, not copied from what was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frozen {
    /// Which broadcast.
    pub broadcast: BroadcastId,
    /// Who wrote it, and therefore never signs it.
    pub author: StaffId,
    /// Actual, exercise or test.
    pub nature: Nature,
    /// Over everything that is signed.
    pub digest: ContentDigest,
    /// Ledger rows that will be tried.
    pub recipients: u64,
    /// Ledger rows held back.
    pub held: u64,
}

/// One recipient as the ledger's row stands: what the digest covers, in the order of member ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Who.
    pub member: MemberId,
    /// The society's number.
    pub member_no: String,
    /// Where to; empty where there is no address.
    pub address: String,
    /// Values of the merge fields, as canonical JSON.
    pub fields: String,
    /// Why held, in [`crate::HoldReason`]'s words, where held.
    pub held: Option<String>,
}

/// One approver's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Who signed.
    pub staff: StaffId,
    /// Their role as it is now: a person who lost the role no longer counts.
    pub role: Role,
    /// What they signed.
    pub digest: ContentDigest,
    /// When.
    pub signed_at: Timestamp,
}

/// How many different approvers must sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignaturesRequired(u8);

impl SignaturesRequired {
    /// One approver; one more when the daily cap would be exceeded, or when the audience is not
    /// the people it was.
    #[must_use]
    pub fn for_release(unusual: bool) -> Self {
        if unusual { Self(2) } else { Self(1) }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> u8 {
        self.0
    }
}

/// How a frozen audience differs from the one that was last written to under the same description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AudienceChange {
    /// The broadcast before.
    pub previous: BroadcastId,
    /// Its recipients.
    pub recipients: u64,
    /// In it now, not then.
    pub joined: u64,
    /// In it then, not now.
    pub left: u64,
    /// Of those who joined: whom no broadcast ever reached.
    pub never_mailed: u64,
}

impl AudienceChange {
    /// More people than a society's everyday brings: a tenth of them, and at least ten. Then an
    /// extra signature is asked for. Incident B was the wrong database, and nobody compared.
    #[must_use]
    pub fn is_unusual(&self) -> bool {
        let moved = self.joined.saturating_add(self.left);
        moved >= AUDIENCE_CHANGE_LEAST && moved.saturating_mul(AUDIENCE_CHANGE_DIVISOR) >= self.recipients
    }
}

/// Whether releasing `recipients` on top of `released_in_24h` goes over the daily cap (law 7).
/// Exactly at the cap is still under it.
#[must_use]
pub fn cap_exceeded(released_in_24h: u64, recipients: u64, daily_cap: u64) -> bool {
    released_in_24h.saturating_add(recipients) > daily_cap
}

/// Evidence that `T` was signed by enough people, none of them its author.
///
/// Only [`Approved::verify`] makes one; there is no other constructor:
///
/// ```compile_fail
/// use domain::{Approved, Frozen};
/// fn forge(frozen: Frozen) -> Approved<Frozen> {
///     Approved { inner: frozen }
/// }
/// ```
///
/// It cannot be had by converting or defaulting either:
///
/// ```compile_fail
/// use domain::{Approved, Frozen};
/// fn forge(frozen: Frozen) -> Approved<Frozen> {
///     frozen.into()
/// }
/// ```
#[derive(Debug)]
pub struct Approved<T> {
    inner: T,
}

/// Why the signatures do not suffice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given} of {required} valid signatures")]
pub struct ApprovalGap {
    /// Valid signatures: right digest, approving role, not the author, each person once.
    pub given: u8,
    /// Needed.
    pub required: u8,
}

impl Approved<Frozen> {
    /// Verifies signatures against what stands in the database now.
    ///
    /// # Errors
    /// [`ApprovalGap`] where fewer than `required` different approvers signed exactly this digest.
    pub fn verify(
        frozen: Frozen,
        signatures: &[Signature],
        required: SignaturesRequired,
    ) -> Result<Self, ApprovalGap> {
        let signers: BTreeSet<StaffId> = signatures
            .iter()
            .filter(|s| s.digest == frozen.digest && s.role.may_approve() && s.staff != frozen.author)
            .map(|s| s.staff)
            .collect();
        let given = u8::try_from(signers.len()).unwrap_or(u8::MAX);
        if given >= required.get() {
            Ok(Self { inner: frozen })
        } else {
            Err(ApprovalGap { given, required: required.get() })
        }
    }

    /// What was approved.
    #[must_use]
    pub fn get(&self) -> &Frozen {
        &self.inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frozen() -> Frozen {
        Frozen {
            broadcast: BroadcastId::new(1),
            author: StaffId::new(1),
            nature: Nature::Exercise,
            digest: ContentDigest::new([7; 32]),
            recipients: 4_000,
            held: 0,
        }
    }

    fn signed(staff: i64, role: Role, digest: u8) -> Signature {
        Signature {
            staff: StaffId::new(staff),
            role,
            digest: ContentDigest::new([digest; 32]),
            signed_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn the_author_never_approves() {
        let one = SignaturesRequired::for_release(false);
        let own = [signed(1, Role::Approver, 7)];
        assert_eq!(
            Approved::verify(frozen(), &own, one).map(|_| ()),
            Err(ApprovalGap { given: 0, required: 1 })
        );
    }

    #[test]
    fn a_signature_over_something_else_does_not_count() {
        let one = SignaturesRequired::for_release(false);
        assert!(Approved::verify(frozen(), &[signed(2, Role::Approver, 8)], one).is_err());
        assert!(Approved::verify(frozen(), &[signed(2, Role::Coordinator, 7)], one).is_err());
        assert!(Approved::verify(frozen(), &[signed(2, Role::Approver, 7)], one).is_ok());
    }

    #[test]
    fn over_the_cap_two_different_people_sign() {
        let two = SignaturesRequired::for_release(true);
        let twice = [signed(2, Role::Approver, 7), signed(2, Role::Approver, 7)];
        assert!(Approved::verify(frozen(), &twice, two).is_err());
        let both = [signed(2, Role::Approver, 7), signed(3, Role::Approver, 7)];
        assert!(Approved::verify(frozen(), &both, two).is_ok());
    }

    #[test]
    fn the_three_thousand_and_first_recipient_is_over_the_cap() {
        assert!(!cap_exceeded(0, 3_000, 3_000));
        assert!(cap_exceeded(0, 3_001, 3_000));
        assert!(cap_exceeded(2_999, 2, 3_000));
    }
}
