//! The script makes figures move; everything else is plain pages and forms.

use crate::{chrome::Chrome, window::Window};
use hansho_tests::{PATIENCE, Society};

const MEMBERS: usize = 200;
const APPROVE: &str = "訓練のお知らせを承認する";
const SEND: &str = "訓練のお知らせを送信する";

#[tokio::test(flavor = "multi_thread")]
async fn every_page_works_without_javascript() {
    let plan = Society::plan().members(MEMBERS).set("HANSHO_RELAY__RATES", r#"["25/s"]"#);
    let society = plan.found().await;
    let _service = society.serve(&[]).await;
    let chrome = Chrome::start().await;
    let window = chrome.window_without_javascript(&society).await;

    window.sign_in(&society.coordinator).await;
    window.write_notice("exercise", "安否の報告のお願い", "{{name}} 様\n\n状況を知らせてください。").await;
    let page = window.path().await;
    let page = page.split('?').next().expect("a path");
    window.press("点検して対象を確定する").await;
    window.shows("送信前点検を終え、対象を確定しました。").await;
    window.press("承認を依頼する").await;
    window.shows("承認を依頼しました。").await;

    window.hand_over_to(&society.approver).await;
    window.press("内容を見る").await;
    window.press(APPROVE).await;
    window.shows("1人中 1人が承認しました。").await;

    window.hand_over_to(&society.coordinator).await;
    window.open(page).await;
    window.press(SEND).await;
    window.shows("送信を始めました。").await;
    assert!(society.relay.wait_for(10, PATIENCE).await, "mail leaves");
    window.press("停止").await;
    window.shows("停止の結果").await;
    assert!(window.counts().await["未送信"] > 0, "stopped on its way");

    window.hand_over_to(&society.approver).await;
    window.open(page).await;
    resumes(&window).await;
    window.open("/").await;
    window.press("すべて停止").await;
    window.press("すべて停止する").await;
    window.shows("停止しました。").await;
    window.open(page).await;
    resumes(&window).await;
    window
        .wait("the last mail to be sent", async || {
            window.open(page).await;
            if window.text().await.contains("完了") { Ok(()) } else { Err("it goes on".into()) }
        })
        .await;
    assert_eq!(window.counts().await["送信済"], MEMBERS as u64);
    assert_eq!(society.relay.count(), MEMBERS as u64, "each once");
    window.close().await;
}

async fn resumes(window: &Window<'_>) {
    window.fill("reason", "訓練を続けてよいことを確かめた").await;
    window.press("送信を再開する").await;
    window.shows("再開しました。").await;
}
