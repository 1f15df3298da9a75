//! Law 6: actual, exercise and test differ from creation to the wire; nothing turns one into
//! another; and a test reaches the test roster only.

use crate::{
    dashboard::{self, Session, percent},
    database::tamper,
};
use domain::{BroadcastState, Nature};
use hansho_tests::{PATIENCE, Society, member_address};
use std::collections::BTreeSet;

#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_test_reaches_the_test_roster_whatever_its_audience_says() {
    let society = Society::of(30).await;
    let _service = society.serve(&[]).await;
    // With an empty test roster a test reaches nobody, and therefore nothing is sent at all.
    let nobody = society.draft("test", "all", "送信試験", "{{name}} 様\n").await;
    let blocked = nobody.preflight().await;
    assert_eq!((&blocked["ok"], &blocked["recipients"]), (&false.into(), &0.into()), "{blocked}");

    for member in ["m0003", "m0007"] {
        let _added = society.hansho(&["member", "test", "add", member]).by(&society.engineer).await.done();
    }
    let hospital = ["audience", "create", "hospital", "--where", "施設名=第8病院"];
    let _made = society.hansho(&hospital).by(&society.coordinator).await.done();
    let roster = BTreeSet::from([member_address(3), member_address(7)]);
    for (audience, expected) in [("all", &roster), ("hospital", &BTreeSet::from([member_address(7)]))] {
        let before = society.relay.count() as usize;
        let test = society.draft("test", audience, "送信試験", "{{name}} 様\n").await;
        assert_eq!(test.preflight().await["recipients"], expected.len());
        let _signed = test.approve_by(&society.approver).await.done();
        let _released = test.send().await.done();
        test.becomes(BroadcastState::Completed, PATIENCE).await;
        let mails = society.dots().split_off(before);
        let reached: BTreeSet<String> = mails.into_iter().flat_map(|mail| mail.recipients).collect();
        assert_eq!(&reached, expected);
    }
    // A correction of a test is a test.
    let test = society.released_test().await;
    let correction = test.correct("訂正", "{{name}} 様、先ほどのは試しでした。\n").await;
    assert!(correction.preflight().await["recipients"].as_u64() <= Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn law_6_the_nature_of_a_notice_is_never_edited() {
    let society = Society::of(3).await;
    let _service = society.serve(&[]).await;
    let notice = society.approved("訓練開始").await;
    let author = Session::of(&society, &society.coordinator).await;
    let page = format!("/broadcasts/{}/edit", notice.id());
    for (claimed, stays) in [("actual", Nature::Exercise), ("test", Nature::Exercise)] {
        let fields = format!(
            "nature={claimed}&subject={}&body={}&audience=all&finish_by=",
            percent("訓練開始"),
            percent("{{name}} 様\n")
        );
        let _answer = author.submit(&page, &page, &fields).await;
        let found = society.store().broadcast(notice.id()).await.expect("it can be read").expect("it exists");
        assert_eq!(found.nature, stays);
    }
    // The JSON interface has no field for it, and nothing but a new notice has another.
    for path in ["", "/edit", "/nature"] {
        let path = format!("/api/v1/broadcasts/{}{path}", notice.id());
        let token = format!("Authorization: Bearer {}\r\n", society.coordinator.token);
        for method in ["PUT", "PATCH", "POST", "DELETE"] {
            let headers = format!("{token}Content-Type: application/json\r\n");
            let answer =
                dashboard::request(&society, method, &path, &headers, r#"{"nature":"actual"}"#).await;
            assert!(matches!(answer.status, 404 | 405), "{method} {path}: {}", answer.status);
        }
    }
    let invented = ["broadcast", "create", "--nature", "real", "--subject", "x", "--audience", "all"];
    let file = society.text("x");
    let unknown = society.hansho(&[&invented[..], &["--body-file", &file]].concat()).by(&society.coordinator);
    assert_eq!(unknown.await.code, 2);
}

/// Turned in the database after it was signed, a drill still does not become real.
#[tokio::test(flavor = "multi_thread")]
async fn law_6_a_drill_that_was_turned_in_the_database_stays_where_it_is() {
    let society = Society::of(3).await;
    let released = society.released("訓練開始").await;
    let text = "UPDATE broadcast SET terms = replace(terms, '\"exercise\"', '\"actual\"') WHERE id = $";
    tamper(&society, &text.replace('$', &released.id().to_string())).await;
    let mut service = society.serve(&[]).await;
    service.logs("is not what was approved; nothing is sent").await;
    assert_eq!(society.relay.count(), 0);
}

trait TestNotice {
    /// A test notice that was sent.
    async fn released_test(&self) -> hansho_tests::Broadcast<'_>;
}

impl TestNotice for Society {
    async fn released_test(&self) -> hansho_tests::Broadcast<'_> {
        let test = self.draft("test", "all", "送信試験その二", "{{name}} 様\n").await;
        assert_eq!(test.preflight().await["ok"], true);
        let _signed = test.approve_by(&self.approver).await.done();
        let _released = test.send().await.done();
        test.becomes(BroadcastState::Completed, PATIENCE).await;
        test
    }
}
