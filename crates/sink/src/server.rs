//! The listener: accepts connections up to a cap, and drains them at the end.
//!
//! # Security
//! Anybody who reaches the port reaches this module. Idle or slow clients hold a connection and
//! nothing else; the cap answers 421 at once, without a task.

use crate::{
    intake::Intake,
    session::{self, Limits},
    tls::{Tls, TlsError, TlsFiles},
    wire,
};
use domain::{Clock, Keyring};
use replybox::ReplyBox;
use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// How long sessions may finish what they are doing after a stop.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// Out of file descriptors: waiting this long lets sessions end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The protocol spoken on the port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Mail servers of the world (RFC 5321).
    Smtp,
    /// A mail server of ours in front (RFC 2033).
    Lmtp,
}

/// Where and how the sink listens.
#[derive(Debug, Clone)]
pub struct SinkSettings {
    /// Address and port; port 0 picks a free one.
    pub listen: SocketAddr,
    /// The protocol spoken on the port.
    pub protocol: Protocol,
    /// The domain of our reply addresses and return paths.
    pub domain: String,
    /// For STARTTLS; without it none is offered.
    pub tls: Option<TlsFiles>,
    /// Octets of the largest mail taken.
    pub size_max: usize,
    /// Connections at a time.
    pub sessions_max: usize,
    /// Silence after which a connection is closed.
    pub idle: Duration,
    /// Age after which a connection is closed.
    pub session_max: Duration,
}

impl SinkSettings {
    /// A phone's photograph fits; a video does not.
    pub const SIZE_MAX: usize = 10 * 1024 * 1024;
    /// Five hundred idle clients leave as many places free.
    pub const SESSIONS_MAX: usize = 1_024;
    /// Less than RFC 5321 §4.5.3.2.7 allows a sender: a mail server that is silent for a minute
    /// comes back.
    pub const IDLE: Duration = Duration::from_secs(60);
    /// Enough for the largest mail over a slow mobile line.
    pub const SESSION_MAX: Duration = Duration::from_secs(300);

    /// Settings with the limits above.
    #[must_use]
    pub fn new(listen: SocketAddr, protocol: Protocol, domain: impl Into<String>) -> Self {
        Self {
            listen,
            protocol,
            domain: domain.into(),
            tls: None,
            size_max: Self::SIZE_MAX,
            sessions_max: Self::SESSIONS_MAX,
            idle: Self::IDLE,
            session_max: Self::SESSION_MAX,
        }
    }
}

/// The sink cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// It could not offer STARTTLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Somebody else listens there.
    #[error(
        "the sink cannot listen on {listen}: port {} is in use; stop the other program or set `sink.listen` to another port",
        listen.port()
    )]
    PortBusy {
        /// What was asked for.
        listen: SocketAddr,
    },
    /// Ports below 1024 need a right.
    #[error(
        "the sink may not listen on {listen}; set `sink.listen` to a port above 1023, or grant CAP_NET_BIND_SERVICE"
    )]
    PortForbidden {
        /// What was asked for.
        listen: SocketAddr,
    },
    /// Anything else.
    #[error("the sink cannot listen on {listen}; check `sink.listen`")]
    Listen {
        /// What was asked for.
        listen: SocketAddr,
        /// Cause.
        source: io::Error,
    },
}

/// A bound sink.
pub struct Sink {
    listener: TcpListener,
    addr: SocketAddr,
    limits: Arc<Limits>,
    intake: Arc<Intake>,
    sessions_max: usize,
}

impl Sink {
    /// Takes the port. Connections wait until [`Sink::run`].
    ///
    /// # Errors
    /// [`SinkError`] says which port, and the way on.
    pub async fn bind(
        settings: SinkSettings,
        keyring: Keyring,
        replybox: ReplyBox,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SinkError> {
        let listen = settings.listen;
        let failed = |source: io::Error| match source.kind() {
            ErrorKind::AddrInUse => SinkError::PortBusy { listen },
            ErrorKind::PermissionDenied => SinkError::PortForbidden { listen },
            _ => SinkError::Listen { listen, source },
        };
        let tls = settings.tls.map(Tls::read).transpose()?;
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        let limits = Limits {
            protocol: settings.protocol,
            tls,
            size_max: settings.size_max,
            idle: settings.idle,
            session_max: settings.session_max,
            memory: wire::memory(),
        };
        let intake = Intake::new(settings.domain, keyring, replybox, clock);
        Ok(Self {
            listener,
            addr,
            limits: Arc::new(limits),
            intake: Arc::new(intake),
            sessions_max: settings.sessions_max,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Serves until `shutdown`, then lets sessions finish the mail they are in, for ten seconds.
    pub async fn run(self, shutdown: CancellationToken) {
        info!(sink.addr = %self.addr, "reply sink is listening");
        let mut sessions = JoinSet::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(_) = sessions.join_next() => {}
                accepted = self.listener.accept() => match accepted {
                    Ok((socket, peer)) if sessions.len() < self.sessions_max => {
                        let (limits, intake, shutdown) =
                            (self.limits.clone(), self.intake.clone(), shutdown.clone());
                        sessions.spawn(async move {
                            session::serve(socket, peer.ip(), &limits, &intake, &shutdown).await;
                        });
                    }
                    Ok((socket, _)) => refuse(&socket),
                    Err(error) => {
                        warn!(%error, "the sink could not accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self.listener);
        let drained =
            tokio::time::timeout(DRAIN_MAX, async { while sessions.join_next().await.is_some() {} });
        if drained.await.is_err() {
            warn!(sessions.open = sessions.len(), "sessions were cut off at shutdown");
        }
        info!("reply sink has stopped");
    }
}

/// A fresh socket's buffer is empty, so one try suffices; a peer that misses the line comes back
/// all the same.
fn refuse(socket: &TcpStream) {
    if let Err(error) = socket.try_write(b"421 4.3.2 too many connections, come back later\r\n") {
        warn!(%error, "a connection over the cap was closed without a word");
    }
}
