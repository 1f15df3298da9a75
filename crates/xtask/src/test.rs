//! `cargo xtask test`: everything that must hold, in one run with one closing line.

use crate::{
    children::{Children, Kept},
    postgres::TestServers,
    root,
    summary::Summary,
    tools,
};
use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;
use std::{io::IsTerminal, path::PathBuf, process::ExitCode};
use tokio::process::Command;

/// Runs the tests; `chosen` are arguments for nextest and narrow the run, without doctests then.
pub(crate) async fn run(chosen: &[&str]) -> Result<ExitCode> {
    let mut children = Children::new()?;
    tools::ensure_all(&mut children).await?;
    let mut runner = Runner { executables: executables()?, postgres: TestServers::start().await?, children };
    let summary = runner.run(chosen).await?;
    println!("{summary}");
    Ok(if summary.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs so many seeds of the simulation, from one on.
pub(crate) async fn simulate(seeds: u64, from: u64) -> Result<ExitCode> {
    let mut children = Children::new()?;
    let mut command = Command::new("cargo");
    // With the features of a full test run, whose build is at hand then.
    command
        .args(["test", "--workspace", "--test", "simulation", "--", "--nocapture", "--exact"])
        .arg("every_seed_keeps_every_promise")
        .current_dir(root())
        .env("HANSHO_SIM_SEEDS", seeds.to_string())
        .env("HANSHO_SIM_FROM", from.to_string());
    let status = children.run(&mut command).await?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Runner {
    executables: PathBuf,
    postgres: TestServers,
    children: Children,
}

impl Runner {
    async fn run(&mut self, chosen: &[&str]) -> Result<Summary> {
        // Executables and tests in one build: asked for separately, features would be resolved
        // differently and half of the dependencies compiled twice.
        let mut build = self.cargo(&["build", "--workspace", "--bins", "--tests"]);
        if !self.children.run(&mut build).await?.success() {
            return Ok(Summary::BROKEN);
        }
        let summary = self.nextest(chosen).await?;
        Ok(if chosen.is_empty() { summary + self.doctests().await? } else { summary })
    }

    async fn nextest(&mut self, chosen: &[&str]) -> Result<Summary> {
        let colour = if std::io::stderr().is_terminal() { "always" } else { "never" };
        let mut command = self.cargo(&["nextest", "run", "--workspace", "--color", colour]);
        let (status, output) = self.children.run_keeping(command.args(chosen), Kept::Stderr).await?;
        Ok(Summary::of_nextest(&output).unwrap_or_default().agreeing_with(status.success()))
    }

    async fn doctests(&mut self) -> Result<Summary> {
        let mut command = self.cargo(&["test", "--doc", "--workspace", "--no-fail-fast"]);
        let (status, output) = self.children.run_keeping(&mut command, Kept::Stdout).await?;
        Ok(Summary::of_doctests(&output).agreeing_with(status.success()))
    }

    /// Cargo with all that tests look for in the environment.
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        command
            .args(arguments)
            .current_dir(root())
            .envs(self.postgres.environment())
            .env("HANSHO_BIN", self.executables.join("hansho"))
            .env("HANSHO_SINKD_BIN", self.executables.join("hansho-sinkd"));
        command
    }
}

/// Where cargo puts the executables of a debug build.
fn executables() -> Result<PathBuf> {
    let metadata = MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .exec()
        .context("cannot read the workspace's metadata")?;
    Ok(metadata.target_directory.join("debug").into_std_path_buf())
}
