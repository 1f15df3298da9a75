//! `hansho serve`

use crate::{
    cli::ServeRole,
    installation::Installation,
    service::{Service, cancel_on_signal},
};
use anyhow::Result;
use std::path::Path;
use tokio_util::sync::CancellationToken;
use tracing::info;

pub(super) async fn run(config: &Path, roles: &[ServeRole]) -> Result<()> {
    let installation = Installation::open(config).await?;
    let _only_one = installation.lock()?;
    let shutdown = CancellationToken::new();
    cancel_on_signal(shutdown.clone())?;
    let service = Service::start(&installation, roles, None, shutdown).await?;
    if let Some(addr) = service.web {
        info!(web.addr = %addr, "dashboard is listening");
    }
    service.wait().await
}
