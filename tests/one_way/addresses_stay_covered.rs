//! Law 12: logs say what happened with ids. No address, no name, no token, no text of a notice or a
//! reply, not even where the log is turned all the way up and strangers do what they can.

use crate::dashboard;
use domain::BroadcastState;
use hansho_tests::{Dot, PATIENCE, Serve, Society, member_address};
use rehearsal::relay::{Cut, Script, Stage, Verdict};

const MEMBERS: usize = 30;
/// Stands in the notice and nowhere else.
const NOTICE_WORDS: [&str; 2] = ["極秘の集合場所", "訓練本部は第三会議室"];
/// Stands in replies and nowhere else.
const REPLY_WORDS: [&str; 3] = ["090-0000-0000", "subject-of-a-reply", "私は無事です"];

#[tokio::test(flavor = "multi_thread")]
async fn law_12_the_log_of_a_whole_run_names_nobody_and_quotes_nothing() {
    let relay = Script::accept_all()
        .recipient(&member_address(1), Verdict::Refuse { at: Stage::Rcpt })
        .recipient(&member_address(2), Verdict::Refuse { at: Stage::AfterDot })
        .recipient(&member_address(3), Verdict::CutAfterDot(Cut::Always))
        .recipient(&member_address(4), Verdict::Defer { tries: 1, at: Stage::Rcpt });
    let society =
        Society::plan().members(MEMBERS).set("HANSHO_BROADCAST__DAILY_CAP", "20").relay(relay).found().await;
    let service = society.serve_with(&[], &[("RUST_LOG", "trace")]).await;
    let mails = a_run(&society).await;
    members_reply(&society, &mails).await;
    strangers_come_by(&society, &mails).await;
    let log = whole_log(service).await;

    // It is the log of that run.
    for said in ["broadcast completed", "reply stored", "mail to staff sent", "request answered"] {
        assert!(log.contains(said), "the log tells of it: {said}");
    }
    let controls = log.chars().find(|c| c.is_control() && *c != '\n');
    assert_eq!(controls, None, "nothing in it steers a terminal");
    for (what, secret) in secrets(&society, &mails) {
        let line = log.lines().find(|line| line.contains(&secret));
        assert_eq!(line, None, "the log holds {what}");
    }
}

async fn a_run(society: &Society) -> Vec<Dot> {
    let body = format!("{{{{name}}}} 様\n\n{}。{}。\n", NOTICE_WORDS[0], NOTICE_WORDS[1]);
    let notice = society.draft("exercise", "all", NOTICE_WORDS[0], &body).await;
    assert_eq!(notice.preflight().await["ok"], true);
    let _signed = notice.approve_by(&society.approver).await.done();
    let _signed = notice.approve_by(&society.second_approver).await.done();
    let _released = notice.send().await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    notice.dots().await
}

async fn members_reply(society: &Society, mails: &[Dot]) {
    for mail in mails {
        let [number, subject, safe] = REPLY_WORDS;
        let text = format!(
            "From: \"{number}\" <{from}>\nTo: <{to}>\nCc: <{other}>\nSubject: {subject}\nMIME-Version: 1.0\n\
             Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{safe} {number}\n",
            from = mail.to[0],
            to = mail.reply_to,
            other = mails[0].to[0],
        );
        let mut server = society.post().await;
        let to = if mail.seq.is_multiple_of(5) { &mail.mail_from } else { &mail.reply_to };
        let answer = server.deliver(&mail.to[0], to, &text).await;
        assert!(answer.starts_with("250"), "{answer}");
    }
}

async fn strangers_come_by(society: &Society, mails: &[Dot]) {
    let token = reply_token(&mails[0]);
    for path in [
        format!("/r/{token}"),
        format!("/u/{token}"),
        format!("/r/{}", token.to_uppercase()),
        format!("/login?to=/{token}"),
        format!("/api/v1/broadcasts/{token}"),
        format!("/{}", member_address(9)),
    ] {
        let headers =
            format!("Referer: {}/r/{token}\r\nUser-Agent: {token}\r\nCookie: x={token}\r\n", society.url());
        let _answer = dashboard::request(society, "GET", &path, &headers, "").await;
        let _answer =
            dashboard::post(society, &path, &format!("email={}&password={token}", member_address(9))).await;
    }
    let mut server = society.post().await;
    server.say(&format!("EHLO {token}")).await;
    server.say(&format!("MAIL FROM:<{}> X={token}", member_address(9))).await;
    server.say(&format!("RCPT TO:<{}>", member_address(9))).await;
    server.say(&format!("RCPT TO:<{token}x@reply.staff.example.jp>")).await;
    server.say(&format!("{token}\x1b[2J")).await;
    for (method, url) in [("GET", "/broadcasts/1"), ("POST", "/api/v1/broadcasts")] {
        let headers = format!("Authorization: Bearer {}x\r\n", society.coordinator.token);
        let _answer = dashboard::request(society, method, url, &headers, "{\"subject\":1}").await;
    }
}

async fn whole_log(service: Serve) -> String {
    let ended = service.terminate().await;
    ended.stdout + &ended.stderr
}

/// What must not stand in any log.
fn secrets(society: &Society, mails: &[Dot]) -> Vec<(&'static str, String)> {
    let mut secrets: Vec<(&str, String)> = Vec::new();
    for index in 1..=MEMBERS {
        secrets.push(("a member's address", member_address(index)));
        secrets.push(("a member's name", format!("看護 m{index:04}")));
    }
    for mail in mails {
        secrets.push(("a reply token", reply_token(mail)));
        secrets.push(("a return path's token", local_part(&mail.mail_from)));
    }
    for person in [&society.coordinator, &society.approver, &society.second_approver, &society.engineer] {
        secrets.push(("a personal token", person.token.clone()));
        secrets.push(("a password", person.password.clone()));
        secrets.push(("a staff address", person.email.clone()));
    }
    let key = std::fs::read_to_string(society.path("hansho.key")).expect("the key file can be read");
    let key = key.lines().filter_map(|line| line.split_once(':')).map(|(_, key)| key.trim().to_owned());
    secrets.extend(key.filter(|key| key.len() == 64).map(|key| ("the signing key", key)));
    secrets.extend(NOTICE_WORDS.map(|words| ("words of the notice", words.to_owned())));
    secrets.extend(REPLY_WORDS.map(|words| ("words of a reply", words.to_owned())));
    assert!(secrets.iter().all(|(_, secret)| secret.len() > 4), "none of them is empty");
    secrets
}

fn reply_token(mail: &Dot) -> String {
    local_part(&mail.reply_to)
}

fn local_part(address: &str) -> String {
    address.split('@').next().expect("an address").to_owned()
}
