//! Law 10: a member's answer is durable before the page says so. (The same for a reply and its 250
//! is in the target `crash`.)

use crate::dashboard;
use domain::{BroadcastState, Choice, Clock, Question, QuestionKind, Questionnaire};
use hansho_tests::{Dot, PATIENCE, Society};
use testkit::SystemClock;

const MEMBERS: usize = 6;
const NOT_REPORTED: &str = "まだ報告されていません";
const REPORTED: &str = "報告済み";

#[tokio::test(flavor = "multi_thread")]
async fn law_10_an_answer_survives_a_power_failure_right_after_its_page() {
    let society = Society::of(MEMBERS).await;
    let mut service = society.serve(&[]).await;
    let links = links_of_a_question(&society).await;
    for link in &links {
        assert!(dashboard::request(&society, "GET", link, "", "").await.body.contains(NOT_REPORTED));
        let answered = dashboard::post(&society, link, "safety=safe").await;
        // The moment the browser knows, the machine loses power.
        service.kill_9();
        assert_eq!(answered.status, 303);
        service = society.serve(&["web"]).await;
        let page = dashboard::request(&society, "GET", link, "", "").await;
        assert!(page.body.contains(REPORTED) && !page.body.contains(NOT_REPORTED));
    }
}

/// And the other way round: what was not taken is not claimed.
#[tokio::test(flavor = "multi_thread")]
async fn law_10_no_page_says_so_without_an_answer() {
    let society = Society::of(2).await;
    let _service = society.serve(&[]).await;
    let links = links_of_a_question(&society).await;
    for body in ["", "safety=", "safety=perfect", "other=safe", "safety%00=safe"] {
        let answered = dashboard::post(&society, &links[0], body).await;
        assert!((400..500).contains(&answered.status), "{body:?}: {}", answered.status);
        let page = dashboard::request(&society, "GET", &links[0], "", "").await;
        assert!(page.body.contains(NOT_REPORTED) && !page.body.contains(REPORTED), "{body:?}");
    }
    // One member's answer says nothing about another's.
    assert_eq!(dashboard::post(&society, &links[0], "safety=safe").await.status, 303);
    assert!(dashboard::request(&society, "GET", &links[1], "", "").await.body.contains(NOT_REPORTED));
}

/// The paths of the members' own pages, from the mails they got.
async fn links_of_a_question(society: &Society) -> Vec<String> {
    let choice = |value: &str, label: &str| Choice { value: value.to_owned(), label: label.to_owned() };
    let sheet = Questionnaire {
        title: "安否の報告".to_owned(),
        questions: vec![Question {
            key: "safety".to_owned(),
            text: "ご無事ですか".to_owned(),
            required: true,
            kind: QuestionKind::Choice { choices: vec![choice("safe", "無事"), choice("hurt", "負傷")] },
        }],
    };
    let sheet = society.store().create_questionnaire(&sheet, SystemClock.now()).await.expect("it is kept");
    let (file, sheet) = (society.text("{{name}} 様\n"), sheet.to_string());
    let create = ["broadcast", "create", "--nature", "exercise", "--subject", "安否の報告のお願い"];
    let rest = ["--audience", "all", "--body-file", &file, "--questionnaire", &sheet];
    let made = society.hansho(&[&create[..], &rest[..]].concat()).by(&society.coordinator).await.done();
    let notice = society.broadcast(made["id"].as_i64().expect("an id"));
    assert_eq!(notice.preflight().await["ok"], true);
    let _signed = notice.approve_by(&society.approver).await.done();
    let _released = notice.send().await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let mails = notice.dots().await;
    mails.iter().filter_map(Dot::link).map(|link| link.replace(&society.url(), "")).collect()
}
