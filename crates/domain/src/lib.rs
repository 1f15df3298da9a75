//! The words and rules of the house: types, state transitions and policy.
//!
//! Pure by construction: no I/O, no async, no clock and no randomness of its own. Everything
//! here can be tested without a database, a socket or a wait. The other crates depend on this
//! one and it depends on none of them.

mod address;
mod approval;
mod broadcast;
mod database_url;
mod delivery;
mod erasure;
mod exercise;
mod id;
mod key_file;
mod member;
mod nature;
mod questionnaire;
mod rate;
mod refusal;
mod reply;
mod request;
mod retry;
mod span;
mod spreadsheet;
mod staff;
mod time;
mod token;

pub use address::{AddressError, DisplayName, DisplayNameError, EmailAddress};
pub use approval::{
    ApprovalGap, Approved, AudienceChange, ContentDigest, DigestError, Frozen, Signature, SignaturesRequired,
    SnapshotRow, cap_exceeded,
};
pub use broadcast::{BroadcastEvent, BroadcastState, IllegalBroadcastEvent};
pub use database_url::{database_url_in, replies_url_beside, sqlite_path};
pub use delivery::{
    AttemptNo, Delivery, DeliveryEvent, DeliveryState, HoldReason, IllegalEvent, SmtpReply, Tally,
};
pub use erasure::{ErasedKey, RetentionPeriods};
pub use exercise::{ExerciseState, InjectAudience, InjectState};
pub use id::{
    AudienceId, BroadcastId, DeliveryId, ExerciseId, InjectId, LeaseId, MemberId, QuestionnaireId, ReplyId,
    StaffId,
};
pub use key_file::{KeyFileError, parse_key_file, write_key_file};
pub use member::{
    FieldKind, MemberNo, MemberNoError, MemberStatus, PREFECTURES, Prefecture, is_of_one_family,
};
pub use nature::Nature;
pub use questionnaire::{AnswerError, Answers, Choice, Question, QuestionKind, Questionnaire};
pub use rate::{Rate, RateError};
pub use refusal::{Refusal, Rule};
pub use reply::ReplyClass;
pub use request::{Decision, RequestKind};
pub use retry::retry_wait;
pub use span::{Span, SpanError};
pub use spreadsheet::spreadsheet_safe;
pub use staff::{Actor, Role};
pub use time::{Clock, FiscalCalendar, FiscalYear, Timestamp};
pub use token::{Keyring, RecipientToken, TokenError, TokenKey, TokenKind};

/// A text is none of the words an enum or format knows; the message lists what is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a {what}; known are: {known}")]
pub struct UnknownWord {
    what: &'static str,
    given: String,
    known: String,
}

/// Gives a two-way mapping between an enum and its stable words (database, CLI, JSON).
macro_rules! words {
    ($name:ident, $what:literal, { $($variant:ident => $word:literal),+ $(,)? }) => {
        impl $name {
            /// Every variant, in the order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable word used in the database, on the command line and in JSON.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::UnknownWord {
                        what: $what,
                        given: text.to_owned(),
                        known: [$($word),+].join(" "),
                    }),
                }
            }
        }
    };
}
pub(crate) use words;
