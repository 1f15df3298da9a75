//! What goes into the box and what comes out.
//!
//! # Security
//! Every text here was written by a stranger. `Debug` shows none of it (law 12).

use domain::{BroadcastId, MemberId, ReplyClass, ReplyId, Timestamp};
use std::{fmt, sync::Arc};

/// Which of a notice's two addresses a mail came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArrivedBy {
    /// Its Reply-To.
    Reply,
    /// Its return path.
    Bounce,
}

impl ArrivedBy {
    /// The word in the database and in JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reply => "reply",
            Self::Bounce => "bounce",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Reply, Self::Bounce].into_iter().find(|way| way.as_str() == word)
    }
}

/// A mail for one recipient address of ours, with what was read in it.
#[derive(Clone)]
pub struct NewReply {
    /// When it had been taken in full.
    pub received_at: Timestamp,
    /// From the recipient's token.
    pub broadcast: BroadcastId,
    /// From the recipient's token.
    pub member: MemberId,
    /// From the recipient's token.
    pub arrived_by: ArrivedBy,
    /// MAIL FROM as given, empty for the null sender. Proves nothing.
    pub envelope_from: String,
    /// IP address of the client.
    pub peer: String,
    /// What it is.
    pub class: ReplyClass,
    /// A short word for why, e.g. `mailbox-full`.
    pub reason: Option<String>,
    /// RFC 3463 status of a bounce, e.g. `5.1.1`.
    pub status: Option<String>,
    /// Decoded, for display.
    pub subject: String,
    /// Decoded, for display.
    pub from_header: String,
    /// Decoded, without the quoted original, bounded.
    pub body_text: String,
    /// The mail byte for byte.
    pub raw: Arc<[u8]>,
}

impl fmt::Debug for NewReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewReply({}, {} bytes)", self.class, self.raw.len())
    }
}

/// One line of a list of replies.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplySummary {
    /// Row id; grows with the time of storing.
    pub id: ReplyId,
    /// When it had been taken in full.
    pub received_at: Timestamp,
    /// The notice it answers.
    pub broadcast: BroadcastId,
    /// The member whose address of ours it came to; not proof of who wrote it.
    pub member: MemberId,
    /// Which of the notice's two addresses.
    pub arrived_by: ArrivedBy,
    /// MAIL FROM as given, empty for the null sender. Proves nothing.
    pub envelope_from: String,
    /// IP address of the client.
    pub peer: String,
    /// What it is.
    pub class: ReplyClass,
    /// A short word for why.
    pub reason: Option<String>,
    /// RFC 3463 status of a bounce.
    pub status: Option<String>,
    /// Decoded subject; escape it.
    pub subject: String,
    /// Decoded From; escape it.
    pub from_header: String,
    /// The first [`ReplySummary::EXCERPT_CHARS`] characters of the text; escape it.
    pub excerpt: String,
    /// Octets of the raw mail.
    pub size: u64,
}

impl ReplySummary {
    /// Enough for two lines on a page.
    pub const EXCERPT_CHARS: u32 = 200;
}

impl fmt::Debug for ReplySummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplySummary({}, {}, {} bytes)", self.id, self.class, self.size)
    }
}

/// A reply in full.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredReply {
    /// What a list shows.
    pub summary: ReplySummary,
    /// Decoded, without the quoted original, bounded; escape it.
    pub body_text: String,
    /// SHA-256 of `raw`, lower-case hex.
    pub sha256: String,
    /// The mail byte for byte.
    pub raw: Vec<u8>,
}

impl fmt::Debug for StoredReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoredReply({:?})", self.summary)
    }
}

/// Which replies a list shows; the default shows all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReplyFilter {
    /// Only this class.
    pub class: Option<ReplyClass>,
    /// Only answers to this notice.
    pub broadcast: Option<BroadcastId>,
}

impl ReplyFilter {
    /// Whether this reply is one of them.
    #[must_use]
    pub fn lets_through(self, reply: &ReplySummary) -> bool {
        self.class.is_none_or(|class| class == reply.class)
            && self.broadcast.is_none_or(|broadcast| broadcast == reply.broadcast)
    }
}
