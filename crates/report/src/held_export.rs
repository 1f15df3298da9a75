//! Whom a broadcast leaves out and why, for the office that mends the roster: one line per person.

use crate::csv_pages::CsvLine;
use domain::{BroadcastId, DeliveryState, MemberId, Prefecture, spreadsheet_safe};
use std::collections::HashMap;
use store::{Among, LedgerFilter, LedgerRow, MemberData, Store, StoreError};

/// Read at once.
const PAGE: i64 = 500;

/// One held recipient. Name, workplace and prefecture are the registry's of now, empty for somebody
/// who is no longer in it; `reason` is a [`domain::HoldReason`] in the ledger's words.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[expect(missing_docs, reason = "the columns of the export")]
pub struct HeldLine {
    pub member_no: String,
    pub name: String,
    pub facility: String,
    pub prefecture: String,
    pub reason: String,
}

impl CsvLine for HeldLine {
    fn spreadsheet_safe(mut self) -> Self {
        let Self { member_no, name, facility, prefecture, reason } = &mut self;
        for cell in [member_no, name, facility, prefecture, reason] {
            *cell = spreadsheet_safe(cell);
        }
        self
    }
}

/// The held recipients of a broadcast, page by page, in the order of the ledger.
#[derive(Debug)]
pub struct HeldExport<'a> {
    store: &'a Store,
    broadcast: BroadcastId,
    after: i64,
}

impl<'a> HeldExport<'a> {
    /// Of this broadcast.
    #[must_use]
    pub fn new(store: &'a Store, broadcast: BroadcastId) -> Self {
        Self { store, broadcast, after: 0 }
    }

    /// The next lines; none at the end.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn next_page(&mut self) -> Result<Vec<HeldLine>, StoreError> {
        let held = LedgerFilter { state: Some(DeliveryState::Held), ..LedgerFilter::default() };
        let rows = self.store.ledger_page(self.broadcast, held, self.after, PAGE).await?;
        self.after = rows.last().map_or(self.after, |row| row.id);
        let ids: Vec<MemberId> = rows.iter().map(|row| MemberId::new(row.member_id)).collect();
        let members = self.store.members_among(&ids, Among::Known).await?;
        let mut known: HashMap<i64, MemberData> =
            members.into_iter().map(|member| (member.id.get(), member.data)).collect();
        Ok(rows.into_iter().map(|row| line(known.remove(&row.member_id), row)).collect())
    }
}

fn line(known: Option<MemberData>, row: LedgerRow) -> HeldLine {
    let (name, facility, prefecture) =
        known.map(|data| (data.name, data.facility, data.prefecture)).unwrap_or_default();
    HeldLine {
        member_no: row.member_no,
        name,
        facility,
        prefecture: prefecture.map_or("", Prefecture::name).to_owned(),
        reason: row.held_reason.unwrap_or_default(),
    }
}
