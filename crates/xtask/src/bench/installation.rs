//! An installation of the product that sends one broadcast.

use crate::children::send_signal;
use anyhow::{Context, Result, bail};
use chrono::{DateTime, FixedOffset};
use serde_json::Value;
use std::{fmt::Write as _, fs, net::SocketAddr, path::Path, process::Command};
use tempfile::TempDir;

/// An installation of its own for each turn.
pub(crate) struct Installation<'a> {
    hansho: &'a Path,
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl<'a> Installation<'a> {
    pub(crate) fn found(
        hansho: &'a Path,
        relay: SocketAddr,
        database: Option<String>,
        connections: u32,
    ) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("hansho-bench-").tempdir()?;
        let mut settings = vec![
            ("HANSHO_CONFIG", folder.path().join("hansho.toml").display().to_string()),
            ("HANSHO_RELAY__URL", format!("smtp://{relay}")),
            ("HANSHO_RELAY__RATES", "[]".to_owned()),
            ("HANSHO_RELAY__CONNECTIONS", connections.to_string()),
            ("HANSHO_BROADCAST__CHUNK_SIZE", "1000".to_owned()),
            ("HANSHO_BROADCAST__DAILY_CAP", "10000000".to_owned()),
            ("RUST_LOG", "warn".to_owned()),
        ];
        if let Some(url) = database {
            settings.push(("HANSHO_DATABASE__URL", url));
        }
        let installation = Self { hansho, folder, settings };
        let folder = installation.path("");
        installation
            .run(&["init", "--dir", &folder, "--organization", "会", "--admin", "a@example.jp"], None)?;
        Ok(installation)
    }

    /// Sends one broadcast to so many; messages per second between the first intent and the last outcome.
    pub(crate) fn broadcast(&self, recipients: u32) -> Result<f64> {
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

    pub(crate) fn path(&self, name: &str) -> String {
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

    pub(crate) fn run(&self, arguments: &[&str], token: Option<&str>) -> Result<Value> {
        let output = self.command(arguments, token).arg("--json").output()?;
        if !output.status.success() {
            bail!("hansho {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }
}
