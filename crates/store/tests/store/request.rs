//! Requests, what settles them, and whom nothing is sent to.

use crate::fresh::{Fresh, NOW, id_of};
use domain::{
    Actor, BroadcastId, Decision, EmailAddress, MemberId, Refusal, ReplyId, RequestKind, Role, Rule,
};
use store::{NewRequest, StoreError};

fn request(kind: RequestKind, broadcast: BroadcastId, member: i64, reply: Option<i64>) -> NewRequest {
    NewRequest { kind, broadcast, member: MemberId::new(member), reply: reply.map(ReplyId::new) }
}

/// Opens it and gives its id.
async fn opened(fresh: &Fresh, new: NewRequest) -> i64 {
    assert!(fresh.store.open_request(new, NOW).await.expect("opened"));
    fresh.store.open_requests(Some(new.kind), 10).await.expect("listed").last().expect("one").id
}

async fn settled(fresh: &Fresh, id: i64, decision: Decision) -> u64 {
    fresh.store.settle_requests(fresh.author, &[id], decision, NOW).await.expect("settled")
}

#[tokio::test]
async fn a_wish_opens_one_request_and_a_stranger_none() {
    for fresh in Fresh::each().await {
        let (id, _) = fresh.sending(2).await;
        for _ in 0..3 {
            opened(&fresh, request(RequestKind::Unsubscribe, id, 1, None)).await;
        }
        opened(&fresh, request(RequestKind::Erasure, id, 1, None)).await;
        let stranger = fresh.store.open_request(request(RequestKind::Erasure, id, 9, None), NOW).await;
        assert!(!stranger.expect("refused"));
        opened(&fresh, request(RequestKind::Unsubscribe, id, 1, Some(3))).await;
        let counts = fresh.store.open_request_counts().await.expect("counted");
        assert_eq!(counts, [(RequestKind::Erasure, 1), (RequestKind::Unsubscribe, 1)]);
        assert_eq!(fresh.tally(id).await.total(), 2, "a wish erases nothing by itself");
        assert!(fresh.store.suppressions().await.expect("read").is_empty());
    }
}

#[tokio::test]
async fn a_settled_request_may_come_again_but_not_from_the_same_reply() {
    for fresh in Fresh::each().await {
        let (broadcast, _) = fresh.sending(1).await;
        let wish = |reply| request(RequestKind::Unsubscribe, broadcast, 1, Some(reply));
        for reply in [40, 41] {
            let id = opened(&fresh, wish(reply)).await;
            assert_eq!(settled(&fresh, id, Decision::Declined).await, 1);
            assert_eq!(settled(&fresh, id, Decision::Granted).await, 0, "what is settled stays so");
        }
        assert!(fresh.store.open_request(wish(40), NOW).await.expect("known"));
        assert!(fresh.store.open_requests(None, 10).await.expect("listed").is_empty());
        assert!(fresh.store.suppressions().await.expect("read").is_empty(), "declined changes nothing");
    }
}

#[tokio::test]
async fn a_bounce_suppresses_the_address_it_was_sent_to_and_a_wish_the_person() {
    for fresh in Fresh::each().await {
        let (broadcast, _) = fresh.sending(2).await;
        let rows = fresh.rows(broadcast).await;
        let sent_to: EmailAddress = rows[0].address.parse().expect("an address");
        let other: EmailAddress = "new@example.jp".parse().expect("an address");
        let first = MemberId::new(rows[0].member_id);
        let bounce = opened(&fresh, request(RequestKind::Bounce, broadcast, first.get(), Some(7))).await;
        settled(&fresh, bounce, Decision::Granted).await;
        let found = fresh.store.suppressions_of(first).await.expect("read").remove(0);
        assert!(found.holds_for(Some(&sent_to)) && !found.holds_for(Some(&other)), "{found:?}");

        let wish = opened(&fresh, request(RequestKind::Unsubscribe, broadcast, first.get(), None)).await;
        settled(&fresh, wish, Decision::Granted).await;
        let again = opened(&fresh, request(RequestKind::Bounce, broadcast, first.get(), Some(8))).await;
        settled(&fresh, again, Decision::Granted).await;
        let found = fresh.store.suppressions_of(first).await.expect("read").remove(0);
        assert_eq!(found.kind, RequestKind::Unsubscribe, "a wish is not lost in a later bounce");
        assert!(found.holds_for(Some(&other)) && found.holds_for(None));

        assert!(fresh.store.lift_suppression(fresh.author, first, NOW).await.expect("lifted"));
        assert!(!fresh.store.lift_suppression(fresh.author, first, NOW).await.expect("was not there"));
        assert_eq!(fresh.store.suppressions_of(first).await.expect("read"), []);
        let audit = fresh.store.audit_entries(0, 1_000).await.expect("read");
        let actions: Vec<&str> = audit.iter().map(|entry| entry.action.as_str()).collect();
        assert!(actions.ends_with(&["request-granted", "suppression-lifted"]), "{actions:?}");
    }
}

#[tokio::test]
async fn the_newest_bounce_counts_and_an_older_one_looked_at_again_changes_nothing() {
    for fresh in Fresh::each().await {
        let (broadcast, _) = fresh.sending(1).await;
        let bounce = |reply| request(RequestKind::Bounce, broadcast, 1, Some(reply));
        for reply in [7, 8, 7] {
            assert!(fresh.store.open_request(bounce(reply), NOW).await.expect("opened"));
        }
        let open = fresh.store.open_requests(None, 10).await.expect("listed");
        let shown_by: Vec<_> = open.iter().map(|found| found.reply).collect();
        assert_eq!(shown_by, [Some(ReplyId::new(8))]);
    }
}

#[tokio::test]
async fn a_wish_to_be_erased_stays_in_sight() {
    for fresh in Fresh::each().await {
        let (broadcast, _) = fresh.sending(1).await;
        for kind in [RequestKind::Unsubscribe, RequestKind::Erasure, RequestKind::Complaint] {
            let id = opened(&fresh, request(kind, broadcast, 1, None)).await;
            settled(&fresh, id, Decision::Granted).await;
        }
        let listed = fresh.store.suppressed_members(10).await.expect("listed");
        let kinds: Vec<RequestKind> = listed.iter().map(|found| found.kind).collect();
        assert_eq!(kinds, [RequestKind::Erasure, RequestKind::Unsubscribe]);
    }
}

#[tokio::test]
async fn whoever_does_not_care_for_the_roster_decides_nothing() {
    for fresh in Fresh::each().await {
        let (broadcast, _) = fresh.sending(1).await;
        let id = opened(&fresh, request(RequestKind::Complaint, broadcast, 1, None)).await;
        let onlooker = Actor::Staff { id: id_of(fresh.author), role: Role::Viewer };
        let refused = fresh.store.settle_requests(onlooker, &[id], Decision::Granted, NOW).await;
        assert!(matches!(refused, Err(StoreError::Refused(Refusal { rule: Rule::Role, .. }))));
        assert!(fresh.store.suppress(onlooker, MemberId::new(1), NOW).await.is_err());
        assert!(fresh.store.lift_suppression(onlooker, MemberId::new(1), NOW).await.is_err());
        assert_eq!(fresh.store.open_requests(None, 10).await.expect("listed").len(), 1);
    }
}
