//! July 2022, the measure taken afterwards: at most 3,000 a day; above that an alert in advance and
//! the approval of several people. Here it is a gate before the start. Cutting a run at 3,000
//! would bring back 2020.

use domain::BroadcastState;
use hansho_tests::{Broadcast, Dot, PATIENCE, Person, Society, until};
use std::collections::BTreeSet;

const CAP: usize = 3_000;

#[tokio::test(flavor = "multi_thread")]
async fn with_3000_one_signature_suffices_and_the_3001st_takes_two() {
    // The roster has one member over the cap; the audience of 3,000 leaves them out.
    let society = Society::plan().set("HANSHO_RELAY__RATES", r#"["60/s"]"#).found().await;
    register(&society).await;
    let _service = society.serve(&[]).await;

    let everybody = society.draft("exercise", "all", "全員へ", "{{name}} 様\n").await;
    let preflight = everybody.preflight().await;
    assert_eq!(preflight["recipients"], CAP + 1);
    let warned = preflight["findings"].as_array().expect("findings").iter().any(|f| f["rule"] == "daily-cap");
    assert!(warned, "preflight says it in advance: {preflight}");
    two_people_have_to_sign(&society, &everybody).await;
    the_alert_reached_the_approvers(&society, &everybody).await;
    let _gone = everybody.cancel_by(&society.coordinator, "3,000 人から始める").await.done();

    // Exactly at the cap: one signature, and it is released.
    let first = society.draft("exercise", "three-thousand", "第一報", "{{name}} 様\n").await;
    assert_eq!(first.preflight().await["recipients"], CAP);
    let signed = first.approve_by(&society.approver).await.done();
    assert_eq!((&signed["given"], &signed["required"]), (&1.into(), &1.into()));
    let _released = first.send().await.done();
    assert_eq!(first.state().await, BroadcastState::Sending);

    // It is the release that counts, not what is out by now: one person more within the same
    // 24 hours is the 3,001st.
    assert!(first.tally().await.accepted < CAP as u64);
    let one_more = society.draft("exercise", "one", "第二報", "{{name}} 様\n").await;
    assert_eq!(one_more.preflight().await["recipients"], 1);
    two_people_have_to_sign(&society, &one_more).await;
    let _released = one_more.send().await.done();
    one_more.becomes(BroadcastState::Completed, PATIENCE).await;
}

/// The author never counts, nor does one approver twice; the second approver completes it.
async fn two_people_have_to_sign(society: &Society, notice: &Broadcast<'_>) {
    let _refused = notice.approve_by(&society.coordinator).await.refused_by("four-eyes");
    for _ in 0..2 {
        let signed = notice.approve_by(&society.approver).await.done();
        assert_eq!((&signed["given"], &signed["required"]), (&1.into(), &2.into()));
        let _refused = notice.send().await.refused_by("approval");
    }
    let _refused = notice.approve_by(&society.coordinator).await.refused_by("four-eyes");
    let signed = notice.approve_by(&society.second_approver).await.done();
    assert_eq!((&signed["given"], &signed["required"]), (&2.into(), &2.into()));
}

/// By mail, through the same relay, to each approver on their own.
async fn the_alert_reached_the_approvers(society: &Society, notice: &Broadcast<'_>) {
    let approvers: BTreeSet<String> =
        [&society.approver, &society.second_approver].map(|Person { email, .. }| email.clone()).into();
    let alerts: Vec<Dot> = until("an alert to each approver", PATIENCE, async || {
        let mails = society.dots();
        (mails.len() == approvers.len()).then_some(mails)
    })
    .await;
    let written_to: BTreeSet<String> = alerts.iter().map(|mail| mail.recipients.concat()).collect();
    assert_eq!(written_to, approvers);
    for alert in &alerts {
        assert!(alert.subject.contains(&format!("#{}", notice.id())), "{}", alert.subject);
        assert!(alert.text.contains("3001") && alert.text.contains("3000"), "{}", alert.text);
        assert!(!alert.text.contains("全員へ"), "an alert carries nobody's words");
    }
}

async fn register(society: &Society) {
    use std::fmt::Write as _;
    let mut roster = "会員番号,氏名,メールアドレス,役割\n".to_owned();
    for n in 1..=CAP + 1 {
        let role = if n > CAP { "班長" } else { "班員" };
        writeln!(roster, "m{n},看護 花子,m{n}@example.jp,{role}").expect("text");
    }
    let file = society.path("roster.csv");
    std::fs::write(&file, roster).expect("a roster can be written");
    let _report = society.import(&file).await;
    for (name, condition) in [("three-thousand", "役割=班員"), ("one", "役割=班長")] {
        let create = ["audience", "create", name, "--where", condition];
        let _made = society.hansho(&create).by(&society.coordinator).await.done();
    }
}
