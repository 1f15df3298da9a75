//! Nobody may take a drill for the real thing, or the real thing for a drill.

use crate::{
    chrome::Chrome,
    window::{DESKTOP, Window},
};
use domain::BroadcastState;
use hansho_tests::Society;
use serde_json::Value;
use std::collections::BTreeSet;

const BODY: &str = "{{name}} 様\n\n避難所の状況を知らせてください。";
const AS_ACTUAL: &str = "実災害のお知らせとして承認する";

#[tokio::test(flavor = "multi_thread")]
async fn the_three_natures_cannot_be_confused() {
    let society = Society::of(5).await;
    let _member = society.hansho(&["member", "test", "add", "m0001"]).by(&society.engineer).await.done();
    let _service = society.serve(&[]).await;
    let chrome = Chrome::start().await;
    let desk = chrome.window(&society).await;
    desk.sign_in(&society.coordinator).await;
    let mut pages = Vec::new();
    for nature in ["exercise", "test", "actual"] {
        desk.open("/").await;
        desk.write_notice(nature, "状況の報告", BODY).await;
        desk.press("点検して対象を確定する").await;
        desk.press("承認を依頼する").await;
        desk.shows("承認を依頼しました。").await;
        pages.push(desk.path().await.split('?').next().expect("a path").to_owned());
    }

    desk.hand_over_to(&society.approver).await;
    let mut looks = Vec::new();
    for (page, (word, sentence)) in pages.iter().zip([
        ("訓練", "実際の災害ではありません"),
        ("試験", "試験用名簿の人だけに届きます"),
        ("実災害", "本物の情報です。訓練ではありません。"),
    ]) {
        desk.open(page).await;
        desk.shows(sentence).await;
        assert!(desk.title().await.starts_with(&format!("{word} | ")), "the tab says it, too");
        looks.push(look(&desk).await);
        desk.keep_picture(&format!("signing-{word}"), DESKTOP).await;
    }
    for property in 0..looks[0].len() {
        let distinct: BTreeSet<&str> = looks.iter().map(|look| look[property].as_str()).collect();
        assert_eq!(distinct.len(), 3, "word, ground, pattern and edge all differ: {looks:?}");
    }

    for page in &pages[..2] {
        desk.open(page).await;
        assert!(!desk.offers(AS_ACTUAL).await);
        assert_eq!(desk.script("return document.querySelector('[name=confirmation]')").await, Value::Null);
    }
    real_needs_its_word(&society, &desk, &pages[2]).await;
    desk.close().await;
}

/// The band: its word, ground, pattern and edge.
async fn look(desk: &Window<'_>) -> [String; 4] {
    [
        desk.script("return document.querySelector('.nature b').textContent").await.to_string(),
        desk.style(".nature", "background-color").await + &desk.style(".nature", "color").await,
        desk.style(".nature", "background-image").await,
        desk.style(".nature", "border-bottom").await,
    ]
}

async fn real_needs_its_word(society: &Society, desk: &Window<'_>, page: &str) {
    let number = page.rsplit('/').next().and_then(|number| number.parse().ok()).expect("a number");
    let real = society.broadcast(number);
    desk.open(page).await;
    let complete = "return document.querySelector('[name=confirmation]').form.checkValidity()";
    assert_eq!(desk.script(complete).await, false, "the browser itself asks for the word");
    for wrong in ["", "訓練", "はい"] {
        desk.open(page).await;
        // Whoever gets around the browser meets the same rule behind it.
        desk.script("document.querySelector('[name=confirmation]').required = false").await;
        desk.fill("confirmation", wrong).await;
        desk.press(AS_ACTUAL).await;
        desk.shows("実災害のお知らせの承認には、確認の言葉が必要です。").await;
        assert_eq!(real.state().await, BroadcastState::AwaitingApproval);
    }
    desk.press("戻る").await;
    desk.fill("confirmation", "実災害").await;
    desk.press(AS_ACTUAL).await;
    desk.shows("1人中 1人が承認しました。").await;
    assert_eq!(real.state().await, BroadcastState::Approved);
}
