//! Freezing: snapshot, digest and ledger rows in one transaction, and reading them back for
//! verification.

use crate::{Store, StoreError, entity, sql};
use domain::{
    Actor, BroadcastEvent, BroadcastId, BroadcastState, ContentDigest, EmailAddress, HoldReason, MemberId,
    SnapshotRow, Timestamp,
};
use sea_orm::{ActiveValue, EntityTrait, FromQueryResult};

/// One statement carries at most 65,535 values on PostgreSQL; a row has 13.
const ROWS_PER_INSERT: usize = 1_000;
/// A page of frozen rows takes about a megabyte.
const FROZEN_PAGE: i64 = 2_000;

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
    /// [`StoreError::BroadcastStep`] once it was released.
    #[expect(clippy::too_many_arguments, reason = "each is one column of what is signed")]
    pub async fn freeze(
        &self,
        actor: Actor,
        id: BroadcastId,
        rows: &[FreezeRow],
        digest: ContentDigest,
        terms: &str,
        findings: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let broadcast = tx.broadcast_locked(id).await?;
        tx.step(&broadcast, BroadcastEvent::Preflighted).await?;
        tx.drop_snapshot(id).await?;
        for chunk in rows.chunks(ROWS_PER_INSERT) {
            let models = chunk.iter().map(|row| new_row(id, row));
            entity::delivery::Entity::insert_many(models)
                .exec_without_returning(&*tx)
                .await
                .map_err(StoreError::query("write ledger rows"))?;
        }
        let held = rows.iter().filter(|row| row.held.is_some()).count() as i64;
        sql::run(
            &*tx,
            "freeze a broadcast",
            "UPDATE broadcast SET digest = $2, terms = $3, findings = $4, recipients = $5, held = $6, \
             frozen_at = $7 WHERE id = $1",
            [
                id.get().into(),
                digest.to_string().into(),
                terms.into(),
                findings.into(),
                (rows.len() as i64 - held).into(),
                held.into(),
                now.millis().into(),
            ],
        )
        .await?;
        let detail = format!("rows={} held={held} digest={digest}", rows.len());
        tx.audit(now, actor, "broadcast-frozen", format!("broadcast:{id}"), detail).await?;
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

    /// Shows every frozen row in the digest's order, by member id. Read in pages: memory stays
    /// flat for any audience.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn each_frozen_row(
        &self,
        id: BroadcastId,
        mut show: impl FnMut(&SnapshotRow),
    ) -> Result<(), StoreError> {
        let text = "SELECT member_id, member_no, address, fields, held_reason FROM delivery \
                    WHERE broadcast_id = $1 AND member_id > $2 ORDER BY member_id LIMIT $3";
        let mut after = i64::MIN;
        loop {
            let values = [id.get().into(), after.into(), FROZEN_PAGE.into()];
            let page: Vec<SnapshotColumns> =
                sql::rows(&self.connection, "read frozen rows", text, values).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.member_id;
            page.into_iter().map(SnapshotRow::from).for_each(|row| show(&row));
        }
    }

    /// How many recipients got exactly this signed text before, in another broadcast.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn same_text_before(
        &self,
        id: BroadcastId,
        subject: &str,
        body: &str,
    ) -> Result<Option<BroadcastId>, StoreError> {
        let text = "SELECT id AS n FROM broadcast WHERE id <> $1 AND subject = $2 AND body = $3 \
                    AND released_at IS NOT NULL ORDER BY id DESC LIMIT 1";
        let values = [id.get().into(), subject.into(), body.into()];
        let found: Option<sql::Number> =
            sql::row(&self.connection, "look for the same text", text, values).await?;
        Ok(found.map(|row| BroadcastId::new(row.n)))
    }
}

fn new_row(id: BroadcastId, row: &FreezeRow) -> entity::delivery::ActiveModel {
    use ActiveValue::{NotSet, Set};
    let SnapshotRow { member, member_no, address, fields, held } = row.snapshot();
    entity::delivery::ActiveModel {
        id: NotSet,
        broadcast_id: Set(id.get()),
        member_id: Set(member.get()),
        member_no: Set(member_no),
        address: Set(address),
        prefecture: Set(row.prefecture.map(i64::from)),
        fields: Set(fields),
        message_id: Set(row.message_id.clone()),
        state: Set(if held.is_some() { "held" } else { "pending" }.to_owned()),
        held_reason: Set(held),
        attempts: Set(0),
        due_at: Set(0),
        lease_id: Set(0),
        lease_until: Set(0),
        smtp_code: NotSet,
        enhanced_code: NotSet,
        reply: NotSet,
        relay: NotSet,
        submitted_at: NotSet,
        settled_at: NotSet,
    }
}
