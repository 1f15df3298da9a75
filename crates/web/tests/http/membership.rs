//! Carriers hand abandoned addresses to other people: what a link alone shows, and to whom it shows more.

use crate::site::{Answer, Site, encode};
use domain::{MemberId, Nature, TokenKind};
use std::time::Duration;

const NOT_REPORTED: &str = "まだ報告されていません";
const FIELD: &str = "hansho-member-no";

/// A site whose notice asks for a proof, and the link of somebody who has reported already.
struct Asked {
    site: Site,
    member: MemberId,
    link: String,
}

impl Asked {
    async fn start() -> Self {
        let site = Site::start_where(50, "127.0.0.1:0", vec![Nature::Exercise]).await;
        let (member, link) = (site.members[1], site.link(TokenKind::Answer, site.members[1]));
        assert!(site.store.response(site.sent, member).await.expect("read").is_some());
        Self { site, member, link }
    }

    /// Everything is answered, and this stands in the field for the number.
    async fn report(&self, work: &str, number: &str) -> Answer {
        let form = format!("safety=hurt&work={work}&note=typed%20here&{FIELD}={}", encode(number));
        self.site.post(&self.link, &form).await
    }

    async fn stored(&self) -> String {
        let response = self.site.store.response(self.site.sent, self.member).await.expect("read");
        response.expect("reported before").answers["safety"].clone()
    }
}

/// Neither the name nor the answers of before, nor that there are any.
fn assert_shows_nothing(page: &str) {
    assert!(page.contains(NOT_REPORTED) && page.contains(FIELD), "{page}");
    for told in ["会員 1", "報告済み", "内容を変えて", "class=\"answers"] {
        assert!(!page.contains(told), "{told}: {page}");
    }
}

#[tokio::test]
async fn a_link_alone_shows_nothing_of_the_members() {
    let asked = Asked::start().await;
    let page = asked.site.get(&asked.link).await.body;
    assert_shows_nothing(&page);
    assert!(!page.contains(" checked"), "no answer of before: {page}");
    assert!(page.contains("訓練開始のお知らせ") && page.contains("ご無事ですか"), "{page}");
    asked.site.end().await;
}

#[tokio::test]
async fn another_number_stores_nothing_and_loses_nothing() {
    let asked = Asked::start().await;
    for (number, why) in [("0002", "確認できませんでした"), ("", "末尾4文字を入力してください")]
    {
        let refused = asked.report("later", number).await;
        assert_eq!(refused.status, 422);
        assert!(refused.body.contains(why), "{}", refused.body);
        assert_shows_nothing(&refused.body);
        assert!(refused.body.contains("typed here") && refused.body.contains("value=\"later\" checked"));
        assert_eq!(asked.stored().await, "safe");
    }
    asked.site.end().await;
}

#[tokio::test]
async fn the_right_number_stores_and_this_page_shows_it_for_a_while() {
    let asked = Asked::start().await;
    let taken = asked.report("now", "0001").await;
    let page = taken.headers["location"].clone();
    assert_eq!(taken.status, 303);
    let proof = page.strip_prefix(&format!("{}?", asked.link)).expect("the same page, with a proof");
    assert_eq!(asked.stored().await, "hurt");
    // Without a cookie: old telephones keep none.
    let site = &asked.site;
    let shown = site.get(&page).await.body;
    assert!(shown.contains("報告済み") && shown.contains("負傷あり") && !shown.contains(FIELD), "{shown}");
    assert_shows_nothing(&site.get(&asked.link).await.body);
    let other = site.link(TokenKind::Answer, site.members[2]);
    assert!(
        site.get(&format!("{other}?{proof}")).await.body.contains(NOT_REPORTED),
        "good for one link only"
    );

    let again = site.post(&asked.link, &format!("{proof}&safety=safe&work=now")).await;
    assert_eq!((again.status, asked.stored().await.as_str()), (303, "safe"), "not asked again");
    let mistaken = site.post(&asked.link, &format!("{proof}&work=now")).await.body;
    assert!(mistaken.contains("name=\"hansho-proof\""), "nor after a mistake: {mistaken}");
    site.clock.advance(Duration::from_secs(31 * 60));
    assert_shows_nothing(&site.get(&page).await.body);
    asked.site.end().await;
}

#[tokio::test]
async fn a_number_may_be_typed_in_full_width_or_whole() {
    let asked = Asked::start().await;
    for number in ["０００１", " 0001 ", "k00001", "Ｋ００００１"] {
        assert_eq!(asked.report("now", number).await.status, 303, "{number}");
    }
    asked.site.end().await;
}

#[tokio::test]
async fn who_guesses_has_to_wait() {
    let asked = Asked::start().await;
    for guess in ["0002", "0003", "0004", "0005", "0006"] {
        assert_eq!(asked.report("now", guess).await.status, 422, "{guess}");
    }
    let refused = asked.report("later", "0001").await;
    assert_eq!(refused.status, 429, "also with the right one");
    assert!(
        refused.body.contains("15分") && refused.body.contains("事務局 03-0000-0000"),
        "{}",
        refused.body
    );
    assert!(refused.body.contains("typed here"), "nothing is lost: {}", refused.body);
    assert_shows_nothing(&refused.body);
    assert_eq!(asked.stored().await, "safe");
    asked.site.clock.advance(Duration::from_secs(15 * 60));
    assert_eq!(asked.report("now", "0001").await.status, 303);
    asked.site.end().await;
}

#[tokio::test]
async fn a_drill_asks_for_no_number_unless_the_policy_says_so() {
    let site = Site::start(50, "127.0.0.1:0").await;
    let link = site.link(TokenKind::Answer, site.members[1]);
    let page = site.get(&link).await.body;
    assert!(page.contains("報告済み") && !page.contains(FIELD), "{page}");
    let taken = site.post(&link, "safety=safe&work=now").await;
    assert_eq!((taken.status, taken.headers["location"].as_str()), (303, link.as_str()));
    site.end().await;
}
