//! What authors' texts and office rosters could do to a mail: end it early, begin a second one, add
//! a header. The numbers are those of `docs/security-tests.md`.

use domain::BroadcastState;
use hansho_tests::{Broadcast, Dot, PATIENCE, Society};
use std::fmt::Write as _;

/// Attack 2: smuggling out.
#[tokio::test(flavor = "multi_thread")]
async fn attack_2_dots_and_odd_line_ends_in_a_text_make_no_second_mail() {
    const LINES: [&str; 9] = [
        "一行目",
        ".",
        "..",
        "MAIL FROM:<evil@example.jp>",
        ".RCPT TO:<victim@example.jp>",
        "DATA",
        "Subject: second",
        ".",
        "終わり",
    ];
    const ENDS: [&str; 3] = ["\n", "\r\n", "\r"];
    let society = Society::of(3).await;
    let _service = society.serve(&[]).await;
    for turn in 0..ENDS.len() {
        let mut body = String::new();
        for (index, line) in LINES.iter().enumerate() {
            body += line;
            body += ENDS[(index + turn) % ENDS.len()];
        }
        let before = society.relay.count();
        let notice = sent(&society, "訓練開始", &body).await;
        assert_eq!(society.relay.count() - before, 3, "one mail for each member");
        for mail in notice.dots().await {
            let text: Vec<&str> = mail.text.lines().collect();
            let written = text.windows(LINES.len()).any(|lines| lines == LINES);
            assert!(written, "every line arrived as it was written: {text:?}");
            assert!(!mail.raw.replace("\r\n", "").contains(['\r', '\n']), "no bare CR or LF leaves");
        }
    }
    assert!(society.dots().iter().all(|mail| mail.recipients[0].starts_with('m')));
}

/// Attack 3: header injection.
#[tokio::test(flavor = "multi_thread")]
async fn attack_3_no_name_and_no_subject_adds_a_header() {
    const TRICKS: [&str; 9] = [
        "看護\r\nBcc: victim@example.org",
        "看護\nBcc: victim@example.org",
        "看護\rBcc: victim@example.org",
        "看護\u{2028}Bcc: victim@example.org",
        "看護\u{85}Bcc: victim@example.org",
        "看護\u{b}Bcc: victim@example.org",
        "=?utf-8?Q?a=0D=0ABcc:_victim@example.org?=",
        "\\\"花子\\\" <victim@example.org>,",
        "看護%0d%0aBcc: victim@example.org",
    ];
    let society = Society::plan().found().await;
    let mut roster = "会員番号,氏名,メールアドレス,施設名\nm0,看護 花子,m0@example.jp,第一病院\n".to_owned();
    for (index, trick) in TRICKS.iter().enumerate() {
        let trick = trick.replace('"', "\"\"");
        writeln!(roster, "n{index},\"{trick}\",n{index}@example.jp,第一病院").expect("text");
        writeln!(roster, "f{index},看護 花子,f{index}@example.jp,\"{trick}\"").expect("text");
    }
    let file = society.path("roster.csv");
    std::fs::write(&file, roster).expect("a roster can be written");
    let report = society.import(&file).await;
    assert!(report["added"].as_u64() > Some(TRICKS.len() as u64), "some of it is taken, cleaned: {report}");
    let _service = society.serve(&[]).await;

    let notice = sent(&society, "{{facility}} {{name}}", "{{name}} 様\n\n{{facility}}\n").await;
    let mails = notice.dots().await;
    let plain = mails.iter().find(|mail| mail.to == ["m0@example.jp"]).expect("the plain one");
    for mail in &mails {
        assert_eq!(header_names(mail), header_names(plain), "the headers of {}", mail.seq);
        assert!(!mail.subject.contains(['\r', '\n']), "{:?}", mail.subject);
        assert_eq!(mail.recipients.len(), 1);
    }
    for trick in &TRICKS[..7] {
        let draft = society.draft("exercise", "all", trick, "{{name}} 様").await;
        assert_eq!(draft.preflight().await["ok"], false, "{trick:?} as a subject");
    }
}

async fn sent<'a>(society: &'a Society, subject: &str, body: &str) -> Broadcast<'a> {
    let notice = society.draft("exercise", "all", subject, body).await;
    let preflight = notice.preflight().await;
    assert_eq!(preflight["ok"], true, "{preflight}");
    let _signed = notice.approve_by(&society.approver).await.done();
    let _released = notice.send().await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    notice
}

/// Names of the header lines, in order; folded lines belong to the one above.
fn header_names(mail: &Dot) -> Vec<&str> {
    let head = mail.raw.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.split("\r\n").filter(|line| !line.starts_with([' ', '\t']));
    lines.map(|line| line.split(':').next().unwrap_or_default()).collect()
}
