//! Members of the registry, for staff.

use super::Shell;
use crate::i18n::Texts;
use askama::Template;
use domain::{BroadcastId, DeliveryState, MemberId, MemberStatus, Nature, ReplyClass, ReplyId};

/// One line of the list.
#[derive(Debug, Clone)]
pub(crate) struct MemberRow {
    pub(crate) id: MemberId,
    pub(crate) no: String,
    pub(crate) name: String,
    pub(crate) prefecture: String,
    pub(crate) facility: String,
    pub(crate) status: MemberStatus,
}

/// `/members`.
#[derive(Template)]
#[template(path = "members.html")]
pub(crate) struct MembersPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) q: String,
    pub(crate) imports: bool,
    pub(crate) count: String,
    pub(crate) rows: Vec<MemberRow>,
    /// Rows to skip for the next page.
    pub(crate) next: Option<u32>,
}

/// One notice this member was to receive.
#[derive(Debug, Clone)]
pub(crate) struct HistoryRow {
    pub(crate) broadcast: BroadcastId,
    pub(crate) nature: Nature,
    pub(crate) subject: String,
    pub(crate) state: DeliveryState,
    pub(crate) chip: &'static str,
    pub(crate) at: String,
    /// When it was answered last.
    pub(crate) answered: Option<String>,
}

/// One mail that came to this member's reply addresses.
#[derive(Debug, Clone)]
pub(crate) struct MemberReplyRow {
    pub(crate) id: ReplyId,
    pub(crate) class: ReplyClass,
    pub(crate) subject: String,
    pub(crate) at: String,
}

/// `/members/{id}`.
#[derive(Template)]
#[template(path = "member.html")]
pub(crate) struct MemberPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) id: MemberId,
    pub(crate) no: String,
    pub(crate) name: String,
    pub(crate) kana: String,
    pub(crate) status: MemberStatus,
    /// Fiscal years of membership.
    pub(crate) years: String,
    pub(crate) prefecture: String,
    pub(crate) facility: String,
    pub(crate) duty: String,
    pub(crate) address: String,
    /// The roster's other columns; empty for those who do not need them.
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) clear: bool,
    /// Why and since when nothing is sent.
    pub(crate) suppressed: Option<(String, String)>,
    /// Why this member is to be erased, and where that stands.
    pub(crate) erasing: Option<(String, String)>,
    pub(crate) may_lift: bool,
    pub(crate) rows: Vec<HistoryRow>,
    pub(crate) replies: Vec<MemberReplyRow>,
}
