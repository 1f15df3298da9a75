//! `hansho migrate up|status`

use crate::{cli::MigrateCommand, config::Config, installation::Installation, output::Format};
use anyhow::Result;
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Answer {
    applied: Vec<String>,
    pending: Vec<String>,
}

pub(super) async fn run(config: &Path, command: &MigrateCommand, format: Format) -> Result<()> {
    let installation = Installation::open_any_schema(Config::load(config)?).await?;
    let pending = installation.pending_migrations().await?;
    let answer = match command {
        MigrateCommand::Status => Answer { applied: Vec::new(), pending },
        MigrateCommand::Up => {
            let _only_one = installation.lock()?;
            installation.migrate().await?;
            Answer { applied: pending, pending: Vec::new() }
        }
    };
    format.print(&answer, |answer| match (answer.applied.as_slice(), answer.pending.as_slice()) {
        ([], []) => "the schema is up to date".to_owned(),
        ([], pending) => format!("pending: {}", pending.join(", ")),
        (applied, _) => format!("applied: {}", applied.join(", ")),
    })
}
