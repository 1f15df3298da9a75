//! Four eyes (law 5).

use crate::fresh::{CAP, Fresh, NOW, SIGNED, id_of, rule};
use domain::{Actor, BroadcastState, ContentDigest, Role, Rule};
use store::ReleasePolicy;

#[tokio::test]
async fn the_author_never_signs_even_as_an_approver() {
    for fresh in Fresh::each().await {
        let id = fresh.awaiting("a", 2).await;
        let before = fresh.fingerprint(id).await;
        for role in [Role::Coordinator, Role::Approver] {
            let author = Actor::Staff { id: id_of(fresh.author), role };
            let refused = fresh.sign(author, id).await.expect_err("refused");
            assert_eq!(rule(&refused), Some(Rule::FourEyes));
        }
        assert_eq!(fresh.fingerprint(id).await, before);
    }
}

#[tokio::test]
async fn only_approvers_sign() {
    for fresh in Fresh::each().await {
        let id = fresh.awaiting("a", 2).await;
        let mut others = vec![Actor::LocalEngineer, Actor::Scheduler];
        for (email, role) in [("c", Role::Coordinator), ("e", Role::Engineer), ("v", Role::Viewer)] {
            others.push(fresh.staff(email, role).await);
        }
        let before = fresh.fingerprint(id).await;
        for actor in others {
            let refused = fresh.sign(actor, id).await.expect_err("refused");
            assert_eq!(rule(&refused), Some(Rule::Role), "{actor}");
        }
        assert_eq!(fresh.fingerprint(id).await, before);
    }
}

#[tokio::test]
async fn a_signature_over_what_no_longer_stands_here_is_refused() {
    for fresh in Fresh::each().await {
        let id = fresh.awaiting("a", 2).await;
        let before = fresh.fingerprint(id).await;
        let seen = ContentDigest::new([9; 32]);
        let refused = fresh
            .store
            .sign(fresh.approver, id, seen, &ReleasePolicy::capped_at(CAP), NOW)
            .await
            .expect_err("refused");
        assert_eq!(rule(&refused), Some(Rule::Digest));
        assert_eq!(fresh.fingerprint(id).await, before);
    }
}

#[tokio::test]
async fn one_person_signing_twice_is_one_signature() {
    for fresh in Fresh::each().await {
        let id = fresh.awaiting("big", 3_001).await;
        assert_eq!(fresh.sign(fresh.approver, id).await.expect("signed"), (1, 2));
        assert_eq!(fresh.sign(fresh.approver, id).await.expect("signed again"), (1, 2));
        assert_eq!(fresh.broadcast(id).await.state, BroadcastState::AwaitingApproval);
        assert!(fresh.release(id).await.is_err());
        assert_eq!(fresh.sign(fresh.second, id).await.expect("signed"), (2, 2));
        assert_eq!(fresh.broadcast(id).await.state, BroadcastState::Approved);
        fresh.release(id).await.expect("released with two signatures");
    }
}

#[tokio::test]
async fn a_signature_ends_with_the_account_or_the_role_of_its_signer() {
    for fresh in Fresh::each().await {
        let signer = id_of(fresh.approver);
        let disabled = fresh.approved("disabled", 2).await;
        let demoted = fresh.approved("demoted", 2).await;
        fresh.tamper(&format!("UPDATE staff SET role = 'viewer' WHERE id = {signer}")).await;
        let refused = fresh.release(demoted).await.expect_err("the signer is no approver any more");
        assert_eq!(rule(&refused), Some(Rule::Approval));
        assert_eq!(fresh.broadcast(demoted).await.state, BroadcastState::AwaitingApproval);
        assert_eq!(
            fresh.sign(fresh.second, demoted).await.expect("signed"),
            (1, 1),
            "one of the two is valid"
        );
        fresh.release(demoted).await.expect("the second approver's signature suffices");

        fresh.tamper(&format!("UPDATE staff SET role = 'approver' WHERE id = {signer}")).await;
        fresh.store.disable_staff(Actor::LocalEngineer, signer, NOW).await.expect("disabled");
        assert_eq!(fresh.store.signatures(disabled).await.expect("read"), []);
        let refused = fresh.release(disabled).await.expect_err("the signer is disabled");
        assert_eq!(rule(&refused), Some(Rule::Approval));
        assert_eq!(fresh.broadcast(disabled).await.state, BroadcastState::AwaitingApproval);
        assert_eq!(
            fresh.number("SELECT COUNT(*) AS n FROM broadcast WHERE released_at IS NOT NULL").await,
            1
        );
    }
}

#[tokio::test]
async fn a_signature_that_nobody_asked_for_still_names_its_digest() {
    for fresh in Fresh::each().await {
        let id = fresh.approved("a", 2).await;
        let signatures = fresh.store.signatures(id).await.expect("read");
        assert_eq!(signatures.len(), 1);
        assert_eq!((signatures[0].staff, signatures[0].digest), (id_of(fresh.approver), SIGNED));
        assert_eq!((signatures[0].role, signatures[0].signed_at), (Role::Approver, NOW));
    }
}
