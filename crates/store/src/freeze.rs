//! Freezing: snapshot, digest and ledger rows in one transaction, and reading them back for
//! verification.

use crate::{Store, StoreError, sql};
use domain::{
    Actor, AudienceChange, BroadcastEvent, BroadcastId, BroadcastState, ContentDigest, EmailAddress,
    HoldReason, MemberId, SnapshotRow, Timestamp,
};
use sea_orm::FromQueryResult;

/// One parameter of about a megabyte.
const ROWS_PER_INSERT: usize = 2_000;

/// One recipient of a snapshot about to be frozen.
#[derive(Debug, Clone)]
pub struct FreezeRow {
    /// Who.
    pub member: MemberId,
    /// The society's number.
    pub member_no: String,
    /// Where to; `None` is held.
    pub address: Option<EmailAddress>,
    /// JIS code.
    pub prefecture: Option<u8>,
    /// Merge fields as canonical JSON.
    pub fields: String,
    /// Stable per broadcast and recipient.
    pub message_id: String,
    /// Why this recipient is held back.
    pub held: Option<HoldReason>,
}

/// What is frozen about a broadcast.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// Everybody it addresses, held ones too.
    pub rows: &'a [FreezeRow],
    /// Over all that is signed.
    pub digest: ContentDigest,
    /// What is signed besides the rows, as canonical JSON.
    pub terms: &'a str,
    /// Preflight findings as JSON.
    pub findings: &'a str,
    /// Against the broadcast before, where there was one.
    pub change: Option<AudienceChange>,
    /// What the registry was when the rows were drawn from it; it has to be the same still.
    pub registry_revision: i64,
}

#[derive(FromQueryResult)]
struct SnapshotColumns {
    member_id: i64,
    member_no: String,
    address: String,
    fields: String,
    held_reason: Option<String>,
}

impl From<SnapshotColumns> for SnapshotRow {
    fn from(row: SnapshotColumns) -> Self {
        Self {
            member: MemberId::new(row.member_id),
            member_no: row.member_no,
            address: row.address,
            fields: row.fields,
            held: row.held_reason,
        }
    }
}

impl FreezeRow {
    /// The row as the ledger will hold it.
    #[must_use]
    pub fn snapshot(&self) -> SnapshotRow {
        SnapshotRow {
            member: self.member,
            member_no: self.member_no.clone(),
            address: self.address.as_ref().map(EmailAddress::reveal).unwrap_or_default(),
            fields: self.fields.clone(),
            held: self.held.as_ref().map(ToString::to_string),
        }
    }
}

impl Store {
    /// Writes snapshot, digest and ledger rows in one transaction, replacing an earlier snapshot
    /// that was never released.
    ///
    /// # Errors
    /// [`StoreError::BroadcastStep`] once it was released, [`StoreError::Refused`] where somebody was
    /// erased in this moment.
    pub async fn freeze(
        &self,
        actor: Actor,
        id: BroadcastId,
        snapshot: &Snapshot<'_>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let Snapshot { rows, digest, terms, findings, change, registry_revision } = *snapshot;
        let change = change
            .map(|change| serde_json::to_string(&change).expect("invariant: a comparison is a few numbers"));
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        tx.step(&broadcast, BroadcastEvent::Preflighted).await?;
        tx.registry_is_still(registry_revision).await?;
        tx.drop_snapshot(id).await?;
        let text = format!(
            "INSERT INTO delivery (broadcast_id, member_id, member_no, address, prefecture, fields, \
             message_id, state, held_reason, attempts, due_at, lease_id, lease_until) \
             SELECT CAST($2 AS BIGINT), CAST(row.value ->> 0 AS BIGINT), row.value ->> 1, row.value ->> 2, \
             CAST(row.value ->> 3 AS BIGINT), row.value ->> 4, row.value ->> 5, row.value ->> 6, \
             row.value ->> 7, 0, 0, 0, 0 FROM {}",
            sql::json_wide_rows(tx.engine(), 1)
        );
        let mut chunks = rows
            .chunks(ROWS_PER_INSERT)
            .map(|chunk| sql::json(&chunk.iter().map(new_row).collect::<Vec<_>>()));
        let mut ready = chunks.next();
        while let Some(chunk) = ready {
            let insert = sql::run(&*tx, "write ledger rows", &text, [chunk, id.get().into()]);
            // The database takes one chunk while the next is made ready.
            let (inserted, next) = tokio::join!(biased; insert, async { chunks.next() });
            inserted?;
            ready = next;
        }
        let held = rows.iter().filter(|row| row.held.is_some()).count() as i64;
        sql::run(
            &*tx,
            "freeze a broadcast",
            "UPDATE broadcast SET digest = $2, terms = $3, findings = $4, recipients = $5, held = $6, \
             frozen_at = $7, comparison = $8, registry_revision = $9 WHERE id = $1",
            [
                id.get().into(),
                digest.to_string().into(),
                terms.into(),
                findings.into(),
                (rows.len() as i64 - held).into(),
                held.into(),
                now.millis().into(),
                change.into(),
                registry_revision.into(),
            ],
        )
        .await?;
        let detail = format!("rows={} held={held} digest={digest}", rows.len());
        tx.audit(now, actor, "broadcast-frozen", format!("broadcast:{id}"), detail).await?;
        tx.nobody_is_erased(id).await?;
        tx.commit().await
    }

    /// Keeps the findings of a preflight that blocked. An earlier snapshot is void then: what
    /// blocks now must not be signed.
    ///
    /// # Errors
    /// [`StoreError::BroadcastStep`] once signatures were asked for.
    pub async fn keep_findings(
        &self,
        actor: Actor,
        id: BroadcastId,
        findings: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        broadcast.state.next(BroadcastEvent::Preflighted)?;
        if broadcast.state == BroadcastState::Preflighted {
            tx.step(&broadcast, BroadcastEvent::Returned).await?;
            tx.drop_snapshot(id).await?;
            let object = format!("broadcast:{id}");
            tx.audit(now, actor, "broadcast-returned", object, "preflight blocked".to_owned()).await?;
        }
        let values = [id.get().into(), findings.into()];
        sql::run(&*tx, "keep findings", "UPDATE broadcast SET findings = $2 WHERE id = $1", values).await?;
        tx.commit().await
    }

    /// Shows every frozen row in the digest's order, by member id, as it comes: memory stays flat for any
    /// audience.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn each_frozen_row(
        &self,
        id: BroadcastId,
        mut show: impl FnMut(&SnapshotRow),
    ) -> Result<(), StoreError> {
        // In one go: PostgreSQL has no index for pages of a broadcast in this order.
        let text = "SELECT member_id, member_no, address, fields, held_reason FROM delivery \
                    WHERE broadcast_id = $1 ORDER BY member_id";
        let show = |row: SnapshotColumns| show(&row.into());
        sql::each(&self.connection, "read frozen rows", text, [id.get().into()], show).await
    }
}

/// In the order of the columns above.
fn new_row(row: &FreezeRow) -> impl serde::Serialize {
    let SnapshotRow { member, member_no, address, fields, held } = row.snapshot();
    let state = if held.is_some() { "held" } else { "pending" };
    (member.get(), member_no, address, row.prefecture, fields, row.message_id.clone(), state, held)
}
