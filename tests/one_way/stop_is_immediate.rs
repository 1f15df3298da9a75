//! Law 8: a stop is answered within a second, on every node; at most one message for each open
//! connection still completes; going on takes an approver and a reason.

use domain::BroadcastState;
use hansho_tests::{Broadcast, PATIENCE, Person, Serve, Society};
use hyper::Method;
use rehearsal::{
    browser::Browser,
    relay::{Script, Verdict},
};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use testkit::{DatabaseKind, fresh_databases};

const ROUNDS: usize = 10;
const MEMBERS: u64 = 2_000;
const CONNECTIONS: u64 = 8;
const STOP_MAX: Duration = Duration::from_secs(1);
/// Each connection is busy with one mail for this long: longer than a stop takes to be written.
const RELAY_TAKES: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread")]
async fn law_8_every_stop_is_answered_within_a_second_and_nothing_follows() {
    for database in fresh_databases().await {
        let slowly = Script::accept_all().everyone_else(Verdict::AcceptAfter(RELAY_TAKES));
        let kind = database.kind;
        let plan = Society::plan().members(MEMBERS as usize).on(database).relay(slowly);
        let society = plan.found().await;
        let nodes = nodes(&society, kind).await;
        let line_max = CONNECTIONS * nodes.len() as u64;
        let notice = society.released("安否確認").await;
        let mut slowest = Duration::ZERO;
        for round in 0..ROUNDS {
            let busy = society.relay.count();
            assert!(society.relay.wait_for(busy + line_max, PATIENCE).await, "mails are under way");
            let before = society.relay.count();
            let pressed = Instant::now();
            let (status, answer) = press(&society, &notice, "stop", &society.coordinator, &json!({})).await;
            slowest = slowest.max(pressed.elapsed());
            let at_the_answer = society.relay.count();
            assert_eq!(status, 200, "{answer}");
            assert!(at_the_answer - before <= line_max, "round {round}: {} mails", at_the_answer - before);
            the_answer_adds_up(&answer);
            go_on(&society, &notice, at_the_answer).await;
        }
        assert!(slowest <= STOP_MAX, "{kind}: the slowest of {ROUNDS} stops took {slowest:?}");
    }
}

/// With a server database there are two senders; both hear of it.
async fn nodes(society: &Society, kind: DatabaseKind) -> Vec<Serve> {
    let mut nodes = vec![society.serve(&[]).await];
    if kind == DatabaseKind::Postgres {
        nodes.push(society.serve(&["broadcaster"]).await);
    }
    nodes
}

fn the_answer_adds_up(answer: &Value) {
    let part = |name: &str| answer[name].as_u64().expect("a count");
    let parts = ["accepted", "prevented", "unknown", "rejected", "held", "gave_up"].map(part);
    assert_eq!((parts.iter().sum(), part("total")), (MEMBERS, MEMBERS), "{answer}");
    assert_eq!(part("unknown"), 0, "whoever was on the line had the time to end: {answer}");
}

/// Nobody but an approver resumes, nobody without a reason; until then nothing leaves.
async fn go_on(society: &Society, notice: &Broadcast<'_>, at_the_answer: u64) {
    let reason = json!({"reason": "確認した"});
    for (person, body) in [
        (&society.coordinator, &reason),
        (&society.viewer, &reason),
        (&society.engineer, &reason),
        (&society.approver, &json!({"reason": "  "})),
        (&society.approver, &json!({})),
    ] {
        let (status, answer) = press(society, notice, "resume", person, body).await;
        assert!(matches!(status, 403 | 409), "{answer}");
    }
    assert_eq!(notice.state().await, BroadcastState::Stopped);
    assert_eq!(society.relay.count(), at_the_answer, "nothing left after the answer");
    let (status, answer) = press(society, notice, "resume", &society.approver, &reason).await;
    assert_eq!(status, 200, "{answer}");
}

async fn press(
    society: &Society,
    notice: &Broadcast<'_>,
    button: &str,
    person: &Person,
    body: &Value,
) -> (u16, Value) {
    let url = format!("{}/api/v1/broadcasts/{}/{button}", society.url(), notice.id());
    let answered = Browser::new().call(Method::POST, &url, &person.token, body.to_string()).await;
    let (status, text) = answered.expect("an answer");
    (status.as_u16(), serde_json::from_str(&text).expect("JSON"))
}
