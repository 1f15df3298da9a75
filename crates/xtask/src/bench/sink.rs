//! Postfix' test server: it takes mail and throws it away.

use anyhow::{Context, Result, bail};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A server that does not listen by then does not.
const START_MAX: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A server that takes mail and throws it away; it ends with this value.
pub(super) struct MailSink {
    server: Child,
    address: SocketAddr,
}

impl MailSink {
    /// With or without PIPELINING (RFC 2920).
    pub(super) fn start(pipelining: bool) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new("/usr/sbin/smtp-sink");
        if crate::postgres::is_root() {
            command.args(["-u", "postfix"]);
        }
        if !pipelining {
            command.arg("-p");
        }
        let server = command
            .args([&address.to_string(), "1000"])
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run smtp-sink")?;
        let sink = Self { server, address };
        let asked = Instant::now();
        while TcpStream::connect(address).is_err() {
            if asked.elapsed() > START_MAX {
                bail!("smtp-sink does not listen");
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(sink)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _reaped = self.server.wait();
    }
}
