//! A carrier hands an abandoned address to somebody else, who opens the link in a mail that was meant
//! for a member: of an actual notice, unless the configuration says otherwise.

use domain::{BroadcastState, MemberId};
use hansho_tests::{Broadcast, PATIENCE, Society, until};
use rehearsal::browser::Browser;

const SITUATION: &str = r#"
title = "台風への対応"
nature = "actual"

[[inject]]
key = "safety"
title = "安否確認"
at = "0s"
subject = "安否の報告のお願い"
body = "{{name}} 様\n\n次のページから報告してください。会員番号の末尾をお尋ねします。"
audience = "all"

[inject.questionnaire]
title = "安否の報告"

[[inject.questionnaire.questions]]
key = "safety"
text = "ご無事ですか"
required = true
kind = "choice"
choices = [{ value = "safe", label = "無事" }, { value = "hurt", label = "負傷" }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_alone_neither_shows_nor_takes_an_answer() {
    let society = Society::of(3).await;
    let _service = society.serve(&[]).await;
    let notice = begin(&society).await;
    let mail = notice.dots().await.remove(0);
    let row = notice.ledger().await.into_iter().find(|row| row.message_id == mail.message_id);
    let row = row.expect("a row of the ledger");
    let answered = async || {
        let response = society.store().response(notice.id(), MemberId::new(row.member_id)).await;
        response.expect("answers can be read").map(|response| response.answers["safety"].clone())
    };
    let (browser, link) = (Browser::new(), mail.link().expect("a personal link"));
    let form = |number: &str| {
        [("safety", "safe"), ("hansho-member-no", number)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
    };

    for number in ["", "9999"] {
        assert!(browser.post(link, &form(number)).await.is_err(), "{number:?} is not taken");
        assert_eq!(answered().await, None);
    }
    let end = row.member_no.get(1..).expect("a letter and four digits");
    browser.post(link, &form(end)).await.expect("the answer is taken");
    assert_eq!(answered().await.as_deref(), Some("safe"));

    // Another browser, which may be another person's.
    let page = browser.open(link).await.expect("the page opens");
    assert!(page.contains("まだ報告されていません"), "{page}");
    assert!(!page.contains("報告済み") && !page.contains(&format!("看護 {}", row.member_no)), "{page}");
}

async fn begin(society: &Society) -> Broadcast<'_> {
    let file = society.text(SITUATION);
    let made = society.hansho(&["drill", "create", &file]).by(&society.coordinator).await.done();
    let drill = made["id"].to_string();
    let _started = society.hansho(&["drill", "start", &drill]).by(&society.coordinator).await.done();
    let id = until("the inject to become a notice", PATIENCE, async || {
        let shown = society.hansho(&["drill", "show", &drill]).await.done();
        shown["injects"][0]["broadcast"].as_i64()
    })
    .await;
    let notice = society.broadcast(id);
    notice.becomes(BroadcastState::AwaitingApproval, PATIENCE).await;
    let _signed = notice.approve_as_actual_by(&society.approver, "実災害").await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    notice
}
