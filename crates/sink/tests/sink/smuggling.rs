//! attacks.md 1 and 2: one DATA is one mail, whatever stands in it.

use crate::peer::{address, expect, start, stuffed};
use domain::TokenKind;

const FAKE_ENDS: [&str; 8] =
    ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r\n.\n", "\r.\r\n", "\r\n\0.\r\n", "\r\n.\0\r\n"];

/// One octet, an odd few, everything at once.
const PIECES: [usize; 3] = [1, 7, usize::MAX];

#[tokio::test]
async fn no_spelling_of_a_line_end_makes_two_mails_of_one() {
    let sink = start().await;
    let recipient = address(TokenKind::Reply, 1);
    let mut mails = 0;
    for fake in FAKE_ENDS {
        for size in PIECES {
            let mut peer = sink.greeted().await;
            peer.opens_mail("a@b.jp", &recipient).await;
            let raw = format!(
                "Subject: one\r\n\r\nfirst{fake}MAIL FROM:<evil@x.jp>\r\nRCPT TO:<{recipient}>\r\nDATA\r\nSubject: two\r\n\r\nsecond\r\n"
            );
            peer.sends_in_pieces(raw.as_bytes(), size).await;
            expect(&peer.says(".").await, "250");
            expect(&peer.says("QUIT").await, "221");
            mails += 1;
            let stored = sink.stored().await;
            assert_eq!(stored.len(), mails, "{fake:?} in pieces of {size}");
            let last = stored.last().expect("a row");
            assert_eq!(last.summary.envelope_from, "a@b.jp");
            assert!(last.raw.ends_with(b"second\r\n"));
        }
    }
}

#[tokio::test]
async fn bare_controls_and_dots_are_stored_as_they_came() {
    let sink = start().await;
    let recipient = address(TokenKind::Reply, 1);
    let raw = b"Subject: x\r\n\r\n\n.\n\r.\r\0\xff\x80 .\r\r\n..\r\n...\r\n \t\r\nend\r\n";
    let wire = stuffed(raw);
    for size in PIECES {
        let mut peer = sink.greeted().await;
        peer.opens_mail("a@b.jp", &recipient).await;
        peer.sends_in_pieces(&wire, size).await;
        expect(&peer.says(".").await, "250");
    }
    for row in sink.stored().await {
        assert_eq!(row.raw, raw);
    }
}

#[tokio::test]
async fn a_command_ended_by_a_bare_line_feed_is_refused() {
    let sink = start().await;
    let mut peer = sink.greeted().await;
    peer.sends(b"NOOP\n").await;
    expect(&peer.answer().await, "500");
    peer.sends(b"NOOP\r\0\r\n").await;
    expect(&peer.answer().await, "500");
    expect(&peer.says("NOOP").await, "250");
}

#[tokio::test]
async fn a_mail_sent_ahead_of_a_refused_data_is_not_read_as_commands() {
    let sink = start().await;
    let recipient = address(TokenKind::Reply, 1);
    let mut peer = sink.greeted().await;
    let early = format!(
        "MAIL FROM:<a@b.jp>\r\nRCPT TO:<nobody@reply.example.jp>\r\nDATA\r\nRSET\r\nMAIL FROM:<evil@x.jp>\r\nRCPT TO:<{recipient}>\r\nDATA\r\nsmuggled\r\n.\r\n"
    );
    peer.sends(early.as_bytes()).await;
    let answers = peer.rest().await;
    assert!(!answers.contains("354"), "{answers}");
    assert!(sink.stored().await.is_empty());
}

#[tokio::test]
async fn a_pipelined_group_is_answered_command_by_command() {
    let sink = start().await;
    let recipient = address(TokenKind::Reply, 1);
    let mut peer = sink.greeted().await;
    let group = format!("MAIL FROM:<a@b.jp>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n");
    peer.sends(group.as_bytes()).await;
    for code in ["250", "250", "354"] {
        expect(&peer.answer().await, code);
    }
    peer.sends(b"x\r\n.\r\nNOOP\r\nQUIT\r\n").await;
    for code in ["250", "250", "221"] {
        expect(&peer.answer().await, code);
    }
    assert_eq!(sink.stored().await.len(), 1);
}
