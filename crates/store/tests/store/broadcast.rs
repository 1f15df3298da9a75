//! The life of a broadcast up to its release.

use crate::fresh::{CAP, Fresh, NOW, SIGNED, held, member, members, rule};
use domain::{Actor, BroadcastId, BroadcastState, ContentDigest, MemberId, Nature, Rule, SnapshotRow};
use store::{FreezeRow, ReleasePolicy, StoreError};

const OTHER: ContentDigest = ContentDigest::new([8; 32]);

#[tokio::test]
async fn the_same_key_is_the_same_draft_however_often_it_is_sent() {
    for fresh in Fresh::each().await {
        let first = fresh.draft("key").await;
        assert_eq!(fresh.draft("key").await, first);
        assert_ne!(fresh.draft("another").await, first);
        let clicks = (0..10).map(|_| {
            let (store, author, notice) = (fresh.store.clone(), fresh.author, fresh.notice("clicks"));
            tokio::spawn(async move { store.create_broadcast(author, &notice, NOW).await })
        });
        let mut ids = Vec::new();
        for click in clicks.collect::<Vec<_>>() {
            ids.push(click.await.expect("no panic").expect("a draft"));
        }
        ids.dedup();
        assert_eq!(ids.len(), 1, "ten clicks make one draft");
        assert_eq!(fresh.number("SELECT COUNT(*) AS n FROM broadcast").await, 3);
        let created = "SELECT COUNT(*) AS n FROM audit WHERE action = 'broadcast-created'";
        assert_eq!(fresh.number(created).await, 3);
    }
}

#[tokio::test]
async fn freezing_writes_one_row_per_recipient_and_the_digest() {
    for fresh in Fresh::each().await {
        let id = fresh.draft("a").await;
        let rows: Vec<FreezeRow> =
            (1..=2_100).map(|n| if n % 100 == 0 { held(n) } else { member(n) }).collect();
        fresh.freeze(id, &rows, SIGNED).await;
        let broadcast = fresh.broadcast(id).await;
        assert_eq!(broadcast.state, BroadcastState::Preflighted);
        assert_eq!((broadcast.digest, broadcast.recipients, broadcast.held), (Some(SIGNED), 2_079, 21));
        assert_eq!(broadcast.frozen_at, Some(NOW));
        let tally = fresh.tally(id).await;
        assert_eq!((tally.pending, tally.held, tally.total()), (2_079, 21, 2_100));
        let mut read: Vec<SnapshotRow> = Vec::new();
        fresh.store.each_frozen_row(id, |row| read.push(row.clone())).await.expect("read back");
        let written: Vec<SnapshotRow> = rows.iter().map(FreezeRow::snapshot).collect();
        assert_eq!(read, written, "what is verified later is what was frozen, in the digest's order");
    }
}

#[tokio::test]
async fn one_person_cannot_stand_twice_in_a_snapshot() {
    for fresh in Fresh::each().await {
        let id = fresh.draft("a").await;
        let before = fresh.fingerprint(id).await;
        let twice = [member(1), member(2), member(1)];
        assert!(fresh.try_freeze(id, &twice, SIGNED).await.is_err());
        assert_eq!(fresh.fingerprint(id).await, before, "half a snapshot is no snapshot");
    }
}

#[tokio::test]
async fn freezing_again_replaces_the_snapshot() {
    for fresh in Fresh::each().await {
        let id = fresh.draft("a").await;
        fresh.freeze(id, &members(5), SIGNED).await;
        fresh.freeze(id, &[member(9), held(10)], OTHER).await;
        let broadcast = fresh.broadcast(id).await;
        assert_eq!((broadcast.digest, broadcast.recipients, broadcast.held), (Some(OTHER), 1, 1));
        let people: Vec<i64> = fresh.rows(id).await.iter().map(|row| row.member_id).collect();
        assert_eq!(people, [9, 10]);
    }
}

#[tokio::test]
async fn a_change_of_the_text_voids_snapshot_and_signatures() {
    for fresh in Fresh::each().await {
        for (key, state) in [("a", BroadcastState::Approved), ("b", BroadcastState::AwaitingApproval)] {
            let id = if state == BroadcastState::Approved {
                fresh.approved(key, 3).await
            } else {
                fresh.awaiting(key, 3).await
            };
            assert_eq!(fresh.broadcast(id).await.state, state);
            let mut changed = fresh.notice(key);
            changed.body = "変更しました".into();
            fresh.store.edit_broadcast(fresh.author, id, &changed, NOW).await.expect("edited");
            let draft = fresh.broadcast(id).await;
            assert_eq!((draft.state, draft.body.as_str()), (BroadcastState::Draft, "変更しました"));
            assert_void(&fresh, id).await;
        }
    }
}

#[tokio::test]
async fn a_return_to_the_author_voids_snapshot_and_signatures() {
    for fresh in Fresh::each().await {
        let id = fresh.approved("a", 3).await;
        fresh.store.return_broadcast(fresh.approver, id, "日付", NOW).await.expect("returned");
        assert_eq!(fresh.broadcast(id).await.state, BroadcastState::Draft);
        assert_void(&fresh, id).await;
        fresh.freeze(id, &members(3), SIGNED).await;
        assert!(
            fresh.release(id).await.is_err(),
            "the old signature is gone, although the digest is the same"
        );
    }
}

/// A preflight that blocks says that what was frozen before may not leave.
#[tokio::test]
async fn findings_that_block_void_an_earlier_snapshot() {
    for fresh in Fresh::each().await {
        let id = fresh.draft("a").await;
        fresh.freeze(id, &members(3), SIGNED).await;
        fresh.store.keep_findings(fresh.author, id, r#"["blocked"]"#, NOW).await.expect("kept");
        let draft = fresh.broadcast(id).await;
        assert_eq!((draft.state, draft.findings.as_str()), (BroadcastState::Draft, r#"["blocked"]"#));
        assert_void(&fresh, id).await;
        let approved = fresh.approved("b", 3).await;
        let before = fresh.fingerprint(approved).await;
        assert!(fresh.store.keep_findings(fresh.author, approved, "[]", NOW).await.is_err());
        assert_eq!(fresh.fingerprint(approved).await, before, "what approvers saw stays as it was");
    }
}

async fn assert_void(fresh: &Fresh, id: BroadcastId) {
    let draft = fresh.broadcast(id).await;
    assert_eq!((draft.digest, draft.recipients, draft.held, draft.frozen_at), (None, 0, 0, None));
    assert_eq!(fresh.tally(id).await.total(), 0);
    assert_eq!(fresh.store.signatures(id).await.expect("read"), []);
}

#[tokio::test]
async fn the_nature_never_changes() {
    for fresh in Fresh::each().await {
        let id = fresh.draft("a").await;
        let before = fresh.fingerprint(id).await;
        let mut actual = fresh.notice("a");
        actual.nature = Nature::Actual;
        let refused = fresh.store.edit_broadcast(fresh.author, id, &actual, NOW).await.expect_err("refused");
        assert_eq!(rule(&refused), Some(Rule::State));
        assert_eq!(fresh.fingerprint(id).await, before);
    }
}

#[tokio::test]
async fn steps_that_are_not_possible_are_refused_and_change_nothing() {
    for fresh in Fresh::each().await {
        let draft = fresh.draft("draft").await;
        for step in ["request", "sign", "release", "stop", "resume"] {
            assert_refused(&fresh, draft, step).await;
        }
        let (sending, _) = fresh.sending(2).await;
        for step in ["freeze", "edit", "return", "request", "sign", "release", "expire", "resume"] {
            assert_refused(&fresh, sending, step).await;
        }
        fresh.store.cancel_broadcast(fresh.author, sending, "中止", NOW).await.expect("cancelled");
        let all =
            ["freeze", "edit", "return", "request", "sign", "release", "stop", "resume", "expire", "cancel"];
        for step in all {
            assert_refused(&fresh, sending, step).await;
        }
        let expired = fresh.awaiting("expired", 2).await;
        fresh.store.expire_broadcast(expired, NOW).await.expect("expired");
        for step in all {
            assert_refused(&fresh, expired, step).await;
        }
    }
}

async fn assert_refused(fresh: &Fresh, id: BroadcastId, step: &str) {
    let before = fresh.fingerprint(id).await;
    let outcome = try_step(fresh, id, step).await;
    assert!(outcome.is_err(), "{step} has to be refused: {before}");
    assert_eq!(fresh.fingerprint(id).await, before, "{step} was refused, yet something changed");
}

async fn try_step(fresh: &Fresh, id: BroadcastId, step: &str) -> Result<(), StoreError> {
    let (store, author, approver) = (&fresh.store, fresh.author, fresh.approver);
    let digest = fresh.broadcast(id).await.digest.unwrap_or(SIGNED);
    match step {
        "freeze" => fresh.try_freeze(id, &members(1), OTHER).await,
        "edit" => store.edit_broadcast(author, id, &fresh.notice("x"), NOW).await,
        "return" => store.return_broadcast(approver, id, "reason", NOW).await,
        "request" => store.request_approval(author, id, &ReleasePolicy::capped_at(CAP), NOW).await,
        "sign" => store.sign(approver, id, digest, &ReleasePolicy::capped_at(CAP), NOW).await.map(|_| ()),
        "release" => {
            let broadcast = fresh.broadcast(id).await;
            let frozen = domain::Frozen {
                broadcast: id,
                author: broadcast.author,
                nature: broadcast.nature,
                digest,
                recipients: broadcast.recipients,
                held: broadcast.held,
            };
            store.release(author, frozen, &ReleasePolicy::capped_at(CAP), NOW).await.map(|_| ())
        }
        "stop" => store.stop_broadcast(author, id, NOW).await,
        "resume" => store.resume_broadcast(approver, id, "reason", NOW).await,
        "expire" => store.expire_broadcast(id, NOW).await,
        "cancel" => store.cancel_broadcast(author, id, "reason", NOW).await,
        other => panic!("no step {other}"),
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    for fresh in Fresh::each().await {
        let nothing = BroadcastId::new(999);
        assert_eq!(fresh.store.broadcast(nothing).await.expect("looked"), None);
        let stop = fresh.store.stop_broadcast(Actor::LocalEngineer, nothing, NOW).await;
        assert!(matches!(stop, Err(StoreError::NotFound { what: "broadcast", .. })), "{stop:?}");
        let history = fresh.store.ledger_of_member(MemberId::new(1), 10).await.expect("read");
        assert_eq!(history, []);
    }
}
