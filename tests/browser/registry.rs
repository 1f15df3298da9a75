//! The office's work: a roster, an audience, a member who wants to be forgotten.

use crate::{chrome::Chrome, window::Window};
use domain::PREFECTURES;
use hansho_tests::{PATIENCE, Society, until};
use std::fmt::Write;

const MEMBERS: usize = 200;
const DESKTOP: u32 = 1_280;
const PHONE: u32 = 390;

/// The year's whole roster once more: the last thirty are gone, one has moved, one is new, one row is
/// broken and one address looks like a slip of the finger.
fn next_roster() -> String {
    let mut text = "会員番号,氏名,フリガナ,メールアドレス,都道府県,施設名,役割,状態\n".to_owned();
    for n in 1..=MEMBERS - 30 {
        let (facility, prefecture) = (format!("第{}病院", n % 97 + 1), PREFECTURES[n % PREFECTURES.len()]);
        let (facility, address) = match n {
            7 => ("市立ひかり病院".to_owned(), "moved7@example.jp".to_owned()),
            9 => (facility, "m0009@gamil.com".to_owned()),
            _ => (facility, format!("m{n:04}@example.jp")),
        };
        let _infallible =
            writeln!(text, "m{n:04},看護 m{n:04},カンゴ,{address},{prefecture},{facility},会員,正会員");
    }
    text + "ｍ９００１,新人　花子,ｼﾝｼﾞﾝ ﾊﾅｺ,hanako@example.jp,宮城,中央病院,会員,正会員\n\
            m9002,佐藤 次郎,,jiro@@example.jp,宮城県,中央病院,会員,正会員\n"
}

async fn pictures(window: &Window<'_>, name: &str) {
    window.keep_picture(&format!("{name}-desk"), DESKTOP).await;
    window.keep_picture(&format!("{name}-phone"), PHONE).await;
    window.resize(DESKTOP, 900).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roster_is_looked_at_confirmed_by_another_and_written() {
    let society = Society::of(MEMBERS).await;
    let _service = society.serve(&[]).await;
    let chrome = Chrome::start().await;
    let window = chrome.window(&society).await;
    let file = society.path("令和8年度 会員名簿.csv");
    std::fs::write(&file, next_roster()).expect("a roster can be written");

    window.sign_in(&society.coordinator).await;
    window.open("/members").await;
    window.press("名簿を取り込む").await;
    window.choose("mode", "full").await;
    window.attach(&file).await;
    pictures(&window, "import-form").await;
    window.press("何が変わるかを見る").await;
    window.shows("もう1人の確認が必要です").await;
    let text = window.text().await;
    assert!(text.contains("moved7@example.jp") && text.contains("市立ひかり病院"), "{text}");
    assert!(!window.offers("この内容で取り込む").await, "not without the other one");
    pictures(&window, "import-plan").await;
    let plan = window.path().await;

    window.hand_over_to(&society.approver).await;
    window.open(&format!("{plan}?show=left")).await;
    window.shows("m0200").await;
    pictures(&window, "import-confirm").await;
    window.press("一覧を確かめた。取り込みを認める").await;
    window.shows("取り込みを認めました。").await;

    window.hand_over_to(&society.coordinator).await;
    window.open(&plan).await;
    window.press("この内容で取り込む").await;
    window.shows("名簿を取り込みました。").await;
    window.open("/members?q=新人花子").await;
    window.shows("m9001").await;
    assert!(window.complaints().await.is_empty());
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audience_is_put_together_counted_and_saved() {
    let society = Society::of(MEMBERS).await;
    let _service = society.serve(&[]).await;
    let chrome = Chrome::start().await;
    let window = chrome.window(&society).await;
    window.sign_in(&society.coordinator).await;
    window.open("/audiences").await;
    window.press("配信対象を作る").await;
    window.fill("values", "宮城県、岩手県").await;
    window.press("数える").await;
    window.shows("この条件の対象").await;
    pictures(&window, "audience-new").await;
    window.fill("name", "東北の2県").await;
    window.press("この条件で保存する").await;
    window.shows("配信対象を保存しました。").await;
    pictures(&window, "audience").await;
    let made = society.hansho(&["audience", "show", "東北の2県"]).await.done();
    let of_two = (1..=MEMBERS).filter(|n| matches!(PREFECTURES[n % 47], "宮城県" | "岩手県")).count();
    assert_eq!(made["count"], of_two);
    window.fill("name", "東北").await;
    window.press("名前を変える").await;
    window.shows("配信対象の名前を変えました。").await;
    window.press("削除する…").await;
    window.shows("この配信対象を削除しますか").await;
    pictures(&window, "audience-delete").await;
    window.press("「東北」を削除する").await;
    window.shows("配信対象を削除しました。").await;
    window.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_forgotten_from_the_members_page() {
    let society = Society::of(20).await;
    let _service = society.serve(&[]).await;
    let chrome = Chrome::start().await;
    let window = chrome.window(&society).await;
    window.sign_in(&society.coordinator).await;
    window.open("/members?q=m0003").await;
    window.press("m0003").await;
    pictures(&window, "member").await;
    window.press("個人情報を削除する…").await;
    window.shows("看護 m0003").await;
    pictures(&window, "member-erase").await;
    window.press("m0003 看護 m0003 の個人情報を削除する").await;
    window.shows("個人情報の削除を受け付けました。").await;
    until("nobody to be found by that number", PATIENCE * 4, async || {
        let left = society.hansho(&["member", "list", "m0003"]).await.done();
        (left["total"] == 0).then_some(())
    })
    .await;
    window.open("/retention").await;
    pictures(&window, "retention").await;
    window.close().await;
}
