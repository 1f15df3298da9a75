//! Tries at showing that one is the member whom a link was made for: counted, so that nobody guesses.
//!
//! # Security
//! A try is taken before anything is compared, in one statement: requests that come at once, on any
//! number of machines, have no more tries between them than one after the other.

use crate::{Store, StoreError, sql};
use domain::{MemberId, Timestamp};
use std::time::Duration;

/// How many tries a member has, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProofLimit {
    /// So many, unless one of them is right.
    pub tries: u32,
    /// From the first one on; then they begin anew.
    pub within: Duration,
}

impl Store {
    /// Takes a try; false where none is left. It counts as a wrong one until
    /// [`Store::forget_proof_tries`].
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn take_proof_try(
        &self,
        member: MemberId,
        limit: ProofLimit,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let tx = self.write().await?;
        let text = "INSERT INTO proof (member_id, failed, since) VALUES ($1, 1, $2) \
                    ON CONFLICT (member_id) DO UPDATE SET \
                    failed = CASE WHEN proof.since <= $3 THEN 1 ELSE proof.failed + 1 END, \
                    since = CASE WHEN proof.since <= $3 THEN excluded.since ELSE proof.since END \
                    WHERE proof.failed < $4 OR proof.since <= $3";
        let values = [
            member.get().into(),
            now.millis().into(),
            now.minus(limit.within).millis().into(),
            i64::from(limit.tries).into(),
        ];
        let taken = sql::run(&*tx, "take a try at a proof", text, values).await?;
        tx.commit().await?;
        Ok(taken > 0)
    }

    /// One was right: the tries before it do not count any more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget_proof_tries(&self, member: MemberId) -> Result<(), StoreError> {
        let tx = self.write().await?;
        let text = "DELETE FROM proof WHERE member_id = $1";
        sql::run(&*tx, "forget tries at a proof", text, [member.get().into()]).await?;
        tx.commit().await
    }
}
