//! Answers, wishes and bounces: what members send back.

use crate::fresh::{Fresh, NOW, SIGNED, accepted, deferred, held, id_of, member, members, rejected, spend};
use domain::{Answers, BroadcastId, DeliveryEvent, MemberId, ReplyClass, ReplyId};
use std::time::Duration;

fn answers(value: &str) -> Answers {
    [("safety".to_owned(), value.to_owned())].into()
}

fn ids(members: Vec<MemberId>) -> Vec<i64> {
    members.into_iter().map(MemberId::get).collect()
}

#[tokio::test]
async fn a_later_answer_replaces_the_earlier_and_keeps_its_first_time() {
    for fresh in Fresh::each().await {
        let (id, _) = fresh.sending(3).await;
        let (who, later) = (MemberId::new(2), NOW.plus(Duration::from_secs(90)));
        assert!(fresh.store.save_response(id, who, &answers("safe"), NOW).await.expect("stored"));
        assert!(fresh.store.save_response(id, who, &answers("hurt"), later).await.expect("stored"));
        let stored = fresh.store.response(id, who).await.expect("read").expect("an answer");
        assert_eq!(stored.answers, answers("hurt"));
        assert_eq!((stored.first_answered_at, stored.answered_at), (NOW, later));
        assert!(
            fresh.store.save_response(id, MemberId::new(1), &answers("safe"), later).await.expect("stored")
        );
        let all = fresh.store.responses(id).await.expect("read");
        let order: Vec<_> =
            all.iter().map(|point| (point.member.get(), point.at, point.prefecture)).collect();
        assert_eq!(order, [(2, NOW, Some(13)), (1, later, Some(13))]);
    }
}

#[tokio::test]
async fn a_stranger_cannot_answer() {
    for fresh in Fresh::each().await {
        let (id, _) = fresh.sending(3).await;
        for (broadcast, member) in [(id, 4), (BroadcastId::new(99), 1), (id, -1)] {
            let who = MemberId::new(member);
            assert!(
                !fresh.store.save_response(broadcast, who, &answers("safe"), NOW).await.expect("refused")
            );
            assert_eq!(fresh.store.response(broadcast, who).await.expect("read"), None);
        }
        assert_eq!(fresh.number("SELECT COUNT(*) AS n FROM response").await, 0);
    }
}

#[tokio::test]
async fn a_click_repeated_many_times_is_one_answer() {
    for fresh in Fresh::each().await {
        let (id, _) = fresh.sending(1).await;
        let clicks: Vec<_> = (0..10)
            .map(|_| {
                let store = fresh.store.clone();
                tokio::spawn(
                    async move { store.save_response(id, MemberId::new(1), &answers("safe"), NOW).await },
                )
            })
            .collect();
        for click in clicks {
            assert!(click.await.expect("no panic").expect("stored"));
        }
        assert_eq!(fresh.store.responses(id).await.expect("read").len(), 1);
    }
}

/// Member 1 held, 2 accepted, 3 deferred, 4 rejected, 5 unknown, 6 pending, 7 accepted.
pub(crate) async fn of_every_state(fresh: &Fresh) -> BroadcastId {
    let id = fresh.draft("a").await;
    let rows: Vec<_> = std::iter::once(held(1)).chain((2..=7).map(member)).collect();
    fresh.freeze(id, &rows, SIGNED).await;
    fresh.sign(fresh.approver, id).await.expect("signed");
    let approved = fresh.release(id).await.expect("released");
    let worker = fresh.worker().await;
    let mut rows = fresh.claim(worker, &approved).await;
    rows.retain(|row| row.member.get() != 6);
    for permit in fresh.turn(worker, &[], rows).await.permits {
        let event = match permit.row().member.get() {
            2 | 7 => accepted(),
            3 => deferred(),
            4 => rejected(),
            _ => DeliveryEvent::OutcomeLost,
        };
        fresh.turn(worker, &spend(vec![permit], &event), Vec::new()).await;
    }
    id
}

#[tokio::test]
async fn a_reminder_goes_to_those_addressed_who_have_not_answered() {
    for fresh in Fresh::each().await {
        let id = of_every_state(&fresh).await;
        assert_eq!(ids(fresh.store.non_respondents(id).await.expect("listed")), [2, 3, 5, 6, 7]);
        for who in [2, 5] {
            let who = MemberId::new(who);
            fresh.store.save_response(id, who, &answers("safe"), NOW).await.expect("stored");
        }
        assert_eq!(ids(fresh.store.non_respondents(id).await.expect("listed")), [3, 6, 7]);
    }
}

#[tokio::test]
async fn a_correction_goes_to_exactly_those_reached_or_unknown() {
    for fresh in Fresh::each().await {
        let id = of_every_state(&fresh).await;
        assert_eq!(ids(fresh.store.reached_or_unknown(id).await.expect("listed")), [2, 5, 7]);
        assert_eq!(fresh.store.recipients_by_prefecture(id).await.expect("counted"), [(Some(13), 6)]);
    }
}

#[tokio::test]
async fn a_bounce_is_noted_once_and_moves_no_row() {
    for fresh in Fresh::each().await {
        let (id, approved) = fresh.sending(2).await;
        fresh.send_all(fresh.worker().await, &approved, &accepted()).await;
        let before = (fresh.tally(id).await, fresh.rows(id).await);
        for status in [Some("5.1.1"), None] {
            let reply = ReplyId::new(40);
            let class = ReplyClass::BounceHard;
            fresh.store.note_bounce(reply, id, MemberId::new(1), class, status, NOW).await.expect("noted");
        }
        assert_eq!((fresh.tally(id).await, fresh.rows(id).await), before);
        let bounces = fresh.store.bounces(id).await.expect("listed");
        assert_eq!(bounces.len(), 1);
        assert_eq!((bounces[0].class.as_str(), bounces[0].status.as_deref()), ("bounce-hard", Some("5.1.1")));
    }
}

#[tokio::test]
async fn the_first_reader_of_a_reply_stays() {
    for fresh in Fresh::each().await {
        let reply = ReplyId::new(3);
        for reader in [fresh.author, fresh.approver] {
            fresh.store.mark_reply_read(reply, id_of(reader), NOW).await.expect("marked");
        }
        assert_eq!(fresh.number("SELECT staff_id AS n FROM reply_mark").await, id_of(fresh.author).get());
        let read = fresh.store.read_replies(&[reply, ReplyId::new(4)]).await.expect("looked");
        assert_eq!(read, [reply].into());
        assert!(fresh.store.read_replies(&[]).await.expect("looked").is_empty());
    }
}

/// A late answer still counts: the drill is about who can answer, not about a deadline.
#[tokio::test]
async fn an_answer_is_taken_after_the_broadcast_is_over() {
    for fresh in Fresh::each().await {
        let id = fresh.draft("a").await;
        fresh.freeze(id, &members(1), SIGNED).await;
        fresh.sign(fresh.approver, id).await.expect("signed");
        let approved = fresh.release(id).await.expect("released");
        fresh.send_all(fresh.worker().await, &approved, &accepted()).await;
        assert!(fresh.store.complete_if_drained(id, NOW).await.expect("completed"));
        assert!(
            fresh.store.save_response(id, MemberId::new(1), &answers("safe"), NOW).await.expect("stored")
        );
    }
}
