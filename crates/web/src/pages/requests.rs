//! Requests of members and mail systems.

use super::Shell;
use crate::i18n::Texts;
use askama::Template;
use domain::{BroadcastId, MemberId, ReplyId, RequestKind};

/// One line of the list.
#[derive(Debug, Clone)]
pub(crate) struct RequestRow {
    pub(crate) id: i64,
    pub(crate) kind: RequestKind,
    pub(crate) member: MemberId,
    /// Number and name.
    pub(crate) name: String,
    pub(crate) broadcast: BroadcastId,
    /// The reply that shows it.
    pub(crate) reply: Option<ReplyId>,
    pub(crate) at: String,
}

/// `/requests/confirm`: the chosen ones once more, before nothing is sent to them.
#[derive(Template)]
#[template(path = "requests_confirm.html")]
pub(crate) struct RequestsConfirmPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    /// The kind of the list they were chosen from, or empty.
    pub(crate) kind: String,
    /// Some of them wish to be erased, and are then.
    pub(crate) erases: bool,
    pub(crate) rows: Vec<RequestRow>,
}

/// One line of the list of those to whom nothing is sent.
#[derive(Debug, Clone)]
pub(crate) struct SuppressedRow {
    pub(crate) kind: RequestKind,
    pub(crate) member: MemberId,
    /// Number and name.
    pub(crate) name: String,
    pub(crate) at: String,
}

/// `/requests/suppressed`.
#[derive(Template)]
#[template(path = "suppressed.html")]
pub(crate) struct SuppressedPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) rows: Vec<SuppressedRow>,
}

/// `/requests`.
#[derive(Template)]
#[template(path = "requests.html")]
pub(crate) struct RequestsPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    /// The chosen kind, or empty.
    pub(crate) kind: String,
    pub(crate) kinds: Vec<(RequestKind, String)>,
    pub(crate) all_chosen: bool,
    pub(crate) may_settle: bool,
    pub(crate) rows: Vec<RequestRow>,
}
