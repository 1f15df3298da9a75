//! An installation: its configuration, databases, keys and desk, opened and checked.

use crate::{config::Config, entropy::SystemClock};
use anyhow::{Context, Result, bail};
use domain::{Clock, Keyring, parse_key_file, sqlite_path};
use replybox::{ReplyBox, ReplyEraser};
use scheduler::{Desk, DeskSettings};
use sea_orm_migration::MigratorTrait;
use std::{
    fs::{File, TryLockError},
    path::Path,
    sync::Arc,
};
use store::Store;
use triage::Retention;

/// Everything a command works with.
pub(crate) struct Installation {
    pub(crate) config: Config,
    pub(crate) store: Store,
    /// To read only.
    pub(crate) replybox: ReplyBox,
    pub(crate) keyring: Keyring,
    pub(crate) desk: Desk,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Installation {
    /// Opens databases and keys; refuses an old schema.
    pub(crate) async fn open(config_path: &Path) -> Result<Self> {
        let installation = Self::open_any_schema(Config::load(config_path)?).await?;
        installation.check_schema().await?;
        Ok(installation)
    }

    /// Opens databases and keys whatever their schema: for migrating.
    pub(crate) async fn open_any_schema(config: Config) -> Result<Self> {
        let replybox = ReplyBox::connect_to_read(&config.replies_url()?).await?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Store::connect(&config.core_url()?).await?;
        let keyring = read_keys(&config.key_file())?;
        let desk = Desk::new(store.clone(), keyring.clone(), desk_settings(&config), clock.clone());
        Ok(Self { config, store, replybox, keyring, desk, clock })
    }

    /// A handle on the reply database that may write: for the sink, for migrating, for copying.
    pub(crate) async fn replies_to_write(&self) -> Result<ReplyBox> {
        Ok(ReplyBox::connect(&self.config.replies_url()?).await?)
    }

    /// Who erases people, and deletes what was kept long enough.
    pub(crate) async fn retention(&self) -> Result<Retention> {
        let replies = ReplyEraser::connect(&self.config.retention_url()?).await?;
        let periods = self.config.retention_periods();
        Ok(Retention::new(self.store.clone(), replies, self.keyring.clone(), periods, self.clock.clone()))
    }

    /// Brings both databases to the present schema.
    pub(crate) async fn migrate(&self) -> Result<()> {
        migrations::core::Migrator::up(self.store.connection(), None)
            .await
            .context("migrate the core database")?;
        migrations::replies::Migrator::up(self.replies_to_write().await?.connection(), None)
            .await
            .context("migrate the reply database")
    }

    /// Names of migrations that are not applied yet, of both databases.
    pub(crate) async fn pending_migrations(&self) -> Result<Vec<String>> {
        let core = migrations::core::Migrator::get_pending_migrations(self.store.connection()).await?;
        let replies = migrations::replies::Migrator::get_pending_migrations(
            self.replies_to_write().await?.connection(),
        )
        .await?;
        Ok(core.iter().chain(&replies).map(|migration| migration.name().to_owned()).collect())
    }

    async fn check_schema(&self) -> Result<()> {
        let pending = self.pending_migrations().await?;
        if !pending.is_empty() {
            bail!(
                "the database is older than this program ({} migrations pending); stop other processes, take a \
                 backup and run `hansho migrate up`",
                pending.len()
            );
        }
        Ok(())
    }

    /// Takes the lock that makes this process the only `serve` on a SQLite database. Held until
    /// the returned file is dropped; the operating system frees it when the process dies.
    pub(crate) fn lock(&self) -> Result<Option<File>> {
        let url = self.config.core_url()?;
        let Some((path, _)) = sqlite_path(&url) else { return Ok(None) };
        let path = format!("{path}.lock");
        let file = File::create(&path).with_context(|| format!("the lock file {path} cannot be made"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => bail!(
                "another `hansho serve` already works on this SQLite database (lock {path}); stop it first, or \
                 use PostgreSQL for several processes"
            ),
            Err(TryLockError::Error(problem)) => {
                Err(problem).with_context(|| format!("the lock file {path} cannot be locked"))
            }
        }
    }

    /// How the broadcaster of this installation sends.
    pub(crate) fn broadcaster_settings(&self) -> Result<broadcaster::Settings> {
        let Config { relay, broadcast, site, .. } = &self.config;
        let (limits, manners) = self.config.limits();
        Ok(broadcaster::Settings {
            relays: self.config.relays()?,
            connections: relay.connections,
            messages_per_connection: relay.messages_per_connection,
            limits,
            manners,
            step_timeout: relay.step_timeout.get(),
            dot_timeout: relay.dot_timeout.get(),
            chunk_size: broadcast.chunk_size,
            chunk_budget: broadcast.chunk_budget.get(),
            retry_first: broadcast.retry_first.get(),
            retry_for: broadcast.retry_for.get(),
            unknown: self.config.unknown(),
            from: broadcast.from.clone(),
            public_url: site.public_url.clone(),
            operators: self.config.operators()?,
            dkim: self.config.dkim()?.map(Arc::new),
            worker_name: format!("pid {}", std::process::id()),
        })
    }
}

fn desk_settings(config: &Config) -> DeskSettings {
    DeskSettings {
        from: config.broadcast.from.clone(),
        organization: config.site.organization.clone(),
        contact: config.site.contact.clone(),
        public_url: config.site.public_url.clone(),
        sink_domain: config.sink.domain.clone(),
        policy: config.release_policy(),
        rates: config.relay.rates.clone(),
        connections: config.relay.connections,
        one_click_unsubscribe: config.broadcast.one_click_unsubscribe,
        calendar: config.calendar(),
    }
}

fn read_keys(path: &Path) -> Result<Keyring> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!("the key file {} cannot be read; `hansho init` makes one (site.key_file)", path.display())
    })?;
    parse_key_file(&text).with_context(|| format!("the key file {} is not usable", path.display()))
}
