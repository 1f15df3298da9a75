//! Pages that keep themselves fresh.

use crate::{
    chrome::Chrome,
    scene::{begin_drill, write_drill},
};
use domain::BroadcastState;
use hansho_tests::{PATIENCE, Society};
use std::time::Duration;

/// A browser opens this many connections to one site, and a live page holds one.
const CONNECTIONS: usize = 6;
/// A page that has to wait for a connection waits for a minute.
const OPENING_MAX: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn a_live_page_that_was_left_holds_up_no_other() {
    let society = Society::of(3).await;
    let _service = society.serve(&[]).await;
    let drill = write_drill(&society).await;
    begin_drill(&society, drill).await;
    let draft =
        society.draft("exercise", "all", "状況の報告", "{{name}} 様\n\n状況を知らせてください。").await;
    let pages = [format!("/exercises/{drill}"), format!("/broadcasts/{}", draft.id())];

    let chrome = Chrome::start().await;
    let desk = chrome.window(&society).await;
    desk.sign_in(&society.coordinator).await;
    for (count, page) in pages.iter().cycle().take(2 * CONNECTIONS).enumerate() {
        let opened = tokio::time::timeout(OPENING_MAX, desk.open(page)).await;
        assert!(opened.is_ok(), "live page number {} does not open", count + 1);
        desk.shows("自動更新中").await;
    }
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_appears_on_an_open_page_as_it_comes() {
    let society = Society::of(2).await;
    let _service = society.serve(&[]).await;
    let notice = society.released("訓練開始のお知らせ").await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;

    let chrome = Chrome::start().await;
    let desk = chrome.window(&society).await;
    desk.sign_in(&society.coordinator).await;
    desk.open("/replies").await;
    desk.shows("自動更新中").await;
    desk.shows("返信はありません").await;
    let mail = &notice.dots().await[0];
    let reply = format!("From: <{}>\nSubject: <b>無事です</b>\n\n全員無事です。\n", mail.to[0]);
    let answer = society.post().await.deliver(&mail.to[0], &mail.reply_to, &reply).await;
    assert!(answer.starts_with("250"), "the reply is taken: {answer}");
    desk.shows("<b>無事です</b>").await;
    desk.shows("未確認").await;
    desk.close().await;
}
