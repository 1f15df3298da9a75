//! Audiences: put together, counted, compared, saved; and the difference of a notice by name.

use crate::site::{Browser, Site, encode};
use domain::Role;

/// One row of the form.
fn row(join: &str, field: &str, how: &str, values: &str) -> String {
    format!("join={join}&field={field}&how={how}&values={}", encode(values))
}

async fn form(site: &Site, browser: &Browser, rows: &[String], wish: &str) -> String {
    let typed = format!("{}&compare=&do={wish}", rows.join("&"));
    let answer = site.post_as(browser, "/audiences/new", &typed).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[tokio::test]
async fn an_audience_is_counted_and_compared_before_it_is_saved() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let empty = site.get_as(&browser, "/audiences/new").await.body;
    assert!(empty.contains("values-0") && !empty.contains("values-1"), "{empty}");
    assert!(!empty.contains("この条件で保存する"), "nothing is saved that was not counted");

    let rows = [row("and", "facility", "is", "第0病院\n第1病院")];
    let page = form(&site, &browser, &rows, "count").await;
    assert!(page.contains("施設名が「第0病院・第1病院」") && page.contains("2 <small>"), "{page}");
    assert!(page.contains("K00000 会員 0") && page.contains("K00001 会員 1"), "a sample by name");
    assert!(page.contains("訓練開始のお知らせ") && page.contains("新しく入る人 0人"), "{page}");
    assert!(page.contains("外れる人 48人") && page.contains("ほかに 28人"), "{page}");
    assert!(page.contains("K00002 会員 2") && !page.contains("member0@example.jp"));
    assert!(page.contains("第0病院\n第1病院</textarea>"), "what was typed stays");

    let name = encode("本部の病院");
    let saved = site.post_as(&browser, "/audiences", &format!("{}&name={name}", rows[0])).await;
    assert_eq!(saved.status, 303, "{}", saved.body);
    let place = saved.headers["location"].clone();
    let shown = site.get_as(&browser, &place).await.body;
    assert!(
        shown.contains("配信対象を保存しました") && shown.contains("facility=第0病院|第1病院"),
        "{shown}"
    );
    assert!(shown.contains("まだ使われていません"));
    assert!(site.get_as(&browser, "/broadcasts/new").await.body.contains("value=\"本部の病院\""));
    assert!(site.get_as(&browser, "/members").await.body.contains("href=\"/audiences\""));
    let again = site.post_as(&browser, "/audiences", &format!("{}&name={name}", rows[0])).await;
    assert_eq!(again.status, 422);
    assert!(again.body.contains("同じ名前の配信対象"), "{}", again.body);
    site.end().await;
}

#[tokio::test]
async fn rows_come_and_go_without_a_script() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Engineer).await;
    let rows = [row("and", "facility", "is", "甲"), row("and", "role", "not", "乙")];
    let more = form(&site, &browser, &rows, "or-0").await;
    let joins: Vec<&str> =
        more.split("name=\"join\" value=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!(joins, ["and", "or", "and"], "the new row belongs to the first condition");
    let less = form(&site, &browser, &rows, "remove-0").await;
    assert!(!less.contains("甲</textarea>") && less.contains("乙</textarea>"), "{less}");
    let none = form(&site, &browser, &rows[..1], "remove-0").await;
    assert!(none.contains("今年度の会員全員が対象になります"), "{none}");
    let nonsense = form(&site, &browser, &rows, "remove-99").await;
    assert!(nonsense.contains("甲</textarea>"));
    site.end().await;
}

#[tokio::test]
async fn a_condition_that_cannot_be_meant_is_explained() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let same = [row("and", "facility", "is", "甲"), row("and", "facility", "is", "乙")];
    for (rows, said) in [
        (vec![row("and", "prefecture", "is", "江戸")], "「江戸」という都道府県はありません"),
        (vec![row("and", "facility", "is", " ")], "値を1つ以上"),
        (vec![row("and", "status", "is", "withdrawn")], "条件に使えません"),
        (vec![row("and", "reached-by", "is", "9999")], "番号9999のお知らせはありません"),
        (vec![row("and", "reached-by", "is", "1\n2")], "番号を1つだけ"),
        (same.to_vec(), "「施設名」が2つの条件に分かれて"),
    ] {
        let page = form(&site, &browser, &rows, "count").await;
        assert!(page.contains(said) && !page.contains("この条件で保存する"), "{said}: {page}");
        let name = encode("甲乙");
        let refused = site.post_as(&browser, "/audiences", &format!("{}&name={name}", rows.join("&"))).await;
        assert_eq!(refused.status, 422, "{said}");
        assert!(refused.body.contains(said), "{said}");
    }
    let unnamed = site.post_as(&browser, "/audiences", &format!("{}&name=", same[0])).await;
    assert_eq!(unnamed.status, 422);
    assert_eq!(site.store.audiences().await.expect("listed").len(), 1, "nothing was saved");
    site.end().await;
}

#[tokio::test]
async fn an_onlooker_sees_audiences_and_makes_none() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let viewer = site.sign_in(Role::Viewer).await;
    let list = site.get_as(&viewer, "/audiences").await.body;
    assert!(list.contains("今年度の会員全員") && list.contains("訓練開始のお知らせ"), "{list}");
    assert!(!list.contains("/audiences/new"));
    let all = site.store.audiences().await.expect("listed")[0].id;
    let page = site.get_as(&viewer, &format!("/audiences/{all}")).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("50 <small>") && !page.body.contains("@example.jp"), "{}", page.body);
    assert_eq!(site.get_as(&viewer, "/audiences/999").await.status, 404);
    site.end().await;
}

#[tokio::test]
async fn whoever_signs_can_read_the_difference_by_name() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let (author, approver) = (site.sign_in(Role::Coordinator).await, site.sign_in(Role::Approver).await);
    site.import("会員番号,氏名,メールアドレス,状態\nK00000,会員 0,member0@example.jp,退会\n").await;
    let notice = "nature=exercise&subject=next&body=next&audience=all";
    let made = site.post_as(&author, "/broadcasts", notice).await;
    let place = made.headers["location"].split('?').next().expect("a path").to_owned();
    let difference = format!("{place}/difference");
    assert_eq!(site.get_as(&author, &difference).await.status, 404, "nothing is frozen yet");
    assert_eq!(site.post_as(&author, &format!("{place}/preflight"), "").await.status, 303);
    let page = site.get_as(&approver, &place).await.body;
    assert!(page.contains(&difference), "{page}");
    let shown = site.get_as(&approver, &difference).await.body;
    assert!(shown.contains("新しく入る人 0人") && shown.contains("外れる人 1人"), "{shown}");
    assert!(shown.contains("K00000 会員 0") && !shown.contains("K00001"), "{shown}");
    site.end().await;
}
