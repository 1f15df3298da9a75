//! Rosters by the dashboard: looked at, confirmed, written; and files that are none.

use crate::site::{Answer, Browser, Site, between, encode};
use domain::{Actor, Clock, FiscalYear, Role};
use sea_orm::ConnectionTrait;
use std::{collections::BTreeSet, fs, path::PathBuf};
use store::NewImport;

const HEADINGS: &str = "会員番号,氏名,メールアドレス,施設名";

/// Every file of `tests/fixtures/bad_rosters`, and what a person is told in Japanese and in English.
const BAD: [(&str, &str, &str); 20] = [
    ("archive.zip", "Excel ではない ZIP ファイル", "a ZIP file that is no Excel workbook"),
    ("blank.csv", "空です", "it is empty"),
    ("cut-off-workbook.xlsx", "Excel ファイルとして読めません", "cannot be read as an Excel workbook"),
    (
        "damaged-shift_jis.csv",
        "4行目に、Shift_JIS として",
        "Row 4 has characters that are not readable as Shift_JIS",
    ),
    ("damaged-utf8.csv", "3行目に、UTF-8 として", "Row 3 has characters that are not readable as UTF-8"),
    ("document.pdf", "これはPDFです", "This is a PDF"),
    ("empty-workbook.xlsx", "空です", "it is empty"),
    ("empty.csv", "空です", "it is empty"),
    ("letter.rtf", "Word の文書", "a Word document"),
    ("many-columns.csv", "見出しが100個を超えています", "more than 100 headings"),
    (
        "missing-heading.csv",
        "見出し「会員番号 (member_no)」がありません",
        "The heading 会員番号 (member_no) is missing",
    ),
    ("no-headings.csv", "1行目が見出しではありません", "The first row holds no headings"),
    ("not-one-row.csv", "取り込める行がありません", "Not one row can be taken"),
    ("old-excel.xls", "古い形式の Excel ファイル", "an old Excel file (.xls)"),
    ("only-headings.csv", "会員の行がありません", "headings, but no members"),
    ("open-quotation.csv", "2行目のセルが長すぎます", "A cell in row 2 is far too long"),
    ("picture.csv", "文字のファイルではない", "not a text"),
    ("reserved-heading.csv", "見出し「link」は", "A column cannot be called “link”"),
    (
        "same-heading-twice.csv",
        "「メールアドレス」と「Email」は同じ意味です",
        "“メールアドレス” and “Email” mean the same",
    ),
    ("web-page.csv", "Web ページまたは XML", "a web page or XML"),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/bad_rosters")
}

fn fields<'a>(browser: &'a Browser, mode: &'a str) -> [(&'a str, &'a str); 3] {
    [("form_token", &browser.form_token), ("mode", mode), ("year", "2026")]
}

/// The page that a person sees after sending a file.
async fn after_upload(site: &Site, browser: &Browser, lang: &str, mode: &str, file: (&str, &[u8])) -> Answer {
    let cookies = format!("{}; hansho_language={lang}", browser.cookie);
    let answer = site.upload(&cookies, &fields(browser, mode), file).await;
    match answer.headers.get("location") {
        Some(place) => site.request(&format!("GET {place}"), &[("Cookie", &cookies)], "").await,
        None => answer,
    }
}

/// Sends a roster that can be planned; the path of its plan.
async fn planned(site: &Site, browser: &Browser, mode: &str, text: &str) -> String {
    let answer = site.upload(&browser.cookie, &fields(browser, mode), ("名簿.csv", text.as_bytes())).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    answer.headers["location"].clone()
}

async fn registry(site: &Site) -> String {
    let members = site.store.members_with_years(domain::MemberId::new(0), 1_000).await.expect("members");
    format!("{members:?}")
}

#[tokio::test]
async fn every_file_that_is_no_roster_is_explained_and_changes_nothing() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let before = registry(&site).await;
    let entries = fs::read_dir(folder()).expect("the folder of bad rosters");
    let there: BTreeSet<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    let told: BTreeSet<String> = BAD.iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(there, told, "each has its words");
    for (name, japanese, english) in BAD {
        let file = fs::read(folder().join(name)).expect("a file");
        for (lang, words) in [("ja", japanese), ("en", english)] {
            let page = after_upload(&site, &browser, lang, "full", (name, &file)).await;
            assert!(page.body.contains(words), "{name}: {words:?} in {}", page.body);
            assert!(!page.body.contains("取り込む</button>"), "{name} cannot be imported");
        }
    }
    assert_eq!(registry(&site).await, before);
    site.end().await;
}

#[tokio::test]
async fn every_row_that_is_not_taken_has_its_reason() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let file = fs::read(folder().join("not-one-row.csv")).expect("a file");
    let answer = site.upload(&browser.cookie, &fields(&browser, "merge"), ("x.csv", &file)).await;
    let page = site.get_as(&browser, &format!("{}?show=rejected", answer.headers["location"])).await.body;
    for words in [
        "2行目",
        "会員番号がないか",
        "氏名がないか",
        "@ は1つだけ",
        "年度を読み取れません",
        "正会員・賛助会員",
        "#REF!",
        "見出しより多くのセル",
    ] {
        assert!(page.contains(words), "{words:?} in {page}");
    }
    site.end().await;
}

#[tokio::test]
async fn a_roster_is_looked_at_field_by_field_before_it_is_written() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let text = format!(
        "{HEADINGS}\nK00000,会員 0,member0@example.jp,中央病院\nK00001,会員 1,new@example.jp,第1病院\n\
         Ｋ9,新人 花子,hanako@gamil.com,第九病院\nK00002,会員 2,broken@@example.jp,第2病院\n"
    );
    let before = registry(&site).await;
    let plan = planned(&site, &browser, "merge", &text).await;
    let page = site.get_as(&browser, &plan).await.body;
    for words in [
        "<del>第0病院</del> → <ins>中央病院</ins>",
        "<del>member1@example.jp</del> → <ins>new@example.jp</ins>",
        "変更 2",
        "追加 1",
        "取り込めない行 1",
        "確認したい行 1",
        "会員番号 1",
        "この内容で取り込む",
    ] {
        assert!(page.contains(words), "{words:?} in {page}");
    }
    let noted = site.get_as(&browser, &format!("{plan}?show=noted")).await.body;
    assert!(noted.contains("「gmail.com」ではありませんか"), "{noted}");
    assert_eq!(registry(&site).await, before, "looking changes nothing");
    let done = site.post_as(&browser, &format!("{plan}/apply"), "").await;
    assert_eq!(done.headers["location"], format!("{plan}?said=imported"));
    let member = site.store.member_by_no(&"K9".parse().expect("a number")).await.expect("read");
    assert_eq!(member.expect("added").member.data.name, "新人 花子");
    let after = site.get_as(&browser, &plan).await.body;
    assert!(after.contains("取り込み済み") && !after.contains("新人 花子"), "{after}");
    let again = planned(&site, &browser, "merge", &text).await;
    let again = site.get_as(&browser, &again).await.body;
    assert!(again.contains("変更 0") && again.contains("追加 0"), "{again}");
    site.end().await;
}

#[tokio::test]
async fn where_many_would_leave_a_second_person_confirms() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let author = site.sign_in(Role::Coordinator).await;
    let mut text = format!("{HEADINGS}\n");
    for n in 0..30 {
        text += &format!("K{n:05},会員 {n},other{n}@example.jp,第{n}病院\n");
    }
    let plan = planned(&site, &author, "full", &text).await;
    let page = site.get_as(&author, &plan).await.body;
    assert!(page.contains("20人が 2026年度の会員から外れます"), "{page}");
    assert!(!page.contains("この内容で取り込む") && !page.contains("取り込みを認める"), "{page}");
    let leavers = site.get_as(&author, &format!("{plan}?show=left")).await.body;
    assert!(leavers.contains("K00049 会員 49") && !leavers.contains("K00029"), "{leavers}");
    for step in ["apply", "confirm"] {
        assert_eq!(site.post_as(&author, &format!("{plan}/{step}"), "").await.status, 403, "{step}");
    }

    let approver = site.sign_in(Role::Approver).await;
    let seen = site.get_as(&approver, &plan).await.body;
    assert!(seen.contains("取り込みを認める") && !seen.contains("other1@example.jp"), "{seen}");
    let confirmed = site.post_as(&approver, &format!("{plan}/confirm"), "").await;
    assert_eq!(confirmed.status, 303, "{}", confirmed.body);
    assert_eq!(site.post_as(&approver, &format!("{plan}/apply"), "").await.status, 403);
    assert!(site.get_as(&author, &plan).await.body.contains("この内容で取り込む"));
    assert_eq!(site.post_as(&author, &format!("{plan}/apply"), "").await.status, 303);
    let year = domain::FiscalYear::new(2026);
    assert_eq!(site.store.member_counts(year).await.expect("counts").current, 30);
    site.end().await;
}

#[tokio::test]
async fn where_a_kind_empties_a_field_of_many_a_second_person_confirms() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let author = site.sign_in(Role::Coordinator).await;
    let row = |n: u32| format!("K{n:05},会員 {n},member{n}@example.jp,第{n}班\n");
    let text = format!("会員番号,氏名,メールアドレス,備考\n{}", (0..20).map(row).collect::<String>());
    let form = format!("heading={}&meaning=date", encode("備考"));
    assert_eq!(site.post_as(&author, "/imports/columns", &form).await.status, 303);
    let plan = planned(&site, &author, "merge", &text).await;
    let page = site.get_as(&author, &plan).await.body;
    assert_eq!(page.matches("20人の「備考」が空欄になります").count(), 2, "said, and a reason: {page}");
    assert!(page.contains("もう1人の確認が必要です") && !page.contains("この内容で取り込む"), "{page}");
    assert_eq!(site.post_as(&author, &format!("{plan}/apply"), "").await.status, 403);
    site.end().await;
}

#[tokio::test]
async fn headings_of_ones_own_are_explained_once() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let file = fs::read(folder().join("missing-heading.csv")).expect("a file");
    let page = after_upload(&site, &browser, "ja", "merge", ("名簿.csv", &file)).await;
    assert_eq!(page.status, 422);
    assert!(
        page.body.contains("見出しの意味を選ぶ") && page.body.contains("value=\"連絡先\""),
        "{}",
        page.body
    );
    assert!(page.body.contains("<option value=\"\">自動（いま: 氏名）</option>"), "{}", page.body);
    let form = ["番号", "氏名", "連絡先"].map(|heading| format!("heading={}", encode(heading)));
    let form = format!("{}&meaning=member_no&{}&meaning=&{}&meaning=address", form[0], form[1], form[2]);
    assert_eq!(site.post_as(&browser, "/imports/columns", &form).await.status, 303);
    let page = after_upload(&site, &browser, "ja", "merge", ("名簿.csv", &file)).await;
    assert!(page.body.contains("追加 1"), "{}", page.body);
    let bad = format!("heading={}&meaning=password", encode("番号"));
    assert_eq!(site.post_as(&browser, "/imports/columns", &bad).await.status, 400);
    site.end().await;
}

#[tokio::test]
async fn a_plan_shows_what_its_headings_were_read_as_and_goes_when_they_mean_something_else() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let text = "会員番号,氏名,メールアドレス,更新期限\nK00000,会員 0,member0@example.jp,R8.4.1\n";
    let fields = [("form_token", browser.form_token.as_str()), ("mode", "full"), ("year", "2025")];
    let planned = async || {
        let answer = site.upload(&browser.cookie, &fields, ("名簿.csv", text.as_bytes())).await;
        answer.headers["location"].clone()
    };
    let plan = planned().await;
    let page = site.get_as(&browser, &plan).await.body;
    for now in ["会員番号", "氏名", "メールアドレス", "自由な項目（文字）"] {
        assert!(page.contains(&format!("<option value=\"\">自動（いま: {now}）</option>")), "{now}: {page}");
    }
    let id = plan.trim_start_matches("/imports/");
    for hidden in [("plan", id), ("mode", "full"), ("year", "2025")].map(hidden_field) {
        assert!(page.contains(&hidden), "{hidden} in {page}");
    }

    // A heading that the registry has as its own: the mistake stands beside it, and nothing is done.
    let form = |heading: &str, meaning: &str| {
        format!("plan={id}&mode=full&year=2025&heading={}&meaning={meaning}", encode(heading))
    };
    let refused = site.post_as(&browser, "/imports/columns", &form("施設名", "date")).await;
    assert_eq!(refused.status, 422);
    let body = &refused.body;
    assert!(
        body.contains("見出し「施設名」は") && body.contains("<option value=\"date\" selected>"),
        "{body}"
    );
    assert!(body.contains(&hidden_field(("plan", id))), "{body}");
    assert!(site.store.column_meanings().await.expect("read").is_empty());
    assert_eq!(site.get_as(&browser, &plan).await.status, 200);

    let saved = site.post_as(&browser, "/imports/columns", &form("更新期限", "date")).await;
    let place = saved.headers["location"].clone();
    assert_eq!(place, "/imports?said=columns-plan-dropped&mode=full&year=2025");
    assert_eq!(site.get_as(&browser, &plan).await.status, 404);
    let list = site.get_as(&browser, &place).await.body;
    for words in ["それまでの読み取りは破棄しました", "value=\"full\" checked", "required value=\"2025\""]
    {
        assert!(list.contains(words), "{words} in {list}");
    }
    let plan = planned().await;
    let page = site.get_as(&browser, &plan).await.body;
    assert!(page.contains("<option value=\"date\" selected>"), "{page}");
    // What somebody else did with the plan meanwhile stands in nobody's way.
    assert_eq!(site.post_as(&browser, &format!("{plan}/drop"), "").await.status, 303);
    let form = format!("plan={}&mode=merge&year=2026", plan.trim_start_matches("/imports/"));
    let late = site.post_as(&browser, "/imports/columns", &form).await;
    assert_eq!(late.headers["location"], "/imports?said=columns-remembered&mode=merge&year=2026");
    let broken = site.upload(&browser.cookie, &fields, ("x.csv", "番号,氏名\n1,a\n".as_bytes())).await.body;
    assert!(broken.contains("value=\"full\" checked"), "{broken}");
    assert!(broken.contains(&hidden_field(("year", "2025"))), "{broken}");
    site.end().await;
}

fn hidden_field((name, value): (&str, &str)) -> String {
    format!("<input type=\"hidden\" name=\"{name}\" value=\"{value}\">")
}

#[tokio::test]
async fn a_column_of_dates_is_chosen_checked_and_told_to_those_who_write() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let text = "会員番号,氏名,メールアドレス,更新期限\nK00000,会員 0,member0@example.jp,R8.4.1\n\
                K00001,会員 1,member1@example.jp,来月\n";
    let plan = planned(&site, &browser, "merge", text).await;
    let page = site.get_as(&browser, &plan).await.body;
    assert!(page.contains("見出しの意味を変える") && page.contains("value=\"date\""), "{page}");
    let form = format!("heading={}&meaning=date", encode("更新期限"));
    assert_eq!(site.post_as(&browser, "/imports/columns", &form).await.status, 303);
    let plan = planned(&site, &browser, "merge", text).await;
    let page = site.get_as(&browser, &plan).await.body;
    assert!(page.contains("更新期限 → 更新期限（日付）"), "{page}");
    assert!(page.contains("<ins>2026-04-01</ins>") && !page.contains("来月"), "{page}");
    assert!(page.contains("1人の「更新期限」が空欄になります"), "{page}");
    for (lang, words) in [
        ("ja", "「更新期限」の値を日付として読み取れません"),
        ("en", "The value of “更新期限” cannot be read as a date"),
    ] {
        let cookies = format!("{}; hansho_language={lang}", browser.cookie);
        let noted = site.request(&format!("GET {plan}?show=noted"), &[("Cookie", &cookies)], "").await.body;
        assert!(noted.contains("K00001") && noted.contains(words), "{noted}");
    }
    assert_eq!(site.post_as(&browser, &format!("{plan}/apply"), "").await.status, 303);
    let writing = site.get_as(&browser, "/broadcasts/new").await.body;
    assert!(writing.contains("{{更新期限}}（日付）"), "{writing}");
    let wish = |value: &str| {
        let (field, value) = (encode("更新期限"), encode(value));
        format!("join=and&field={field}&how=is&values={value}&compare=&do=count")
    };
    let counted = site.post_as(&browser, "/audiences/new", &wish("令和8年4月1日")).await.body;
    assert!(counted.contains("更新期限が「2026-04-01」") && counted.contains("K00000 会員 0"), "{counted}");
    let refused = site.post_as(&browser, "/audiences/new", &wish("来月")).await.body;
    assert!(refused.contains("「来月」は、更新期限（日付）の値として読めません"), "{refused}");
    // The field keeps the kind that nothing but the registry remembers.
    let form = format!("heading={}&meaning=", encode("更新期限"));
    assert_eq!(site.post_as(&browser, "/imports/columns", &form).await.status, 303);
    let plan = planned(&site, &browser, "merge", text).await;
    let page = site.get_as(&browser, &plan).await.body;
    assert!(page.contains("<option value=\"\">自動（いま: 自由な項目（日付））</option>"), "{page}");
    site.end().await;
}

#[tokio::test]
async fn a_file_is_taken_from_our_own_form_only() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let other = site.sign_in(Role::Engineer).await;
    let file = ("x.csv", "会員番号,氏名,メールアドレス\n1,a,a@example.jp\n".as_bytes());
    let rest = [("mode", "merge"), ("year", "2026")];
    let without = site.upload(&browser.cookie, &rest, file).await;
    assert_eq!(without.status, 403);
    let foreign = [("form_token", other.form_token.as_str()), rest[0], rest[1]];
    assert_eq!(site.upload(&browser.cookie, &foreign, file).await.status, 403);
    assert_eq!(site.upload("", &fields(&browser, "merge"), file).await.status, 303);
    let viewer = site.sign_in(Role::Viewer).await;
    assert_eq!(site.upload(&viewer.cookie, &fields(&viewer, "merge"), file).await.status, 403);
    assert_eq!(site.get_as(&viewer, "/imports").await.status, 403);
    let page = site.get_as(&browser, "/imports").await.body;
    assert!(!page.contains("x.csv"), "nothing was planned: {page}");
    assert_eq!(between(&page, "enctype=\"", "\""), "multipart/form-data");
    site.end().await;
}

#[tokio::test]
async fn a_reading_that_was_cut_off_says_so_and_stands_in_nobodys_way() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let browser = site.sign_in(Role::Coordinator).await;
    let new = NewImport {
        file_name: "途中.csv".into(),
        sha256: "0".repeat(64),
        mode: "merge".into(),
        fiscal_year: FiscalYear::new(2026),
    };
    let plan = site.store.begin_import(Actor::LocalEngineer, &new, site.clock.now()).await.expect("begun");
    let page = format!("/imports/{plan}");
    let reading = site.get_as(&browser, &page).await.body;
    assert!(reading.contains("確認中") && reading.contains("ほかの場所で読み込んでいます"), "{reading}");
    let silence = "UPDATE import_plan SET touched_at = touched_at - 301000";
    site.store.connection().execute_unprepared(silence).await.expect("the statement runs");

    let cut_off = site.get_as(&browser, &page).await.body;
    assert!(
        cut_off.contains("読み込みが途中で止まりました。ファイルをもう一度取り込んでください。"),
        "{cut_off}"
    );
    assert!(!cut_off.contains("data-events") && cut_off.contains(&format!("{page}/drop")), "{cut_off}");
    let list = site.get_as(&browser, "/imports").await.body;
    assert!(list.contains("中断") && !list.contains("確認中"), "{list}");
    let next = planned(&site, &browser, "merge", &format!("{HEADINGS}\nK9,新人,n@example.jp,\n")).await;
    assert_eq!(site.post_as(&browser, &format!("{next}/apply"), "").await.status, 303);
    assert_eq!(site.post_as(&browser, &format!("{page}/apply"), "").await.status, 409);
    assert_eq!(site.post_as(&browser, &format!("{page}/drop"), "").await.status, 303);
    assert_eq!(site.get_as(&browser, &page).await.status, 404);
    site.end().await;
}
