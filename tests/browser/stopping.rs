//! The red button.

use crate::{
    chrome::Chrome,
    window::{Window, number},
};
use domain::{BroadcastState, Clock};
use hansho_tests::{PATIENCE, Society, until};
use rehearsal::relay::{Script, Verdict};
use std::time::Duration;
use testkit::SystemClock;

const MEMBERS: usize = 300;
/// Eight connections at this pace need six seconds for all.
const RELAY_TAKES: Duration = Duration::from_millis(160);
/// Law 8.
const STOP_MAX: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn the_red_stop_works_within_a_second() {
    let slow = Script::accept_all().everyone_else(Verdict::AcceptAfter(RELAY_TAKES));
    let society = Society::plan().members(MEMBERS).relay(slow).found().await;
    let _service = society.serve(&[]).await;
    let notice = society.approved("安否の報告のお願い").await;
    let chrome = Chrome::start().await;
    let desk = chrome.window(&society).await;
    desk.sign_in(&society.coordinator).await;
    desk.open(&format!("/broadcasts/{}", notice.id())).await;
    desk.press("訓練のお知らせを送信する").await;
    desk.shows("送信を始めました。").await;
    assert!(society.relay.wait_for(20, PATIENCE).await, "mail leaves");

    let pressed = SystemClock.now();
    desk.press("停止").await;
    desk.shows("停止の結果").await;
    let shown = Shown::read(&desk).await;
    assert_eq!(shown.accepted + shown.prevented + shown.unknown + shown.rest, shown.total, "{shown:?}");
    assert_eq!(shown.total, MEMBERS as u64);
    assert!(shown.accepted > 0 && shown.prevented > 0, "stopped in the middle: {shown:?}");
    assert!(desk.counts().await["送信済"] >= shown.accepted, "the table below says the same");

    // Long enough for any mail that the stop did not hold to show itself.
    let watched = pressed.plus(3 * STOP_MAX);
    until("the time of watching to pass", PATIENCE, async || (SystemClock.now() > watched).then_some(()))
        .await;
    let last = society.relay.captured().into_iter().map(|mail| mail.at).max().expect("mail left");
    assert!(last <= pressed.plus(STOP_MAX), "the last dot came {:?} after the click", last.since(pressed));
    assert_eq!(notice.state().await, BroadcastState::Stopped);
    let tally = notice.tally().await;
    assert_eq!(tally.accepted + tally.unknown, society.relay.count(), "the ledger knows each of them");
    assert_eq!(tally.accepted, shown.accepted, "and the page said so");
    desk.close().await;
}

/// What the page says about the stop.
#[derive(Debug)]
struct Shown {
    accepted: u64,
    prevented: u64,
    unknown: u64,
    /// Refused, held back and given up.
    rest: u64,
    total: u64,
}

impl Shown {
    async fn read(desk: &Window<'_>) -> Self {
        let script = "const card = [...document.querySelectorAll('section')]\
            .find(card => card.querySelector('h2')?.textContent === '停止の結果');\
            return [...card.querySelectorAll('dd')].map(part => part.textContent)\
                .concat(card.querySelector('p').textContent.replaceAll(',', '').match(/\\d+/g))";
        let parts: Vec<String> = serde_json::from_value(desk.script(script).await).expect("figures");
        let parts: Vec<u64> = parts.iter().map(|part| number(part)).collect();
        let [accepted, prevented, unknown, rejected, held, gave_up, total] = parts[..] else {
            panic!("seven figures: {parts:?}")
        };
        Self { accepted, prevented, unknown, rest: rejected + held + gave_up, total }
    }
}
