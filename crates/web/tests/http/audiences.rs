//! Audiences: put together, counted, compared, saved, renamed, deleted; and the difference of a notice by
//! name.

use crate::site::{Browser, Site, encode};
use domain::{Actor, Role};
use registry::Condition;
use sea_orm::ConnectionTrait;
use std::time::Duration;

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

/// Saves an audience; its page.
async fn saved(site: &Site, browser: &Browser, name: &str, row: &str) -> String {
    let saved = site.post_as(browser, "/audiences", &format!("{row}&name={}", encode(name))).await;
    assert_eq!(saved.status, 303, "{}", saved.body);
    saved.headers["location"].split('?').next().expect("a path").to_owned()
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
        (vec![row("and", "facility", "is", "\"甲, 乙")], "で閉じ、そのあとは"),
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
async fn a_value_with_a_comma_stands_in_quotation_marks() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let roster = "会員番号,氏名,メールアドレス,施設名\nK00000,会員 0,member0@example.jp,\"A, B病院\"\n";
    site.import(roster).await;
    let rows = [row("and", "facility", "is", "\"A, B病院\", 第1病院")];
    let page = form(&site, &browser, &rows, "count").await;
    assert!(page.contains("施設名が「A, B病院・第1病院」") && page.contains("2 <small>"), "{page}");
    assert!(page.contains("&#34;A, B病院&#34;, 第1病院</textarea>"), "what was typed stays: {page}");

    let place = saved(&site, &browser, "本部", &rows[0]).await;
    let shown = site.get_as(&browser, &place).await.body;
    assert!(shown.contains("facility=&#34;A, B病院&#34;|第1病院"), "{shown}");
    assert!(shown.contains("保存した条件は変えられません"), "{shown}");
    let again = "&#34;A, B病院&#34;\n第1病院";
    assert!(shown.contains(&format!("name=\"values\" value=\"{again}\"")), "{shown}");
    let next = row("and", "facility", "is", "\"A, B病院\"\n第1病院");
    let begun = site.post_as(&browser, "/audiences/new", &next).await;
    assert!(begun.status == 200 && begun.body.contains(&format!("{again}</textarea>")), "{}", begun.body);

    let stored = site.store.audience("本部").await.expect("read").expect("it exists").filter;
    let written: Condition = stored.to_string().parse().expect("as behind --where");
    assert_eq!(registry::filter_from(&site.store, &[written]).await.expect("a filter"), stored);
    site.end().await;
}

#[tokio::test]
async fn an_audience_is_renamed_and_deleted_once_nothing_waits_for_it() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let place = saved(&site, &browser, "本部", &row("and", "facility", "is", "第0病院")).await;
    let (rename, delete) = (format!("{place}/rename"), format!("{place}/delete"));
    let notice = format!("nature=exercise&subject=next&body=next&audience={}", encode("本部"));
    let made = site.post_as(&browser, "/broadcasts", &notice).await;
    let broadcast = made.headers["location"].split('?').next().expect("a path").to_owned();
    let name = |name: &str| format!("name={}", encode(name));

    let page = site.get_as(&browser, &place).await.body;
    assert!(page.contains(&format!("href=\"{broadcast}\"")), "what is in the way: {page}");
    assert!(!page.contains(&rename) && !page.contains(&delete), "{page}");
    for path in [&rename, &delete] {
        let refused = site.post_as(&browser, path, &name("支部")).await;
        assert_eq!(refused.status, 409, "{path}");
        assert!(refused.body.contains(&format!("href=\"{place}\"")), "back to what is in the way");
    }
    assert_eq!(site.get_as(&browser, &delete).await.status, 409);
    let cancelled = site.post_as(&browser, &format!("{broadcast}/cancel"), "reason=x").await;
    assert_eq!(cancelled.status, 303);

    for (wrong, said) in [(name(" "), "60文字以内"), (name("all"), "同じ名前の配信対象")] {
        let refused = site.post_as(&browser, &rename, &wrong).await;
        assert!(refused.status == 422 && refused.body.contains(said), "{said}: {}", refused.body);
        let before_the_conditions = refused.body.split("<section").next().expect("a page");
        assert!(before_the_conditions.contains(said), "{said}: {}", refused.body);
        assert!(refused.body.contains("aria-invalid=\"true\""), "{}", refused.body);
    }
    let renamed = site.post_as(&browser, &rename, &name("支部")).await;
    assert_eq!(renamed.headers["location"], format!("{place}?said=audience-renamed"));
    let page = site.get_as(&browser, &renamed.headers["location"]).await.body;
    assert!(page.contains("<h1>支部</h1>") && page.contains("名前を変えました"), "{page}");
    assert!(site.get_as(&browser, &broadcast).await.body.contains("本部"), "it keeps the name it had");

    let asked = site.get_as(&browser, &delete).await.body;
    assert!(asked.contains("「支部」を削除する") && asked.contains("施設名が「第0病院」"), "{asked}");
    assert!(site.store.audience("支部").await.expect("read").is_some(), "looking deletes nothing");
    let deleted = site.post_as(&browser, &delete, "").await;
    assert_eq!(deleted.headers["location"], "/audiences?said=audience-deleted");
    assert_eq!(site.get_as(&browser, &place).await.status, 404);
    assert_eq!(site.get_as(&browser, "/audiences/1/delete").await.status, 409, "everybody stays");
    site.end().await;
}

#[tokio::test]
async fn an_audience_that_a_notice_went_to_keeps_its_name_and_may_be_deleted_by_two() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let place = saved(&site, &browser, "本部", &row("and", "facility", "is", "第0病院")).await;
    let (rename, delete) = (format!("{place}/rename"), format!("{place}/delete"));
    assert!(site.get_as(&browser, &place).await.body.contains(&rename), "nothing went to it yet");
    let sent = format!("UPDATE broadcast SET audience = '{{\"named\":\"本部\"}}' WHERE id = {}", site.sent);
    site.store.connection().execute_unprepared(&sent).await.expect("updated");
    let page = site.get_as(&browser, &place).await.body;
    assert!(!page.contains(&rename) && page.contains(&delete), "{page}");
    assert!(page.contains("名前は変えられません") && page.contains("この条件をもとに新しく作る"), "{page}");
    let name = format!("name={}", encode("支部"));
    assert_eq!(site.post_as(&browser, &rename, &name).await.status, 409);
    assert!(site.store.audience("本部").await.expect("read").is_some());

    let deleted = site.post_as(&browser, &delete, "").await;
    assert_eq!(deleted.headers["location"], "/audiences?said=audience-deleted");
    for late in [&delete, &rename] {
        let gone = site.post_as(&browser, late, &name).await;
        assert_eq!((gone.status, gone.headers["location"].as_str()), (303, "/audiences?said=audience-gone"));
    }
    let list = site.get_as(&browser, "/audiences?said=audience-gone").await.body;
    assert!(list.contains("すでに削除されています"), "{list}");
    site.end().await;
}

#[tokio::test]
async fn all_conditions_that_an_audience_can_have_fit_into_the_form() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let rows: Vec<String> = (0..50)
        .map(|n| row(if n == 0 { "and" } else { "or" }, "facility", "is", &format!("第{n}病院")))
        .collect();
    let page = form(&site, &browser, &rows, "count").await;
    assert!(page.contains("50 <small>"), "{page}");
    let place = saved(&site, &browser, "全部", &format!("{}&compare=", rows.join("&"))).await;
    assert!(site.get_as(&browser, &place).await.body.contains("この条件をもとに新しく作る"));
    site.end().await;
}

#[tokio::test]
async fn the_form_offers_fields_that_can_be_asked_for_only() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let fields = "INSERT INTO member_field (name, kind) VALUES ('勤務形態', 'text'), ('施設名', 'text'), \
                  ('年度', 'text')";
    site.store.connection().execute_unprepared(fields).await.expect("inserted");
    let page = site.get_as(&browser, "/audiences/new").await.body;
    assert!(page.contains("value=\"勤務形態\"") && page.contains("value=\"facility\""), "{page}");
    assert!(!page.contains("value=\"施設名\"") && !page.contains("value=\"年度\""), "{page}");
    site.end().await;
}

#[tokio::test]
async fn the_list_counts_anew_when_the_roster_changed_and_only_then() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let holds = async |browser: &Browser, n: u32| {
        let list = site.get_as(browser, "/audiences").await.body;
        assert!(list.contains(&format!("<span class=\"figure\">{n} 人</span>")), "{n}: {list}");
    };
    holds(&browser, 50).await;
    let behind_its_back = "DELETE FROM membership WHERE member_id = (SELECT MIN(id) FROM member)";
    site.store.connection().execute_unprepared(behind_its_back).await.expect("deleted");
    holds(&browser, 50).await;
    site.import("会員番号,氏名,メールアドレス,状態\nK00001,会員 1,member1@example.jp,退会\n").await;
    holds(&browser, 48).await;

    site.import("会員番号,氏名,メールアドレス\nK99999,新人 一,new@example.jp\n").await;
    holds(&browser, 49).await;
    let number = "K99999".parse().expect("a number");
    let member = site.store.member_by_no(&number).await.expect("read").expect("it exists").member.id;
    let (engineer, now) = (Actor::LocalEngineer, domain::Clock::now(&*site.clock));
    site.store.ask_erasure(engineer, member, now).await.expect("asked");
    let waits_for = site.store.erase(engineer, &site.keyring, member, now).await.expect("erased");
    assert_eq!(waits_for, []);
    holds(&browser, 48).await;

    let reached = row("and", "reached-by", "is", &site.sent.to_string());
    let place = saved(&site, &browser, "届いた人", &reached).await;
    let list = site.get_as(&browser, "/audiences").await.body;
    assert!(list.contains("開くと数えます"), "every mail could change it: {list}");
    assert!(site.get_as(&browser, &place).await.body.contains("<small>人</small>"));
    site.clock.advance(Duration::from_secs(366 * 86_400));
    holds(&site.sign_in(Role::Coordinator).await, 0).await;
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
    assert!(!page.body.contains("保存した条件は変えられません"), "nor does anybody change them");
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
