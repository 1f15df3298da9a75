//! Drills that were taken for the real thing, and the real thing for a drill. 2014, a city's
//! disaster mail: the operator believed the system was in drill mode. 2018, Hawaii: a test and a
//! real alert were confirmed in the same words. 2020, a prefecture: a drill switch was left on.
//! 2023, a town: the drill's text went out during a real evacuation.

use domain::BroadcastState;
use hansho_tests::{PATIENCE, Society};
use serde_json::Value;

const BODY: &str = "{{name}} 様\n\n避難所の状況を報告してください。\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_drills_text_cannot_go_out_during_the_real_thing() {
    let society = Society::of(5).await;
    for (subject, body) in [
        ("【訓練】避難指示", BODY),
        ("避難指示", "【訓練】\n避難してください。"),
        ("避難指示", "これは訓練です。避難してください。"),
        ("［訓練］避難指示", BODY),
        ("【 訓 練 】避難指示", BODY),
        ("【訓練開始】避難指示", BODY),
    ] {
        blocked_as_foreign(&society, "actual", subject, body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_cannot_claim_to_be_real() {
    let society = Society::of(5).await;
    for (nature, subject, body) in [
        ("exercise", "【実災害】避難指示", BODY),
        ("exercise", "避難指示", "これは訓練ではありません。避難してください。"),
        ("test", "避難指示", "これは試験ではありません。避難してください。"),
        ("test", "【訓練】避難指示", BODY),
    ] {
        blocked_as_foreign(&society, nature, subject, body).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_notice_and_a_drill_are_not_confirmed_in_the_same_way() {
    let society = Society::of(5).await;
    let _member = society.hansho(&["member", "test", "add", "m0001"]).by(&society.engineer).await.done();
    let _service = society.serve(&[]).await;

    // There is no switch to be left on: what a notice is was fixed when it was written, and it
    // is signed differently.
    for nature in ["exercise", "test"] {
        let notice = society.draft(nature, "all", "状況報告", BODY).await;
        assert_eq!(notice.preflight().await["ok"], true);
        let _signed = notice.approve_by(&society.approver).await.done();
        let _released = notice.send().await.done();
        notice.becomes(BroadcastState::Completed, PATIENCE).await;
    }
    let real = society.draft("actual", "all", "避難指示", BODY).await;
    assert_eq!(real.preflight().await["ok"], true);
    let _refused = real.approve_by(&society.approver).await.refused_by("confirmation");
    for wrong in ["", "訓練", "はい", "yes", "実災", "actual"] {
        let _refused = real.approve_as_actual_by(&society.approver, wrong).await.refused_by("confirmation");
    }
    let _refused = real.send().await.refused_by("approval");
    let _signed = real.approve_as_actual_by(&society.approver, "実災害").await.done();
    let _released = real.send().await.done();
    real.becomes(BroadcastState::Completed, PATIENCE).await;

    // And no recipient can mistake one for the other.
    for mail in society.dots() {
        let drill = mail.subject.starts_with("【訓練】") && mail.text.starts_with("【訓練】");
        let test = mail.subject.starts_with("【試験】") && mail.text.starts_with("【試験】");
        let marked = mail.raw.contains("訓練") || mail.subject.contains('【') || mail.text.contains('【');
        let real = mail.subject == "避難指示";
        assert!(drill || test || (real && !marked), "{} is one of the three", mail.subject);
    }
    assert_eq!(society.relay.count(), 5 + 1 + 5, "all, the test roster, all");
}

async fn blocked_as_foreign(society: &Society, nature: &str, subject: &str, body: &str) {
    let notice = society.draft(nature, "all", subject, body).await;
    let answer = notice.ask("preflight", &[], &society.coordinator).await.with_code(3).json();
    let findings = answer["findings"].as_array().expect("findings");
    let blocks = |finding: &&Value| finding["level"] == "block" && finding["rule"] == "foreign-banner";
    assert!(findings.iter().any(|finding| blocks(&finding)), "{nature} {subject}: {answer}");
    let _refused = notice.approve_as_actual_by(&society.approver, "実災害").await.refused_by("state");
}
