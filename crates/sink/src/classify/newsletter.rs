//! Bulk mail that strayed into a reply address.

use super::{Verdict, mime::Mail};
use domain::ReplyClass;

/// Bulk by its own header, and no answer to anybody. A discussion list carries people's words
/// (it has `List-Post`, RFC 2369) and is none.
pub(super) fn read(mail: &Mail) -> Option<Verdict> {
    let head = mail.head();
    let bulk = head.has("list-unsubscribe-post")
        || head.has("feedback-id")
        || (head.has("list-unsubscribe") && head.lower("precedence").starts_with("bulk"));
    (bulk && !head.has("list-post") && !mail.is_an_answer())
        .then(|| Verdict::of(ReplyClass::Other, "newsletter"))
}
