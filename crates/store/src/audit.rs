//! The audit log: everything a person did, chained by hashes (law 11). It holds ids and counts
//! only, never names, addresses or texts, so that erasing a person never breaks the chain.

use crate::{Store, StoreError, WriteTx, sql};
use domain::{Actor, Timestamp};
use sea_orm::FromQueryResult;
use sha2::{Digest, Sha256};

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult, serde::Serialize)]
pub struct AuditEntry {
    /// Position in the chain, from 1.
    pub id: i64,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// `staff:ID`, `local-engineer` or `scheduler`.
    pub actor: String,
    /// Past tense, e.g. `broadcast-released`.
    pub action: String,
    /// What it was done to, e.g. `broadcast:7`.
    pub object: String,
    /// Ids, counts, digests, reasons.
    pub detail: String,
    /// Hash of the entry before.
    pub previous_hash: String,
    /// SHA-256 over everything above, hex.
    pub hash: String,
}

/// The chain does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit chain breaks at entry {id}: the entry or one before it was changed or removed")]
pub struct AuditProblem {
    /// First entry that does not fit.
    pub id: i64,
}

/// The entry before the first one.
const CHAIN_START: &str = "hansho";

impl WriteTx {
    /// Appends an entry inside this transaction: the action and its record stand or fall together.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn audit(
        &self,
        at: Timestamp,
        actor: Actor,
        action: &str,
        object: String,
        detail: String,
    ) -> Result<(), StoreError> {
        self.exclusive("audit").await?;
        let last: Option<AuditEntry> = sql::row(
            &**self,
            "read the audit log's head",
            "SELECT * FROM audit ORDER BY id DESC LIMIT 1",
            [],
        )
        .await?;
        let previous_hash = last.map_or_else(|| CHAIN_START.to_owned(), |entry| entry.hash);
        let actor = actor.to_string();
        let hash = chain_hash(&previous_hash, at.millis(), &actor, action, &object, &detail);
        sql::run(
            &**self,
            "append to the audit log",
            "INSERT INTO audit (at, actor, action, object, detail, previous_hash, hash) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            [
                at.millis().into(),
                actor.into(),
                action.into(),
                object.into(),
                detail.into(),
                previous_hash.into(),
                hash.into(),
            ],
        )
        .await
        .map(|_| ())
    }
}

impl Store {
    /// Records something a person did that changes no other row, such as taking data away.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn record(
        &self,
        actor: Actor,
        action: &str,
        object: String,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let tx = self.write().await?;
        tx.audit(at, actor, action, object, String::new()).await?;
        tx.commit().await
    }

    /// The log after entry `after`, oldest first, at most `limit` entries.
    ///
    /// # Errors
    /// [`StoreError::Query`].
    pub async fn audit_entries(&self, after: i64, limit: i64) -> Result<Vec<AuditEntry>, StoreError> {
        let text = "SELECT * FROM audit WHERE id > $1 ORDER BY id LIMIT $2";
        sql::rows(&self.connection, "read the audit log", text, [after.into(), limit.into()]).await
    }

    /// Walks the whole chain; how many entries it has.
    ///
    /// # Errors
    /// [`StoreError::Query`]; the inner result tells where the chain breaks.
    pub async fn verify_audit(&self) -> Result<Result<u64, AuditProblem>, StoreError> {
        const PAGE: i64 = 1_000;
        let (mut previous, mut after, mut count) = (CHAIN_START.to_owned(), 0, 0);
        loop {
            let page = self.audit_entries(after, PAGE).await?;
            for entry in &page {
                let expected = chain_hash(
                    &previous,
                    entry.at,
                    &entry.actor,
                    &entry.action,
                    &entry.object,
                    &entry.detail,
                );
                if entry.previous_hash != previous || entry.hash != expected {
                    return Ok(Err(AuditProblem { id: entry.id }));
                }
                previous.clone_from(&entry.hash);
                after = entry.id;
                count += 1;
            }
            if page.is_empty() {
                return Ok(Ok(count));
            }
        }
    }
}

fn chain_hash(previous: &str, at: i64, actor: &str, action: &str, object: &str, detail: &str) -> String {
    let mut hasher = Sha256::new();
    for part in [previous, &at.to_string(), actor, action, object, detail] {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    data_encoding::HEXLOWER.encode(&hasher.finalize())
}
