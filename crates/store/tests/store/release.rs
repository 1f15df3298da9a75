//! Releasing: the cap is a gate before the start (law 7).

use crate::fresh::{CAP, Fresh, NOW, SIGNED, rule};
use domain::{BroadcastState, ContentDigest, Rule};
use store::ReleasePolicy;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

#[tokio::test]
async fn three_thousand_leave_with_one_signature_and_one_more_needs_two() {
    for fresh in Fresh::each().await {
        let exactly = fresh.approved("3000", 3_000).await;
        let approved = fresh.release(exactly).await.expect("exactly at the cap is under it");
        assert_eq!(approved.get().recipients, 3_000);
        let sending = fresh.broadcast(exactly).await;
        assert_eq!((sending.state, sending.signatures_required), (BroadcastState::Sending, 1));
        assert!(sending.released_at.is_some());
        assert_eq!(fresh.store.alerts(exactly).await.expect("counted"), (0, 0));

        let one_more = fresh.awaiting("one more", 1).await;
        assert_eq!(fresh.sign(fresh.approver, one_more).await.expect("signed"), (1, 2));
        assert!(fresh.release(one_more).await.is_err());
        assert_eq!(fresh.sign(fresh.second, one_more).await.expect("signed"), (2, 2));
        fresh.release(one_more).await.expect("released with two");
        assert_eq!(fresh.broadcast(one_more).await.signatures_required, 2);
    }
}

#[tokio::test]
async fn a_release_that_finds_the_cap_reached_waits_for_one_more_signature_and_alerts() {
    for fresh in Fresh::each().await {
        let (first, second) = (fresh.approved("first", 2_000).await, fresh.approved("second", 1_001).await);
        fresh.release(first).await.expect("released");
        let frozen = fresh.frozen(second).await;
        let operators = vec!["operator@example.jp".to_owned()];
        let policy = ReleasePolicy { operators, ..ReleasePolicy::capped_at(CAP) };
        let refused =
            fresh.store.release(fresh.author, frozen, &policy, NOW).await.expect_err("over the cap");
        assert_eq!(rule(&refused), Some(Rule::DailyCap));
        let waiting = fresh.broadcast(second).await;
        assert_eq!((waiting.state, waiting.released_at), (BroadcastState::AwaitingApproval, None));
        assert_eq!(fresh.store.alerts(second).await.expect("counted"), (3, 0), "two approvers, one operator");
        assert_eq!(fresh.sign(fresh.second, second).await.expect("signed"), (2, 2));
        fresh.release(second).await.expect("released with two");
        assert_eq!(fresh.store.alerts(second).await.expect("counted"), (3, 0), "once per broadcast");
    }
}

#[tokio::test]
async fn the_cap_looks_back_twenty_four_hours_on_the_databases_clock() {
    for fresh in Fresh::each().await {
        let old = fresh.approved("old", 2_000).await;
        fresh.release(old).await.expect("released");
        let new = fresh.draft("new").await;
        let one_minute_short = DAY_MS - 60_000;
        fresh.tamper(&format!("UPDATE broadcast SET released_at = released_at - {one_minute_short}")).await;
        assert_eq!(fresh.store.released_recently(new).await.expect("summed"), 2_000);
        fresh.tamper("UPDATE broadcast SET released_at = released_at - 60001").await;
        assert_eq!(fresh.store.released_recently(new).await.expect("summed"), 0);
        let next = fresh.approved("next", 3_000).await;
        fresh.release(next).await.expect("yesterday does not count");
        assert_eq!(fresh.store.released_recently(next).await.expect("summed"), 0, "not against itself");
    }
}

#[tokio::test]
async fn rows_that_are_not_what_was_signed_are_not_released() {
    for fresh in Fresh::each().await {
        let id = fresh.approved("a", 2).await;
        let before = fresh.fingerprint(id).await;
        let mut frozen = fresh.frozen(id).await;
        frozen.digest = ContentDigest::new([9; 32]);
        let refused = fresh
            .store
            .release(fresh.author, frozen, &ReleasePolicy::capped_at(CAP), NOW)
            .await
            .expect_err("refused");
        assert_eq!(rule(&refused), Some(Rule::Digest));
        assert_eq!(fresh.fingerprint(id).await, before);
    }
}

/// Twenty people press the button in the same moment, on several machines.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_releases_never_go_over_the_cap_with_one_signature() {
    const EACH: i64 = 30;
    const SMALL_CAP: u64 = 300;
    for fresh in Fresh::each().await {
        let mut machines = vec![fresh.store.clone()];
        if fresh.is_postgres() {
            machines.extend([fresh.another_process().await, fresh.another_process().await]);
        }
        let mut releases = Vec::new();
        for n in 0..20 {
            let id = fresh.draft(&format!("b{n}")).await;
            fresh.freeze(id, &crate::fresh::members(EACH), SIGNED).await;
            fresh
                .store
                .sign(fresh.approver, id, SIGNED, &ReleasePolicy::capped_at(SMALL_CAP), NOW)
                .await
                .expect("signed");
            let (store, author, frozen) =
                (machines[n % machines.len()].clone(), fresh.author, fresh.frozen(id).await);
            releases.push(async move {
                store.release(author, frozen, &ReleasePolicy::capped_at(SMALL_CAP), NOW).await
            });
        }
        let releases: Vec<_> = releases.into_iter().map(tokio::spawn).collect();
        let mut released = 0;
        for release in releases {
            match release.await.expect("no panic") {
                Ok(_) => released += 1,
                Err(refused) => assert_eq!(rule(&refused), Some(Rule::DailyCap), "{refused}"),
            }
        }
        assert_eq!(released, 10, "ten times thirty fill the cap exactly");
        let sum = "SELECT CAST(SUM(recipients) AS BIGINT) AS n FROM broadcast WHERE released_at IS NOT NULL";
        assert_eq!(fresh.number(sum).await, 300);
        let waiting = fresh.store.broadcasts_in(BroadcastState::AwaitingApproval).await.expect("listed");
        assert_eq!(waiting.len(), 10, "the others wait for a second signature");
        assert!(matches!(fresh.store.verify_audit().await, Ok(Ok(_))));
    }
}
