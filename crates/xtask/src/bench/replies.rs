//! `cargo xtask bench sink`: how fast replies come in, beside a server that throws them away. The
//! storm is incident A's second half, two and a half times as large as the society: everybody
//! answers to all, and every eleventh answer is a machine's.

use super::{
    installation::Installation,
    sink::{MailSink, wait_until_it_listens},
};
use crate::children::send_signal;
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

/// Written by people, and by machines.
const REPLIES: usize = 10_000;
const AUTO_REPLIES: usize = 1_000;
/// Members' mail servers at the same time.
const SERVERS: usize = 64;
const ROUNDS: usize = 3;

/// What a storm was like.
struct Storm {
    per_second: f64,
    /// From MAIL to the answer to the final dot.
    median: Duration,
    p99: Duration,
}

/// Runs all rounds and prints the table.
pub(super) fn run(hansho: &Path, sinkd: &Path) -> Result<()> {
    let (mut away, mut kept, mut peak) = (Vec::new(), Vec::new(), 0);
    for round in 1..=ROUNDS {
        let thrown = MailSink::start(true)?;
        away.push(storm(thrown.address(), "a@example.jp", "b@example.jp")?);
        let (installation, reply_to) = with_a_notice(hansho)?;
        let mut sink = Sinkd::start(&installation, sinkd)?;
        kept.push(storm(sink.address, "m000001@example.jp", &reply_to)?);
        peak = peak.max(sink.peak_kib()?);
        sink.end()?;
        eprintln!("round {round}: {:.0}/s thrown away, {:.0}/s stored", last(&away), last(&kept));
    }
    let (away, kept) = (median(away), median(kept));
    println!("| {} replies, {SERVERS} connections | per second | median | p99 |", REPLIES + AUTO_REPLIES);
    println!("|---|---:|---:|---:|");
    for (name, storm) in [("smtp-sink, thrown away", &away), ("hansho-sinkd, stored durably", &kept)] {
        let Storm { per_second, median, p99 } = storm;
        println!("| {name} | {per_second:.0} | {} ms | {} ms |", median.as_millis(), p99.as_millis());
    }
    println!();
    println!(
        "stored / thrown away: {:.2}; peak memory of hansho-sinkd: {peak} KiB",
        kept.per_second / away.per_second
    );
    Ok(())
}

fn last(storms: &[Storm]) -> f64 {
    storms.last().map_or(0.0, |storm| storm.per_second)
}

fn median(mut storms: Vec<Storm>) -> Storm {
    storms.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    storms.swap_remove(storms.len() / 2)
}

/// An installation that sent one notice, and where its reader answers.
fn with_a_notice(hansho: &Path) -> Result<(Installation<'_>, String)> {
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
struct Sinkd {
    process: Child,
    address: SocketAddr,
}

impl Sinkd {
    fn start(installation: &Installation<'_>, sinkd: &Path) -> Result<Self> {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let process = Command::new(sinkd)
            .args(["--config", &installation.path("hansho.toml")])
            .envs([("HANSHO_SINK__LISTEN", address.to_string()), ("RUST_LOG", "warn".to_owned())])
            .spawn()
            .context("cannot run hansho-sinkd")?;
        let sink = Self { process, address };
        wait_until_it_listens(address).context("hansho-sinkd")?;
        Ok(sink)
    }

    fn peak_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        Ok(peak.context("no VmHWM")?.trim().trim_end_matches(" kB").parse()?)
    }

    fn end(&mut self) -> Result<()> {
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

/// All replies to one address, over all connections at once.
fn storm(to: SocketAddr, sender: &str, recipient: &str) -> Result<Storm> {
    let total = REPLIES + AUTO_REPLIES;
    let began = Instant::now();
    let servers: Vec<thread::JoinHandle<Result<Vec<Duration>>>> = (0..SERVERS)
        .map(|server| {
            let (sender, recipient) = (sender.to_owned(), recipient.to_owned());
            thread::spawn(move || {
                let mut post = Post::connect(to)?;
                let mails = (server..total).step_by(SERVERS);
                mails
                    .map(|index| post.deliver(&sender, &recipient, &reply(index, &sender, &recipient)))
                    .collect()
            })
        })
        .collect();
    let mut took = Vec::with_capacity(total);
    for server in servers {
        took.extend(server.join().map_err(|_| anyhow::anyhow!("a mail server panicked"))??);
    }
    let per_second = total as f64 / began.elapsed().as_secs_f64();
    took.sort_unstable();
    Ok(Storm { per_second, median: took[took.len() / 2], p99: took[took.len() * 99 / 100] })
}

/// About as long as a reply with the notice quoted.
fn reply(index: usize, sender: &str, recipient: &str) -> String {
    let (subject, machine) = if index.is_multiple_of((REPLIES + AUTO_REPLIES) / AUTO_REPLIES) {
        ("Out of office", "Auto-Submitted: auto-replied\r\n")
    } else {
        ("Re: drill", "")
    };
    let others: String = (1..=10).map(|n| format!(",\r\n m{n:06}@example.jp")).collect();
    let quoted = "> This is a drill. Please tell us how you are on your own page.\r\n".repeat(20);
    format!(
        "From: <{sender}>\r\nTo: <{recipient}>{others}\r\nSubject: {subject}\r\n{machine}\
         Message-ID: <{index}@phone.example.jp>\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\nI am safe and at work, number {index}.\r\n\r\n{quoted}.\r\n"
    )
}

/// A member's mail server.
struct Post {
    stream: BufReader<TcpStream>,
}

impl Post {
    fn connect(to: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let mut post = Self { stream: BufReader::new(stream) };
        post.expect("220")?;
        post.say("EHLO phone.example.jp", "250")?;
        Ok(post)
    }

    fn deliver(&mut self, sender: &str, recipient: &str, mail: &str) -> Result<Duration> {
        let began = Instant::now();
        self.say(&format!("MAIL FROM:<{sender}>"), "250")?;
        self.say(&format!("RCPT TO:<{recipient}>"), "250")?;
        self.say("DATA", "354")?;
        self.stream.get_mut().write_all(mail.as_bytes())?;
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
