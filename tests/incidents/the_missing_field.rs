//! July 2022, the same mail. A field that had no value was mailed as `null`.

use domain::BroadcastState;
use hansho_tests::{PATIENCE, Society};
use std::fmt::Write as _;

const WITH_FACILITY: usize = 20;
/// Blank in each way that rosters know.
const WITHOUT: [&str; 4] = ["", " ", "　", "\t"];

#[tokio::test(flavor = "multi_thread")]
async fn who_lacks_a_field_is_held_with_the_reason_and_counted_in_what_is_signed() {
    let society = Society::plan().found().await;
    let roster = society.path("roster.csv");
    std::fs::write(&roster, some_without_facility()).expect("a roster can be written");
    let report = society.import(&roster).await;
    assert_eq!(report["added"], WITH_FACILITY + WITHOUT.len(), "{report}");
    let _service = society.serve(&[]).await;

    let body = "{{name}} 様\n\n{{facility}}の状況を報告してください。\n";
    let notice = society.draft("exercise", "all", "{{facility}} 状況報告", body).await;
    let preflight = notice.preflight().await;
    assert_eq!(preflight["ok"], true, "{preflight}");
    assert_eq!(preflight["recipients"], WITH_FACILITY);
    assert_eq!(preflight["held"], WITHOUT.len());
    let findings = preflight["findings"].as_array().expect("findings");
    let held = findings.iter().find(|finding| finding["rule"] == "held").expect("a finding about it");
    assert_eq!(held["args"]["reasons"], format!("missing-field:facility: {}", WITHOUT.len()));

    // The rows say whom and why, and they are part of the digest that the approver signs.
    let rows = notice.ledger().await;
    let reasons: Vec<&str> = rows.iter().filter_map(|row| row.held_reason.as_deref()).collect();
    assert_eq!(reasons, vec!["missing-field:facility"; WITHOUT.len()]);
    // The office takes the list and mends the roster.
    let list = notice.ask("held", &[], &society.coordinator).await.text();
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 1 + WITHOUT.len(), "{list}");
    assert_eq!(
        lines[..2],
        ["member_no,name,facility,prefecture,reason", "b0,看護 太郎,,,missing-field:facility"]
    );
    let _signed = notice.approve_by(&society.approver).await.done();
    let _released = notice.send().await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let tally = notice.tally().await;
    assert_eq!((tally.accepted, tally.held), (WITH_FACILITY as u64, WITHOUT.len() as u64));

    // Nothing that left has a hole in it.
    let mails = society.dots();
    assert_eq!(mails.len(), WITH_FACILITY);
    for mail in &mails {
        for text in [&mail.subject, &mail.text, &mail.raw] {
            let hole =
                ["null", "NULL", "None", "nil", "undefined", "{{", "}}"].iter().find(|h| text.contains(**h));
            assert_eq!(hole, None, "in the mail with number {}", mail.seq);
        }
        assert!(mail.subject.contains("第一病院") && mail.text.contains("第一病院の状況"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_is_said_in_words_and_whoever_has_none_that_can_be_read_is_held() {
    let society = Society::plan().found().await;
    let roster = "会員番号,氏名,メールアドレス,更新期限\n\
        a0,看護 花子,a0@example.jp,令和8年4月1日\nb0,看護 太郎,b0@example.jp,来月\n";
    let file = society.text(roster);
    let import = ["member", "import", &file, "--column", "更新期限=date", "--apply"];
    let report = society.hansho(&import).await.done();
    assert_eq!(report["kinds"]["更新期限"], "date", "{report}");
    assert_eq!(report["notes"][0]["code"], "unreadable-date", "{report}");
    let _service = society.serve(&[]).await;

    let body = "{{name}} 様\n\n{{更新期限}}までに更新してください。\n";
    let notice = society.draft("exercise", "all", "更新のお願い", body).await;
    let preflight = notice.preflight().await;
    assert_eq!(preflight["recipients"], 1, "{preflight}");
    assert_eq!(preflight["held"], 1, "{preflight}");
    let list = notice.ask("held", &[], &society.coordinator).await.text();
    assert!(list.contains("b0,看護 太郎,,,missing-field:更新期限"), "{list}");
    let _signed = notice.approve_by(&society.approver).await.done();
    let _released = notice.send().await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    let mails = society.dots();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].text.contains("2026年4月1日までに更新"), "{}", mails[0].text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_registry_does_not_have_is_refused_while_it_is_written() {
    let society = Society::of(3).await;
    let file = society.text("{{name}} 様 {{reservation_time}} にお越しください");
    let new = ["--nature", "exercise", "--subject", "予約", "--audience", "all", "--body-file", &file];
    let create = [&["broadcast", "create"], new.as_slice()].concat();
    let refused = society.hansho(&create).by(&society.coordinator).await.refused_by("preflight");
    let said = refused.stderr;
    assert!(said.contains("{{reservation_time}}") && said.contains("{{facility}}"), "{said}");
    assert_eq!(society.store().broadcasts(1).await.expect("read"), [], "there is nothing to sign");
}

fn some_without_facility() -> String {
    let mut roster = "会員番号,氏名,メールアドレス,施設名\n".to_owned();
    for n in 0..WITH_FACILITY {
        writeln!(roster, "a{n},看護 花子,a{n}@example.jp,第一病院").expect("text");
    }
    for (n, blank) in WITHOUT.iter().enumerate() {
        writeln!(roster, "b{n},看護 太郎,b{n}@example.jp,{blank}").expect("text");
    }
    roster
}
