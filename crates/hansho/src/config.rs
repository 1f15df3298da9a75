//! `hansho.toml` and its environment. Unknown keys and unusable values are refused with the place
//! they came from; relative paths are relative to the file.

use anyhow::{Context, Result, bail, ensure};
use broadcaster::{Manners, RelayUrl, UnknownPolicy};
use domain::{
    EmailAddress, FiscalCalendar, Nature, Rate, RetentionPeriods, Span, SpanError, database_url_in,
    replies_url_beside,
};
use figment::{
    Figment,
    providers::{Env, Format, Toml},
};
use notice::{Dkim, SenderAddress};
use pickup::{MailboxUrl, PickupSettings};
use serde::Deserialize;
use sink::TlsFiles;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use store::{CanaryPlan, Limits, ReleasePolicy};
use triage::SuppressPolicy;

/// What is deleted is gone: "400m" in place of "400d" must not be taken for a period.
const RETENTION_MIN: Duration = Duration::from_secs(30 * 86_400);

/// The whole configuration, checked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) site: Site,
    pub(crate) database: Database,
    #[serde(default)]
    pub(crate) web: Web,
    pub(crate) relay: Relay,
    pub(crate) broadcast: Broadcast,
    pub(crate) sink: SinkSection,
    pickup: Option<PickupSection>,
    #[serde(default)]
    retention: RetentionSection,
    #[serde(skip)]
    folder: PathBuf,
}

/// `[site]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Site {
    pub(crate) organization: String,
    pub(crate) contact: String,
    pub(crate) public_url: String,
    #[serde(default)]
    pub(crate) environment: Environment,
    #[serde(default = "tokyo")]
    pub(crate) time_zone: chrono_tz::Tz,
    #[serde(default)]
    fiscal_year_starts: Month,
    #[serde(default)]
    pub(crate) language: Language,
    #[serde(default = "actual_only")]
    pub(crate) prove_membership: Vec<Nature>,
    key_file: PathBuf,
}

/// `site.environment`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Environment {
    #[default]
    Production,
    Rehearsal,
}

/// `site.language`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Language {
    #[default]
    Ja,
    En,
}

/// `[database]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    url: Secret,
    replies_url: Option<Secret>,
}

/// `[web]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Web {
    pub(crate) listen: SocketAddr,
}

impl Default for Web {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 8080)) }
    }
}

/// `[relay]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Relay {
    url: Secret,
    #[serde(default)]
    fallback: Vec<Secret>,
    #[serde(default = "eight")]
    pub(crate) connections: u32,
    pub(crate) messages_per_connection: Option<u32>,
    #[serde(default)]
    pub(crate) rates: Vec<Rate>,
    #[serde(default)]
    per_domain: BTreeMap<String, DomainPace>,
    #[serde(default)]
    carriers: bool,
    #[serde(default = "ten_minutes")]
    pub(crate) dot_timeout: Span,
    #[serde(default = "one_minute")]
    pub(crate) step_timeout: Span,
}

/// A value of `relay.per_domain`: a rate, or more than that.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum DomainPace {
    Rate(Rate),
    Full(FullPace),
}

/// How a domain is written to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct FullPace {
    rate: Option<Rate>,
    at_once: Option<u32>,
    messages_per_connection: Option<u32>,
    ramp: Option<Span>,
}

/// `[broadcast]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Broadcast {
    pub(crate) from: String,
    #[serde(default = "daily_cap")]
    pub(crate) daily_cap: u64,
    #[serde(default = "chunk_size")]
    pub(crate) chunk_size: u32,
    #[serde(default = "one_minute")]
    pub(crate) chunk_budget: Span,
    #[serde(default = "one_minute")]
    pub(crate) retry_first: Span,
    #[serde(default = "one_day")]
    pub(crate) retry_for: Span,
    #[serde(default)]
    pub(crate) operators: Vec<String>,
    #[serde(default)]
    pub(crate) one_click_unsubscribe: bool,
    canary: Option<CanarySection>,
    #[serde(default)]
    unknown: Unknown,
    dkim: Option<DkimSection>,
}

/// `broadcast.canary`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct CanarySection {
    recipients: u64,
    wait: Option<Span>,
}

/// `broadcast.dkim`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DkimSection {
    selector: String,
    domain: String,
    key_file: PathBuf,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Unknown {
    #[default]
    Hold,
    Retry,
}

/// `[sink]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinkSection {
    #[serde(default = "sink_listen")]
    pub(crate) listen: SocketAddr,
    #[serde(default)]
    protocol: ProtocolWord,
    pub(crate) domain: String,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    suppress: Suppress,
}

/// `sink.suppress`
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Suppress {
    #[default]
    Ask,
    Automatic,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProtocolWord {
    #[default]
    Smtp,
    Lmtp,
}

/// `[pickup]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PickupSection {
    url: Secret,
}

/// `[retention]`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetentionSection {
    #[serde(default)]
    replies: Period,
    #[serde(default)]
    recipients: Period,
    #[serde(default)]
    left_members: Period,
    replies_url: Option<Secret>,
}

/// A length of time, or `off`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(try_from = "String")]
struct Period(Option<Span>);

impl TryFrom<String> for Period {
    type Error = SpanError;

    fn try_from(text: String) -> Result<Self, SpanError> {
        if text == "off" { Ok(Self(None)) } else { text.parse().map(|span| Self(Some(span))) }
    }
}

/// A value, or a file that holds it. Never shown.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Secret {
    Text(String),
    File { file: PathBuf },
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    fn read(&self, folder: &Path) -> Result<String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File { file } => {
                let path = folder.join(file);
                let text = std::fs::read_to_string(&path)
                    .with_context(|| format!("the secret file {} cannot be read", path.display()))?;
                Ok(text.trim().to_owned())
            }
        }
    }
}

/// A month of the year, from 1.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
struct Month(u32);

impl Default for Month {
    fn default() -> Self {
        Self(FiscalCalendar::JAPAN.first_month)
    }
}

impl TryFrom<u32> for Month {
    type Error = &'static str;

    fn try_from(number: u32) -> Result<Self, Self::Error> {
        if (1..=12).contains(&number) { Ok(Self(number)) } else { Err("a month is a number from 1 to 12") }
    }
}

fn tokyo() -> chrono_tz::Tz {
    chrono_tz::Asia::Tokyo
}
fn actual_only() -> Vec<Nature> {
    vec![Nature::Actual]
}
fn eight() -> u32 {
    8
}
fn ten_minutes() -> Span {
    Span::new(Duration::from_secs(600))
}
fn one_minute() -> Span {
    Span::new(Duration::from_secs(60))
}
fn one_day() -> Span {
    Span::new(Duration::from_secs(86_400))
}
fn daily_cap() -> u64 {
    3_000
}
fn chunk_size() -> u32 {
    200
}
fn sink_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 2525))
}

impl Config {
    /// Reads the file and the environment (`HANSHO_SECTION__KEY`).
    pub(crate) fn load(path: &Path) -> Result<Self> {
        ensure!(
            path.is_file(),
            "the configuration {} does not exist; name it with --config or $HANSHO_CONFIG, or make one with `hansho init`",
            path.display()
        );
        // Only names with a section are keys: HANSHO_CONFIG and HANSHO_TOKEN are not.
        let environment = Env::prefixed("HANSHO_").filter(|key| key.as_str().contains("__")).split("__");
        let mut config: Self = Figment::from(Toml::file_exact(path))
            .merge(environment)
            .extract()
            .with_context(|| format!("the configuration {} is not usable", path.display()))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        config.folder = std::path::absolute(folder)?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<()> {
        let local = |relay: &RelayUrl| {
            relay.host == "localhost"
                || relay.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        };
        let relays = self.relays()?;
        if self.site.environment == Environment::Rehearsal && !relays.iter().all(local) {
            bail!(
                "site.environment is \"rehearsal\", so relay.url may only name a capture relay on this machine; \
                 set it to smtp://127.0.0.1:PORT, or make this a production installation"
            );
        }
        // Here, because drivers repeat an unknown URL with its password.
        for (key, url) in [
            ("database.url", self.core_url()?),
            ("database.replies_url", self.replies_url()?),
            ("retention.replies_url", self.retention_url()?),
        ] {
            ensure!(
                ["sqlite:", "postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)),
                "{key}: the scheme is unknown; write sqlite://FILE or postgres://user:password@host/database"
            );
        }
        ensure!(
            self.site.public_url.starts_with("https://") || self.site.public_url.starts_with("http://"),
            "site.public_url starts with https:// (or http:// on a test machine)"
        );
        ensure!((1..=1_000).contains(&self.relay.connections), "relay.connections is from 1 to 1000");
        ensure!(
            self.relay.messages_per_connection != Some(0),
            "relay.messages_per_connection is 1 or more; leave it out where the relay has no such limit"
        );
        let nothing_at_all = |pace: &DomainPace| {
            matches!(
                pace,
                DomainPace::Full(
                    FullPace { at_once: Some(0), .. } | FullPace { messages_per_connection: Some(0), .. }
                )
            )
        };
        ensure!(
            !self.relay.per_domain.values().any(nothing_at_all),
            "relay.per_domain: at_once and messages_per_connection are 1 or more"
        );
        ensure!((1..=10_000).contains(&self.broadcast.chunk_size), "broadcast.chunk_size is from 1 to 10000");
        let from: SenderAddress = self
            .broadcast
            .from
            .parse()
            .context("broadcast.from is not an address like 訓練本部 <drill@example.jp>")?;
        // The key itself is read where mail is signed: nobody else needs it.
        if let Some(dkim) = &self.broadcast.dkim {
            ensure!(
                Dkim::speaks_for(&dkim.domain, from.address.domain()),
                "broadcast.dkim.domain has to be the domain of broadcast.from or one above it: receivers \
                 would not count another one's signature (DMARC)"
            );
        }
        ensure!(
            self.broadcast.canary.is_none_or(|canary| canary.recipients > 0),
            "broadcast.canary.recipients is 1 or more; leave broadcast.canary out to send to all at once"
        );
        ensure!(
            !self.broadcast.one_click_unsubscribe || self.site.public_url.starts_with("https://"),
            "broadcast.one_click_unsubscribe needs a site.public_url with https:// (RFC 8058)"
        );
        self.operators()?;
        self.check_retention()?;
        self.check_pickup()
    }

    fn check_retention(&self) -> Result<()> {
        let RetentionPeriods { replies, recipients, left_members } = self.retention_periods();
        for period in [replies, recipients, left_members].into_iter().flatten() {
            ensure!(
                period.get() >= RETENTION_MIN,
                "[retention]: {period} is less than 30d; write \"off\" to keep everything"
            );
        }
        Ok(())
    }

    fn check_pickup(&self) -> Result<()> {
        let Some(pickup) = self.pickup()? else { return Ok(()) };
        ensure!(
            self.sink_protocol() == sink::Protocol::Lmtp,
            "pickup hands replies to the sink by LMTP: set sink.protocol = \"lmtp\""
        );
        ensure!(
            self.site.environment != Environment::Rehearsal || pickup.mailbox.is_local(),
            "site.environment is \"rehearsal\", so pickup.url may only name a mailbox on this machine: \
             it would empty the one that real replies come to"
        );
        Ok(())
    }

    /// The core database, with its path resolved.
    pub(crate) fn core_url(&self) -> Result<String> {
        Ok(database_url_in(&self.database.url.read(&self.folder)?, &self.folder))
    }

    /// The reply database, with its path resolved.
    pub(crate) fn replies_url(&self) -> Result<String> {
        match &self.database.replies_url {
            Some(url) => Ok(database_url_in(&url.read(&self.folder)?, &self.folder)),
            None => Ok(replies_url_beside(&self.core_url()?)),
        }
    }

    /// The reply database as erasure and retention connect to it.
    pub(crate) fn retention_url(&self) -> Result<String> {
        match &self.retention.replies_url {
            Some(url) => Ok(database_url_in(&url.read(&self.folder)?, &self.folder)),
            None => self.replies_url(),
        }
    }

    /// When fiscal years begin.
    pub(crate) fn calendar(&self) -> FiscalCalendar {
        FiscalCalendar { zone: self.site.time_zone, first_month: self.site.fiscal_year_starts.0 }
    }

    /// `[retention]`.
    pub(crate) fn retention_periods(&self) -> RetentionPeriods {
        let RetentionSection { replies, recipients, left_members, .. } = &self.retention;
        RetentionPeriods { replies: replies.0, recipients: recipients.0, left_members: left_members.0 }
    }

    /// The relays in order of preference.
    pub(crate) fn relays(&self) -> Result<Vec<RelayUrl>> {
        let urls = std::iter::once(&self.relay.url).chain(&self.relay.fallback);
        urls.map(|url| Ok(url.read(&self.folder)?.parse()?)).collect()
    }

    /// The file with the token keys.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.folder.join(&self.site.key_file)
    }

    /// Windows of the relay and of domains, and what some domains are spared beyond that.
    pub(crate) fn limits(&self) -> (Limits, BTreeMap<String, Manners>) {
        let mut limits = Limits { relay: self.relay.rates.clone(), domains: BTreeMap::new() };
        let mut manners = BTreeMap::new();
        if self.relay.carriers {
            for (domain, rate, kind) in broadcaster::carriers() {
                limits.domains.insert(domain.to_owned(), rate);
                manners.insert(domain.to_owned(), kind);
            }
        }
        // What is written for a domain stands in place of the profile.
        for (domain, pace) in &self.relay.per_domain {
            let domain = domain.to_ascii_lowercase();
            let (rate, kind) = match pace {
                DomainPace::Rate(rate) => (Some(*rate), Manners::default()),
                DomainPace::Full(full) => (
                    full.rate,
                    Manners {
                        at_once: full.at_once,
                        messages_per_connection: full.messages_per_connection,
                        ramp: full.ramp.map(Span::get),
                    },
                ),
            };
            limits.domains.remove(&domain);
            limits.domains.extend(rate.map(|rate| (domain.clone(), rate)));
            manners.remove(&domain);
            if kind != Manners::default() {
                manners.insert(domain, kind);
            }
        }
        (limits, manners)
    }

    /// Limits of a release, and who looks first.
    pub(crate) fn release_policy(&self) -> ReleasePolicy {
        let plan = |canary: CanarySection| CanaryPlan {
            recipients: canary.recipients,
            wait: canary.wait.map(Span::get),
        };
        ReleasePolicy {
            daily_cap: self.broadcast.daily_cap,
            operators: self.broadcast.operators.clone(),
            canary: self.broadcast.canary.map(plan),
            spread_full_hour: self.relay.carriers,
        }
    }

    /// `broadcast.operators`.
    pub(crate) fn operators(&self) -> Result<Vec<EmailAddress>> {
        let addresses = self.broadcast.operators.iter().map(|operator| operator.parse());
        addresses
            .collect::<Result<_, _>>()
            .context("broadcast.operators holds something that is not one address")
    }

    /// `broadcast.dkim`, with its key read.
    pub(crate) fn dkim(&self) -> Result<Option<Dkim>> {
        let Some(section) = &self.broadcast.dkim else { return Ok(None) };
        let path = self.folder.join(&section.key_file);
        let pem = std::fs::read_to_string(&path)
            .with_context(|| format!("broadcast.dkim.key_file: {} cannot be read", path.display()))?;
        let key = Dkim::new(&section.selector, &section.domain, &pem)
            .with_context(|| format!("broadcast.dkim is not usable ({})", path.display()))?;
        Ok(Some(key))
    }

    /// The domain that notices come from.
    pub(crate) fn sender_domain(&self) -> Result<String> {
        let from: SenderAddress = self.broadcast.from.parse()?;
        Ok(from.address.domain().to_owned())
    }

    /// Selector and domain of `broadcast.dkim`.
    pub(crate) fn dkim_names(&self) -> Option<(&str, &str)> {
        self.broadcast.dkim.as_ref().map(|dkim| (dkim.selector.as_str(), dkim.domain.as_str()))
    }

    /// `broadcast.unknown`.
    pub(crate) fn unknown(&self) -> UnknownPolicy {
        match self.broadcast.unknown {
            Unknown::Hold => UnknownPolicy::Hold,
            Unknown::Retry => UnknownPolicy::Retry,
        }
    }

    /// `sink.suppress`.
    pub(crate) fn suppress_policy(&self) -> SuppressPolicy {
        match self.sink.suppress {
            Suppress::Ask => SuppressPolicy::Ask,
            Suppress::Automatic => SuppressPolicy::Automatic,
        }
    }

    /// `sink.certificate` and `sink.key`.
    ///
    /// # Errors
    /// One of them is missing.
    pub(crate) fn sink_tls(&self) -> Result<Option<TlsFiles>> {
        Ok(TlsFiles::configured(&self.folder, self.sink.certificate.clone(), self.sink.key.clone())?)
    }

    /// `[pickup]`, where there is one.
    pub(crate) fn pickup(&self) -> Result<Option<PickupSettings>> {
        let Some(section) = &self.pickup else { return Ok(None) };
        let mailbox: MailboxUrl = section.url.read(&self.folder)?.parse().context("pickup.url")?;
        Ok(Some(PickupSettings { mailbox, sink: self.sink.listen, domain: self.sink.domain.clone() }))
    }

    /// `sink.protocol`.
    pub(crate) fn sink_protocol(&self) -> sink::Protocol {
        match self.sink.protocol {
            ProtocolWord::Smtp => sink::Protocol::Smtp,
            ProtocolWord::Lmtp => sink::Protocol::Lmtp,
        }
    }
}
