//! A member's way of sending mail: one connection, one mail, every reply checked.
//!
//! # Security
//! Whatever listens at the sink's port answers here: replies are bounded in length and time.

use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A loopback server that is silent for longer is counted as broken.
const STEP_MAX: Duration = Duration::from_secs(30);
/// RFC 5321 §4.5.3.1.5 allows 512.
const REPLY_LINE_OCTETS_MAX: u64 = 2_048;
/// An EHLO reply has about ten.
const REPLY_LINES_MAX: usize = 64;

/// A mail with its envelope.
pub(super) struct Outgoing {
    /// Empty = null sender.
    pub(super) mail_from: String,
    pub(super) recipient: String,
    /// Tried as recipients after it; a one-way sink refuses them.
    pub(super) foreign: Vec<String>,
    /// Lines end in CRLF.
    pub(super) raw: Vec<u8>,
}

/// The mail was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivered {
    pub(super) foreign_refused: u64,
    pub(super) foreign_accepted: u64,
}

/// Why a mail was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum PostError {
    #[error("{step}: the connection failed")]
    Connection {
        step: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("{0}: no answer in time")]
    TooSlow(&'static str),
    #[error("{0}: not an SMTP reply")]
    Garbled(&'static str),
    #[error("{step}: unexpected reply {code}")]
    Unexpected { step: &'static str, code: u16 },
}

/// Delivers `mail` to `sink`, which the crowd has checked to be loopback.
#[expect(clippy::disallowed_methods, reason = "simulated members write to a loopback sink only")]
pub(super) async fn deliver(sink: SocketAddr, mail: &Outgoing) -> Result<Delivered, PostError> {
    let step = "connect";
    let stream = within(step, TcpStream::connect(sink)).await?;
    stream.set_nodelay(true).map_err(|source| PostError::Connection { step, source })?;
    let mut session = Session { stream: BufReader::new(stream) };
    session.expect(step, 220).await?;
    session.ask("EHLO", "EHLO member.rehearsal.invalid", 250).await?;
    session.ask("MAIL", &format!("MAIL FROM:<{}>", mail.mail_from), 250).await?;
    session.ask("RCPT", &format!("RCPT TO:<{}>", mail.recipient), 250).await?;
    let mut delivered = Delivered { foreign_refused: 0, foreign_accepted: 0 };
    for colleague in &mail.foreign {
        let step = "RCPT of a colleague";
        session.write(step, format!("RCPT TO:<{colleague}>\r\n").as_bytes()).await?;
        match session.reply(step).await? {
            200..=299 => delivered.foreign_accepted += 1,
            500..=599 => delivered.foreign_refused += 1,
            code => return Err(PostError::Unexpected { step, code }),
        }
    }
    session.ask("DATA", "DATA", 354).await?;
    session.write("mail", &stuffed(&mail.raw)).await?;
    session.expect("dot", 250).await?;
    // The mail is taken; what the sink says to QUIT changes nothing.
    let _ = session.ask("QUIT", "QUIT", 221).await;
    Ok(delivered)
}

struct Session {
    stream: BufReader<TcpStream>,
}

impl Session {
    async fn ask(&mut self, step: &'static str, command: &str, wanted: u16) -> Result<(), PostError> {
        self.write(step, format!("{command}\r\n").as_bytes()).await?;
        self.expect(step, wanted).await
    }

    async fn expect(&mut self, step: &'static str, wanted: u16) -> Result<(), PostError> {
        let code = self.reply(step).await?;
        if code == wanted { Ok(()) } else { Err(PostError::Unexpected { step, code }) }
    }

    async fn write(&mut self, step: &'static str, octets: &[u8]) -> Result<(), PostError> {
        within(step, self.stream.write_all(octets)).await
    }

    async fn reply(&mut self, step: &'static str) -> Result<u16, PostError> {
        for _ in 0..REPLY_LINES_MAX {
            let mut line = Vec::new();
            let mut bounded = (&mut self.stream).take(REPLY_LINE_OCTETS_MAX);
            within(step, bounded.read_until(b'\n', &mut line)).await?;
            let text = std::str::from_utf8(&line).map_err(|_| PostError::Garbled(step))?;
            let body = text.strip_suffix("\r\n").ok_or(PostError::Garbled(step))?;
            let (code, rest) = body.split_at_checked(3).ok_or(PostError::Garbled(step))?;
            let code = code.parse().map_err(|_| PostError::Garbled(step))?;
            match rest.as_bytes().first() {
                Some(b'-') => {}
                Some(b' ') | None => return Ok(code),
                Some(_) => return Err(PostError::Garbled(step)),
            }
        }
        Err(PostError::Garbled(step))
    }
}

async fn within<T>(
    step: &'static str,
    work: impl Future<Output = std::io::Result<T>>,
) -> Result<T, PostError> {
    match tokio::time::timeout(STEP_MAX, work).await {
        Err(_) => Err(PostError::TooSlow(step)),
        Ok(done) => done.map_err(|source| PostError::Connection { step, source }),
    }
}

/// RFC 5321 §4.5.2, with the final dot.
fn stuffed(raw: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(raw.len() + 64);
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    if !wire.ends_with(b"\r\n") {
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b".\r\n");
    wire
}
