//! The running parts of an installation, started together and drained together.

use crate::{cli::ServeRole, config, entropy, installation::Installation};
use anyhow::{Context, Result, anyhow, ensure};
use broadcaster::{Broadcaster, Tcp};
use pickup::Pickup;
use scheduler::Timeline;
use sink::{Sink, SinkSettings};
use std::{net::SocketAddr, sync::Arc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::info;
use triage::Triage;
use web::{DemoMailbox, Lang, Web, WebSettings};

/// Parts that run until the token is cancelled.
pub(crate) struct Service {
    shutdown: CancellationToken,
    parts: JoinSet<Result<&'static str>>,
    /// Where the dashboard listens.
    pub(crate) web: Option<SocketAddr>,
    /// Where replies come in.
    pub(crate) sink: Option<SocketAddr>,
}

impl Service {
    /// Takes all ports first, so that a busy one stops the start and nothing else.
    pub(crate) async fn start(
        installation: &Installation,
        roles: &[ServeRole],
        demo: Option<Arc<dyn DemoMailbox>>,
        shutdown: CancellationToken,
    ) -> Result<Self> {
        let wants = |role| roles.is_empty() || roles.contains(&role);
        let mut service = Self { shutdown: shutdown.clone(), parts: JoinSet::new(), web: None, sink: None };
        let sink = if wants(ServeRole::Sink) { Some(bind_sink(installation).await?) } else { None };
        let web =
            if wants(ServeRole::Web) { Some(web::bind(web_of(installation, demo)).await?) } else { None };

        if let Some(sink) = sink {
            service.sink = Some(sink.addr());
            let stop = shutdown.clone();
            service.parts.spawn(async move {
                sink.run(stop).await;
                Ok("sink")
            });
        }
        if let Some(web) = web {
            service.web = Some(web.addr());
            let stop = shutdown.clone();
            service.parts.spawn(async move {
                web.run(stop).await;
                Ok("web")
            });
        }
        if wants(ServeRole::Pickup) {
            service.start_pickup(installation, roles)?;
        }
        if wants(ServeRole::Scheduler) {
            service.start_scheduler(installation).await?;
        }
        if wants(ServeRole::Broadcaster) {
            service.start_broadcaster(installation)?;
        }
        Ok(service)
    }

    /// A mailbox is rented by few; to ask for this part alone without one is a mistake.
    fn start_pickup(&mut self, installation: &Installation, roles: &[ServeRole]) -> Result<()> {
        let Some(settings) = installation.config.pickup()? else {
            ensure!(roles.is_empty(), "there is no mailbox to pick replies up from: set pickup.url");
            return Ok(());
        };
        let stop = self.shutdown.clone();
        self.parts.spawn(async move {
            Pickup::new(settings).run(stop).await;
            Ok("pickup")
        });
        Ok(())
    }

    async fn start_scheduler(&mut self, installation: &Installation) -> Result<()> {
        let timeline = Timeline::new(installation.desk.clone(), installation.clock.clone());
        let stop = self.shutdown.clone();
        self.parts.spawn(async move {
            timeline.run(stop).await;
            Ok("scheduler")
        });
        let Installation { store, replybox, clock, .. } = installation;
        let policy = installation.config.suppress_policy();
        let triage = Triage::resume(store.clone(), replybox.clone(), clock.clone(), policy).await?;
        let stop = self.shutdown.clone();
        self.parts.spawn(async move {
            triage.run(stop).await;
            Ok("triage")
        });
        let (retention, stop) = (installation.retention().await?, self.shutdown.clone());
        self.parts.spawn(async move {
            retention.run(stop).await;
            Ok("retention")
        });
        Ok(())
    }

    fn start_broadcaster(&mut self, installation: &Installation) -> Result<()> {
        let broadcaster = Broadcaster::new(
            installation.store.clone(),
            Tcp,
            installation.broadcaster_settings()?,
            installation.keyring.clone(),
            installation.clock.clone(),
        );
        let (post, stop) = (broadcaster.clone(), self.shutdown.clone());
        self.parts.spawn(async move {
            broadcaster::run_post(post, stop).await;
            Ok("mail to staff")
        });
        let stop = self.shutdown.clone();
        self.parts.spawn(async move {
            broadcaster.run(stop).await.context("broadcaster")?;
            Ok("broadcaster")
        });
        Ok(())
    }

    /// Runs until shutdown; when one part fails, the others are drained and the failure is told.
    pub(crate) async fn wait(mut self) -> Result<()> {
        let mut failure = None;
        while let Some(part) = self.parts.join_next().await {
            let ended = part
                .map_err(|panic| anyhow!("a part of the service panicked: {panic}"))
                .and_then(|done| done);
            match ended {
                Ok(name) if self.shutdown.is_cancelled() => info!(part = name, "drained"),
                Ok(name) => {
                    failure.get_or_insert_with(|| anyhow!("{name} ended by itself"));
                }
                Err(problem) => {
                    failure.get_or_insert(problem);
                }
            }
            self.shutdown.cancel();
        }
        failure.map_or(Ok(()), Err)
    }
}

async fn bind_sink(installation: &Installation) -> Result<Sink> {
    let section = &installation.config.sink;
    let mut settings =
        SinkSettings::new(section.listen, installation.config.sink_protocol(), section.domain.clone());
    settings.tls = installation.config.sink_tls()?;
    // The only handle in this process that may write replies.
    let replies = installation.replies_to_write().await?;
    let Installation { keyring, clock, .. } = installation;
    Ok(Sink::bind(settings, keyring.clone(), replies, clock.clone()).await?)
}

fn web_of(installation: &Installation, demo: Option<Arc<dyn DemoMailbox>>) -> Web {
    let config = &installation.config;
    Web {
        store: installation.store.clone(),
        replybox: Some(installation.replybox.clone()),
        desk: installation.desk.clone(),
        settings: WebSettings {
            organization: config.site.organization.clone(),
            contact: config.site.contact.clone(),
            public_url: config.site.public_url.clone(),
            language: match config.site.language {
                config::Language::Ja => Lang::Ja,
                config::Language::En => Lang::En,
            },
            listen: config.web.listen,
            time_zone: config.site.time_zone,
            rehearsal: config.site.environment == config::Environment::Rehearsal,
            prove_membership: config.site.prove_membership.clone(),
            retention: config.retention_periods(),
        },
        keyring: installation.keyring.clone(),
        clock: installation.clock.clone(),
        rng: entropy::generator(),
        demo,
    }
}

/// Cancels the token at SIGTERM or SIGINT.
pub(crate) fn cancel_on_signal(shutdown: CancellationToken) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("shutting down: what is in flight is finished first");
        shutdown.cancel();
    });
    Ok(())
}
