//! 2021, a neighbourhood's drill: 155 were registered, 75 read the mail, 55 answered. Some
//! believed that opening it was the report. The page now says what is so: not reported, until the
//! answer is stored.

use domain::BroadcastState;
use hansho_tests::{Broadcast, Dot, PATIENCE, Society, until};
use rehearsal::browser::Browser;
use std::collections::BTreeSet;

const MEMBERS: usize = 12;
const READ: usize = 6;
const ANSWERED: usize = 4;

const NOT_REPORTED: &str = "まだ報告されていません";
const REPORTED: &str = "報告済み";

const DRILL: &str = r#"
title = "地区の安否確認訓練"
nature = "exercise"

[[inject]]
key = "start"
title = "安否確認"
at = "0s"
subject = "安否の報告のお願い"
body = "{{name}} 様\n\n次のページから報告してください。"
audience = "all"

[inject.questionnaire]
title = "安否の報告"

[[inject.questionnaire.questions]]
key = "safety"
text = "ご無事ですか"
required = true
kind = "choice"
choices = [{ value = "safe", label = "無事" }, { value = "hurt", label = "負傷" }]

[[inject]]
key = "remind"
title = "再通知"
at = "8s"
subject = "安否の報告をお願いします"
body = "{{name}} 様\n\nまだ報告が届いていません。"
non_respondents_of = "start"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn who_only_opened_the_mail_is_told_so_and_reminded() {
    let society = Society::of(MEMBERS).await;
    let _service = society.serve(&[]).await;
    let drill = Drill::begin(&society).await;
    let notice = drill.notice(0).await;
    // The timeline waits while people answer, so that the reminder cannot overtake them.
    drill.step("stop").await;
    let _signed = notice.approve_by(&society.approver).await.done();
    let _released = notice.send().await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let mails = notice.dots().await;
    let (browser, links) = (Browser::new(), links(&mails));

    // Reading the page changes nothing, however often it is opened.
    for link in &links[..READ] {
        for _ in 0..3 {
            assert!(says(&browser, link, NOT_REPORTED).await);
        }
    }
    // Nor does a sheet that cannot be stored.
    let incomplete = browser.post(&links[0], &[("note".to_owned(), "無事です".to_owned())]).await;
    assert!(incomplete.is_err(), "a required answer is missing");
    assert!(says(&browser, &links[0], NOT_REPORTED).await);

    for link in &links[..ANSWERED] {
        browser.post(link, &[("safety".to_owned(), "safe".to_owned())]).await.expect("the answer is taken");
        assert!(says(&browser, link, REPORTED).await);
    }

    // Then, nobody knew who had only read it. Now exactly those who did not answer are reminded,
    // and the page behind the reminder says the same.
    drill.step("start").await;
    let reminder = drill.notice(1).await;
    let _signed = reminder.approve_by(&society.approver).await.done();
    reminder.becomes(BroadcastState::Completed, PATIENCE).await;
    let reminders = reminder.dots().await;
    assert_eq!(recipients(&reminders), recipients(&mails[ANSWERED..]));
    let link = reminders[0].link().expect("a personal link");
    assert!(says(&browser, link, NOT_REPORTED).await);
    browser.post(link, &[("safety".to_owned(), "safe".to_owned())]).await.expect("the answer is taken");
    let first_link = mails.iter().find(|mail| mail.to == reminders[0].to).and_then(Dot::link);
    assert!(says(&browser, first_link.expect("a personal link"), REPORTED).await, "one answer, both links");
}

/// The drill under way.
struct Drill<'a> {
    society: &'a Society,
    id: String,
}

impl<'a> Drill<'a> {
    async fn begin(society: &'a Society) -> Self {
        let file = society.text(DRILL);
        let made = society.hansho(&["drill", "create", &file]).by(&society.coordinator).await.done();
        let drill = Self { society, id: made["id"].to_string() };
        drill.step("start").await;
        drill
    }

    async fn step(&self, step: &str) {
        let _done =
            self.society.hansho(&["drill", step, &self.id]).by(&self.society.coordinator).await.done();
    }

    /// The notice that an inject becomes, once it waits for its signature.
    async fn notice(&self, inject: usize) -> Broadcast<'a> {
        let id = until("the inject to become a notice", PATIENCE, async || {
            let drill = self.society.hansho(&["drill", "show", &self.id]).await.done();
            drill["injects"][inject]["broadcast"].as_i64()
        })
        .await;
        let notice = self.society.broadcast(id);
        notice.becomes(BroadcastState::AwaitingApproval, PATIENCE).await;
        notice
    }
}

/// The page says this, and not the opposite.
async fn says(browser: &Browser, link: &str, what: &str) -> bool {
    let page = browser.open(link).await.expect("the page opens");
    let opposite = if what == REPORTED { NOT_REPORTED } else { REPORTED };
    page.contains(what) && !page.contains(opposite)
}

fn links(mails: &[Dot]) -> Vec<String> {
    mails.iter().map(|mail| mail.link().expect("a personal link").to_owned()).collect()
}

fn recipients(mails: &[Dot]) -> BTreeSet<String> {
    mails.iter().flat_map(|mail| mail.recipients.clone()).collect()
}
