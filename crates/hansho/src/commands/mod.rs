//! One file per subcommand.

mod actor;
mod audience;
mod audit;
mod broadcast;
mod db;
mod demo;
mod doctor;
mod drill;
mod import;
mod init;
mod ledger;
mod member;
mod migrate;
mod privacy;
mod reply;
mod serve;
mod user;

use crate::{
    cli::{Cli, Command, ReplyCommand},
    installation::Installation,
    output::Format,
};
use anyhow::Result;
use std::process::ExitCode;

/// Runs the command; what it prints is its own affair.
pub(crate) async fn run(cli: Cli, format: Format) -> Result<ExitCode> {
    let config = cli.config;
    match cli.command {
        Command::Demo(args) => return demo::run(args).await,
        Command::Init(args) => init::run(&args, format).await?,
        Command::Serve { role } => serve::run(&config, &role).await?,
        Command::Migrate(command) => migrate::run(&config, &command, format).await?,
        Command::Doctor { dns } => return doctor::run(&config, dns, format).await,
        Command::Reply(ReplyCommand::Classify { files }) => reply::classify(&files)?,
        command => {
            let installation = Installation::open(&config).await?;
            return on_installation(&installation, command, format).await;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn on_installation(installation: &Installation, command: Command, format: Format) -> Result<ExitCode> {
    match command {
        Command::User(command) => user::run(installation, command, format).await?,
        Command::Member(command) => member::run(installation, command, format).await?,
        Command::Audience(command) => audience::run(installation, command, format).await?,
        Command::Broadcast(command) => return broadcast::run(installation, command, format).await,
        Command::Drill(command) => drill::run(installation, command, format).await?,
        Command::Reply(command) => reply::run(installation, command, format).await?,
        Command::Audit(command) => audit::run(installation, &command, format).await?,
        Command::Db(command) => db::run(installation, &command, format).await?,
        Command::Ledger(command) => ledger::run(installation, &command, format).await?,
        Command::Demo(_)
        | Command::Doctor { .. }
        | Command::Init(_)
        | Command::Serve { .. }
        | Command::Migrate(_) => {
            unreachable!("invariant: handled before an installation is opened")
        }
    }
    Ok(ExitCode::SUCCESS)
}
