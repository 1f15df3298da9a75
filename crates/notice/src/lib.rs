//! The text of a notice, from the author's template to the bytes on the wire.
//!
//! Guarantees: a text of an exercise or a test carries its banner ([`BanneredText`]); a field
//! without a value never renders ([`Template::render`]); a rendered mail names exactly one
//! recipient ([`render`]); and what is signed is everything a recipient can notice
//! ([`DigestBuilder`]). Pure: no I/O, no clock. Pages show and the broadcaster sends through
//! the same functions.

mod digest;
mod dkim;
mod mime;
pub mod preflight;
mod staff;
mod template;
mod terms;
mod text;

pub use digest::DigestBuilder;
pub use dkim::{Dkim, DkimError};
pub use mime::{MessageId, MessageIdError, RenderError, SenderAddress, SenderAddressError, message_id};
pub use staff::{cap_alert, first_copy};
pub use template::{Fields, MissingField, MissingWhy, Template, TemplateError, UnknownField, UnknownFields};
pub use terms::{ComposeError, Composer, Envelope, Letter, Recipient, Terms};
pub use text::{
    BanneredText, Footer, NoticeError, NoticeTemplate, NoticeText, Part, Questions, TextError, Unrenderable,
    banner_line,
};
