//! The listener: our own accept loop over hyper, because `warp::serve` keeps slow connections
//! for ever, counts none and hangs on shutdown while an event stream is open (dependencies of
//! record: warp 0.4.3, PR #1121).
//!
//! What is guaranteed here: at most [`CONNECTIONS_MAX`] connections; a connection that does not
//! finish its headers in [`HEADER_TIMEOUT`] is closed, also an idle one; after the stop token
//! every connection is gone within [`DRAIN_MAX`].

use crate::{
    app::{App, Web},
    filters::{self, Peer, RouteInfo},
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use warp::{Filter, filters::BoxedFilter, hyper::service::Service as _, reply::Response};

/// Far more than a society's staff and the members who answer in the same second; each costs a
/// few kilobytes. Further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 2_048;
/// A browser sends its headers at once; who needs longer wants to hold the connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Our own headers are under 4 KiB; hyper refuses a buffer below 8 KiB.
const BUFFER_OCTETS_MAX: usize = 64 * 1024;
/// How long answers under way may take once the service is told to end.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// Out of file descriptors, accept fails at once and again: do not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The listener could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody else listens there.
    #[error(
        "another program already listens on {address}; end it, or choose another address with `web.listen`"
    )]
    InUse {
        /// What was asked for.
        address: SocketAddr,
    },
    /// Any other reason.
    #[error("cannot listen on {address}; choose an address of this machine with `web.listen`")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// Cause.
        source: io::Error,
    },
}

/// An open listener; nothing is answered before [`Bound::run`].
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    app: App,
}

/// Opens the listener at `settings.listen`.
///
/// # Errors
/// [`BindError`] names the address and the way on.
pub async fn bind(web: Web) -> Result<Bound, BindError> {
    let address = web.settings.listen;
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        _ => BindError::Listen { address, source },
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address, app: App::new(web) })
}

impl Bound {
    /// Where it listens: with the port the system chose, if 0 was asked for.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Every route there is, for tests that walk them all.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteInfo> {
        crate::handlers::routes(&self.app).info
    }

    /// Answers until `stop` is cancelled, then drains for at most five seconds.
    pub async fn run(self, stop: CancellationToken) {
        let app = self.app;
        let filter = filters::seal(crate::handlers::routes(&app).filter, app.web.settings.is_https());
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let mut connections = JoinSet::new();
        info!(web.address = %self.address, "web pages are served");
        loop {
            while connections.try_join_next().is_some() {}
            let slot = slots.clone().acquire_owned();
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = async {
                    let slot = slot.await;
                    (slot, self.listener.accept().await)
                } => accepted,
            };
            match accepted {
                (Ok(slot), Ok((stream, peer))) => {
                    let connection = answer(stream, peer, filter.clone(), stop.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(slot);
                    });
                }
                (_, Err(error)) => {
                    warn!(%error, "a connection could not be accepted");
                    time::sleep(ACCEPT_PAUSE).await;
                }
                (Err(_), Ok(_)) => break,
            }
        }
        drop(self.listener);
        // Event streams end by this; otherwise each would use up the whole drain.
        app.stop.cancel();
        drain(connections).await;
    }
}

async fn drain(mut connections: JoinSet<()>) {
    let all = async { while connections.join_next().await.is_some() {} };
    if time::timeout(DRAIN_MAX, all).await.is_err() {
        warn!(web.connections = connections.len(), "connections were cut off at the end of the drain");
        connections.shutdown().await;
    }
}

async fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    filter: BoxedFilter<(Response,)>,
    stop: CancellationToken,
) {
    // Small answers must not wait for the peer's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let routes = hyper_util::service::TowerToHyperService::new(warp::service(filter.map(|r: Response| r)));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        routes.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(BUFFER_OCTETS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection ended early");
    }
}
