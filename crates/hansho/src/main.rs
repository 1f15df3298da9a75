//! `hansho`: the service, the admin commands and the demonstration. This executable is the
//! composition root: it reads configuration, clock and randomness and hands them to the crates.
//! One file per subcommand stands under `commands/`.

mod cli;
mod commands;
mod config;
mod entropy;
mod exit;
mod installation;
mod output;
mod service;

use clap::Parser;
use cli::{Cli, Command};
use output::Format;
use std::{io::IsTerminal, process::ExitCode};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = if cli.json { Format::Json } else { Format::Text };
    let quiet = matches!(cli.command, Command::Demo(_));
    log_to_stderr(if quiet { "warn" } else { "info" });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => {
            eprintln!("hansho: the system gives no threads: {problem}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(cli, format)) {
        Ok(code) => code,
        Err(problem) => {
            // Once, with the whole chain; what to do next is part of each message.
            match exit::refusal_of(&problem) {
                Some(refusal) => eprintln!("hansho: {refusal}"),
                None => eprintln!("hansho: {problem:#}"),
            }
            exit::code_of(&problem)
        }
    }
}

fn log_to_stderr(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // Turned up, warp writes every path it looks at, and a personal link's path is its secret.
    let quiet = "warp=info".parse().expect("invariant: a target and a level");
    let filter = filter.add_directive(quiet);
    let ansi = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(ansi).with_writer(std::io::stderr).init();
}
