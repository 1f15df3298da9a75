//! One broadcast: text, checks, signatures, figures, actions; and its ledger.

use super::Shell;
use crate::i18n::Texts;
use askama::Template;
use domain::{BroadcastId, BroadcastState, DeliveryState, ExerciseId, MemberId, Nature};

/// The form of a notice: new, to be changed, or correcting another; also with what was typed
/// when something is wrong.
#[derive(Template)]
#[template(path = "broadcast_new.html")]
pub(crate) struct NewBroadcastPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    /// Where it is posted.
    pub(crate) action: String,
    /// A sentence above the form.
    pub(crate) say: Option<String>,
    /// Of a notice that exists: never changes.
    pub(crate) fixed_nature: Option<Nature>,
    /// Of a correction: whom the corrected notice reached.
    pub(crate) fixed_audience: Option<String>,
    pub(crate) key: String,
    pub(crate) natures: &'static [Nature],
    pub(crate) nature: String,
    pub(crate) subject: String,
    pub(crate) body: String,
    /// Free fields as an author writes them; empty where there are none.
    pub(crate) free: String,
    /// Name and label.
    pub(crate) audiences: Vec<(String, String)>,
    pub(crate) audience: String,
    pub(crate) finish_by: String,
    pub(crate) mistakes: Vec<String>,
}

/// Which actions this person may take in this state; the handlers check again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct May {
    pub(crate) preflight: bool,
    pub(crate) edit: bool,
    pub(crate) correct: bool,
    pub(crate) request: bool,
    pub(crate) approve: bool,
    pub(crate) decline: bool,
    pub(crate) send: bool,
    pub(crate) stop: bool,
    pub(crate) continue_: bool,
    pub(crate) resume: bool,
    pub(crate) cancel: bool,
    pub(crate) settle: bool,
}

/// One preflight finding.
#[derive(Debug, Clone)]
pub(crate) struct FindingView {
    pub(crate) chip: &'static str,
    pub(crate) level: String,
    pub(crate) rule: String,
    pub(crate) text: String,
    /// Whoever signs says that they have seen it.
    pub(crate) confirm: bool,
}

/// A first batch that the rest waits for.
#[derive(Debug, Clone)]
pub(crate) struct CanaryView {
    pub(crate) recipients: String,
    pub(crate) rest: String,
    /// When the rest follows by itself.
    pub(crate) until: Option<String>,
}

/// One signature.
#[derive(Debug, Clone)]
pub(crate) struct SignatureView {
    pub(crate) name: String,
    pub(crate) at: String,
    pub(crate) valid: bool,
}

/// `/broadcasts/{id}`.
#[derive(Template)]
#[template(path = "broadcast.html")]
pub(crate) struct BroadcastPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) id: BroadcastId,
    pub(crate) nature: Nature,
    pub(crate) state: BroadcastState,
    /// Changes whenever other buttons are due: the script then loads the page anew.
    pub(crate) stamp: String,
    pub(crate) chip: &'static str,
    pub(crate) subject: String,
    pub(crate) author: String,
    pub(crate) created: String,
    pub(crate) finish_by: Option<String>,
    pub(crate) exercise: Option<(ExerciseId, String)>,
    pub(crate) may: May,
    pub(crate) canary: Option<CanaryView>,
    /// Rendered [`Stopped`], or empty.
    pub(crate) stopped: String,
    /// Rendered [`Counts`].
    pub(crate) counts: String,
    /// It was released: the figures mean something.
    pub(crate) released: bool,
    pub(crate) replies: u64,
    pub(crate) from: String,
    pub(crate) mail_subject: String,
    pub(crate) mail_body: String,
    pub(crate) preview_note: String,
    pub(crate) audience: String,
    pub(crate) frozen: bool,
    pub(crate) recipients: String,
    pub(crate) held_total: String,
    /// Reason in words, count.
    pub(crate) held: Vec<(String, String)>,
    /// The reader may take the list of them away.
    pub(crate) may_export_held: bool,
    pub(crate) digest: Option<String>,
    pub(crate) registry_revision: Option<i64>,
    pub(crate) digest_full: String,
    pub(crate) findings: Vec<FindingView>,
    /// There is a broadcast before, with whose recipients these are compared.
    pub(crate) compared: bool,
    pub(crate) forecast: Option<String>,
    pub(crate) signatures: Vec<SignatureView>,
    pub(crate) signed: u8,
    pub(crate) needed: u8,
    /// Why more than one signature is needed.
    pub(crate) second_reason: Option<String>,
    pub(crate) confirmation: Option<&'static str>,
    pub(crate) send_label: String,
}

/// One line of the table of counts.
#[derive(Debug, Clone)]
pub(crate) struct CountRow {
    pub(crate) state: DeliveryState,
    pub(crate) count: String,
    pub(crate) zero: bool,
    pub(crate) fill: &'static str,
}

/// One piece of the bar; of a thousand.
#[derive(Debug, Clone)]
pub(crate) struct CountPart {
    pub(crate) x: u64,
    pub(crate) width: u64,
    pub(crate) fill: &'static str,
}

/// The live fragment of counts: the rows always add up to the total.
#[derive(Template)]
#[template(path = "parts/counts.html")]
pub(crate) struct Counts {
    pub(crate) t: Texts,
    pub(crate) id: BroadcastId,
    pub(crate) accepted: String,
    pub(crate) total: String,
    pub(crate) eta: Option<String>,
    /// What keeps mail from leaving, as the relay or the network said it.
    pub(crate) trouble: Option<String>,
    pub(crate) rows: Vec<CountRow>,
    pub(crate) parts: Vec<CountPart>,
}

/// What a stop left behind.
#[derive(Template)]
#[template(path = "parts/stopped.html")]
pub(crate) struct Stopped {
    pub(crate) t: Texts,
    pub(crate) accepted: String,
    pub(crate) prevented: String,
    pub(crate) unknown: String,
    pub(crate) rest: String,
}

/// `/broadcasts/{id}/cancel`.
#[derive(Template)]
#[template(path = "broadcast_cancel.html")]
pub(crate) struct CancelPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) id: BroadcastId,
    pub(crate) subject: String,
    pub(crate) open: String,
}

/// One row of the ledger; the address is covered already where it has to be.
#[derive(Debug, Clone)]
pub(crate) struct LedgerView {
    pub(crate) member: MemberId,
    pub(crate) member_no: String,
    pub(crate) address: String,
    pub(crate) state: DeliveryState,
    pub(crate) chip: &'static str,
    pub(crate) attempts: i64,
    pub(crate) reply: String,
    pub(crate) at: String,
}

/// `/broadcasts/{id}/ledger`.
#[derive(Template)]
#[template(path = "ledger.html")]
pub(crate) struct LedgerPage {
    pub(crate) s: Shell,
    pub(crate) t: Texts,
    pub(crate) id: BroadcastId,
    pub(crate) subject: String,
    pub(crate) may_download: bool,
    pub(crate) clear: bool,
    pub(crate) state: String,
    pub(crate) total: String,
    pub(crate) states: Vec<(DeliveryState, String)>,
    pub(crate) rows: Vec<LedgerView>,
    pub(crate) later: bool,
    pub(crate) next: Option<i64>,
}

/// The order in which people ask: what is out, what is under way, what went wrong, what was
/// left out. Every state stands in it once.
pub(crate) const DELIVERY_ORDER: [DeliveryState; 9] = [
    DeliveryState::Accepted,
    DeliveryState::Submitting,
    DeliveryState::Pending,
    DeliveryState::Deferred,
    DeliveryState::Unknown,
    DeliveryState::Rejected,
    DeliveryState::GaveUp,
    DeliveryState::Held,
    DeliveryState::Cancelled,
];

/// The look of a delivery's state.
pub(crate) fn delivery_chip(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Accepted => "chip-good",
        DeliveryState::Submitting => "chip-run",
        DeliveryState::Pending | DeliveryState::Cancelled => "chip-plain",
        DeliveryState::Held | DeliveryState::Deferred => "chip-wait",
        DeliveryState::Rejected | DeliveryState::Unknown | DeliveryState::GaveUp => "chip-bad",
    }
}

/// The state's piece of the bar.
pub(crate) fn delivery_fill(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Accepted => "#197a4b",
        DeliveryState::Submitting => "#3460fb",
        DeliveryState::Pending => "#ffffff",
        DeliveryState::Deferred => "#ffd43d",
        DeliveryState::Held => "#ffc199",
        DeliveryState::Unknown => "#8843e1",
        DeliveryState::Rejected => "#ce0000",
        DeliveryState::GaveUp => "#850000",
        DeliveryState::Cancelled => "#999999",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_state_is_left_out_of_the_table() {
        let mut shown = DELIVERY_ORDER.to_vec();
        shown.sort();
        let mut all = DeliveryState::ALL.to_vec();
        all.sort();
        assert_eq!(shown, all);
    }
}
