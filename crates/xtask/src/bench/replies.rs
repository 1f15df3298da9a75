//! `cargo xtask bench sink`: how fast replies come in, beside a server that throws them away. The
//! storm is incident A's second half, two and a half times as large as the society: everybody
//! answers to all, and every eleventh answer is a machine's.

use super::sink::MailSink;
use crate::intake::{Post, Sinkd, with_a_notice};
use anyhow::Result;
use std::{
    net::SocketAddr,
    path::Path,
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
                    .map(|index| {
                        post.deliver(&sender, &recipient, reply(index, &sender, &recipient).as_bytes())
                    })
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
