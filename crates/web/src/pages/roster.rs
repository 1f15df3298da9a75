//! Members of the registry, for staff.

use super::Shell;
use crate::i18n::Texts;
use askama::Template;
use domain::{BroadcastId, DeliveryState, MemberId, MemberStatus, Nature};

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
    pub(crate) status: MemberStatus,
    pub(crate) prefecture: String,
    pub(crate) facility: String,
    pub(crate) duty: String,
    pub(crate) address: String,
    pub(crate) clear: bool,
    /// Why and since when nothing is sent.
    pub(crate) suppressed: Option<(String, String)>,
    pub(crate) may_lift: bool,
    pub(crate) rows: Vec<HistoryRow>,
}
