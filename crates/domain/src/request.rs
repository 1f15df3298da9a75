//! What a member, or a mail system in a member's place, asks of the office.

use crate::words;

/// Why a request was opened, and so why nothing may be sent any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RequestKind {
    /// The member wants no more mail.
    Unsubscribe,
    /// The member wants to be erased.
    Erasure,
    /// The address does not exist any more, a mail system says.
    Bounce,
    /// The member's mail provider passed a complaint on (RFC 5965).
    Complaint,
    /// Somebody of the office decided so by hand.
    Office,
}

words!(RequestKind, "kind of request", {
    Unsubscribe => "unsubscribe",
    Erasure => "erasure",
    Bounce => "bounce",
    Complaint => "complaint",
    Office => "office",
});

impl RequestKind {
    /// Whether it speaks of the address and not of the person: it is over when the roster has
    /// another one.
    #[must_use]
    pub fn concerns_address(self) -> bool {
        matches!(self, Self::Bounce)
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decision {
    /// As asked: nothing is sent any more.
    Granted,
    /// Nothing changes.
    Declined,
}

words!(Decision, "decision", {
    Granted => "granted",
    Declined => "declined",
});
