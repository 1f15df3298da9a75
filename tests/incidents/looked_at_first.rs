//! July 2022, seen from before the start: nobody compared the audience with the last one, and
//! nobody of the staff got the mail before three years of former customers did.

use domain::BroadcastState;
use hansho_tests::{PATIENCE, Society, write_members};
use serde_json::{Value, json};

fn finding<'a>(preflight: &'a Value, rule: &str) -> Option<&'a Value> {
    preflight["findings"].as_array()?.iter().find(|finding| finding["rule"] == rule)
}

async fn sent(society: &Society, subject: &str) {
    let notice = society.released(subject).await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_people_than_last_time_are_counted_and_need_a_second_approver() {
    let society = Society::of(40).await;
    let _service = society.serve(&[]).await;
    sent(&society, "お知らせ その1").await;
    let usual = society.draft("exercise", "all", "お知らせ その2", "{{name}} 様").await.preflight().await;
    let compared = &finding(&usual, "audience-change").expect("a comparison")["args"];
    assert_eq!((&compared["joined"], &compared["left"]), (&json!("0"), &json!("0")));

    // The wrong file: three times as many people, whom nobody ever wrote to.
    let roster = society.path("many.csv");
    write_members(&roster, 120);
    let _imported = society.import(&roster).await;
    let notice = society.draft("exercise", "all", "お知らせ その3", "{{name}} 様").await;
    let preflight = notice.preflight().await;
    let unusual = finding(&preflight, "audience-unusual").expect("a warning");
    assert_eq!(unusual["level"], "warning");
    assert_eq!(unusual["args"]["previous"], "40");
    assert_eq!(unusual["args"]["joined"], "80");
    assert_eq!(unusual["args"]["never_mailed"], "80");
    let signed = notice.approve_by(&society.approver).await.done();
    assert_eq!((&signed["given"], &signed["required"]), (&json!(1), &json!(2)));
    let _refused = notice.send().await.with_code(3);
    let _signed = notice.approve_by(&society.second_approver).await.done();
    let _released = notice.send().await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_get_the_first_copy_and_the_way_to_stop() {
    let society =
        Society::plan().members(6).set("HANSHO_BROADCAST__OPERATORS", r#"["night@staff.jp"]"#).found().await;
    let _service = society.serve(&[]).await;
    let notice = society.draft("exercise", "all", "訓練の開始", "{{name}} 様\n\n{{link}}\n").await;
    let _frozen = notice.preflight().await;
    let _signed = notice.approve_by(&society.approver).await.done();
    let _released = notice.send().await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;

    let mails = society.dots();
    assert_eq!(mails.len(), 7);
    let copy = &mails[0];
    assert_eq!(copy.recipients, ["night@staff.jp"], "before any member");
    assert!(copy.subject.starts_with("【訓練】訓練の開始"), "{}", copy.subject);
    assert!(copy.text.contains(&format!("/broadcasts/{}", notice.id())), "{}", copy.text);
    assert!(copy.text.contains("〈name〉 様"), "nobody's name stands in it: {}", copy.text);
    assert!(!copy.text.contains("看護 m0"), "{}", copy.text);
    assert_eq!(copy.reply_to, "", "answers go to the sender, not into the members' replies");
    assert_eq!(notice.tally().await.total(), 6, "an operator is no row of the ledger");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_text_to_the_same_people_wants_a_word_of_whoever_signs() {
    let society = Society::of(5).await;
    let _service = society.serve(&[]).await;
    let first = society.draft("exercise", "all", "訓練の開始", "始めます。").await;
    let _frozen = first.preflight().await;
    let _signed = first.approve_by(&society.approver).await.done();
    let _released = first.send().await.done();
    first.becomes(BroadcastState::Completed, PATIENCE).await;

    let again = society.draft("exercise", "all", "訓練の開始", "始めます。").await;
    let preflight = again.preflight().await;
    let same = finding(&preflight, "same-text").expect("a finding");
    assert_eq!((&same["confirm"], &same["args"]["people"]), (&json!(true), &json!("5")));
    let _refused = again.approve_by(&society.approver).await.refused_by("confirmation");
    assert_eq!(again.state().await, BroadcastState::Preflighted, "nothing was signed");
    let _signed = again.ask("approve", &["--confirm", "same-text"], &society.approver).await.done();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_drafts_of_one_text_checked_side_by_side_do_not_both_go_out() {
    let society = Society::of(5).await;
    let _service = society.serve(&[]).await;
    let text = ("訓練の開始", "始めます。");
    let drafts = [
        society.draft("exercise", "all", text.0, text.1).await,
        society.draft("exercise", "all", text.0, text.1).await,
        society.draft("exercise", "all", text.0, text.1).await,
    ];
    for draft in &drafts {
        assert!(finding(&draft.preflight().await, "same-text").is_none(), "nothing was sent yet");
    }
    for signed in &drafts[..2] {
        let _signed = signed.approve_by(&society.approver).await.done();
    }
    let _released = drafts[0].send().await.done();
    drafts[0].becomes(BroadcastState::Completed, PATIENCE).await;
    let _signed_before = drafts[1].send().await.refused_by("confirmation");
    let _not_signed_yet = drafts[2].approve_by(&society.approver).await.refused_by("confirmation");
    assert_eq!(society.dots().len(), 5, "everybody got it once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_batch_goes_and_the_others_wait_for_a_person() {
    let society = Society::plan().members(12).set("HANSHO_BROADCAST__CANARY", "{recipients=5}").found().await;
    let _service = society.serve(&[]).await;
    let notice = society.released("お知らせ").await;
    notice.counts("the canary is out", PATIENCE, |tally| tally.accepted == 5).await;
    let status = notice.status().await;
    assert_eq!((&status["state"], &status["canary"]["recipients"]), (&json!("sending"), &json!(5)));
    assert_eq!((&status["pending"], &status["canary"]["continues_at"]), (&json!(7), &Value::Null));
    let _refused = notice.ask("continue", &[], &society.viewer).await.refused_by("role");
    assert_eq!(society.dots().len(), 5);
    let _continued = notice.ask("continue", &[], &society.coordinator).await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    assert_eq!(notice.tally().await.accepted, 12);
    assert!(notice.status().await.get("canary").is_none());
}
