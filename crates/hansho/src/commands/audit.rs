//! `hansho audit verify|export`

use crate::{cli::AuditCommand, installation::Installation, output::Format};
use anyhow::{Result, bail};
use serde::Serialize;

#[derive(Serialize)]
struct Verified {
    ok: bool,
    entries: u64,
}

pub(super) async fn run(installation: &Installation, command: &AuditCommand, format: Format) -> Result<()> {
    match command {
        AuditCommand::Verify => match installation.store.verify_audit().await? {
            Ok(entries) => format.print(&Verified { ok: true, entries }, |v| {
                format!("the chain holds: {} entries", v.entries)
            }),
            Err(problem) => bail!(problem),
        },
        AuditCommand::Export => {
            let mut after = 0;
            loop {
                let page = installation.store.audit_entries(after, 1_000).await?;
                for entry in &page {
                    println!("{}", serde_json::to_string(entry)?);
                    after = entry.id;
                }
                if page.is_empty() {
                    return Ok(());
                }
            }
        }
    }
}
