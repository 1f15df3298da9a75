//! One connection, from greeting to close.
//!
//! # Security
//! Any octets reach [`Session::run`]: command lines and mails are bounded, an idle connection is
//! closed, and a line or mail ends at CRLF only.

use super::{
    command::{self, Command},
    data::MailReceiver,
    record::{Answer, Envelope, NO_SUCH_RECIPIENT, NOT_AN_ADDRESS, Shared},
};
use bytes::BytesMut;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// What is announced as SIZE: common among relays, far above any notice.
pub const DATA_OCTETS_MAX: usize = 25 * 1024 * 1024;

/// RFC 5321 §4.5.3.1.4 asks for 512; extensions lengthen MAIL, and paths are checked separately.
const LINE_OCTETS_MAX: usize = 2_048;
/// RFC 5321 §4.5.3.1.8: the least a server must take.
const RECIPIENTS_MAX: usize = 100;
/// RFC 5321 §4.5.3.2.7.
const IDLE_MAX: Duration = Duration::from_secs(300);
const READ_OCTETS: usize = 16 * 1024;

const GREETING: &str = "220 relay.rehearsal.invalid ESMTP capture relay: nothing leaves";
const EXTENSIONS: [&str; 3] = ["8BITMIME", "ENHANCEDSTATUSCODES", "PIPELINING"];

pub(super) struct Session {
    stream: TcpStream,
    unread: BytesMut,
    shared: Arc<Shared>,
    connection: u64,
    greeted: bool,
    transaction: Option<Envelope>,
}

/// How a connection goes on after a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Continue,
    Silent,
    Close,
}

enum Line {
    Command(BytesMut),
    BareLineFeed,
    TooLong,
    Idle,
    Closed,
}

impl Session {
    pub(super) fn new(stream: TcpStream, shared: Arc<Shared>, connection: u64) -> Self {
        Self { stream, unread: BytesMut::new(), shared, connection, greeted: false, transaction: None }
    }

    /// Serves until either side closes.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let mut flow = self.say(GREETING).await?;
        while flow == Flow::Continue {
            flow = match self.read_line().await? {
                Line::Command(line) => self.obey(&line).await?,
                Line::BareLineFeed => self.say("500 5.5.2 a line ends in CR LF").await?,
                Line::TooLong => self.say_last("500 5.5.2 line too long").await?,
                Line::Idle => self.say_last("421 4.4.2 idle for too long").await?,
                Line::Closed => Flow::Close,
            };
        }
        if flow == Flow::Silent { self.listen_silently().await } else { Ok(()) }
    }

    async fn obey(&mut self, line: &[u8]) -> io::Result<Flow> {
        match command::parse(line) {
            Ok(Command::Hello) => self.hello(&[]).await,
            Ok(Command::ExtendedHello) => self.hello(&EXTENSIONS).await,
            Ok(Command::Mail { path, octets }) => self.mail(path, octets).await,
            Ok(Command::Rcpt { path }) => self.rcpt(path).await,
            Ok(Command::Data) => self.data().await,
            Ok(Command::Rset) => {
                self.transaction = None;
                self.say("250 2.0.0 reset").await
            }
            Ok(Command::Noop) => self.say("250 2.0.0 still here").await,
            Ok(Command::Quit) => self.say_last("221 2.0.0 bye").await,
            Err(complaint) => self.say(complaint).await,
        }
    }

    async fn hello(&mut self, extensions: &[&str]) -> io::Result<Flow> {
        self.greeted = true;
        self.transaction = None;
        let mut reply = String::new();
        for extension in extensions {
            reply.push_str(&format!("250-{extension}\r\n"));
        }
        if extensions.is_empty() {
            reply.push_str("250 relay.rehearsal.invalid");
        } else {
            reply.insert_str(0, "250-relay.rehearsal.invalid\r\n");
            reply.push_str(&format!("250 SIZE {DATA_OCTETS_MAX}"));
        }
        self.say(&reply).await
    }

    async fn mail(&mut self, path: String, octets: usize) -> io::Result<Flow> {
        if !self.greeted {
            return self.say("503 5.5.1 EHLO first").await;
        }
        if self.transaction.is_some() {
            return self.say("503 5.5.1 a transaction is open").await;
        }
        if octets > DATA_OCTETS_MAX {
            return self.say("552 5.3.4 too big").await;
        }
        self.transaction = Some(Envelope { mail_from: path, recipients: Vec::new() });
        self.say("250 2.1.0 sender ok").await
    }

    async fn rcpt(&mut self, path: String) -> io::Result<Flow> {
        let Some(transaction) = &mut self.transaction else {
            return self.say("503 5.5.1 MAIL first").await;
        };
        if transaction.recipients.len() >= RECIPIENTS_MAX {
            return self.say("452 4.5.3 too many recipients").await;
        }
        match self.shared.refuse_at_rcpt(self.connection, &transaction.mail_from, &path) {
            Some(NO_SUCH_RECIPIENT) => self.say("550 5.1.1 no such recipient here").await,
            Some(NOT_AN_ADDRESS) => self.say("553 5.1.3 this is not an address").await,
            Some(_) => self.say("451 4.7.1 try again later").await,
            None => {
                transaction.recipients.push(path);
                self.say("250 2.1.5 recipient ok").await
            }
        }
    }

    async fn data(&mut self) -> io::Result<Flow> {
        match self.transaction.take() {
            None => self.say("503 5.5.1 MAIL first").await,
            Some(envelope) if envelope.recipients.is_empty() => {
                self.transaction = Some(envelope);
                self.say("554 5.5.1 no valid recipients").await
            }
            Some(envelope) => match self.say("354 end with a dot on its own line").await? {
                Flow::Continue => self.receive(envelope).await,
                other => Ok(other),
            },
        }
    }

    async fn receive(&mut self, envelope: Envelope) -> io::Result<Flow> {
        let Some((raw, fits)) = self.read_mail().await? else { return Ok(Flow::Close) };
        let decision = self.shared.record(self.connection, envelope, raw, fits);
        if !decision.delay.is_zero() {
            tokio::time::sleep(decision.delay).await;
        }
        // Written even if the relay went silent meanwhile: what counts as accepted was answered.
        match decision.answer {
            Answer::Accepted => self.write(&format!("250 2.0.0 queued as {}", decision.seq)).await,
            Answer::Refused(NO_SUCH_RECIPIENT) => self.write("550 5.1.1 no such recipient here").await,
            Answer::Refused(code) => self.write(&format!("{code} 5.3.4 too big")).await,
            Answer::Deferred(code) => self.write(&format!("{code} 4.7.1 try again later")).await,
            Answer::Cut => Ok(Flow::Close),
            Answer::Unanswered => Ok(Flow::Silent),
        }
    }

    /// The mail and whether it was within bounds; `None` where the connection ended first.
    async fn read_mail(&mut self) -> io::Result<Option<(Vec<u8>, bool)>> {
        let mut receiver = MailReceiver::new(DATA_OCTETS_MAX);
        while !receiver.ingest(&mut self.unread) {
            if !matches!(tokio::time::timeout(IDLE_MAX, self.read_more()).await, Ok(Ok(1..))) {
                return Ok(None);
            }
        }
        Ok(Some(receiver.finish()))
    }

    async fn read_line(&mut self) -> io::Result<Line> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = self.unread.split_to(end + 1);
                return Ok(if line.len() > LINE_OCTETS_MAX {
                    Line::TooLong
                } else if line.ends_with(b"\r\n") {
                    Line::Command(line)
                } else {
                    Line::BareLineFeed
                });
            }
            if self.unread.len() > LINE_OCTETS_MAX {
                return Ok(Line::TooLong);
            }
            match tokio::time::timeout(IDLE_MAX, self.read_more()).await {
                Err(_) => return Ok(Line::Idle),
                Ok(Err(error)) => return Err(error),
                Ok(Ok(0)) => return Ok(Line::Closed),
                Ok(Ok(_)) => {}
            }
        }
    }

    async fn read_more(&mut self) -> io::Result<usize> {
        self.unread.reserve(READ_OCTETS);
        self.stream.read_buf(&mut self.unread).await
    }

    async fn listen_silently(&mut self) -> io::Result<()> {
        loop {
            self.unread.clear();
            if self.read_more().await? == 0 {
                return Ok(());
            }
        }
    }

    /// Answers a command, unless the relay has stopped answering.
    async fn say(&mut self, reply: &str) -> io::Result<Flow> {
        if self.shared.is_silent() { Ok(Flow::Silent) } else { self.write(reply).await }
    }

    async fn say_last(&mut self, reply: &str) -> io::Result<Flow> {
        Ok(match self.say(reply).await? {
            Flow::Silent => Flow::Silent,
            Flow::Continue | Flow::Close => Flow::Close,
        })
    }

    async fn write(&mut self, reply: &str) -> io::Result<Flow> {
        self.stream.write_all(format!("{reply}\r\n").as_bytes()).await?;
        Ok(Flow::Continue)
    }
}
