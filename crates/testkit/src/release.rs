//! A broadcast on its way, where a test is not about how it got there.

use domain::{Actor, BroadcastId, ContentDigest, Timestamp};
use store::{FreezeRow, ReleasePolicy, Released, Snapshot, Store};

/// Signed by nobody's text: the test looks at what comes after.
const DIGEST: ContentDigest = ContentDigest::new([7; 32]);

/// Freezes a draft to `rows`, has it signed and releases it, all at `now`.
///
/// # Panics
/// Where a step is refused.
pub async fn release(
    store: &Store,
    (author, approver): (Actor, Actor),
    id: BroadcastId,
    rows: &[FreezeRow],
    now: Timestamp,
) -> Released {
    let policy = ReleasePolicy::capped_at(3_000);
    let snapshot = Snapshot {
        rows,
        digest: DIGEST,
        terms: "{}",
        findings: "[1]",
        change: None,
        registry_revision: None,
    };
    store.freeze(author, id, &snapshot, now).await.expect("frozen");
    store.sign(approver, id, DIGEST, &policy, now).await.expect("signed");
    let broadcast = store.broadcast(id).await.expect("readable").expect("it exists");
    store.release(author, broadcast.frozen(DIGEST), &policy, now).await.expect("released")
}
