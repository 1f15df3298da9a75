//! A running sink with an empty reply database, and a peer that says exactly what it is told to.

use domain::{BroadcastId, Keyring, MemberId, RecipientToken, TokenKey, TokenKind};
use replybox::{ReplyBox, ReplyFilter, StoredReply};
use sink::{Protocol, Sink, SinkSettings};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use testkit::{SystemClock, TestDatabase, fresh_sqlite};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};
use tokio_util::sync::CancellationToken;

pub(crate) const DOMAIN: &str = "reply.example.jp";
/// Longer than anything here takes; a test that gets there is broken.
const PATIENCE: Duration = Duration::from_secs(20);

/// A sink of its own for one test.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    pub(crate) replies: ReplyBox,
    pub(crate) database: TestDatabase,
    pub(crate) shutdown: CancellationToken,
    pub(crate) served: JoinHandle<()>,
}

pub(crate) fn keyring() -> Keyring {
    Keyring::new(TokenKey::new(1, [7; 32]), vec![])
}

/// An address of ours for `member`.
pub(crate) fn address(kind: TokenKind, member: i64) -> String {
    let token = RecipientToken { kind, broadcast: BroadcastId::new(9), member: MemberId::new(member) };
    format!("{}@{DOMAIN}", keyring().write(token))
}

pub(crate) async fn start() -> Running {
    start_with(|_| {}).await
}

pub(crate) async fn start_with(change: impl FnOnce(&mut SinkSettings)) -> Running {
    let database = fresh_sqlite().await;
    let replies = ReplyBox::connect(&database.replies_url).await.expect("the reply database");
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = SinkSettings::new(listen, Protocol::Smtp, DOMAIN);
    change(&mut settings);
    let sink = Sink::bind(settings, keyring(), replies.clone(), Arc::new(SystemClock)).await.expect("bind");
    let addr = sink.addr();
    let shutdown = CancellationToken::new();
    let served = tokio::spawn(sink.run(shutdown.clone()));
    Running { addr, replies, database, shutdown, served }
}

impl Running {
    /// A connection that has read the greeting.
    pub(crate) async fn connect(&self) -> Peer {
        let mut peer = self.connect_silently().await;
        let greeting = peer.answer().await;
        assert!(greeting.starts_with("220 "), "{greeting}");
        peer
    }

    /// A connection that has said hello.
    pub(crate) async fn greeted(&self) -> Peer {
        let mut peer = self.connect().await;
        peer.says("EHLO peer.example").await;
        peer
    }

    /// A connection that has read nothing.
    #[expect(clippy::disallowed_methods, reason = "the test is the sink's peer")]
    pub(crate) async fn connect_silently(&self) -> Peer {
        let stream = TcpStream::connect(self.addr).await.expect("connect");
        stream.set_nodelay(true).expect("no delay");
        Peer { stream: BufReader::new(Box::new(stream)) }
    }

    /// Everything stored, oldest first.
    pub(crate) async fn stored(&self) -> Vec<StoredReply> {
        let mut found = Vec::new();
        for line in self.replies.page(ReplyFilter::default(), None, 500).await.expect("list") {
            found.push(self.replies.get(line.id).await.expect("get").expect("a listed row"));
        }
        found.reverse();
        found
    }
}

trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Octets for T {}

/// The other end.
pub(crate) struct Peer {
    stream: BufReader<Box<dyn Octets>>,
}

impl Peer {
    /// Sends a line and returns the whole answer.
    pub(crate) async fn says(&mut self, line: &str) -> String {
        self.sends(format!("{line}\r\n").as_bytes()).await;
        self.answer().await
    }

    pub(crate) async fn sends(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).await.expect("send");
        self.stream.get_mut().flush().await.expect("send");
    }

    /// Sends all that is left to say, and hangs up its own side. The sink may have heard enough
    /// before.
    pub(crate) async fn ends_with(&mut self, bytes: &[u8]) {
        let stream = self.stream.get_mut();
        let _heard_enough = stream.write_all(bytes).await;
        let _closed = stream.shutdown().await;
    }

    /// Sends in pieces of that size, each in a segment of its own.
    pub(crate) async fn sends_in_pieces(&mut self, bytes: &[u8], size: usize) {
        for piece in bytes.chunks(size) {
            self.sends(piece).await;
        }
    }

    /// One answer, all its lines; empty where the connection was closed.
    pub(crate) async fn answer(&mut self) -> String {
        let mut whole = String::new();
        loop {
            let mut line = String::new();
            let read =
                tokio::time::timeout(PATIENCE, self.stream.read_line(&mut line)).await.expect("an answer");
            whole.push_str(&line);
            if read.unwrap_or(0) == 0 || line.as_bytes().get(3) == Some(&b' ') {
                return whole;
            }
        }
    }

    /// The handshake after a 220 to STARTTLS.
    pub(crate) async fn secured(self, tls: &TlsConnector) -> std::io::Result<Self> {
        let name = ServerName::try_from(DOMAIN).expect("a name");
        let secured = tls.connect(name, self.stream.into_inner()).await?;
        Ok(Self { stream: BufReader::new(Box::new(secured)) })
    }

    /// Everything until the sink closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await.expect("an end");
        // A reset after the last word is an end, too.
        read.ok();
        String::from_utf8(rest).expect("answers are ASCII")
    }

    /// MAIL, RCPT, DATA up to the 354.
    pub(crate) async fn opens_mail(&mut self, sender: &str, recipient: &str) {
        expect(&self.says(&format!("MAIL FROM:<{sender}>")).await, "250");
        expect(&self.says(&format!("RCPT TO:<{recipient}>")).await, "250");
        expect(&self.says("DATA").await, "354");
    }

    /// A whole mail; returns the answer to its dot. `raw` needs no stuffing and ends with CRLF.
    pub(crate) async fn delivers(&mut self, sender: &str, recipient: &str, raw: &[u8]) -> String {
        self.opens_mail(sender, recipient).await;
        self.sends(raw).await;
        self.says(".").await
    }
}

/// As a client writes it (RFC 5321 §4.5.2): a dot more where a line begins with one.
pub(crate) fn stuffed(raw: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(raw.len() + 16);
    for line in raw.split_inclusive(|octet| *octet == b'\n') {
        let starts_line = wire.is_empty() || wire.ends_with(b"\r\n");
        if starts_line && line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire
}

/// The answer begins with this code.
#[track_caller]
pub(crate) fn expect(answer: &str, code: &str) {
    assert!(answer.starts_with(code), "expected {code}, got {answer:?}");
}
