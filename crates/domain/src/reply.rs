//! What a mail that came back is.

use crate::words;

/// The class of a stored reply; the words are the contract of `hansho reply classify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplyClass {
    /// Written by a person. When in doubt, this.
    HumanReply,
    /// Out of office and its kin (RFC 3834).
    AutoReply,
    /// The address or its host is bad (RFC 3464, 5.x).
    BounceHard,
    /// A passing failure: full mailbox, policy, delay.
    BounceSoft,
    /// An abuse report (RFC 5965).
    Complaint,
    /// A wish to receive nothing more.
    Unsubscribe,
    /// Read receipts, reports, newsletters.
    Other,
}

words!(ReplyClass, "reply class", {
    HumanReply => "human-reply",
    AutoReply => "auto-reply",
    BounceHard => "bounce-hard",
    BounceSoft => "bounce-soft",
    Complaint => "complaint",
    Unsubscribe => "unsubscribe",
    Other => "other",
});
