//! Law 3: one row for each recipient; the counts always sum to the frozen audience; eligibility is
//! decided by the row and by nothing else; at any commit the rows being submitted are at most the
//! open connections.

use domain::{BroadcastState, Tally};
use hansho_tests::{Dot, PATIENCE, Society, member_address};
use rehearsal::relay::{Cut, Script, Stage, Verdict};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use testkit::fresh_databases;

const MEMBERS: u64 = 300;
const CONNECTIONS: u64 = 8;
/// A debug build on two busy cores; deferred mails wait a second.
const RUN_MAX: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn law_3_the_counts_sum_to_the_audience_at_every_moment_of_a_run() {
    for database in fresh_databases().await {
        let society = Society::plan().members(MEMBERS as usize).on(database).relay(moody()).found().await;
        let _service = society.serve(&[]).await;
        let notice = society.released("安否確認").await;
        let (mut looks, began) = (0, Instant::now());
        while notice.state().await != BroadcastState::Completed {
            let tally = notice.tally().await;
            assert_eq!(tally.total(), MEMBERS, "{tally:?}");
            assert!(tally.submitting <= CONNECTIONS, "{tally:?}");
            assert!(began.elapsed() < RUN_MAX, "it does not come to an end: {tally:?}");
            looks += 1;
        }
        assert!(looks > 20, "it was looked at all the time: {looks} looks");
        the_relays_record_agrees(&society.dots(), notice.tally().await);
        let verified = society.hansho(&["ledger", "verify"]).await;
        assert_eq!(verified.code, 0, "{}", verified.stderr);
    }
}

/// What a person does beside the run cannot bring a second mail about.
#[tokio::test(flavor = "multi_thread")]
async fn law_3_what_was_taken_is_never_sent_again_whatever_is_asked_for() {
    let society = Society::of(20).await;
    let service = society.serve(&[]).await;
    let notice = society.released("安否確認").await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let taken = society.relay.count();
    let _refused = notice.send().await.refused_by("approval");
    let _refused = notice.resume_by(&society.approver, "もう一度").await.refused_by("state");
    let _refused = notice.stop_by(&society.coordinator).await.refused_by("state");
    let _refused = notice.ask("preflight", &[], &society.coordinator).await.refused_by("state");
    let settled = notice.settle_by(&society.coordinator, "resend", &[]).await.done();
    assert_eq!(settled["settled"], 0, "nothing is unknown");
    let _refused = notice.settle_by(&society.coordinator, "resend", &["m0001"]).await.refused_by("state");
    // A restart claims nothing, either.
    drop(service);
    let _again = society.serve(&[]).await;
    let next = society.released("お礼").await;
    next.becomes(BroadcastState::Completed, PATIENCE).await;
    assert_eq!(society.relay.count(), taken + 20);
}

/// What was said before the last word is kept as well.
#[tokio::test(flavor = "multi_thread")]
async fn law_3_every_attempt_at_a_recipient_can_be_read_afterwards() {
    let twice = Script::accept_all()
        .recipient(&member_address(1), Verdict::Defer { tries: 2, at: Stage::Rcpt })
        .recipient(&member_address(2), Verdict::CutAfterDot(Cut::FirstTry));
    let society = Society::plan().members(2).relay(twice).found().await;
    let _service = society.serve(&["broadcaster"]).await;
    let notice = society.released("訓練開始のお知らせ").await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let attempts = async |member: &str| -> Vec<(String, Value)> {
        let told = notice.ask("attempts", &["--member", member], &society.viewer).await.done();
        let each = told.as_array().expect("a list").iter();
        each.map(|one| (one["state"].as_str().expect("a state").to_owned(), one["smtp_code"].clone()))
            .collect()
    };
    let deferred = ("deferred".to_owned(), 451.into());
    let accepted = ("accepted".to_owned(), 250.into());
    assert_eq!(attempts("m0001").await, [deferred.clone(), deferred, accepted.clone()]);
    assert_eq!(attempts("m0002").await, [("unknown".to_owned(), Value::Null)]);

    let _settled = notice.settle_by(&society.coordinator, "resend", &["m0002"]).await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    assert_eq!(attempts("m0002").await, [("unknown".to_owned(), Value::Null), accepted]);
    let nobody = notice.ask("attempts", &["--member", "m0003"], &society.viewer).await;
    assert_eq!(nobody.code, 4, "{}", nobody.stderr);
}

/// Every mood a relay has: later, never, cut on the line.
fn moody() -> Script {
    Script::accept_all().decide_by(Arc::new(|address| {
        let number: u64 = address.strip_prefix('m')?.split('@').next()?.parse().ok()?;
        match number % 10 {
            1 => Some(Verdict::Defer { tries: 1, at: Stage::Rcpt }),
            2 => Some(Verdict::Defer { tries: 1, at: Stage::AfterDot }),
            3 => Some(Verdict::Refuse { at: Stage::Rcpt }),
            4 => Some(Verdict::Refuse { at: Stage::AfterDot }),
            5 => Some(Verdict::CutAfterDot(Cut::Always)),
            _ => Some(Verdict::AcceptAfter(Duration::from_millis(5))),
        }
    }))
}

fn the_relays_record_agrees(dots: &[Dot], tally: Tally) {
    let tenth = MEMBERS / 10;
    assert_eq!((tally.accepted, tally.rejected, tally.unknown), (7 * tenth, 2 * tenth, tenth), "{tally:?}");
    let mut taken: BTreeMap<&str, u64> = BTreeMap::new();
    for dot in dots.iter().filter(|dot| dot.accepted()) {
        *taken.entry(&dot.recipients[0]).or_default() += 1;
    }
    assert_eq!(taken.len() as u64, tally.accepted);
    assert!(taken.values().all(|times| *times == 1), "nobody got two");
    assert!(!taken.contains_key(member_address(5).as_str()));
}
