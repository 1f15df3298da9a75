//! Postfix' test server: it takes mail and throws it away.

use anyhow::{Context, Result, bail};
use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// A server that does not listen by then does not.
const START_MAX: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A server that takes mail and throws it away; it ends with this value.
pub(crate) struct MailSink {
    server: Child,
    address: SocketAddr,
}

impl MailSink {
    /// With or without PIPELINING (RFC 2920).
    pub(crate) fn start(pipelining: bool) -> Result<Self> {
        Self::start_with(if pipelining { &[] } else { &["-p"] })
    }

    /// One that keeps each mail in a file of its own in `folder`.
    pub(crate) fn keeping(folder: &Path) -> Result<Self> {
        // The server gives up being root before it writes.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777))?;
        Self::start_with(&["-d", &format!("{}/mail.", folder.display())])
    }

    fn start_with(arguments: &[&str]) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut command = Command::new("/usr/sbin/smtp-sink");
        if crate::postgres::is_root() {
            command.args(["-u", "postfix"]);
        }
        let server = command
            .args(arguments)
            .args([&address.to_string(), "1000"])
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run smtp-sink")?;
        let sink = Self { server, address };
        wait_until_it_listens(address).context("smtp-sink")?;
        Ok(sink)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Waits for a server that was just started.
pub(crate) fn wait_until_it_listens(address: SocketAddr) -> Result<()> {
    let asked = Instant::now();
    while TcpStream::connect(address).is_err() {
        if asked.elapsed() > START_MAX {
            bail!("nobody listens on {address}");
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(())
}

impl Drop for MailSink {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _reaped = self.server.wait();
    }
}
