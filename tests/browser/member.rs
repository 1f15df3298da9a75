//! A member's phone: no login, no script, one thing to do.

use crate::{
    chrome::Chrome,
    scene::{begin_drill, write_drill},
    window::{PHONE, PHONE_HEIGHT},
};
use domain::MemberId;
use hansho_tests::Society;

const NOT_REPORTED: &str = "まだ報告されていません";
const REPORTED: &str = "報告済み";

#[tokio::test(flavor = "multi_thread")]
async fn a_member_reports_with_one_tap() {
    let society = Society::of(5).await;
    let _service = society.serve(&[]).await;
    let drill = write_drill(&society).await;
    let notice = begin_drill(&society, drill).await;
    let mail = notice.dots().await.swap_remove(2);
    let link = mail.link().expect("a personal link").to_owned();
    let row = notice.ledger().await.into_iter().find(|row| row.message_id == mail.message_id);
    let member = MemberId::new(row.expect("a row of the ledger").member_id);
    let answered = async || {
        let response = society.store().response(notice.id(), member).await;
        response.expect("answers can be read").map(|response| response.answers["safety"].clone())
    };

    let chrome = Chrome::start().await;
    let phone = chrome.window_without_javascript(&society).await;
    phone.resize(PHONE, PHONE_HEIGHT).await;
    phone.goto(&link).await;
    phone.shows(NOT_REPORTED).await;
    assert!(phone.text().await.contains("実際の災害ではありません"), "the drill says that it is one");
    assert!(fits_the_screen(&phone, ".state").await, "the state is seen without scrolling");
    phone.keep_picture("member-before", PHONE).await;
    phone.press("報告する").await;
    phone.shows("「ご無事ですか」に答えてください。").await;
    assert_eq!(answered().await, None, "an empty sheet is no report");

    phone.choose("safety", "safe").await;
    phone.press("報告する").await;
    phone.shows(REPORTED).await;
    assert_eq!(answered().await.as_deref(), Some("safe"), "it is stored when the page says so");
    phone.goto(&link).await;
    phone.shows(REPORTED).await;
    assert!(!phone.text().await.contains(NOT_REPORTED));
    phone.keep_picture("member-after", PHONE).await;

    phone.press("報告を変える").await;
    phone.choose("safety", "hurt").await;
    phone.press("内容を変えて報告し直す").await;
    phone.hides("内容を変えて報告し直す").await;
    phone.shows("負傷あり").await;
    assert_eq!(answered().await.as_deref(), Some("hurt"));
    phone.press("English").await;
    phone.shows("Reported").await;
    phone.shows("EXERCISE").await;
    phone.press("日本語").await;
    phone.shows(REPORTED).await;
    phone.close().await;
}

async fn fits_the_screen(phone: &crate::window::Window<'_>, selector: &str) -> bool {
    let script = format!(
        "const box = document.querySelector('{selector}').getBoundingClientRect();\
         return box.top >= 0 && box.bottom <= {PHONE_HEIGHT} && box.right <= {PHONE}"
    );
    phone.script(&script).await == true
}
