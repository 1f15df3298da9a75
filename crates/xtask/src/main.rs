//! The project's own commands: `cargo xtask COMMAND`.
//!
//! What they leave behind is nothing: servers and temporary folders go away with the command,
//! also when it fails or is interrupted.

#![expect(
    clippy::disallowed_methods,
    reason = "a development tool whose work is to run cargo, git and PostgreSQL; it is no part of the product"
)]

mod bench;
mod children;
mod corpus;
mod intake;
mod postgres;
mod summary;
mod test;
mod tidy;
mod tools;

use anyhow::{Context, Result};
use children::Children;
use std::{path::PathBuf, process::ExitCode};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  test [-- NEXTEST-ARGUMENTS]   all tests: makes sure of the tools, starts a private PostgreSQL,
                                runs nextest and the doctests; with arguments, such as
                                -E 'package(store)', the chosen tests only and no doctests
  bench                         how fast the installed build sends, beside smtp-source: medians and ratios
  bench sink                    how fast replies come in, beside smtp-sink
  corpus                        how well replies are understood, and broken mail stored, by the mails in $HANSHO_CORPUS
  sim --seeds N [--from SEED]   so many runs of the broadcaster in simulated time, from a seed on
  postgres PROGRAM [ARGUMENTS]  runs a program while a private PostgreSQL listens at $HANSHO_TEST_PG
  tidy                          fast static checks, without network";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["test"] => test::run(&[]).await,
        ["test", "--", chosen @ ..] => test::run(chosen).await,
        ["bench"] => bench::run().await,
        ["bench", "sink"] => bench::run_sink().await,
        ["corpus"] => corpus::run().await,
        ["sim", "--seeds", seeds] => simulate(seeds, "0").await,
        ["sim", "--seeds", seeds, "--from", from] => simulate(seeds, from).await,
        ["postgres", program, rest @ ..] => beside_postgres(program, rest).await,
        ["tidy"] => tidy::run(&root()),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}

async fn simulate(seeds: &str, from: &str) -> Result<ExitCode> {
    let number = |text: &str| text.parse().with_context(|| format!("{text} is not a number of seeds"));
    test::simulate(number(seeds)?, number(from)?).await
}

/// The workspace's root folder.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("invariant: this crate lies two folders below the root").to_owned()
}

async fn beside_postgres(program: &str, arguments: &[&str]) -> Result<ExitCode> {
    let mut children = Children::new()?;
    tools::ensure_postgres(&mut children).await?;
    let server = postgres::TestServers::start().await?;
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).envs(server.environment());
    let status = children.run(&mut command).await.with_context(|| format!("while running {program}"))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
