//! `cargo xtask bench`: how fast the released executable sends, beside a client that keeps no
//! record of anything. Every contender has one turn per round, so that a machine's moods hit all
//! of them; only ratios of one run count.

use crate::{
    children::{Children, send_signal},
    postgres::{Durability, Postgres},
    root, tools,
};
use anyhow::{Context, Result, bail};
use cargo_metadata::MetadataCommand;
use chrono::{DateTime, FixedOffset};
use serde_json::Value;
use std::{
    fmt::Write as _,
    fs,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Recipients of one turn.
const RECIPIENTS: u32 = 20_000;
/// Of the turn on one connection, which is slower.
const RECIPIENTS_ALONE: u32 = 5_000;
const ROUNDS: usize = 3;
const CONNECTIONS: u32 = 64;
/// Sessions of the reference.
const SESSIONS: u32 = 16;
/// Octets of the reference's messages: about as many as a notice of ours.
const MESSAGE_OCTETS: u32 = 2_000;
/// A server that does not listen by then does not.
const START_MAX: Duration = Duration::from_secs(10);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// One of those that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Reference,
    Sqlite,
    Postgres,
    OneConnection,
}

const CONTENDERS: [(Contender, &str); 4] = [
    (Contender::Reference, "smtp-source, 16 sessions, no record"),
    (Contender::Sqlite, "hansho on SQLite, 64 connections"),
    (Contender::Postgres, "hansho on PostgreSQL, 64 connections"),
    (Contender::OneConnection, "hansho on SQLite, 1 connection"),
];

/// Runs all rounds and prints the table.
pub(crate) async fn run() -> Result<ExitCode> {
    let mut children = Children::new()?;
    tools::ensure_bench(&mut children).await?;
    let mut build = tokio::process::Command::new("cargo");
    build.args(["build", "--release", "--locked", "--package", "hansho"]).current_dir(root());
    if !children.run(&mut build).await?.success() {
        bail!("the release build failed");
    }
    let metadata = MetadataCommand::new().current_dir(root()).no_deps().exec()?;
    let bench = Bench {
        hansho: metadata.target_directory.join("release/hansho").into_std_path_buf(),
        postgres: Postgres::start_with(Durability::Full).await?,
    };
    let mut rates: Vec<Vec<f64>> = vec![Vec::new(); CONTENDERS.len()];
    for round in 1..=ROUNDS {
        for ((contender, name), rates) in CONTENDERS.iter().zip(&mut rates) {
            let rate = bench.turn(*contender, round)?;
            eprintln!("round {round}: {name}: {rate:.0}/s");
            rates.push(rate);
        }
    }
    print!("{}", table(&mut rates));
    Ok(ExitCode::SUCCESS)
}

fn table(rates: &mut [Vec<f64>]) -> String {
    let mut text = String::from("| contender | median, messages/s | of the reference |\n|---|---:|---:|\n");
    let mut medians = rates.iter_mut().map(|rates| {
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    });
    let reference = medians.next().unwrap_or(f64::NAN);
    for ((_, name), median) in CONTENDERS.iter().zip(std::iter::once(reference).chain(medians)) {
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
        let sink = MailSink::start()?;
        match contender {
            Contender::Reference => reference(&sink),
            Contender::Sqlite => Installation::found(self, &sink, None, CONNECTIONS)?.broadcast(RECIPIENTS),
            Contender::Postgres => {
                let url = self.postgres.create_database(&format!("bench{round}"))?;
                Installation::found(self, &sink, Some(url), CONNECTIONS)?.broadcast(RECIPIENTS)
            }
            Contender::OneConnection => {
                Installation::found(self, &sink, None, 1)?.broadcast(RECIPIENTS_ALONE)
            }
        }
    }
}

fn reference(sink: &MailSink) -> Result<f64> {
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
            &sink.address(),
        ])
        .status()
        .context("cannot run smtp-source")?;
    if !status.success() {
        bail!("smtp-source failed: {status}");
    }
    Ok(f64::from(RECIPIENTS) / began.elapsed().as_secs_f64())
}

/// A server that takes mail and throws it away; it ends with this value.
struct MailSink {
    server: Child,
    port: u16,
}

impl MailSink {
    fn start() -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let mut command = Command::new("/usr/sbin/smtp-sink");
        if crate::postgres::is_root() {
            command.args(["-u", "postfix"]);
        }
        let server = command
            .args([&format!("127.0.0.1:{port}"), "1000"])
            .stdout(Stdio::null())
            .spawn()
            .context("cannot run smtp-sink")?;
        let sink = Self { server, port };
        let asked = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if asked.elapsed() > START_MAX {
                bail!("smtp-sink does not listen");
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(sink)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for MailSink {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _reaped = self.server.wait();
    }
}

/// An installation of its own for each turn.
struct Installation<'a> {
    hansho: &'a Path,
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl<'a> Installation<'a> {
    fn found(bench: &'a Bench, sink: &MailSink, database: Option<String>, connections: u32) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("hansho-bench-").tempdir()?;
        let mut settings = vec![
            ("HANSHO_CONFIG", folder.path().join("hansho.toml").display().to_string()),
            ("HANSHO_RELAY__URL", format!("smtp://{}", sink.address())),
            ("HANSHO_RELAY__RATES", "[]".to_owned()),
            ("HANSHO_RELAY__CONNECTIONS", connections.to_string()),
            ("HANSHO_BROADCAST__CHUNK_SIZE", "1000".to_owned()),
            ("HANSHO_BROADCAST__DAILY_CAP", "10000000".to_owned()),
            ("RUST_LOG", "warn".to_owned()),
        ];
        if let Some(url) = database {
            settings.push(("HANSHO_DATABASE__URL", url));
        }
        let installation = Self { hansho: &bench.hansho, folder, settings };
        let folder = installation.path("");
        installation
            .run(&["init", "--dir", &folder, "--organization", "会", "--admin", "a@example.jp"], None)?;
        Ok(installation)
    }

    /// Sends one broadcast to so many; messages per second between the first intent and the last outcome.
    fn broadcast(&self, recipients: u32) -> Result<f64> {
        let (author, approver) = (self.token("author", "coordinator")?, self.token("approver", "approver")?);
        self.import(recipients)?;
        fs::write(self.path("body.txt"), "{{name}} 様\n\n訓練のお知らせです。\n{{link}}\n")?;
        let created = self.run(
            &[
                "broadcast",
                "create",
                "--nature",
                "exercise",
                "--subject",
                "訓練",
                "--audience",
                "all",
                "--body-file",
                &self.path("body.txt"),
            ],
            Some(&author),
        )?;
        let id = created["id"].as_i64().context("no id")?.to_string();
        self.run(&["broadcast", "preflight", &id], Some(&author))?;
        self.run(&["broadcast", "approve", &id], Some(&approver))?;
        let mut serve = self.command(&["serve", "--role", "broadcaster"], None).spawn()?;
        let sent = self.run(&["broadcast", "send", &id, "--wait"], Some(&author));
        send_signal(serve.id(), "TERM")?;
        serve.wait()?;
        let accepted = sent?["accepted"].as_u64();
        if accepted != Some(u64::from(recipients)) {
            bail!("{accepted:?} of {recipients} were accepted");
        }
        let (first, last) = self.span(&id, &author)?;
        Ok(f64::from(recipients) / (last - first).as_seconds_f64())
    }

    fn import(&self, recipients: u32) -> Result<()> {
        let mut roster = String::from("会員番号,氏名,フリガナ,メールアドレス,都道府県,施設名,役割,状態\n");
        for n in 1..=recipients {
            writeln!(
                roster,
                "m{n:06},看護 {n},カンゴ,m{n:06}@example.jp,東京都,第{}病院,会員,正会員",
                n % 97
            )?;
        }
        fs::write(self.path("roster.csv"), roster)?;
        self.run(&["member", "import", &self.path("roster.csv"), "--apply"], None).map(|_| ())
    }

    fn span(&self, id: &str, author: &str) -> Result<(DateTime<FixedOffset>, DateTime<FixedOffset>)> {
        let output =
            self.command(&["broadcast", "ledger", id, "--format", "jsonl"], Some(author)).output()?;
        let mut span: Option<(DateTime<FixedOffset>, DateTime<FixedOffset>)> = None;
        for line in String::from_utf8(output.stdout)?.lines() {
            let row: Value = serde_json::from_str(line)?;
            let time = |column: &str| DateTime::parse_from_rfc3339(row[column].as_str().unwrap_or_default());
            let (began, ended) = (time("submitted_at")?, time("settled_at")?);
            span = Some(span.map_or((began, ended), |(first, last)| (first.min(began), last.max(ended))));
        }
        span.context("the ledger is empty")
    }

    fn token(&self, name: &str, role: &str) -> Result<String> {
        let email = format!("{name}@example.jp");
        self.run(&["user", "add", &email, "--role", role], None)?;
        let token = self.run(&["user", "token", &email], None)?;
        Ok(token["token"].as_str().context("no token")?.to_owned())
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn command(&self, arguments: &[&str], token: Option<&str>) -> Command {
        let mut command = Command::new(self.hansho);
        command.args(arguments).envs(self.settings.iter().map(|(name, value)| (name, value)));
        if let Some(token) = token {
            command.env("HANSHO_TOKEN", token);
        }
        command
    }

    fn run(&self, arguments: &[&str], token: Option<&str>) -> Result<Value> {
        let output = self.command(arguments, token).arg("--json").output()?;
        if !output.status.success() {
            bail!("hansho {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }
}
