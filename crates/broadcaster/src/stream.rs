//! The socket under a relay session: no delay for small packets, and no reply without end.
//!
//! # Security
//! Whatever the relay writes comes through here. lettre reads a reply's lines anew with each one
//! that arrives, and does not pause while any are at hand: a relay that never ends its reply would
//! keep a thread of the runtime busy for a minute, and no time limit could interrupt it.
//!
//! Before `STARTTLS` anybody on the way may add replies, and what lettre has read of them by then
//! would count as said under TLS. So it gets no octet before it asks for it: what was added stays
//! on the wire, where TLS cannot read it and gives up (the client's side of CVE-2011-0411).

use crate::relay::{RelayUrl, Security};
use lettre::transport::smtp::client::AsyncTokioStream;
use std::{
    fmt::Debug,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// Between two of our commands: several times what the longest list of extensions needs, and a
/// certificate chain.
const REPLY_OCTETS_MAX: usize = 16 * 1024;

/// Octets to a relay and back.
pub trait Octets: AsyncRead + AsyncWrite + Send + Sync + Unpin + Debug {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin + Debug> Octets for T {}

/// A connected wire.
pub type Wire = Box<dyn Octets>;

/// How a relay is reached. [`Tcp`] is the one that ships; the seam is there for simulated networks.
pub trait Dial: Clone + Send + Sync + 'static {
    /// Connects.
    fn dial(&self, relay: &RelayUrl) -> impl Future<Output = io::Result<Wire>> + Send;
}

/// Over the network.
#[derive(Debug, Clone, Copy)]
pub struct Tcp;

impl Dial for Tcp {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that connects to a relay")]
    async fn dial(&self, relay: &RelayUrl) -> io::Result<Wire> {
        let stream = TcpStream::connect((relay.host.as_str(), relay.port)).await?;
        // Without this, Nagle's algorithm holds each mail back for 40 ms.
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

/// The first octet of a TLS handshake (RFC 8446 §5.1); no SMTP command begins so.
const HANDSHAKE: u8 = 0x16;

/// A connected wire on which no reply is endless.
#[derive(Debug)]
pub(crate) struct RelayStream {
    stream: Wire,
    unanswered: usize,
    /// It will be secured, and is not yet.
    in_the_clear: bool,
}

impl RelayStream {
    /// Takes over a connected wire.
    pub(crate) fn new(stream: Wire, security: Security) -> Self {
        Self { stream, unanswered: 0, in_the_clear: security == Security::StartTls }
    }
}

impl AsyncRead for RelayStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unanswered > REPLY_OCTETS_MAX {
            let endless = format!("a reply of more than {REPLY_OCTETS_MAX} octets");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, endless)));
        }
        let before = buffer.filled().len();
        if self.in_the_clear {
            let mut octet = [0];
            let mut one = ReadBuf::new(&mut octet);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut one))?;
            buffer.put_slice(one.filled());
        } else {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        }
        self.unanswered += buffer.filled().len() - before;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RelayStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.unanswered = 0;
        self.in_the_clear &= octets.first() != Some(&HANDSHAKE);
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for RelayStream {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        // Nobody asks on this way.
        Err(io::ErrorKind::Unsupported.into())
    }
}
