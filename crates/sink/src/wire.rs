//! Bytes on the socket: command lines, mail data and answers, each bounded in size and time.
//!
//! # Security
//! A command line ends with CRLF and holds no control characters; a mail ends with
//! `CRLF . CRLF` only (RFC 5321 §4.1.1.4). Every other spelling of a line end is content
//! (CVE-2023-51764 and its kin). A mail over the limit is read to its end and not kept.

use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};
use tokio_rustls::TlsAcceptor;

/// RFC 5321 §4.5.3.1.4 asks for 512; long ORCPT and SMTPUTF8 parameters need more (RFC 3461 §4).
const COMMAND_OCTETS_MAX: usize = 2_000;
/// One read of the socket: a few TCP segments.
const READ_OCTETS: usize = 16 * 1024;
/// Octets in one unit of [`Memory`].
const ROOM_UNIT: usize = 16 * 1024;
/// Twelve of the largest mails, thousands of usual ones: a thousand sessions at the size limit
/// would need 10 GB otherwise.
const MEMORY_OCTETS_MAX: usize = 128 * 1024 * 1024;

/// The memory of one sink.
pub(crate) fn memory() -> Memory {
    Arc::new(Semaphore::new(MEMORY_OCTETS_MAX / ROOM_UNIT))
}

/// Octets from a peer and back, secured or not.
trait Octets: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Octets for T {}

/// One connection, with its clock.
pub(crate) struct Wire {
    socket: Box<dyn Octets>,
    is_secure: bool,
    buffer: Vec<u8>,
    taken: usize,
    idle: Duration,
    ends_at: Instant,
}

/// What came where a command was expected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Without its CRLF.
    Command(Vec<u8>),
    /// Longer than we read; it was skipped.
    TooLong,
    /// Ended by a bare LF, or with a control character inside.
    Malformed,
}

/// What came after 354, read to its end.
#[derive(Debug)]
pub(crate) enum Mail {
    /// Without stuffing and final dot.
    Complete {
        raw: Vec<u8>,
        /// To be held for as long as the mail is in memory.
        room: Room,
    },
    /// Over the limit; not kept.
    TooLarge,
    /// All sessions together hold as much as they may; not kept.
    NoRoom,
}

/// The memory that mails in flight may take together, in units of [`ROOM_UNIT`].
pub(crate) type Memory = Arc<Semaphore>;

/// One mail's share of the memory; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room {
    memory: Memory,
    units: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Room {
    fn none(memory: &Memory) -> Self {
        Self { memory: memory.clone(), units: 0, held: None }
    }

    /// Makes the share at least `octets` large; false where nothing is left.
    fn grow_to(&mut self, octets: usize) -> bool {
        let missing = octets.div_ceil(ROOM_UNIT).saturating_sub(self.units);
        let Ok(wanted) = u32::try_from(missing) else { return false };
        let Ok(more) = self.memory.clone().try_acquire_many_owned(wanted) else { return false };
        self.units += missing;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        true
    }
}

/// Why a connection is over before its QUIT.
#[derive(Debug)]
pub(crate) enum Gone {
    /// Closed by the peer, or broken.
    Closed,
    /// Silent for too long, or open for too long.
    TimedOut,
}

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

impl Wire {
    pub(crate) fn new(socket: TcpStream, idle: Duration, session_max: Duration) -> Self {
        Self {
            socket: Box::new(socket),
            is_secure: false,
            buffer: Vec::new(),
            taken: 0,
            idle,
            ends_at: Instant::now() + session_max,
        }
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Waits for the peer's handshake. What somebody on the way may have said before it is not
    /// read.
    pub(crate) async fn secure(&mut self, tls: &TlsAcceptor) -> Result<(), Gone> {
        self.buffer.clear();
        self.taken = 0;
        let plain = std::mem::replace(&mut self.socket, Box::new(tokio::io::empty()));
        let secured = timeout(self.patience(), tls.accept(plain)).await.map_err(|_| Gone::TimedOut)??;
        self.socket = Box::new(secured);
        self.is_secure = true;
        Ok(())
    }

    fn patience(&self) -> Duration {
        self.idle.min(self.ends_at.saturating_duration_since(Instant::now()))
    }

    /// The next command line. May be dropped while it waits: what has been read stays.
    pub(crate) async fn line(&mut self) -> Result<Line, Gone> {
        let mut too_long = false;
        loop {
            let waiting = &self.buffer[self.taken..];
            if let Some(end) = waiting.iter().position(|b| *b == b'\n') {
                let line = &waiting[..end];
                let read = match line.strip_suffix(b"\r") {
                    _ if too_long || line.len() > COMMAND_OCTETS_MAX => Line::TooLong,
                    Some(text) if !text.iter().any(u8::is_ascii_control) => Line::Command(text.to_vec()),
                    _ => Line::Malformed,
                };
                self.taken += end + 1;
                return Ok(read);
            }
            if waiting.len() > COMMAND_OCTETS_MAX {
                too_long = true;
                self.taken = self.buffer.len();
            }
            self.fill().await?;
        }
    }

    /// Mail data up to its final dot; more than `size_max` octets, or more than `memory` has
    /// room for, are not kept.
    pub(crate) async fn mail(&mut self, size_max: usize, memory: &Memory) -> Result<Mail, Gone> {
        let mut data = DataReader::new(size_max);
        let mut room = Some(Room::none(memory));
        loop {
            let waiting = &self.buffer[self.taken..];
            let (used, ended) = data.take(waiting);
            self.taken += used;
            if room.as_mut().is_some_and(|room| !room.grow_to(data.kept.len())) {
                room = None;
                data.size_max = 0;
                data.kept = Vec::new();
            }
            if ended {
                return Ok(match room {
                    None => Mail::NoRoom,
                    Some(_) if data.size > data.size_max => Mail::TooLarge,
                    Some(room) => Mail::Complete { raw: data.kept, room },
                });
            }
            self.fill().await?;
        }
    }

    /// Whether the peer has sent more than was read so far.
    pub(crate) fn has_more(&self) -> bool {
        self.taken < self.buffer.len()
    }

    /// Sends an answer. A peer that does not read it is gone.
    pub(crate) async fn answer(&mut self, text: &str) -> Result<(), Gone> {
        let sent = timeout(self.idle, async {
            self.socket.write_all(text.as_bytes()).await?;
            self.socket.flush().await
        });
        Ok(sent.await.map_err(|_| Gone::TimedOut)??)
    }

    async fn fill(&mut self) -> Result<(), Gone> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        self.buffer.reserve(READ_OCTETS);
        match timeout(self.patience(), self.socket.read_buf(&mut self.buffer)).await {
            Ok(Ok(0)) => Err(Gone::Closed),
            Ok(read) => Ok(read.map(|_| ())?),
            Err(_) => Err(Gone::TimedOut),
        }
    }
}

/// Takes mail data apart, octet by octet: the same answer whatever the chunks.
struct DataReader {
    kept: Vec<u8>,
    size: usize,
    size_max: usize,
    at: At,
}

/// Where the reader stands in a line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    LineStart,
    Dot,
    DotCr,
    Text,
    Cr,
}

impl DataReader {
    fn new(size_max: usize) -> Self {
        Self { kept: Vec::new(), size: 0, size_max, at: At::LineStart }
    }

    /// Returns how many octets of `bytes` belong to the mail, and whether its end is among them.
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        for (index, byte) in bytes.iter().enumerate() {
            self.at = match (self.at, byte) {
                (At::DotCr, b'\n') => return (index + 1, true),
                (At::LineStart, b'.') => At::Dot,
                (At::Dot, b'\r') => At::DotCr,
                (At::DotCr, byte) => {
                    // The dot was stuffing after all; the CR behind it is content.
                    self.keep(b'\r');
                    self.keep(*byte);
                    if *byte == b'\r' { At::Cr } else { At::Text }
                }
                (At::Cr, b'\n') => {
                    self.keep(b'\n');
                    At::LineStart
                }
                (At::LineStart | At::Dot | At::Text | At::Cr, byte) => {
                    self.keep(*byte);
                    if *byte == b'\r' { At::Cr } else { At::Text }
                }
            };
        }
        (bytes.len(), false)
    }

    fn keep(&mut self, byte: u8) {
        self.size = self.size.saturating_add(1);
        if self.size <= self.size_max {
            self.kept.push(byte);
        } else {
            self.kept = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in chunks and returns the mails found in them, as a naive peer sees them.
    fn mails(bytes: &[u8], chunk: usize) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut data = DataReader::new(1_000);
        for piece in bytes.chunks(chunk) {
            let mut rest = piece;
            while !rest.is_empty() {
                let (used, ended) = data.take(rest);
                rest = &rest[used..];
                if ended {
                    found.push(std::mem::replace(&mut data, DataReader::new(1_000)).kept);
                }
            }
        }
        found
    }

    #[test]
    fn only_crlf_dot_crlf_ends_a_mail_whatever_the_chunks() {
        for fake in
            ["\n.\n", "\n.\r\n", "\r.\r", "\r\n.\r", "\r\n.\n", "\r.\r\n", "\r\n\0.\r\n", "\r\n.\0\r\n"]
        {
            let sent = format!("one{fake}two\r\n.\r\n");
            for chunk in [1, 2, 3, 7, 1_000] {
                assert_eq!(mails(sent.as_bytes(), chunk).len(), 1, "{fake:?} in chunks of {chunk}");
            }
        }
    }

    #[test]
    fn stuffing_is_taken_off_and_nothing_else_changes() {
        for (sent, kept) in [
            ("a\r\n.\r\n", "a\r\n"),
            (".\r\n", ""),
            ("..\r\n.\r\n", ".\r\n"),
            ("a\r\n..b\r\n.\r\n", "a\r\n.b\r\n"),
            ("a\n.b\r\n.\r\n", "a\n.b\r\n"),
            ("a\r\n.\r\r\n.\r\n", "a\r\n\r\r\n"),
            ("a\r\r\n.\r\n", "a\r\r\n"),
        ] {
            for chunk in [1, 2, 1_000] {
                assert_eq!(mails(sent.as_bytes(), chunk), [kept.as_bytes()], "{sent:?}");
            }
        }
    }

    #[test]
    fn a_mail_over_the_limit_is_not_kept() {
        let mut data = DataReader::new(3);
        assert_eq!(data.take(b"abcd\r\n.\r\nNOOP"), (9, true));
        assert!(data.kept.is_empty() && data.size > data.size_max);
    }

    #[test]
    fn all_mails_in_flight_share_a_bounded_memory() {
        let memory = Arc::new(Semaphore::new(2));
        let mut first = Room::none(&memory);
        assert!(first.grow_to(1) && first.grow_to(ROOM_UNIT));
        let mut second = Room::none(&memory);
        assert!(!second.grow_to(ROOM_UNIT + 1));
        assert!(second.grow_to(ROOM_UNIT));
        assert!(!first.grow_to(ROOM_UNIT + 1));
        drop(second);
        assert!(first.grow_to(ROOM_UNIT + 1));
    }
}
