//! Tries at showing a membership.

use crate::fresh::{Fresh, NOW};
use domain::MemberId;
use std::time::Duration;
use store::ProofLimit;

const LIMIT: ProofLimit = ProofLimit { tries: 3, within: Duration::from_secs(60) };

#[tokio::test]
async fn a_member_has_so_many_tries_until_time_passes_or_one_is_right() {
    for fresh in Fresh::each().await {
        let who = MemberId::new(7);
        let take = async |member, after| {
            let now = NOW.plus(Duration::from_secs(after));
            fresh.store.take_proof_try(member, LIMIT, now).await.expect("counted")
        };
        for (after, left) in [(0, true), (20, true), (40, true), (50, false), (59, false)] {
            assert_eq!(take(who, after).await, left, "after {after} s");
        }
        assert!(take(MemberId::new(8), 50).await, "another member has their own");
        for (after, left) in [(60, true), (61, true), (119, true), (119, false), (120, true)] {
            assert_eq!(take(who, after).await, left, "after {after} s");
        }
        assert!(take(who, 121).await && take(who, 122).await && !take(who, 123).await);
        fresh.store.forget_proof_tries(who).await.expect("forgotten");
        assert!(take(who, 124).await, "one was right");
    }
}

#[tokio::test]
async fn tries_at_the_same_time_are_not_more() {
    for fresh in Fresh::each().await {
        let take = || fresh.store.take_proof_try(MemberId::new(7), LIMIT, NOW);
        let (a, b, c, d, e) = tokio::join!(take(), take(), take(), take(), take());
        let taken = [a, b, c, d, e].into_iter().filter(|taken| *taken.as_ref().expect("counted")).count();
        assert_eq!(taken, 3);
    }
}
