//! `cargo xtask bench`: how fast the executable that is installed sends, beside a client that keeps no
//! record of anything. Every contender has one turn per round, so that a machine's moods hit all
//! of them; only ratios of one run count. `cargo xtask bench sink` does the same for what comes in.

mod installation;
mod link;
mod replies;
mod sink;

use crate::{
    children::Children,
    postgres::{Durability, Postgres},
    root, tools,
};
use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;
pub(crate) use installation::Installation;
pub(crate) use sink::{MailSink, wait_until_it_listens};
use std::{
    fmt::Write as _,
    net::SocketAddr,
    path::PathBuf,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

/// Recipients of one turn beside the reference.
const RECIPIENTS: u32 = 20_000;
/// Of turns that are slower: on one connection, and over a long way.
const RECIPIENTS_ALONE: u32 = 5_000;
const RECIPIENTS_FAR: u32 = 2_000;
const ROUNDS: usize = 3;
const CONNECTIONS: u32 = 128;
const CONNECTIONS_FAR: u32 = 8;
const ROUND_TRIP: Duration = Duration::from_millis(20);
/// Sessions of the reference.
const SESSIONS: u32 = 16;
/// Octets of the reference's messages: about as many as a notice of ours.
const MESSAGE_OCTETS: u32 = 2_000;

/// One of those that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Reference,
    Sqlite,
    Postgres,
    OneConnection,
    Plain,
    Ahead,
}

/// Contenders that are compared with the first of them.
type Match = &'static [(Contender, &'static str)];

const NEAR: Match = &[
    (Contender::Reference, "smtp-source, 16 sessions, no record"),
    (Contender::Sqlite, "hansho on SQLite, 128 connections"),
    (Contender::Postgres, "hansho on PostgreSQL, 128 connections"),
    (Contender::OneConnection, "hansho on SQLite, 1 connection"),
];

const FAR: Match = &[
    (Contender::Plain, "8 connections over 20 ms, a relay without PIPELINING"),
    (Contender::Ahead, "8 connections over 20 ms, envelopes go ahead"),
];

/// The executables as they are installed.
async fn built(children: &mut Children) -> Result<[PathBuf; 2]> {
    tools::ensure_bench(children).await?;
    let mut build = tokio::process::Command::new("cargo");
    let packages = ["--package", "hansho", "--package", "hansho-sinkd"];
    build.args(["build", "--profile", "dist", "--locked"]).args(packages).current_dir(root());
    if !children.run(&mut build).await?.success() {
        bail!("the build failed");
    }
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec()?;
    let folder = metadata.target_directory.join("dist").into_std_path_buf();
    Ok(["hansho", "hansho-sinkd"].map(|name| folder.join(name)))
}

/// How fast replies come in.
pub(crate) async fn run_sink() -> Result<ExitCode> {
    let [hansho, sinkd] = built(&mut Children::new()?).await?;
    replies::run(&hansho, &sinkd)?;
    Ok(ExitCode::SUCCESS)
}

/// Runs all rounds and prints the tables.
pub(crate) async fn run() -> Result<ExitCode> {
    let [hansho, _] = built(&mut Children::new()?).await?;
    let bench = Bench { hansho, postgres: Postgres::start_with(Durability::Full).await? };
    for contenders in [NEAR, FAR] {
        let mut rates: Vec<Vec<f64>> = vec![Vec::new(); contenders.len()];
        for round in 1..=ROUNDS {
            for ((contender, name), rates) in contenders.iter().zip(&mut rates) {
                let rate = bench.turn(*contender, round)?;
                eprintln!("round {round}: {name}: {rate:.0}/s");
                rates.push(rate);
            }
        }
        println!("{}", table(contenders, &mut rates));
    }
    Ok(ExitCode::SUCCESS)
}

fn table(contenders: Match, rates: &mut [Vec<f64>]) -> String {
    let mut text = String::from("| contender | median, messages/s | of the first |\n|---|---:|---:|\n");
    let mut medians = rates.iter_mut().map(|rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    let reference = medians.next().unwrap_or(f64::NAN);
    for ((_, name), median) in contenders.iter().zip(std::iter::once(reference).chain(medians)) {
        let _written = writeln!(text, "| {name} | {median:.0} | {:.2} |", median / reference);
    }
    text
}

struct Bench {
    hansho: PathBuf,
    postgres: Postgres,
}

impl Bench {
    /// Messages per second.
    fn turn(&self, contender: Contender, round: usize) -> Result<f64> {
        let sink = MailSink::start(contender != Contender::Plain)?;
        let near = sink.address();
        let (relay, database, connections, recipients) = match contender {
            Contender::Reference => return reference(near),
            Contender::Sqlite => (near, None, CONNECTIONS, RECIPIENTS),
            Contender::Postgres => {
                let url = self.postgres.create_database(&format!("bench{round}"))?;
                (near, Some(url), CONNECTIONS, RECIPIENTS)
            }
            Contender::OneConnection => (near, None, 1, RECIPIENTS_ALONE),
            Contender::Plain | Contender::Ahead => {
                (link::open(near, ROUND_TRIP)?, None, CONNECTIONS_FAR, RECIPIENTS_FAR)
            }
        };
        Installation::found(&self.hansho, relay, database, connections)?.broadcast(recipients)
    }
}

fn reference(sink: SocketAddr) -> Result<f64> {
    let began = Instant::now();
    let status = Command::new("/usr/sbin/smtp-source")
        .args(["-d", "-s", &SESSIONS.to_string(), "-m", &RECIPIENTS.to_string()])
        .args([
            "-l",
            &MESSAGE_OCTETS.to_string(),
            "-f",
            "a@example.jp",
            "-t",
            "b@example.jp",
            &sink.to_string(),
        ])
        .status()
        .context("cannot run smtp-source")?;
    if !status.success() {
        bail!("smtp-source failed: {status}");
    }
    Ok(f64::from(RECIPIENTS) / began.elapsed().as_secs_f64())
}
