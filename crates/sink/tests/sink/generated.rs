//! Mails and dialogues nobody wrote: our own ones, cut, doubled, spliced and sprinkled with what
//! parsers stumble over. `PROPTEST_CASES=100000` looks longer.

use crate::peer::{Running, address, expect, start, stuffed};
use domain::TokenKind;
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::TestRunner};
use replybox::ReplyFilter;
use sink::classify::classify;
use tokio::runtime::Runtime;

/// One of each kind, and one that is many at once.
const SEEDS: [&str; 6] = [
    "From: <mailer-daemon@example.jp>\r\nSubject: Undelivered Mail Returned to Sender\r\nMIME-Version: 1.0\r\n\
     Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n\r\n\
     --b\r\nContent-Type: text/plain\r\n\r\nThe mailbox does not exist.\r\n\
     --b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.jp\r\n\r\n\
     Final-Recipient: rfc822; hanako@example.jp\r\nAction: failed\r\nStatus: 5.1.1\r\n\
     Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n\
     --b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <1@example.jp>\r\n\r\n--b--\r\n",
    "From: <abuse@provider.example.jp>\r\nSubject: FW: drill\r\nMIME-Version: 1.0\r\n\
     Content-Type: multipart/report; report-type=feedback-report; boundary=\"f\"\r\n\r\n\
     --f\r\nContent-Type: text/plain\r\n\r\nThis is an email abuse report.\r\n\
     --f\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\nVersion: 1\r\n\
     User-Agent: Loop/1\r\n\r\n--f\r\nContent-Type: message/rfc822\r\n\r\nSubject: drill\r\n\r\nx\r\n--f--\r\n",
    "From: =?utf-8?B?6Iqx5a2Q?= <hanako@example.jp>\r\nSubject: =?ISO-2022-JP?B?GyRCNzFOfRsoQg==?=\r\n\
     Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$BL5;v$G$9\x1b(B\r\n\r\n> hello\r\n",
    "From: a@example.jp\r\nSubject: Automatic reply\r\nAuto-Submitted: auto-replied\r\n\
     Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\
     Content-Transfer-Encoding: quoted-printable\r\n\r\nI am away =E4=B8=8D=E5=9C=A8\r\n\
     --x\r\nContent-Type: text/html\r\n\r\n<p>I am <b>away</b> <script>x</script></p>\r\n--x--\r\n",
    "From: a@example.jp\r\nSubject: unsubscribe\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n\
     --o\r\nContent-Type: multipart/related; boundary=i\r\n\r\n--i\r\nContent-Type: text/plain\r\n\
     Content-Transfer-Encoding: base64\r\n\r\n6YWN5L+h5YGc5q2i\r\n--i--\r\n\
     --o\r\nContent-Type: application/zip; name=\"=?utf-8?B?44GC?=.zip\"\r\n\
     Content-Transfer-Encoding: base64\r\n\r\nUEsDBAoAAAAAAA==\r\n--o--\r\n",
    "Hi. This is the qmail-send program at example.jp.\r\n<hanako@example.jp>:\r\nSorry, no mailbox here.\r\n",
];

/// What parsers stumble over.
const WORDS: [&[u8]; 24] = [
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"\r\n.\r\n",
    b"\r\n--b",
    b"\r\n--b--",
    b"=?",
    b"?=",
    b"=?iso-2022-jp?B?GyRC",
    b"=?utf-8?Q?=",
    b"\x1b$B",
    b"\x1b(B",
    b"\xff\xfe",
    b"\xe3\x81",
    b"\x82\xa0",
    b"=E3=",
    b"Content-Type: multipart/mixed; boundary=\"b\"\r\n",
    b"Content-Type: message/rfc822\r\n\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Type: text/plain; charset=utf-16\r\n",
    b"Status: 5.999999999999999999999.1\r\n",
    b"Final-Recipient: rfc822;\r\n",
    b"\xe2\x80\xae",
];

#[derive(Debug, Clone)]
enum Change {
    Cut(Index, Index),
    Double(Index, Index),
    Insert(Index, usize),
    Flip(Index, u8),
    Splice(Index, usize),
    Repeat(Index, usize, u16),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Change::Cut(a, b)),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Change::Double(a, b)),
        (any::<Index>(), 0..WORDS.len()).prop_map(|(at, word)| Change::Insert(at, word)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, octet)| Change::Flip(at, octet)),
        (any::<Index>(), 0..SEEDS.len()).prop_map(|(at, seed)| Change::Splice(at, seed)),
        (any::<Index>(), 0..WORDS.len(), any::<u16>()).prop_map(|(at, word, n)| Change::Repeat(at, word, n)),
    ]
}

fn changed(mut mail: Vec<u8>, change: &Change) -> Vec<u8> {
    let range = |a: &Index, b: &Index| {
        let (a, b) = (a.index(mail.len() + 1), b.index(mail.len() + 1));
        a.min(b)..a.max(b)
    };
    match change {
        Change::Cut(a, b) => {
            mail.drain(range(a, b));
        }
        Change::Double(a, b) => {
            let range = range(a, b);
            let copy = mail[range.clone()].to_vec();
            mail.splice(range.end..range.end, copy);
        }
        Change::Insert(at, word) => {
            let at = at.index(mail.len() + 1);
            mail.splice(at..at, WORDS[*word].iter().copied());
        }
        Change::Flip(at, octet) => {
            if !mail.is_empty() {
                let at = at.index(mail.len());
                mail[at] ^= octet;
            }
        }
        Change::Splice(at, seed) => {
            let at = at.index(mail.len() + 1);
            mail.splice(at..at, SEEDS[*seed].bytes());
        }
        Change::Repeat(at, word, times) => {
            let at = at.index(mail.len() + 1);
            mail.splice(at..at, WORDS[*word].repeat(usize::from(*times) % 2_000));
        }
    }
    mail
}

fn mail() -> impl Strategy<Value = Vec<u8>> {
    (0..SEEDS.len(), vec(change(), 0..12))
        .prop_map(|(seed, changes)| changes.iter().fold(SEEDS[seed].as_bytes().to_vec(), changed))
}

proptest! {
    #[test]
    fn whatever_comes_is_read_within_bounds(raw in prop_oneof![mail(), report()]) {
        let reading = classify(&raw);
        prop_assert!(reading.body_text.chars().count() <= 20_000);
        let hidden = |c: char| c.is_control() && c != '\n' && c != '\t';
        prop_assert!(!reading.body_text.contains(hidden), "{:?}", reading.body_text);
        for line in [&reading.subject, &reading.from] {
            prop_assert!(!line.contains(|c: char| c.is_control()), "{line:?}");
        }
        let overrides = |text: &str| text.contains('\u{202e}');
        prop_assert!(!overrides(&reading.subject) && !overrides(&reading.body_text));
        let written = |c: char| c.is_ascii_digit() || c == '.';
        prop_assert!(reading.status.as_deref().is_none_or(|status| status.len() <= 9 && status.chars().all(written)));
        prop_assert!(reading == classify(&raw), "twice is the same");
    }
}

/// A field of a report (RFC 3464, 5965), with a value that fits, or any other.
fn field() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "Reporting-MTA",
        "Original-Recipient",
        "Final-Recipient",
        "Action",
        "Status",
        "Diagnostic-Code",
        "Remote-MTA",
        "Will-Retry-Until",
        "Feedback-Type",
        "User-Agent",
        "Version",
        "Original-Rcpt-To",
        "Reported-Domain",
        "X-HmXmrOriginalRecipient",
    ]);
    let values = prop_oneof![
        prop::sample::select(vec![
            "failed",
            "delayed",
            "rfc822; a@example.jp",
            "smtp; 550 5.1.1 unknown",
            "abuse",
            "1"
        ])
        .prop_map(str::to_owned),
        "[0-9]{0,30}\\.[0-9]{0,30}\\.[0-9]{0,3}",
        "[a-z0-9]{0,9};.{0,300}",
        ".{0,300}",
        "(\r\n[ \t].{0,60}){0,20}",
    ];
    (names, prop_oneof![Just(": "), Just(":"), Just(" :"), Just("")], values)
        .prop_map(|(name, colon, value)| format!("{name}{colon}{value}\r\n"))
}

/// A mail system's report: groups of fields, in the part and the mail that say so.
fn report() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec!["delivery-status", "feedback-report", "disposition-notification"]);
    (kinds, vec(vec(field(), 0..9), 0..9), ".{0,300}").prop_map(|(kind, groups, said)| {
        let groups: Vec<String> = groups.into_iter().map(|fields| fields.concat()).collect();
        format!(
            "From: <mailer-daemon@example.jp>\r\nMIME-Version: 1.0\r\n\
             Content-Type: multipart/report; report-type={kind}; boundary=b\r\n\r\n\
             --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{said}\r\n\
             --b\r\nContent-Type: message/{kind}\r\n\r\n{}\r\n--b--\r\n",
            groups.join("\r\n")
        )
        .into_bytes()
    })
}

/// The mail as it arrives, with an end of line at its end, and as a client sends it.
fn on_the_wire(raw: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut whole = raw.to_vec();
    if !whole.is_empty() && !whole.ends_with(b"\r\n") {
        whole.extend_from_slice(b"\r\n");
    }
    let wire = [stuffed(&whole), b".\r\n".to_vec()].concat();
    (whole, wire)
}

/// Runs a property that talks to one sink.
fn against_a_sink<S: Strategy>(strategy: S, test: impl AsyncFn(&Running, S::Value)) {
    let runtime = Runtime::new().expect("a runtime");
    let sink = runtime.block_on(start());
    // Each costs a durable commit or a connection.
    let cases = ProptestConfig::default().cases / 4;
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let mut runner = TestRunner::new(config);
    let ran = runner.run(&strategy, |value| {
        runtime.block_on(test(&sink, value));
        Ok(())
    });
    ran.unwrap_or_else(|problem| panic!("{problem}"));
}

async fn count(sink: &Running) -> u64 {
    sink.replies.counts().await.expect("counted").iter().map(|(_, count)| count).sum()
}

#[test]
fn whatever_comes_is_stored_once_and_byte_for_byte() {
    // Loops are refused, and rightly so.
    let mails = mail()
        .prop_filter("no loop", |raw| !raw.windows(9).any(|text| text.eq_ignore_ascii_case(b"received:")));
    let pieces = 1..2_000usize;
    against_a_sink((mails, pieces), async |sink, (raw, pieces)| {
        let (whole, wire) = on_the_wire(&raw);
        let before = count(sink).await;
        let mut peer = sink.greeted().await;
        peer.opens_mail("a@b.jp", &address(TokenKind::Reply, 1)).await;
        peer.sends_in_pieces(&wire, pieces).await;
        expect(&peer.answer().await, "250");
        expect(&peer.says("NOOP").await, "250 2.0.0 ok");
        assert_eq!(count(sink).await, before + 1);
        let newest = sink.replies.page(ReplyFilter::default(), None, 1).await.expect("listed");
        let stored = sink.replies.get(newest[0].id).await.expect("read").expect("the row");
        assert!(stored.raw == whole, "{whole:?}");
    });
}

#[test]
fn no_dialogue_stores_anything_or_leaves_the_sink_speechless() {
    let words = prop_oneof![
        Just("EHLO x".to_owned()),
        Just("HELO".to_owned()),
        Just("STARTTLS".to_owned()),
        Just("MAIL FROM:<a@b.jp>".to_owned()),
        Just("MAIL FROM:<>".to_owned()),
        Just(format!("RCPT TO:<{}>", address(TokenKind::Reply, 1))),
        Just("DATA".to_owned()),
        Just("RSET".to_owned()),
        "[ -~]{0,80}".prop_map(|text| format!("MAIL FROM:{text}")),
        "[ -~]{0,80}".prop_map(|text| format!("RCPT TO:{text}")),
        ".{0,200}",
    ];
    // Without a final dot nothing is a mail.
    let dialogue = vec((words, prop_oneof![Just("\r\n"), Just("\n"), Just("\r"), Just("\0\r\n")]), 0..25);
    against_a_sink(dialogue, async |sink, lines| {
        let mut peer = sink.connect().await;
        let said: String = lines.into_iter().map(|(line, end)| line + end).collect();
        if said.contains("\r\n.\r\n") {
            return;
        }
        peer.ends_with(said.as_bytes()).await;
        for line in peer.rest().await.lines() {
            let code = line.get(..3).and_then(|code| code.parse::<u16>().ok());
            assert!(code.is_some_and(|code| (200..600).contains(&code)), "{line:?}");
        }
        assert_eq!(count(sink).await, 0);
        sink.connect().await;
    });
}
