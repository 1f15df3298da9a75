//! Replies, and the demonstration's captured mail.

use super::Shell;
use crate::i18n::Texts;
use askama::Template;
use domain::{BroadcastId, MemberId, ReplyClass, ReplyId};

/// One line of the list.
#[derive(Debug, Clone)]
pub(crate) struct ReplyRow {
    pub(crate) id: ReplyId,
    pub(crate) class: ReplyClass,
    pub(crate) subject: String,
    pub(crate) excerpt: String,
    pub(crate) member: String,
    pub(crate) at: String,
    pub(crate) read: bool,
}

/// A kind of reply to choose.
#[derive(Debug, Clone)]
pub(crate) struct ReplyKind {
    pub(crate) class: ReplyClass,
    pub(crate) count: String,
    pub(crate) link: String,
    pub(crate) chosen: bool,
}

/// The live fragment of the list.
#[derive(Template)]
#[template(path = "parts/replies.html")]
pub(crate) struct RepliesList {
    pub(crate) t: Texts,
    /// The link to every kind, and to those that nobody has read; and whether they are chosen.
    pub(crate) all: (String, bool),
    pub(crate) unread: (String, bool),
    pub(crate) kinds: Vec<ReplyKind>,
    pub(crate) rows: Vec<ReplyRow>,
    pub(crate) next: Option<String>,
}

/// `/replies`.
#[derive(Template)]
#[template(path = "replies.html")]
pub(crate) struct RepliesPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    /// What was chosen.
    pub(crate) query: String,
    /// Of that, what a file of them goes by.
    pub(crate) file: String,
    pub(crate) list: String,
}

/// Who a reply's token belongs to.
#[derive(Debug, Clone)]
pub(crate) struct ReplyMember {
    pub(crate) id: MemberId,
    pub(crate) no: String,
    pub(crate) name: String,
    pub(crate) facility: String,
}

/// `/replies/{id}`.
#[derive(Template)]
#[template(path = "reply.html")]
pub(crate) struct ReplyPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) id: ReplyId,
    pub(crate) class: ReplyClass,
    pub(crate) subject: String,
    pub(crate) from: String,
    pub(crate) at: String,
    pub(crate) body: String,
    pub(crate) reason: String,
    pub(crate) size: String,
    pub(crate) member: Option<ReplyMember>,
    pub(crate) broadcast: BroadcastId,
    pub(crate) read: bool,
    pub(crate) may_mark: bool,
}

/// One captured mail of the demonstration.
#[derive(Debug, Clone)]
pub(crate) struct DemoMailRow {
    pub(crate) seq: u64,
    pub(crate) subject: String,
    pub(crate) to: String,
    pub(crate) at: String,
    /// Path of the member's page.
    pub(crate) answer: Option<String>,
}

/// `/demo/mails`.
#[derive(Template)]
#[template(path = "demo_mails.html")]
pub(crate) struct DemoMailsPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) rows: Vec<DemoMailRow>,
}

/// `/demo/mails/{seq}`.
#[derive(Template)]
#[template(path = "demo_mail.html")]
pub(crate) struct DemoMailPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) mail: DemoMailRow,
    /// What a reader looks at.
    pub(crate) headers: Vec<(String, String)>,
    /// What only machines look at.
    pub(crate) rest: Vec<(String, String)>,
    pub(crate) text: String,
}
