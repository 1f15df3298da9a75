//! What a tired approver is asked before the same text goes out again, and a first batch that
//! waits for somebody to look.

use crate::{
    chrome::Chrome,
    window::{DESKTOP, PHONE},
};
use domain::BroadcastState;
use hansho_tests::{PATIENCE, Society};

const APPROVE: &str = "訓練のお知らせを承認する";
const CONTINUE: &str = "残りの20人に送る";
const BODY: &str = "{{name}} 様\n\n状況を知らせてください。";

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_text_is_confirmed_and_a_first_batch_waits_for_a_look() {
    let plan = Society::plan().members(24).set("HANSHO_BROADCAST__CANARY", "{recipients=4}");
    let society = plan.found().await;
    let _service = society.serve(&[]).await;
    let first = society.draft("exercise", "all", "安否の報告のお願い", BODY).await;
    let _frozen = first.preflight().await;
    let _signed = first.approve_by(&society.approver).await.done();
    let _released = first.send().await.done();
    let chrome = Chrome::start().await;
    let desk = chrome.window(&society).await;
    desk.sign_in(&society.coordinator).await;
    desk.open(&format!("/broadcasts/{}", first.id())).await;
    desk.shows("まず4人に送っています").await;
    first.counts("the first batch to be out", PATIENCE, |tally| tally.accepted == 4).await;
    desk.keep_picture("canary-waits-desk", DESKTOP).await;
    desk.keep_picture("canary-waits-phone", PHONE).await;
    desk.press(CONTINUE).await;
    desk.shows("残りの送信を始めました。").await;
    first.becomes(BroadcastState::Completed, PATIENCE).await;
    assert!(!desk.offers(CONTINUE).await);
    assert_eq!(society.dots().len(), 24);

    let again = society.draft("exercise", "all", "安否の報告のお願い", BODY).await;
    let _frozen = again.preflight().await;
    let office = chrome.window(&society).await;
    office.sign_in(&society.approver).await;
    office.open(&format!("/broadcasts/{}", again.id())).await;
    office.shows("すでに送っています").await;
    office.keep_picture("same-text-to-confirm-desk", DESKTOP).await;
    office.keep_picture("same-text-to-confirm-phone", PHONE).await;
    // The browser itself asks for the tick; nothing is posted.
    office.press(APPROVE).await;
    assert_eq!(again.state().await, BroadcastState::Preflighted);
    office.click("input[name=confirmation][value=same-text]").await;
    office.press(APPROVE).await;
    office.shows("承認しました。").await;
    assert_eq!(again.state().await, BroadcastState::Approved);
    desk.close().await;
    office.close().await;
}
