//! From an empty form to the last mail, pressed by three people.

use crate::{
    chrome::Chrome,
    window::{DESKTOP, Window},
};
use hansho_tests::Society;

const MEMBERS: usize = 150;
const BODY: &str = "{{name}} 様\n\n{{facility}}の状況を知らせてください。";
const APPROVE: &str = "訓練のお知らせを承認する";
const SEND: &str = "訓練のお知らせを送信する";

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_and_two_approvers_send_a_drill_from_the_browser() {
    let plan = Society::plan().members(MEMBERS).set("HANSHO_BROADCAST__DAILY_CAP", "100");
    let society = plan.set("HANSHO_RELAY__RATES", r#"["30/s"]"#).found().await;
    let _service = society.serve(&[]).await;
    let chrome = Chrome::start().await;

    let desk = chrome.window(&society).await;
    desk.sign_in(&society.coordinator).await;
    desk.write_notice("exercise", "安否と施設状況の報告のお願い", BODY).await;
    desk.press("点検して対象を確定する").await;
    desk.shows("24時間の合計が上限（100人）を超えます").await;
    desk.press("承認を依頼する").await;
    desk.shows("2人中 0人が承認しました。").await;
    assert!(!desk.offers(APPROVE).await, "the author never approves");
    assert!(!desk.offers(SEND).await, "nothing is sent without signatures");

    let office = chrome.window(&society).await;
    office.sign_in(&society.approver).await;
    office.keep_picture("approver-asked-to-sign", DESKTOP).await;
    signs(&office, 1).await;
    assert!(!desk.offers(SEND).await, "over the cap, one signature is not enough");
    office.hand_over_to(&society.second_approver).await;
    signs(&office, 2).await;

    // The author's page has been open all the time: the button comes by itself.
    desk.press(SEND).await;
    desk.shows("送信を始めました。").await;
    let author = watches_the_figures_move(&desk).await;
    assert_eq!(author["送信済"], MEMBERS as u64);
    assert_eq!(author["合計"], MEMBERS as u64);
    let mails = society.broadcast(1).dots().await;
    assert_eq!(mails.len(), MEMBERS);
    assert!(mails.iter().all(|mail| mail.subject == "【訓練】安否と施設状況の報告のお願い"));
    desk.close().await;
    office.close().await;
}

async fn signs(office: &Window<'_>, signatures: u32) {
    office.press("内容を見る").await;
    office.press(APPROVE).await;
    office.shows(&format!("2人中 {signatures}人が承認しました。")).await;
    assert!(!office.offers(APPROVE).await, "one person signs once");
}

/// The figures move on the page as it was loaded, and add up whenever they are looked at.
async fn watches_the_figures_move(desk: &Window<'_>) -> std::collections::BTreeMap<String, u64> {
    desk.script("window.neverReloaded = true").await;
    let first = desk.counts().await["送信済"];
    let moved = desk.wait("the figures to move", async || {
        let now = desk.counts().await["送信済"];
        if now > first { Ok(now) } else { Err("they stand still".into()) }
    });
    let moved = moved.await;
    assert_eq!(desk.script("return window.neverReloaded").await, true, "nobody loaded the page anew");
    assert!(moved < MEMBERS as u64, "the figures move while it is being sent, not only at its end");
    desk.shows("完了").await;
    desk.counts().await
}
