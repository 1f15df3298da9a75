//! Erasing a person, where it meets broadcasts.

use crate::fresh::{Fresh, NOW, SIGNED, members, rule};
use domain::{
    BroadcastId, Decision, DeliveryEvent, DeliveryState, Keyring, MemberId, RequestKind, Role, Rule, TokenKey,
};
use store::{NewRequest, Settlement, StoreError};

fn keyring() -> Keyring {
    Keyring::new(TokenKey::new(1, [7; 32]), vec![])
}

async fn granted(fresh: &Fresh, kind: RequestKind, broadcast: BroadcastId, member: MemberId) {
    let wish = NewRequest { kind, broadcast, member, reply: None };
    assert!(fresh.store.open_request(wish, NOW).await.expect("opened"));
    fresh.store.settle_request_of(fresh.author, kind, member, Decision::Granted, NOW).await.expect("granted");
}

/// Why nothing is sent to a member.
async fn suppressed(fresh: &Fresh, member: MemberId) -> Vec<RequestKind> {
    let found = fresh.store.suppressions_of(member).await.expect("read");
    found.iter().map(|found| found.kind).collect()
}

#[tokio::test]
async fn what_lost_a_row_is_not_sent_again_and_nobody_erased_is_frozen() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(2).await;
        let worker = fresh.worker().await;
        let who = MemberId::new(1);
        granted(&fresh, RequestKind::Erasure, id, who).await;
        let waits = fresh.store.erase(fresh.author, &keyring(), who, NOW).await.expect("looked");
        assert_eq!(waits, [id]);
        fresh.send_all(worker, &approved, &DeliveryEvent::OutcomeLost).await;
        assert!(fresh.store.complete_if_drained(id, NOW).await.expect("looked"));
        let waits = fresh.store.erase(fresh.author, &keyring(), who, NOW).await.expect("erased");
        assert!(waits.is_empty());
        assert_eq!(fresh.count(id, DeliveryState::Unknown).await, 2, "law 3");

        let again = fresh.store.settle(fresh.author, id, Settlement::Resend, &[], NOW).await;
        assert_eq!(again.as_ref().err().and_then(rule), Some(Rule::Digest), "{again:?}");
        let taken = fresh.store.settle(fresh.author, id, Settlement::Accepted, &[], NOW).await;
        assert_eq!(taken.expect("settled"), 2);

        let next = fresh.draft("next").await;
        let frozen = fresh.try_freeze(next, &members(2), SIGNED).await;
        assert_eq!(frozen.as_ref().err().and_then(rule), Some(Rule::State), "{frozen:?}");
        let later = NewRequest { kind: RequestKind::Bounce, broadcast: id, member: who, reply: None };
        assert!(!fresh.store.open_request(later, NOW).await.expect("refused"), "nobody is there");
        let answers = [("note".to_owned(), "x".to_owned())].into();
        assert!(!fresh.store.save_response(id, who, &answers, NOW).await.expect("refused"));
    }
}

#[tokio::test]
async fn a_withdrawn_erasure_erases_nobody_and_onlookers_ask_for_none() {
    for fresh in Fresh::each().await {
        let (id, _) = fresh.sending(1).await;
        let who = MemberId::new(1);
        granted(&fresh, RequestKind::Erasure, id, who).await;
        assert!(fresh.store.members_to_erase().await.expect("read").contains(&who));
        let onlooker = fresh.staff("viewer@example.jp", Role::Viewer).await;
        let refused = fresh.store.withdraw_erasure(onlooker, who, NOW).await;
        assert_eq!(refused.as_ref().err().and_then(rule), Some(Rule::Role), "{refused:?}");
        assert!(fresh.store.withdraw_erasure(fresh.author, who, NOW).await.expect("withdrawn"));
        assert!(!fresh.store.withdraw_erasure(fresh.author, who, NOW).await.expect("is none any more"));
        assert_eq!(suppressed(&fresh, who).await, []);
        assert_eq!(fresh.store.erasure(who).await.expect("read"), None);
        fresh.store.cancel_broadcast(fresh.author, id, "x", NOW).await.expect("cancelled");
        let unasked = fresh.store.erase(fresh.author, &keyring(), who, NOW).await;
        assert!(matches!(unasked, Err(StoreError::NotFound { .. })), "{unasked:?}");
        let refused = fresh.store.ask_erasure(onlooker, who, NOW).await;
        assert_eq!(refused.as_ref().err().and_then(rule), Some(Rule::Role), "{refused:?}");
    }
}

#[tokio::test]
async fn a_withdrawn_erasure_leaves_the_wishes_beside_it() {
    for fresh in Fresh::each().await {
        let (id, _) = fresh.sending(3).await;
        let [before, meanwhile, bounced] = [1, 2, 3].map(MemberId::new);
        granted(&fresh, RequestKind::Unsubscribe, id, before).await;
        granted(&fresh, RequestKind::Bounce, id, bounced).await;
        let dead = fresh.store.suppressions_of(bounced).await.expect("read");
        for member in [before, meanwhile, bounced] {
            granted(&fresh, RequestKind::Erasure, id, member).await;
        }
        fresh.store.suppress(fresh.author, meanwhile, NOW).await.expect("suppressed");
        assert_eq!(suppressed(&fresh, before).await, [RequestKind::Erasure, RequestKind::Unsubscribe]);
        let all = fresh.store.suppressions().await.expect("read");
        assert!(all.len() == 3 && all.values().all(|found| found[0].kind == RequestKind::Erasure), "{all:?}");

        for member in [before, meanwhile, bounced] {
            assert!(fresh.store.withdraw_erasure(fresh.author, member, NOW).await.expect("withdrawn"));
        }
        assert_eq!(suppressed(&fresh, before).await, [RequestKind::Unsubscribe], "their own wish");
        assert_eq!(suppressed(&fresh, meanwhile).await, [RequestKind::Office]);
        assert_eq!(fresh.store.suppressions_of(bounced).await.expect("read"), dead, "that address only");
        assert!(fresh.store.lift_suppression(fresh.author, before, NOW).await.expect("lifted"));
        assert_eq!(suppressed(&fresh, before).await, []);
    }
}
