//! A real SMTP server on loopback that keeps every mail it is handed and passes none on.
//!
//! Guarantees: every final dot is in the record before a byte of its answer is written, also
//! where the script then refuses, cuts or stays silent. The data is kept exactly: dot-stuffing
//! undone, line ends untouched, and only CRLF `.` CRLF ends it. With `stop_answering_after(n)`
//! exactly `n` dots are accepted, however many connections are open.
//!
//! # Security
//! Whatever connects to the port can make it keep mail in memory: at most
//! [`CONNECTIONS_MAX`] connections, [`DATA_OCTETS_MAX`] octets a mail. The record has no bound of
//! its own (it is the evidence), which is one more reason to refuse any address but loopback.

mod command;
mod data;
mod record;
mod script;
mod session;

pub use record::{Answer, Captured, RefusedRecipient, RelayRecord};
pub use script::{Cut, Hook, Script, Stage, Verdict, Watch};
pub use session::DATA_OCTETS_MAX;

use domain::Clock;
use record::Shared;
use session::Session;
use std::{
    io,
    net::SocketAddr,
    ops::Deref,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Far above what any sender here opens; keeps a runaway test below the usual 1,024 descriptors.
pub const CONNECTIONS_MAX: u64 = 500;

/// Out of descriptors, `accept` fails at once and again: this keeps the loop from spinning.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The relay. Reads like its [`RelayRecord`]; dropping it stops it.
#[derive(Debug)]
pub struct CaptureRelay {
    addr: SocketAddr,
    record: RelayRecord,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl CaptureRelay {
    /// Listens on `listen` (port 0 picks a free one) and follows `script`.
    ///
    /// # Errors
    /// `InvalidInput` for an address that is not loopback; otherwise what binding says.
    pub async fn start(listen: SocketAddr, script: Script, clock: Arc<dyn Clock>) -> io::Result<Self> {
        if !listen.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a capture relay listens on a loopback address only",
            ));
        }
        let listener = TcpListener::bind(listen).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared::new(script, clock));
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        tasks.spawn(accept_until(listener, Arc::clone(&shared), stop.clone(), tasks.clone()));
        Ok(Self { addr, record: RelayRecord::new(shared), stop, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The `relay.url` that leads here, e.g. `smtp://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("smtp://{}", self.addr)
    }

    /// Replaces the script from the next command on. All counts of a script (tries of a
    /// recipient, accepted dots) start anew; connections already silent stay silent.
    pub fn set_script(&self, script: Script) {
        self.record.shared().set_script(script);
    }

    /// A handle on the record that outlives the relay.
    #[must_use]
    pub fn record(&self) -> RelayRecord {
        self.record.clone()
    }

    /// Closes the listener and every connection, and waits until they are closed.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Deref for CaptureRelay {
    type Target = RelayRecord;

    fn deref(&self) -> &RelayRecord {
        &self.record
    }
}

impl Drop for CaptureRelay {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn accept_until(
    listener: TcpListener,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => admit(stream, &shared, &stop, &tasks),
            Err(error) => {
                tracing::warn!(%error, "capture relay could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn admit(stream: TcpStream, shared: &Arc<Shared>, stop: &CancellationToken, tasks: &TaskTracker) {
    if shared.refuses_connections() || shared.open.load(Ordering::SeqCst) >= CONNECTIONS_MAX {
        return;
    }
    // Replies are small; Nagle against delayed acknowledgements would cost 40 ms per command.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "capture relay connection closed before it began");
        return;
    }
    let open = OpenConnection::count(Arc::clone(shared));
    let session = Session::new(stream, Arc::clone(shared), open.number);
    let stop = stop.clone();
    tasks.spawn(async move {
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = session.run() => ended,
        };
        if let Err(error) = ended {
            tracing::debug!(connection = open.number, %error, "capture relay connection lost");
        }
        drop(open);
    });
}

/// One open connection in the counters, until dropped.
struct OpenConnection {
    shared: Arc<Shared>,
    number: u64,
}

impl OpenConnection {
    fn count(shared: Arc<Shared>) -> Self {
        let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
        let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
        shared.peak.fetch_max(open, Ordering::SeqCst);
        Self { shared, number }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests;
