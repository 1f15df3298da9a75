//! attacks.md 7, 8, 10 and 15: what the dialogue grants and what it refuses.

use crate::peer::{DOMAIN, address, expect, start, start_with};
use domain::{BroadcastId, Keyring, MemberId, RecipientToken, ReplyClass, TokenKey, TokenKind};
use replybox::ArrivedBy;
use sink::{Protocol, Sink, SinkError, SinkSettings};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use testkit::SystemClock;

const MAIL: &[u8] = b"From: a@b.jp\r\nSubject: Re: drill\r\n\r\nsafe\r\n";

#[tokio::test]
async fn nothing_is_relayed_expanded_or_confirmed() {
    let sink = start().await;
    let mut peer = sink.greeted().await;
    expect(&peer.says("MAIL FROM:<a@b.jp>").await, "250");
    let ours = address(TokenKind::Reply, 1);
    for foreign in [
        "victim@example.com".to_owned(),
        format!("{ours}@example.com"),
        format!("victim%example.com@{DOMAIN}"),
        format!("example.com!victim@{DOMAIN}"),
        format!("victim@example.com@{DOMAIN}"),
        format!("@{DOMAIN}:victim@example.com"),
        format!("{ours},victim@example.com"),
        "postmaster".to_owned(),
    ] {
        expect(&peer.says(&format!("RCPT TO:<{foreign}>")).await, "550");
    }
    for command in
        ["VRFY a", "EXPN all", "XCLIENT ADDR=127.0.0.1", "ETRN x", "TURN", "AUTH PLAIN AA==", "STARTTLS"]
    {
        expect(&peer.says(command).await, "502");
    }
    expect(&peer.says("DATA").await, "503");
    assert!(sink.stored().await.is_empty());
}

#[tokio::test]
async fn only_a_token_that_our_key_signed_for_mail_is_a_recipient() {
    let sink = start().await;
    let mut peer = sink.greeted().await;
    expect(&peer.says("MAIL FROM:<a@b.jp>").await, "250");
    let token =
        RecipientToken { kind: TokenKind::Reply, broadcast: BroadcastId::new(9), member: MemberId::new(1) };
    let foreign = Keyring::new(TokenKey::new(1, [8; 32]), vec![]).write(token);
    for refused in [
        format!("{foreign}@{DOMAIN}"),
        address(TokenKind::Answer, 1),
        address(TokenKind::Unsubscribe, 1),
        format!("drill@{DOMAIN}"),
        format!("@{DOMAIN}"),
    ] {
        expect(&peer.says(&format!("RCPT TO:<{refused}>")).await, "550 5.1.1");
    }
    let shouted = address(TokenKind::Reply, 1).to_ascii_uppercase();
    expect(&peer.says(&format!("rcpt to: <{shouted}> NOTIFY=NEVER")).await, "250");
}

#[tokio::test]
async fn a_guesser_is_cut_off_after_twenty_errors() {
    let sink = start().await;
    let mut peer = sink.greeted().await;
    peer.says("MAIL FROM:<a@b.jp>").await;
    for _ in 0..20 {
        expect(&peer.says(&format!("RCPT TO:<guess@{DOMAIN}>")).await, "550");
    }
    expect(&peer.says(&format!("RCPT TO:<guess@{DOMAIN}>")).await, "421");
    assert_eq!(peer.rest().await, "");
}

#[tokio::test]
async fn machines_and_carriers_with_odd_addresses_can_reply() {
    let sink = start().await;
    let mut peer = sink.greeted().await;
    expect(&peer.delivers("abc..def.@docomo.ne.jp", &address(TokenKind::Reply, 1), MAIL).await, "250");
    expect(&peer.delivers("", &address(TokenKind::Bounce, 2), MAIL).await, "250");
    // A machine's report to where people answer is refused before its text.
    expect(&peer.says("MAIL FROM:<>").await, "250");
    expect(&peer.says(&format!("RCPT TO:<{}>", address(TokenKind::Reply, 3))).await, "550 5.7.1");
    let stored = sink.stored().await;
    let lines: Vec<_> = stored
        .iter()
        .map(|r| {
            (r.summary.envelope_from.as_str(), r.summary.arrived_by, r.summary.member.get(), r.summary.class)
        })
        .collect();
    assert_eq!(
        lines,
        [
            ("abc..def.@docomo.ne.jp", ArrivedBy::Reply, 1, ReplyClass::HumanReply),
            ("", ArrivedBy::Bounce, 2, ReplyClass::AutoReply),
        ]
    );
}

#[tokio::test]
async fn lmtp_answers_once_for_each_recipient_and_smtp_once_for_all() {
    for (protocol, hello, answers) in [(Protocol::Smtp, "EHLO", 1), (Protocol::Lmtp, "LHLO", 2)] {
        let sink = start_with(|settings| settings.protocol = protocol).await;
        let mut peer = sink.connect().await;
        let wrong = if protocol == Protocol::Smtp { "LHLO" } else { "EHLO" };
        expect(&peer.says(&format!("{wrong} x")).await, "500");
        expect(&peer.says(&format!("{hello} x")).await, "250-");
        expect(&peer.says("MAIL FROM:<a@b.jp>").await, "250");
        expect(&peer.says(&format!("RCPT TO:<{}>", address(TokenKind::Reply, 1))).await, "250");
        expect(&peer.says(&format!("RCPT TO:<nobody@{DOMAIN}>")).await, "550");
        expect(&peer.says(&format!("RCPT TO:<{}>", address(TokenKind::Reply, 2))).await, "250");
        expect(&peer.says("DATA").await, "354");
        peer.sends(MAIL).await;
        peer.sends(b".\r\n").await;
        for _ in 0..answers {
            expect(&peer.answer().await, "250 2.0.0");
        }
        expect(&peer.says("QUIT").await, "221");
        let members: Vec<i64> = sink.stored().await.iter().map(|r| r.summary.member.get()).collect();
        assert_eq!(members, [1, 2]);
    }
}

#[tokio::test]
async fn commands_out_of_order_and_lines_without_end_are_refused() {
    let sink = start().await;
    let mut peer = sink.connect().await;
    expect(&peer.says("MAIL FROM:<a@b.jp>").await, "503");
    expect(&peer.says("EHLO x").await, "250-");
    expect(&peer.says(&format!("RCPT TO:<{}>", address(TokenKind::Reply, 1))).await, "503");
    expect(&peer.says("MAIL FROM:<a@b.jp>").await, "250");
    expect(&peer.says("MAIL FROM:<a@b.jp>").await, "503");
    expect(&peer.says("RSET").await, "250");
    expect(&peer.says("DATA").await, "503");
    expect(&peer.says(&"x".repeat(1_000_000)).await, "500 5.5.2");
    expect(&peer.says(&format!("NOOP {}", "x".repeat(1_990))).await, "250");
    expect(&peer.says(&format!("NOOP {}", "x".repeat(1_996))).await, "500 5.5.2");
}

#[tokio::test]
async fn an_oversize_mail_is_refused_and_the_session_goes_on() {
    let sink = start_with(|settings| settings.size_max = 100_000).await;
    let mut peer = sink.greeted().await;
    let recipient = address(TokenKind::Reply, 1);
    expect(&peer.says("MAIL FROM:<a@b.jp> SIZE=100001").await, "552");
    let large = b"0123456789abcdef0123456789abcdef\r\n".repeat(30_000);
    expect(&peer.delivers("a@b.jp", &recipient, &large).await, "552");
    expect(&peer.delivers("a@b.jp", &recipient, MAIL).await, "250");
    assert_eq!(sink.stored().await.len(), 1);
}

#[tokio::test]
async fn five_hundred_idle_clients_do_not_delay_an_honest_one() {
    let sink = start().await;
    let mut idle = Vec::new();
    for number in 0..500 {
        let mut peer = sink.connect_silently().await;
        if number % 2 == 0 {
            peer.sends(b"EHLO slow").await;
        }
        idle.push(peer);
    }
    let begun = Instant::now();
    let mut peer = sink.greeted().await;
    expect(&peer.delivers("a@b.jp", &address(TokenKind::Reply, 1), MAIL).await, "250");
    assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
    drop(idle);
}

#[tokio::test]
async fn a_connection_over_the_cap_is_told_to_come_back() {
    let sink = start_with(|settings| settings.sessions_max = 1).await;
    let first = sink.connect().await;
    let mut second = sink.connect_silently().await;
    expect(&second.rest().await, "421");
    drop(first);
    // The freed place is seen once the sink has noticed the end.
    loop {
        let mut third = sink.connect_silently().await;
        if third.answer().await.starts_with("220") {
            break;
        }
    }
}

#[tokio::test]
async fn silence_and_dawdling_end_a_session() {
    let sink = start_with(|settings| settings.idle = Duration::from_millis(100)).await;
    let mut peer = sink.connect().await;
    expect(&peer.rest().await, "421 4.4.2");

    let sink = start_with(|settings| settings.session_max = Duration::from_millis(300)).await;
    let mut peer = sink.greeted().await;
    peer.opens_mail("a@b.jp", &address(TokenKind::Reply, 1)).await;
    expect(&peer.rest().await, "421 4.4.2");
    assert!(sink.stored().await.is_empty());
}

#[tokio::test]
async fn at_shutdown_a_mail_under_way_is_still_taken_and_idle_sessions_end() {
    let sink = start().await;
    let mut idle = sink.greeted().await;
    let mut busy = sink.greeted().await;
    busy.opens_mail("a@b.jp", &address(TokenKind::Reply, 1)).await;
    sink.shutdown.cancel();
    expect(&idle.rest().await, "421 4.3.2");
    busy.sends(MAIL).await;
    expect(&busy.says(".").await, "250");
    expect(&busy.rest().await, "421 4.3.2");
    assert_eq!(sink.stored().await.len(), 1);
    sink.served.await.expect("the sink ends");
}

#[tokio::test]
async fn a_busy_port_is_named_with_the_way_on() {
    let sink = start().await;
    let settings = SinkSettings::new(sink.addr, Protocol::Smtp, DOMAIN);
    let second =
        Sink::bind(settings, crate::peer::keyring(), sink.replies.clone(), Arc::new(SystemClock)).await;
    let Err(error @ SinkError::PortBusy { .. }) = second else { panic!("the port is taken") };
    let text = error.to_string();
    assert!(text.contains(&sink.addr.port().to_string()) && text.contains("sink.listen"), "{text}");
}
