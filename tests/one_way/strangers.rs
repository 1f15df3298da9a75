//! What strangers try at the two doors that stand open: the sink's port and the members' pages.
//! The numbers are those of `docs/security-tests.md`.

use crate::{dashboard, database::number};
use domain::{BroadcastId, BroadcastState, Keyring, MemberId, RecipientToken, TokenKey, TokenKind};
use hansho_tests::{Broadcast, Dot, PATIENCE, Post, Society};
use hyper::Method;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use rehearsal::browser::Browser;
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// Attack 7: loops and backscatter.
#[tokio::test(flavor = "multi_thread")]
async fn attack_7_a_thousand_forged_senders_bring_about_no_mail() {
    const FORGED: usize = 1_000;
    const SERVERS: usize = 8;
    let society = Society::of(20).await;
    let _service = society.serve(&[]).await;
    let notice = sent(&society, "訓練終了").await;
    let mails = Arc::new(notice.dots().await);
    let before = society.relay.count();
    let servers: Vec<_> = (0..SERVERS)
        .map(|server| {
            let (mails, sink) = (mails.clone(), society.sink());
            tokio::spawn(async move {
                let mut post = Post::connect(sink).await.expect("the sink listens");
                for index in (server..FORGED).step_by(SERVERS) {
                    let mail = &mails[index % mails.len()];
                    let from = forged_sender(index, mail);
                    let to = if from.is_empty() { &mail.mail_from } else { &mail.reply_to };
                    let answer = post.deliver(&from, to, &forged_mail(&from, mail)).await;
                    assert!(answer.starts_with("250"), "{answer}");
                }
            })
        })
        .collect();
    for server in servers {
        server.await.expect("all are taken");
    }

    // What is refused is refused in the session: there is nothing to return to anybody.
    let mut post = society.post().await;
    let looping =
        format!("{}From: <a@b.example>\n\nround and round\n", "Received: from a by b\n".repeat(101));
    assert!(post.deliver("a@b.example", &mails[0].reply_to, &looping).await.starts_with("554"));
    assert!(post.deliver("a@b.example", "nobody@reply.staff.example.jp", "x\n").await.starts_with("550"));

    assert_eq!(society.relay.count(), before);
    let next = sent(&society, "お礼").await;
    assert_eq!(society.relay.count(), before + next.dots().await.len() as u64, "only the next notice left");
}

/// Attack 8: the sink is no relay and tells nothing about who exists.
#[tokio::test(flavor = "multi_thread")]
async fn attack_8_the_sink_takes_mail_for_nobody_else() {
    let society = Society::of(2).await;
    let _service = society.serve(&[]).await;
    let mails = sent(&society, "訓練").await.dots().await;
    let (own, domain) = mails[0].reply_to.split_once('@').expect("an address");
    for command in [
        "RCPT TO:<victim@elsewhere.example>".to_owned(),
        "RCPT TO:<m0001@example.jp>".to_owned(),
        "RCPT TO:<coordinator@staff.example.jp>".to_owned(),
        format!("RCPT TO:<postmaster@{domain}>"),
        format!("RCPT TO:<{own}@elsewhere.example>"),
        format!("RCPT TO:<{own}@{domain}.elsewhere.example>"),
        format!("RCPT TO:<@{domain}:victim@elsewhere.example>"),
        format!("RCPT TO:<victim%elsewhere.example@{domain}>"),
        format!("RCPT TO:<elsewhere.example!victim@{domain}>"),
        format!("RCPT TO:<\"victim@elsewhere.example\"@{domain}>"),
        format!("RCPT TO:<{own}>"),
        "VRFY m0001".to_owned(),
        "EXPN all".to_owned(),
        "XCLIENT ADDR=127.0.0.1".to_owned(),
        "XFORWARD NAME=localhost".to_owned(),
        "ETRN example.jp".to_owned(),
        "TURN".to_owned(),
        "AUTH PLAIN AGEAYg==".to_owned(),
    ] {
        let mut post = society.post().await;
        post.say("EHLO stranger.example").await;
        post.say("MAIL FROM:<stranger@elsewhere.example>").await;
        let answer = post.say(&command).await;
        assert!(answer.starts_with('5'), "{command}: {answer}");
        let answer = post.say("DATA").await;
        assert!(answer.starts_with('5'), "{command}, then DATA: {answer}");
    }
    // The extensions it offers are those of a sink.
    let offered = society.post().await.say("EHLO stranger.example").await;
    for extension in ["AUTH", "VRFY", "ETRN", "XCLIENT", "DSN", "TURN"] {
        assert!(!offered.contains(extension), "{offered}");
    }
    assert_eq!(society.hansho(&["reply", "list"]).await.done(), serde_json::json!([]));
}

/// Attack 10, the half on HTTP: clients that begin a request and go quiet.
#[tokio::test(flavor = "multi_thread")]
async fn attack_10_five_hundred_silent_browsers_do_not_keep_an_honest_one_waiting() {
    let society = Society::of(1).await;
    let _web = society.serve(&["web"]).await;
    let mut silent = Vec::new();
    for index in 0..500 {
        silent.push(dashboard::silent(&society, index).await);
    }
    for _ in 0..5 {
        let began = Instant::now();
        let page = dashboard::request(&society, "GET", "/login", "", "").await;
        assert_eq!(page.status, 200);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
    assert_eq!(silent.len(), 500);
}

/// Attack 15, in small: the tag has 128 bits, so guessing is not the way in; nor is changing one.
#[tokio::test(flavor = "multi_thread")]
async fn attack_15_ten_thousand_guessed_tokens_open_nothing() {
    const GUESSES: usize = 10_000;
    const BROWSERS: usize = 8;
    let society = Society::of(3).await;
    let _service = society.serve(&[]).await;
    let notice = sent(&society, "訓練").await;
    let mails = notice.dots().await;
    let guesses = Arc::new(guesses(TokenKind::Answer, notice.id(), &mails, GUESSES));
    let browsers: Vec<_> = (0..BROWSERS)
        .map(|browser| {
            let (guesses, url) = (guesses.clone(), society.url());
            tokio::spawn(async move {
                let visitor = Browser::new();
                let mut hits = Vec::new();
                for (index, guess) in guesses.iter().enumerate().skip(browser).step_by(BROWSERS) {
                    let method = if index % 2 == 0 { Method::GET } else { Method::POST };
                    let page = visitor.call(method, &format!("{url}/r/{guess}"), "none", String::new()).await;
                    let (status, _) = page.expect("an answer");
                    hits.extend((status != 404).then(|| (status, guess.clone())));
                }
                hits
            })
        })
        .collect();
    for browser in browsers {
        assert_eq!(browser.await.expect("no panic"), vec![]);
    }
    assert_eq!(number(&society, "SELECT COUNT(*) FROM response").await, 0);
    guessing_at_the_sink_is_interrupted(&society, &notice, &mails).await;
}

/// Attack 17: mail scanners and link previews open everything; nothing comes of it.
#[tokio::test(flavor = "multi_thread")]
async fn attack_17_following_every_link_of_a_hundred_mails_changes_nothing() {
    let society = Society::of(100).await;
    let _service = society.serve(&["web", "broadcaster"]).await;
    let sheet = r#"{"title":"安否","questions":[{"key":"safety","text":"ご無事ですか","required":true,
        "kind":"choice","choices":[{"value":"safe","label":"無事"},{"value":"hurt","label":"負傷"}]}]}"#;
    let sheet = serde_json::from_str(sheet).expect("a questionnaire");
    let now = domain::Clock::now(&testkit::SystemClock);
    let sheet = society.store().create_questionnaire(&sheet, now).await.expect("it is kept").to_string();
    let mails = asking(&society, &sheet).await.dots().await;

    let before = on_disk(&society);
    let mut followed = 0;
    for mail in &mails {
        let links: BTreeSet<&str> =
            mail.text.split_whitespace().filter(|word| word.starts_with("http://")).collect();
        assert!(links.iter().any(|link| link.contains("/r/")), "a personal link in each: {links:?}");
        for link in links {
            let path = link.replace(&society.url(), "");
            for method in ["GET", "HEAD"] {
                for query in ["", "?safety=safe", "?_method=POST&safety=safe"] {
                    let prefetch = "Sec-Purpose: prefetch\r\nX-HTTP-Method-Override: POST\r\n";
                    let page =
                        dashboard::request(&society, method, &format!("{path}{query}"), prefetch, "").await;
                    assert_eq!(page.status, 200, "{method} {query}");
                    assert_eq!(page.body.is_empty(), method == "HEAD");
                    followed += 1;
                }
            }
        }
    }
    assert!(followed >= 100 * 2 * 3, "{followed} requests");
    assert!(on_disk(&society) == before, "a database was written to");
}

/// Every octet of both databases. Whatever is committed, is written; reading writes nothing.
fn on_disk(society: &Society) -> Vec<Vec<u8>> {
    let files = ["hansho.db", "hansho.db-wal", "replies.db"];
    files.map(|file| std::fs::read(society.path(file)).expect("a database can be read")).into()
}

/// Attack 25: links and redirections carry the configured origin, whatever a request claims.
#[tokio::test(flavor = "multi_thread")]
async fn attack_25_a_forged_host_appears_nowhere() {
    const FORGED: [&str; 6] = [
        "Host: evil.example\r\n",
        "X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n",
        "Forwarded: host=evil.example;proto=https\r\n",
        "X-Original-URL: http://evil.example/\r\nX-Rewrite-URL: //evil.example/\r\n",
        "X-Host: evil.example\r\nX-Forwarded-Server: evil.example\r\nX-HTTP-Host-Override: evil.example\r\n",
        "Origin: http://evil.example\r\nReferer: http://evil.example/\r\n",
    ];
    let society = Society::of(2).await;
    let _service = society.serve(&[]).await;
    for headers in FORGED {
        for (method, path) in [
            ("GET", "/"),
            ("GET", "/login"),
            ("GET", "/verify"),
            ("GET", "/login?to=//evil.example/"),
            ("GET", "/login?to=http://evil.example/"),
            ("GET", "/broadcasts/1"),
            ("POST", "/login?to=//evil.example/"),
            ("GET", "/r/nothing"),
        ] {
            let page = dashboard::request(&society, method, path, headers, "").await;
            let location = page.head.lines().find(|line| line.to_ascii_lowercase().starts_with("location:"));
            assert!(
                location.is_none_or(|to| to.contains(": /") && !to.contains("//")),
                "{headers}{path}: {location:?}"
            );
            let link =
                ["http://evil", "https://evil", "\"//evil"].into_iter().find(|link| page.body.contains(link));
            assert_eq!(link, None, "{headers}{path}");
        }
    }
    // And what a page was asked under says nothing about the next mail.
    for mail in sent(&society, "訓練").await.dots().await {
        let mut links = mail.text.split_whitespace().filter(|word| word.contains("://"));
        assert!(links.all(|link| link.starts_with(&society.url())), "{}", mail.text);
    }
}

async fn sent<'a>(society: &'a Society, subject: &str) -> Broadcast<'a> {
    let notice = society.released(subject).await;
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    notice
}

async fn asking<'a>(society: &'a Society, sheet: &str) -> Broadcast<'a> {
    let file = society.text("{{name}} 様\n");
    let create = ["broadcast", "create", "--nature", "exercise", "--subject", "安否の報告のお願い"];
    let rest = ["--audience", "all", "--body-file", &file, "--questionnaire", sheet];
    let made = society.hansho(&[&create[..], &rest[..]].concat()).by(&society.coordinator).await.done();
    let notice = society.broadcast(made["id"].as_i64().expect("an id"));
    assert_eq!(notice.preflight().await["ok"], true);
    let _signed = notice.approve_by(&society.approver).await.done();
    let _released = notice.send().await.done();
    notice.becomes(BroadcastState::Completed, PATIENCE).await;
    notice
}

/// Nobody, other people, ourselves, and what is no address.
fn forged_sender(index: usize, mail: &Dot) -> String {
    match index % 6 {
        0 => String::new(),
        1 => mail.reply_to.clone(),
        2 => "drill@staff.example.jp".to_owned(),
        3 => mail.mail_from.clone(),
        4 => format!("abc..def{index}@docomo.ne.jp"),
        _ => format!("victim{index}@elsewhere.example"),
    }
}

fn forged_mail(from: &str, mail: &Dot) -> String {
    format!(
        "From: <{from}>\nSender: <{from}>\nReply-To: <{from}>\nReturn-Path: <{from}>\nErrors-To: <{from}>\n\
         Disposition-Notification-To: <{from}>\nReturn-Receipt-To: <{from}>\nTo: <{to}>\n\
         Resent-To: <victim@elsewhere.example>\nSubject: confirm please\nMIME-Version: 1.0\n\
         Content-Type: text/plain\n\nPlease acknowledge.\n",
        to = mail.reply_to,
    )
}

/// Real tokens with one thing changed or of another kind, then new ones that are right in all but
/// their signature.
fn guesses(kind: TokenKind, broadcast: BroadcastId, mails: &[Dot], count: usize) -> Vec<String> {
    let mut guesses = Vec::with_capacity(count);
    for token in mails.iter().flat_map(|mail| [token_of(&mail.reply_to), token_of(&mail.mail_from)]) {
        if kind == TokenKind::Answer {
            guesses.extend([token.clone(), token.to_uppercase()]);
        }
        guesses.extend([token[1..].to_owned(), format!("{token}a"), format!("{}%00", &token[..49])]);
        for at in 0..token.len() {
            let mut changed: Vec<char> = token.chars().collect();
            changed[at] = if changed[at] == 'a' { 'b' } else { 'a' };
            guesses.push(changed.into_iter().collect());
        }
    }
    let mut rng = StdRng::seed_from_u64(15);
    while guesses.len() < count {
        let forger = Keyring::new(TokenKey::new(1, rng.random()), vec![]);
        let member = MemberId::new(1 + guesses.len() as i64 % 3);
        guesses.push(forger.write(RecipientToken { kind, broadcast, member }));
    }
    guesses
}

/// At the sink, too, nothing opens; and after twenty errors the connection is closed.
async fn guessing_at_the_sink_is_interrupted(society: &Society, notice: &Broadcast<'_>, mails: &[Dot]) {
    let domain = mails[0].reply_to.rsplit_once('@').expect("an address").1;
    let mut post = offering(society).await;
    let mut closed = 0;
    for guess in guesses(TokenKind::Reply, notice.id(), mails, 600) {
        let answer = post.say(&format!("RCPT TO:<{guess}@{domain}>")).await;
        assert!(answer.starts_with("550") || answer.starts_with("421"), "{answer}");
        if answer.starts_with("421") {
            closed += 1;
            post = offering(society).await;
        }
    }
    assert!(closed > 20, "guessing was interrupted {closed} times");
}

async fn offering(society: &Society) -> Post {
    let mut post = society.post().await;
    post.say("EHLO stranger.example").await;
    post.say("MAIL FROM:<stranger@elsewhere.example>").await;
    post
}

fn token_of(address: &str) -> String {
    address.split('@').next().expect("an address").to_owned()
}
