//! `hansho-sinkd`: the reply sink alone, for machines where mail comes in and nothing goes out.
//!
//! It needs the reply database and the token keys and nothing else: no registry, no relay, no
//! credentials that could send. Its binary holds no SMTP client.

mod config;

use anyhow::Context;
use clap::Parser;
use config::Config;
use domain::{Clock, Timestamp};
use replybox::ReplyBox;
use sink::{Sink, SinkSettings};
use std::{path::PathBuf, process::ExitCode, sync::Arc, time::SystemTime};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Takes in replies and bounces by SMTP or LMTP and stores them; sends nothing.
#[derive(Parser)]
#[command(name = "hansho-sinkd", version)]
struct Arguments {
    /// The configuration that `hansho` uses; only [sink], [database] and site.key_file are read.
    #[arg(long, env = "HANSHO_CONFIG", default_value = "./hansho.toml")]
    config: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hansho-sinkd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = Config::load(&arguments.config)?;
    let keys = std::fs::read_to_string(&config.key_file).with_context(|| {
        format!("the key file {} cannot be read; check `site.key_file`", config.key_file.display())
    })?;
    let keyring = domain::parse_key_file(&keys)
        .with_context(|| format!("the key file {} is not usable", config.key_file.display()))?;
    let replies = ReplyBox::connect(&config.replies_url).await?;
    replies.check_schema().await?;
    let mut settings = SinkSettings::new(config.listen, config.protocol, config.domain);
    settings.tls = config.tls;
    let sink = Sink::bind(settings, keyring, replies, Arc::new(SystemClock)).await?;
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signal(shutdown.clone())?);
    sink.run(shutdown).await;
    Ok(())
}

/// SIGTERM and SIGINT end the sink; mails under way are still taken.
fn stop_on_signal(shutdown: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("signals cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signals cannot be listened for")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        shutdown.cancel();
    })
}

/// The machine's clock.
struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the composition root is where the clock comes from")]
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }
}
