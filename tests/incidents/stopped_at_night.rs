//! September 2020, at night. The list could only be deleted by an outside engineer, who was not
//! on call; members were mailed for hours. Now a coordinator stops everything in one action.

use domain::BroadcastState;
use hansho_tests::{PATIENCE, Society};
use rehearsal::relay::{Script, Verdict};
use std::time::{Duration, Instant};

const MEMBERS: u64 = 600;
const CONNECTIONS: u64 = 8;
/// "Stop is immediate": promised to whoever presses it.
const STOP_MAX: Duration = Duration::from_secs(1);

const DRILL: &str = r#"
title = "夜間訓練"
nature = "exercise"

[[inject]]
key = "later"
title = "一時間後の付与"
at = "1h"
subject = "状況付与"
body = "{{name}} 様、状況を報告してください。"
audience = "all"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_stops_everything_alone_and_at_once() {
    // Slow enough that two notices are under way for minutes.
    let slowly = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_millis(400)));
    // Small chunks, so that they take turns.
    let plan = Society::plan().members(MEMBERS as usize).set("HANSHO_BROADCAST__CHUNK_SIZE", "16");
    let society = plan.relay(slowly).found().await;
    let _service = society.serve(&[]).await;
    let exercise = a_running_exercise(&society).await;
    let [first, second] = [society.released("第一報").await, society.released("第二報").await];
    for notice in [&first, &second] {
        notice.counts("mails under way", PATIENCE, |tally| tally.accepted > 0).await;
    }

    let before = society.relay.count();
    let pressed = Instant::now();
    let answer = society.hansho(&["broadcast", "stop", "--all"]).by(&society.coordinator).await.done();
    let took = pressed.elapsed();
    let at_the_answer = society.relay.count();
    assert!(took <= STOP_MAX, "the answer came after {took:?}");
    assert!(at_the_answer - before <= CONNECTIONS, "{} mails after the stop", at_the_answer - before);

    // The answer says what was prevented, and its parts sum to the total.
    let answers = answer.as_array().expect("one answer for each notice");
    assert_eq!(answers.len(), 2);
    for said in answers {
        let part = |name: &str| said[name].as_u64().expect("a count");
        let parts = ["accepted", "prevented", "unknown", "rejected", "held", "gave_up"].map(part);
        assert_eq!(parts.iter().sum::<u64>(), MEMBERS, "{said}");
        assert!(part("accepted") > 0 && part("prevented") > 0, "{said}");
    }

    // Not one more mail after the answer: none on the line, none begun by hand.
    for notice in [&first, &second] {
        assert_eq!(notice.state().await, BroadcastState::Stopped);
        assert_eq!(notice.tally().await.submitting, 0);
        let _refused = notice.send().await.refused_by("approval");
    }
    assert_eq!(society.relay.count(), at_the_answer);
    let drill = society.hansho(&["drill", "show", &exercise]).await.done();
    assert_eq!(drill["state"], "stopped", "no inject follows either");

    // The engineer slept. Going on is for an approver, with a reason.
    let by_coordinator = first.resume_by(&society.coordinator, "もう大丈夫").await;
    let _refused = by_coordinator.with_code(3);
    let _refused = first.resume_by(&society.approver, "").await.refused_by("reason");
    society.relay.set_script(Script::accept_all());
    let _resumed = first.resume_by(&society.approver, "内容を確かめた。続けてよい").await.done();
    first.becomes(BroadcastState::Completed, PATIENCE).await;
    assert_eq!(first.tally().await.accepted, MEMBERS);
    assert_eq!(second.state().await, BroadcastState::Stopped, "the other one stays where it was");
}

async fn a_running_exercise(society: &Society) -> String {
    let file = society.text(DRILL);
    let made = society.hansho(&["drill", "create", &file]).by(&society.coordinator).await.done();
    let id = made["id"].to_string();
    let _running = society.hansho(&["drill", "start", &id]).by(&society.coordinator).await.done();
    id
}
