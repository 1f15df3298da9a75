//! A broadcast on its way, where a test is not about how it got there.

use domain::{Actor, BroadcastId, ContentDigest, Nature, StaffId, Timestamp};
use store::{FreezeRow, NewBroadcast, ReleasePolicy, Released, Snapshot, Store};

/// Signed by nobody's text: the test looks at what comes after.
const DIGEST: ContentDigest = ContentDigest::new([7; 32]);

/// A notice of an exercise that asks for nothing.
#[must_use]
pub fn exercise_notice(author: StaffId) -> NewBroadcast {
    NewBroadcast {
        nature: Nature::Exercise,
        author,
        subject: "訓練".into(),
        body: "本文".into(),
        audience: "{}".into(),
        questionnaire: None,
        answers_to: None,
        finish_by: None,
        idempotency_key: "k".into(),
    }
}

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
        registry_revision: store.registry_revision().await.expect("read"),
    };
    store.freeze(author, id, &snapshot, now).await.expect("frozen");
    store.sign(approver, id, DIGEST, &policy, now).await.expect("signed");
    let broadcast = store.broadcast(id).await.expect("readable").expect("it exists");
    store.release(author, broadcast.frozen(DIGEST), &policy, now).await.expect("released")
}
