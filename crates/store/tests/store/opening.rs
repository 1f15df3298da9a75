//! What is compared before a broadcast starts, and how it opens after its release.

use crate::fresh::{CAP, Fresh, NOW, SIGNED, accepted, held, member, members, rejected};
use domain::{Approved, AudienceChange, BroadcastId, Frozen, MemberId, Nature, Role, Rule};
use std::{collections::HashSet, time::Duration};
use store::{CanaryPlan, NewBroadcast, ReleasePolicy, Snapshot, StoreError, Worker};

const AUDIENCE: &str = r#"{"named":"all"}"#;
const PASSED: &str = "UPDATE broadcast SET canary_until = 1";

fn people(range: std::ops::RangeInclusive<i64>) -> HashSet<MemberId> {
    range.map(MemberId::new).collect()
}

async fn released(fresh: &Fresh, people: i64, policy: &ReleasePolicy) -> (BroadcastId, Approved<Frozen>) {
    let id = fresh.approved("careful", people).await;
    let frozen = fresh.frozen(id).await;
    let released = fresh.store.release(fresh.author, frozen, policy, NOW).await.expect("released");
    (id, released.approved)
}

fn canary(recipients: u64, wait: Option<Duration>) -> ReleasePolicy {
    ReleasePolicy { canary: Some(CanaryPlan { recipients, wait }), ..ReleasePolicy::capped_at(CAP) }
}

#[tokio::test]
async fn members_wait_for_the_operators_first_copies_but_not_for_long() {
    for fresh in Fresh::each().await {
        let operators = vec!["ops@example.jp".to_owned(), "night@example.jp".to_owned()];
        let policy = ReleasePolicy { operators, ..ReleasePolicy::capped_at(CAP) };
        let (id, approved) = released(&fresh, 2, &policy).await;
        let worker = fresh.worker().await;
        for _ in 0..2 {
            assert!(fresh.claim(worker, &approved).await.is_empty(), "a copy is not out yet");
            let copy = fresh.store.next_staff_mail().await.expect("taken").expect("a copy");
            assert_eq!((copy.kind.to_string().as_str(), copy.broadcast), ("first-copy", id));
            fresh.store.staff_mail_sent(copy.id, NOW).await.expect("noted");
        }
        assert_eq!(fresh.claim(worker, &approved).await.len(), 2);
        assert_eq!(fresh.store.alerts(id).await.expect("counted"), (0, 0), "a copy is no alert");

        fresh.tamper("UPDATE staff_mail SET state = 'pending'").await;
        fresh.tamper("UPDATE delivery SET lease_until = 0").await;
        assert!(fresh.claim(worker, &approved).await.is_empty());
        fresh.tamper("UPDATE broadcast SET copies_until = 1").await;
        assert_eq!(fresh.claim(worker, &approved).await.len(), 2, "a dead mailbox holds up nobody");
    }
}

#[tokio::test]
async fn a_canary_goes_first_and_the_rest_waits_for_a_person() {
    for fresh in Fresh::each().await {
        let (id, approved) = released(&fresh, 10, &canary(3, None)).await;
        let worker = fresh.worker().await;
        fresh.send_all(worker, &approved, &accepted()).await;
        assert_eq!(fresh.tally(id).await.accepted, 3);
        fresh.tamper("UPDATE broadcast SET released_at = 1").await;
        assert!(fresh.claim(worker, &approved).await.is_empty(), "however well it went");
        assert!(!fresh.store.complete_if_drained(id, NOW).await.expect("looked"), "there is more to come");

        let viewer = fresh.staff("viewer@example.jp", Role::Viewer).await;
        let refused = fresh.store.continue_broadcast(viewer, id, NOW).await.expect_err("refused");
        assert!(matches!(refused, StoreError::Refused(refusal) if refusal.rule == Rule::Role));
        fresh.store.continue_broadcast(fresh.approver, id, NOW).await.expect("continued");
        fresh.send_all(worker, &approved, &accepted()).await;
        assert_eq!(fresh.tally(id).await.accepted, 10);
        let again = fresh.store.continue_broadcast(fresh.approver, id, NOW).await.expect_err("nothing waits");
        assert!(matches!(again, StoreError::Refused(refusal) if refusal.rule == Rule::State));
    }
}

#[tokio::test]
async fn a_canary_goes_on_by_itself_only_when_its_time_is_over_and_it_went_well() {
    for fresh in Fresh::each().await {
        let plan = canary(3, Some(Duration::from_secs(600)));
        let (id, approved) = released(&fresh, 10, &plan).await;
        let until = fresh.broadcast(id).await.canary.expect("a canary").until.expect("a time");
        let released_at = fresh.broadcast(id).await.released_at.expect("released");
        assert_eq!(until.since(released_at), Duration::from_secs(600));
        let worker = fresh.worker().await;
        refuse_one(&fresh, worker, &approved).await;
        fresh.tamper(PASSED).await;
        assert!(fresh.claim(worker, &approved).await.is_empty(), "one of three was refused");
        fresh.tamper("UPDATE delivery SET state = 'accepted' WHERE state = 'rejected'").await;
        assert_eq!(fresh.claim(worker, &approved).await.len(), 7);
        assert_eq!(fresh.broadcast(id).await.canary, None);
    }
}

async fn refuse_one(fresh: &Fresh, worker: Worker, approved: &Approved<Frozen>) {
    let mut permits = fresh.permits(worker, approved).await;
    assert_eq!(permits.len(), 3);
    let refused = crate::fresh::outcome(permits.remove(0), &rejected());
    let outcomes = [vec![refused], crate::fresh::spend(permits, &accepted())].concat();
    fresh.turn(worker, &outcomes, Vec::new()).await;
}

#[tokio::test]
async fn an_audience_is_compared_with_the_one_written_to_before() {
    for fresh in Fresh::each().await {
        let change = async |id, to: &HashSet<MemberId>| {
            fresh.store.audience_change(id, Nature::Exercise, AUDIENCE, to).await.expect("compared")
        };
        let first = fresh.draft("first").await;
        assert_eq!(change(first, &people(1..=20)).await, None, "nothing was sent before");
        fresh.freeze(first, &[members(20), vec![held(21)]].concat(), SIGNED).await;
        fresh.sign(fresh.approver, first).await.expect("signed");
        let approved = fresh.release(first).await.expect("released");
        fresh.send_all(fresh.worker().await, &approved, &accepted()).await;
        // One of those who were not in it knows the society from elsewhere.
        let other = fresh.store.audience_change(first, Nature::Actual, AUDIENCE, &people(1..=3)).await;
        assert_eq!(other.expect("compared"), None, "another nature is another matter");

        let next = fresh.draft("next").await;
        let found = change(next, &people(4..=25)).await.expect("a comparison");
        let expected =
            AudienceChange { previous: first, recipients: 20, joined: 5, left: 3, never_mailed: 5 };
        assert_eq!((found, found.is_unusual()), (expected, false), "eight people are a society's everyday");
        let found = change(next, &people(4..=27)).await.expect("a comparison");
        assert!(found.is_unusual(), "ten of twenty are not: {found:?}");
    }
}

#[tokio::test]
async fn other_people_than_last_time_need_a_second_signature() {
    for fresh in Fresh::each().await {
        let id = fresh.draft("other people").await;
        let rows: Vec<_> = (1..=30).map(member).collect();
        let previous = BroadcastId::new(77);
        let change = AudienceChange { previous, recipients: 30, joined: 12, left: 12, never_mailed: 12 };
        let snapshot = Snapshot {
            rows: &rows,
            digest: SIGNED,
            terms: "{}",
            findings: "[1]",
            change: Some(change),
            registry_revision: fresh.store.registry_revision().await.expect("read"),
        };
        fresh.store.freeze(fresh.author, id, &snapshot, NOW).await.expect("frozen");
        assert_eq!(fresh.broadcast(id).await.change, Some(change));
        assert_eq!(fresh.sign(fresh.approver, id).await.expect("signed"), (1, 2));
        assert!(fresh.release(id).await.is_err());
        assert_eq!(fresh.sign(fresh.second, id).await.expect("signed"), (2, 2));
        fresh.release(id).await.expect("released with two");
        assert_eq!(fresh.broadcast(id).await.signatures_required, 2);
    }
}

#[tokio::test]
async fn the_same_text_is_found_for_those_whom_it_may_have_reached() {
    for fresh in Fresh::each().await {
        let (first, approved) = fresh.sending(4).await;
        let worker = fresh.worker().await;
        let mut permits = fresh.permits(worker, &approved).await;
        let refused = crate::fresh::outcome(permits.remove(0), &rejected());
        let outcomes = [vec![refused], crate::fresh::spend(permits, &accepted())].concat();
        fresh.turn(worker, &outcomes, Vec::new()).await;
        let as_written = async |notice: NewBroadcast| {
            let id = fresh.store.create_broadcast(fresh.author, &notice, NOW).await.expect("a draft");
            fresh.store.with_same_text(&fresh.broadcast(id).await).await.expect("looked")
        };
        let same = as_written(fresh.notice("again")).await;
        assert_eq!(same, [first]);
        let reached =
            async |to: HashSet<MemberId>| fresh.store.reached_before(&same, &to).await.expect("looked");
        assert_eq!(reached(people(1..=9)).await, Some((first, 3)), "one was refused");
        assert_eq!(reached(people(5..=9)).await, None, "other people");
        let actual = NewBroadcast { nature: Nature::Actual, ..fresh.notice("actual") };
        assert_eq!(as_written(actual).await, [], "without its banner it is another text");
        let other = NewBroadcast { subject: "訓練終了".into(), ..fresh.notice("other") };
        assert_eq!(as_written(other).await, [], "another text");
    }
}
