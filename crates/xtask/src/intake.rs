//! The sink in a process of its own, with a notice that can be answered, for whatever measures it.

use crate::{
    bench::{Installation, MailSink, wait_until_it_listens},
    children::send_signal,
};
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    time::{Duration, Instant},
};

/// What the sink says, in the installation's folder.
pub(crate) const LOG: &str = "sinkd.log";

/// An installation that sent one notice, and where its reader answers.
pub(crate) fn with_a_notice(hansho: &Path) -> Result<(Installation<'_>, String)> {
    let kept = tempfile::tempdir()?;
    let relay = MailSink::keeping(kept.path())?;
    let installation = Installation::found(hansho, relay.address(), None, 1)?;
    installation.broadcast(1)?;
    let mail = fs::read_dir(kept.path())?.next().context("no mail was kept")??.path();
    let mail = fs::read_to_string(mail)?;
    let reply_to = mail.lines().find_map(|line| line.strip_prefix("Reply-To: "));
    Ok((installation, reply_to.context("the notice names no Reply-To")?.trim().to_owned()))
}

/// The sink in a process of its own.
pub(crate) struct Sinkd {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Sinkd {
    pub(crate) fn start(installation: &Installation<'_>, sinkd: &Path) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let process = Command::new(sinkd)
            .args(["--config", &installation.path("hansho.toml")])
            .envs([("HANSHO_SINK__LISTEN", address.to_string()), ("RUST_LOG", "warn".to_owned())])
            .stderr(fs::File::create(installation.path(LOG))?)
            .spawn()
            .context("cannot run hansho-sinkd")?;
        let sink = Self { process, address };
        wait_until_it_listens(address).context("hansho-sinkd")?;
        Ok(sink)
    }

    pub(crate) fn peak_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        Ok(peak.context("no VmHWM")?.trim().trim_end_matches(" kB").parse()?)
    }

    pub(crate) fn end(&mut self) -> Result<()> {
        send_signal(self.process.id(), "TERM")?;
        ensure!(self.process.wait()?.success(), "hansho-sinkd ended badly");
        Ok(())
    }
}

impl Drop for Sinkd {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// A member's mail server.
pub(crate) struct Post {
    stream: BufReader<TcpStream>,
}

impl Post {
    pub(crate) fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let mut post = Self { stream: BufReader::new(stream) };
        post.expect("220")?;
        post.say("EHLO phone.example.jp", "250")?;
        Ok(post)
    }

    /// Delivers what stands between `354` and its answer, as it goes over the wire.
    pub(crate) fn deliver(&mut self, sender: &str, recipient: &str, mail: &[u8]) -> Result<Duration> {
        let began = Instant::now();
        self.say(&format!("MAIL FROM:<{sender}>"), "250")?;
        self.say(&format!("RCPT TO:<{recipient}>"), "250")?;
        self.say("DATA", "354")?;
        self.stream.get_mut().write_all(mail)?;
        self.expect("250")?;
        Ok(began.elapsed())
    }

    fn say(&mut self, command: &str, code: &str) -> Result<()> {
        self.stream.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.expect(code)
    }

    fn expect(&mut self, code: &str) -> Result<()> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            ensure!(line.starts_with(code), "expected {code}, got {line:?}");
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}
