use super::*;
use domain::Timestamp;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

const SOON: Duration = Duration::from_secs(10);

struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_600_000_000_000)
    }
}

async fn relay(script: Script) -> CaptureRelay {
    CaptureRelay::start("127.0.0.1:0".parse().expect("an address"), script, Arc::new(FixedClock))
        .await
        .expect("a free port")
}

/// A client that sends what it is told, right or wrong.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    #[expect(clippy::disallowed_methods, reason = "the test is the relay's client")]
    async fn connect(relay: &CaptureRelay) -> Self {
        let stream = TcpStream::connect(relay.addr()).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        Self { stream: BufReader::new(stream) }
    }

    async fn greeted(relay: &CaptureRelay) -> Self {
        let mut client = Self::connect(relay).await;
        assert!(client.reply().await.starts_with("220 "));
        assert!(client.ask("EHLO client.invalid").await.starts_with("250 "));
        client
    }

    async fn write(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).await.expect("a write");
    }

    /// The last line of the next reply; empty where the connection ended.
    async fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(SOON, self.stream.read_line(&mut line)).await.expect("an answer");
            match read {
                Ok(1..) if line.as_bytes().get(3) == Some(&b'-') => {}
                Ok(_) => return line,
                Err(_) => return String::new(),
            }
        }
    }

    async fn ask(&mut self, command: &str) -> String {
        self.write(format!("{command}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// MAIL, RCPT, DATA and the octets as they are; the answer to the dot.
    async fn send(&mut self, recipient: &str, wire: &[u8]) -> String {
        assert!(self.ask("MAIL FROM:<b1@bounce.example.jp>").await.starts_with("250 "));
        let rcpt = self.ask(&format!("RCPT TO:<{recipient}>")).await;
        if !rcpt.starts_with("250 ") {
            assert!(self.ask("RSET").await.starts_with("250 "));
            return rcpt;
        }
        assert!(self.ask("DATA").await.starts_with("354 "));
        self.write(wire).await;
        self.reply().await
    }

    async fn is_left_without_an_answer(&mut self) -> bool {
        let mut octet = [0];
        tokio::time::timeout(Duration::from_millis(200), self.stream.read(&mut octet)).await.is_err()
    }
}

#[tokio::test]
async fn only_loopback_is_served() {
    let refused = CaptureRelay::start(
        "0.0.0.0:0".parse().expect("an address"),
        Script::accept_all(),
        Arc::new(FixedClock),
    )
    .await;
    assert_eq!(refused.map(|_| ()).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidInput));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_under_sixteen_connections() {
    const PER_CLIENT: u64 = 25;
    let relay = Arc::new(relay(Script::accept_all()).await);
    let clients: Vec<_> = (0..16)
        .map(|client| {
            let relay = Arc::clone(&relay);
            tokio::spawn(async move {
                let mut connection = Client::greeted(&relay).await;
                for number in 0..PER_CLIENT {
                    let wire = format!("Subject: {client}-{number}\r\n\r\nbody\r\n.\r\n");
                    let answer = connection.send(&format!("m{client}@example.jp"), wire.as_bytes()).await;
                    assert!(answer.starts_with("250 2.0.0 queued as "), "{answer}");
                }
                assert!(connection.ask("QUIT").await.starts_with("221 "));
            })
        })
        .collect();
    for client in clients {
        client.await.expect("a client");
    }
    let captured = relay.captured();
    assert_eq!((captured.len() as u64, relay.count()), (16 * PER_CLIENT, 16 * PER_CLIENT));
    assert!(captured.iter().zip(1..).all(|(mail, seq)| mail.seq == seq));
    let subjects: std::collections::BTreeSet<_> = captured.iter().map(|mail| mail.raw.clone()).collect();
    assert_eq!(subjects.len() as u64, 16 * PER_CLIENT);
    assert!((1..=16).contains(&relay.connections_peak()));
    assert_eq!(relay.captured_since(398).len(), 2);
    assert_eq!(relay.get(400).map(|mail| mail.seq), Some(400));
    assert!(relay.get(0).is_none() && relay.get(401).is_none());
}

#[tokio::test]
async fn dot_stuffing_is_undone_exactly() {
    let relay = relay(Script::accept_all()).await;
    let mut client = Client::greeted(&relay).await;
    for (wire, kept) in [
        (&b"A: b\r\n\r\n..\r\n...x\r\n.y\r\nz\r\n.\r\n"[..], &b"A: b\r\n\r\n.\r\n..x\r\ny\r\nz\r\n"[..]),
        (b"..first\r\n.\r\n", b".first\r\n"),
        (b".\r\n", b""),
        (b"a\r\n\r\n\r\n.\r\n", b"a\r\n\r\n\r\n"),
    ] {
        assert!(client.send("a@example.jp", wire).await.starts_with("250 "));
        assert_eq!(&*relay.get(relay.count()).expect("a mail").raw, kept);
    }
}

#[tokio::test]
async fn bare_line_feeds_do_not_end_the_data() {
    let relay = relay(Script::accept_all()).await;
    let mut client = Client::greeted(&relay).await;
    let wire = b"a\n.\nMAIL FROM:<x@y.jp>\n.\r\nb\r\n.\n\r\nc\r\n.\r\n";
    assert!(client.send("a@example.jp", wire).await.starts_with("250 "));
    assert_eq!(relay.count(), 1);
    assert_eq!(&*relay.get(1).expect("a mail").raw, b"a\n.\nMAIL FROM:<x@y.jp>\n.\r\nb\r\n\n\r\nc\r\n");
    client.write(b"NOOP\n").await;
    assert!(client.reply().await.starts_with("500 "));
}

#[tokio::test]
async fn data_split_at_every_octet_is_the_same_mail() {
    let relay = relay(Script::accept_all()).await;
    let mut client = Client::greeted(&relay).await;
    assert!(client.ask("MAIL FROM:<>").await.starts_with("250 "));
    assert!(client.ask("RCPT TO:<a@example.jp>").await.starts_with("250 "));
    assert!(client.ask("DATA").await.starts_with("354 "));
    for octet in b"..a\r\n..\r\n.\r\n" {
        client.write(&[*octet]).await;
        tokio::task::yield_now().await;
    }
    assert!(client.reply().await.starts_with("250 "));
    assert_eq!(&*relay.get(1).expect("a mail").raw, b".a\r\n.\r\n");
}

#[tokio::test]
async fn a_cut_leaves_a_record_and_no_reply() {
    let script = Script::accept_all().recipient("cut@example.jp", Verdict::CutAfterDot(Cut::FirstTry));
    let relay = relay(script).await;
    let mut client = Client::greeted(&relay).await;
    assert_eq!(client.send("cut@example.jp", b"A: b\r\n\r\nx\r\n.\r\n").await, "");
    assert_eq!(relay.get(1).expect("a mail").answer, Answer::Cut);
    let mut client = Client::greeted(&relay).await;
    assert!(client.send("Cut@example.jp", b"A: b\r\n\r\nx\r\n.\r\n").await.starts_with("250 "));
    assert_eq!(relay.get(2).expect("a mail").answer, Answer::Accepted);
}

#[tokio::test]
async fn deferrals_and_refusals_follow_the_script_at_their_stage() {
    let hook: Hook = Arc::new(|recipient| {
        recipient.starts_with("gone").then_some(Verdict::Refuse { at: Stage::AfterDot })
    });
    let script = Script::accept_all()
        .recipient("grey@example.jp", Verdict::Defer { tries: 2, at: Stage::Rcpt })
        .recipient("late@example.jp", Verdict::Defer { tries: 1, at: Stage::AfterDot })
        .recipient("nobody@example.jp", Verdict::Refuse { at: Stage::Rcpt })
        .decide_by(hook);
    let relay = relay(script).await;
    let mut client = Client::greeted(&relay).await;
    let mut codes = Vec::new();
    for recipient in ["grey", "grey", "grey", "late", "late", "nobody", "gone1"] {
        let answer = client.send(&format!("{recipient}@example.jp"), b"A: b\r\n.\r\n").await;
        codes.push(answer[..9].to_owned());
    }
    assert_eq!(
        codes,
        ["451 4.7.1", "451 4.7.1", "250 2.0.0", "451 4.7.1", "250 2.0.0", "550 5.1.1", "550 5.1.1"]
    );
    let answers: Vec<_> = relay.captured().iter().map(|mail| mail.answer).collect();
    assert_eq!(answers, [Answer::Accepted, Answer::Deferred(451), Answer::Accepted, Answer::Refused(550)]);
    let refused: Vec<_> = relay.refused_at_rcpt().iter().map(|r| r.code).collect();
    assert_eq!(refused, [451, 451, 550]);
}

#[tokio::test]
async fn the_relay_falls_silent_after_exactly_so_many_accepted_dots() {
    let relay = relay(Script::accept_all().stop_answering_after(2)).await;
    let mut on_its_way = Client::greeted(&relay).await;
    assert!(on_its_way.ask("MAIL FROM:<a@example.jp>").await.starts_with("250 "));
    assert!(on_its_way.ask("RCPT TO:<b@example.jp>").await.starts_with("250 "));
    assert!(on_its_way.ask("DATA").await.starts_with("354 "));

    let mut client = Client::greeted(&relay).await;
    for _ in 0..2 {
        assert!(client.send("a@example.jp", b"A: b\r\n.\r\n").await.starts_with("250 "));
    }
    client.write(b"NOOP\r\n").await;
    assert!(client.is_left_without_an_answer().await);
    on_its_way.write(b"A: b\r\n.\r\n").await;
    assert!(relay.wait_for(3, SOON).await);
    assert_eq!(relay.get(3).expect("a mail").answer, Answer::Unanswered);
    assert!(on_its_way.is_left_without_an_answer().await);
    let mut newcomer = Client::connect(&relay).await;
    assert!(newcomer.is_left_without_an_answer().await);
    assert_eq!(relay.connections_open(), 3);

    relay.set_script(Script::accept_all());
    let mut healed = Client::greeted(&relay).await;
    assert!(healed.send("a@example.jp", b"A: b\r\n.\r\n").await.starts_with("250 "));
}

#[tokio::test]
async fn connections_are_refused_after_so_many_accepted_dots() {
    let relay = relay(Script::accept_all().refuse_connections_after(1)).await;
    let mut client = Client::greeted(&relay).await;
    assert!(client.send("a@example.jp", b"A: b\r\n.\r\n").await.starts_with("250 "));
    assert_eq!(Client::connect(&relay).await.reply().await, "");
    assert!(client.ask("NOOP").await.starts_with("250 "));
}

#[tokio::test]
async fn a_slow_answer_is_recorded_before_it_is_given() {
    let script = Script::accept_all().everyone_else(Verdict::AcceptAfter(Duration::from_secs(3_600)));
    let relay = relay(script).await;
    let mut client = Client::greeted(&relay).await;
    assert!(client.ask("MAIL FROM:<a@example.jp>").await.starts_with("250 "));
    assert!(client.ask("RCPT TO:<b@example.jp>").await.starts_with("250 "));
    assert!(client.ask("DATA").await.starts_with("354 "));
    client.write(b"A: b\r\n.\r\n").await;
    assert!(relay.wait_for(1, SOON).await);
    assert_eq!(relay.get(1).expect("a mail").answer, Answer::Accepted);
    relay.stop().await;
    assert_eq!(client.reply().await, "");
    assert_eq!(relay.connections_open(), 0);
}

#[tokio::test]
async fn a_legacy_recipient_is_kept_as_written() {
    let relay = relay(Script::accept_all()).await;
    let mut client = Client::greeted(&relay).await;
    assert!(client.send("\"a..b\"@docomo.ne.jp", b"A: b\r\n.\r\n").await.starts_with("250 "));
    let mail = relay.get(1).expect("a mail");
    assert_eq!(mail.recipients, ["\"a..b\"@docomo.ne.jp"]);
    assert_eq!(mail.mail_from, "b1@bounce.example.jp");
    assert!(!format!("{mail:?}").contains("docomo"));
}

#[tokio::test]
async fn a_mail_beyond_the_announced_size_is_refused_and_the_connection_lives() {
    let relay = relay(Script::accept_all()).await;
    let mut client = Client::greeted(&relay).await;
    assert!(client.ask("MAIL FROM:<a@example.jp> SIZE=99999999").await.starts_with("552 "));
    let mut wire = vec![b'x'; DATA_OCTETS_MAX + 10];
    wire.extend_from_slice(b"\r\n.\r\n");
    assert!(client.send("a@example.jp", &wire).await.starts_with("552 "));
    assert_eq!(relay.get(1).expect("a mail").answer, Answer::Refused(552));
    assert!(client.send("a@example.jp", b"A: b\r\n.\r\n").await.starts_with("250 "));
}
