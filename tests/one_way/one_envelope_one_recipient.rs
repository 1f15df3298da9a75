//! Law 1: every SMTP transaction has exactly one recipient, the mail names no other member, and
//! there is no address in the system that reaches several people.

use domain::{BroadcastState, EmailAddress, FiscalYear};
use hansho_tests::{Dot, PATIENCE, Society};
use rehearsal::roster::{RosterPlan, write_roster};
use serde_json::Value;
use std::collections::BTreeSet;

/// A roster as offices send it: odd dots, shared addresses, people of other years.
const MEMBERS: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn law_1_every_mail_of_a_run_has_one_envelope_and_names_one_member() {
    let society = Society::plan().found().await;
    let roster = society.path("roster.csv");
    let plan = RosterPlan { members: MEMBERS, fiscal_year: this_fiscal_year(&society).await, seed: 1 };
    let expected = write_roster(&roster, &plan).expect("a roster can be written");
    let _report = society.import(&roster).await;
    let _service = society.serve(&[]).await;
    let notice = society.released("安否確認").await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;

    let mails = notice.dots().await;
    let rows = notice.ledger().await;
    let members: BTreeSet<String> = rows.iter().map(|row| row.address.clone()).collect();
    assert_eq!((mails.len(), expected.legacy), (expected.mailable, 2));
    for mail in &mails {
        let row = rows.iter().find(|row| row.message_id == mail.message_id).expect("a row for each mail");
        let on_the_wire = EmailAddress::parse(&row.address).expect("an address").to_wire();
        assert_eq!(mail.recipients, [on_the_wire.as_str()], "one RCPT, identical to the stored address");
        assert_eq!(headers(mail, "To"), [on_the_wire.as_str()], "one visible recipient, the same");
        for several in ["Cc", "Bcc", "Resent-To", "Resent-Cc", "Resent-Bcc", "Apparently-To"] {
            assert_eq!(headers(mail, several), Vec::<&str>::new(), "{several}");
        }
        let mut others = addresses_in(mail);
        others.remove(&row.address);
        let disclosed: Vec<&String> = others.intersection(&members).collect();
        assert!(disclosed.is_empty(), "mail {} names another member", mail.seq);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn law_1_nothing_that_is_typed_anywhere_becomes_an_address_of_several_people() {
    const SEVERAL: [&str; 12] = [
        "a@example.jp, b@example.jp",
        "a@example.jp;b@example.jp",
        "a@example.jp b@example.jp",
        "a@example.jp\r\nb@example.jp",
        "<a@example.jp>,<b@example.jp>",
        "members: a@example.jp, b@example.jp;",
        "a%example.org@example.jp",
        "example.org!a@example.jp",
        "@example.org:a@example.jp",
        "\"a@example.jp,b\"@example.jp",
        "a@example.jp?cc=b@example.jp",
        "a@[127.0.0.1]",
    ];
    let society = Society::of(2).await;
    for several in SEVERAL {
        let file = society.path("roster.csv");
        let quoted = several.replace('"', "\"\"");
        let text = format!("会員番号,氏名,メールアドレス\nx1,看護 花子,\"{quoted}\"\n");
        std::fs::write(&file, text).expect("a roster can be written");
        let import = ["member", "import", &file.display().to_string(), "--apply"];
        let _refused = society.hansho(&import).await.refused_by("import");
        let added = society.hansho(&["user", "add", several, "--role", "approver"]).await;
        assert_ne!(added.code, 0, "{several:?} as an approver, who gets alerts");
        for (key, value) in [
            ("HANSHO_BROADCAST__FROM", several.to_owned()),
            ("HANSHO_BROADCAST__OPERATORS", format!("[{several:?}]")),
        ] {
            let started = society.hansho(&["user", "list"]).with(key, &value).await;
            assert_ne!(started.code, 0, "{several:?} as {key}");
        }
    }
    assert_eq!(society.hansho(&["member", "list"]).await.done()["total"], 2);
}

/// A tripwire: whoever adds a mailing list finds this test, and the law above it.
#[tokio::test(flavor = "multi_thread")]
async fn law_1_no_command_and_no_route_speaks_of_lists_aliases_or_forwarding() {
    const WORDS: [&str; 7] = ["alias", "forward", "mailing", "distribut", "subscribe-to", "group", "bcc"];
    let society = Society::of(1).await;
    let mut told = String::new();
    for command in [&["--help"][..], &["member", "--help"], &["audience", "--help"], &["broadcast", "--help"]]
    {
        told += &society.hansho(command).plainly().await.text();
    }
    let _web = society.serve(&["web"]).await;
    let routes = crate::dashboard::request(&society, "GET", "/api/v1/openapi.json", "", "").await;
    let routes: Value = serde_json::from_str(&routes.body).expect("a description");
    let paths = routes["paths"].as_object().expect("paths").keys().cloned();
    told += &paths.collect::<String>();
    for word in WORDS {
        assert!(!told.to_lowercase().contains(word), "{word} is spoken of");
    }
}

async fn this_fiscal_year(society: &Society) -> FiscalYear {
    let file = society.text("会員番号,氏名,メールアドレス\nx1,看護 花子,x1@example.jp\n");
    let plan = society.hansho(&["member", "import", &file]).await.done();
    let year = plan["fiscal_year"].as_i64().and_then(|year| i32::try_from(year).ok());
    FiscalYear::new(year.expect("a year"))
}

/// The values of every header line of this name, unfolded ones only: ours never are.
fn headers<'a>(mail: &'a Dot, name: &str) -> Vec<&'a str> {
    let head = mail.raw.split("\r\n\r\n").next().unwrap_or_default();
    let lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

/// Everything in header, decoded subject and text that looks like an address.
fn addresses_in(mail: &Dot) -> BTreeSet<String> {
    let head = mail.raw.split("\r\n\r\n").next().unwrap_or_default();
    let all = [head, &mail.subject, &mail.text].join("\n");
    let part_of = |c: char| c.is_ascii_alphanumeric() || "#$&'*+-/=?^_`{|}~.@".contains(c);
    let words = all.split(|c: char| !part_of(c)).filter(|word| word.contains('@'));
    words.map(str::to_owned).collect()
}
