//! `hansho db backup`

use crate::{cli::DbCommand, installation::Installation, output::Format};
use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use std::path::PathBuf;
use store::Engine;

#[derive(Serialize)]
struct Copied {
    core: PathBuf,
    replies: PathBuf,
}

pub(super) async fn run(installation: &Installation, command: &DbCommand, format: Format) -> Result<()> {
    let DbCommand::Backup { file } = command;
    if installation.store.engine() == Engine::Postgres {
        bail!("this installation is on PostgreSQL: back it up with pg_dump");
    }
    let mut replies = file.clone().into_os_string();
    replies.push(".replies");
    let copied = Copied { core: file.clone(), replies: replies.into() };
    for path in [&copied.core, &copied.replies] {
        ensure!(!path.exists(), "{} exists already; nothing was copied", path.display());
    }
    let name = |path: &PathBuf| path.to_str().map(str::to_owned).context("the file's name is not UTF-8");
    let copy = async {
        installation.store.copy_to(&name(&copied.core)?).await?;
        installation.replies_to_write().await?.copy_to(&name(&copied.replies)?).await?;
        anyhow::Ok(())
    };
    if let Err(problem) = copy.await {
        // Half a backup is taken for a whole one some day. What was not begun is not there.
        for path in [&copied.core, &copied.replies] {
            std::fs::remove_file(path).ok();
        }
        return Err(problem.context("nothing was copied"));
    }
    format.print(&copied, |c| format!("copied to {} and {}", c.core.display(), c.replies.display()))
}
