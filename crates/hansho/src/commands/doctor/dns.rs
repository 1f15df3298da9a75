//! What receivers will look up about us. Missing records do not stop anything: they decide whether
//! the mail arrives.

use super::Findings;
use crate::config::Config;
use anyhow::{Context, Result};
use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::runtime::TokioRuntimeProvider,
    proto::rr::{RData, RecordType},
};
use std::{net::SocketAddr, time::Duration};

const ANSWER_MAX: Duration = Duration::from_secs(3);

/// Asks the system's name servers, or the one at `server`.
pub(super) async fn check(config: &Config, server: Option<SocketAddr>, findings: &mut Findings) {
    let (names, domain) = match (resolver(server), config.sender_domain()) {
        (Ok(resolver), Ok(domain)) => (Names(resolver), domain),
        (Err(problem), _) | (_, Err(problem)) => return unanswered(&problem, findings),
    };
    // One record that nobody answers for does not keep the others from being looked up.
    for looked in [
        policy(&names, &domain, findings).await,
        signature(&names, config, findings).await,
        way_in(&names, &config.sink.domain, findings).await,
    ] {
        if let Err(problem) = looked {
            unanswered(&problem, findings);
        }
    }
}

fn unanswered(problem: &anyhow::Error, findings: &mut Findings) {
    findings.warn(
        "dns",
        format!("a name server does not answer ({problem:#})"),
        "check /etc/resolv.conf, or ask another one: hansho doctor --dns ADDRESS:53",
    );
}

fn resolver(server: Option<SocketAddr>) -> Result<TokioResolver> {
    let mut builder = match server {
        None => TokioResolver::builder_tokio()?,
        Some(server) => {
            let at_port = |mut connection: ConnectionConfig| {
                connection.port = server.port();
                connection
            };
            let ways = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(at_port).to_vec();
            let only =
                ResolverConfig::from_name_servers(vec![NameServerConfig::new(server.ip(), true, ways)]);
            TokioResolver::builder_with_config(only, TokioRuntimeProvider::default())
        }
    };
    builder.options_mut().timeout = ANSWER_MAX;
    builder.options_mut().attempts = 1;
    Ok(builder.build()?)
}

struct Names(TokioResolver);

impl Names {
    /// What is recorded under `name`; nothing where there is no such name.
    async fn find(&self, name: &str, kind: RecordType) -> Result<Vec<RData>> {
        match self.0.lookup(format!("{}.", name.trim_end_matches('.')), kind).await {
            Ok(found) => Ok(found.answers().iter().map(|record| record.data.clone()).collect()),
            Err(error) if error.is_no_records_found() || error.is_nx_domain() => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("{name} {kind}")),
        }
    }

    /// The text record under `name` that begins with `tag`.
    async fn text(&self, name: &str, tag: &str) -> Result<Option<String>> {
        let texts = self.find(name, RecordType::TXT).await?.into_iter().filter_map(|data| match data {
            RData::TXT(text) => Some(text.txt_data.concat()),
            _ => None,
        });
        let mut texts = texts.map(|text| String::from_utf8_lossy(&text).into_owned());
        Ok(texts.find(|text| text.starts_with(tag)))
    }
}

/// SPF and DMARC of the domain that notices come from.
async fn policy(names: &Names, domain: &str, findings: &mut Findings) -> Result<()> {
    match names.text(domain, "v=spf1").await? {
        Some(spf) if spf.contains("+all") => findings.warn(
            "spf",
            format!("{domain}: {spf} lets anybody send in your name"),
            "end it with -all, after what your relay's operator says",
        ),
        Some(spf) => findings.good("spf", format!("{domain}: {spf}")),
        None => findings.warn(
            "spf",
            format!("{domain} has no SPF record"),
            format!("{domain} TXT \"v=spf1 include:… -all\", as your relay's operator says"),
        ),
    }
    match dmarc(names, domain).await? {
        Some(dmarc) => findings.good("dmarc", dmarc),
        None => findings.warn(
            "dmarc",
            format!("{domain} has no DMARC record; large mailbox providers ask for one"),
            format!("_dmarc.{domain} TXT \"v=DMARC1; p=quarantine; rua=mailto:…\""),
        ),
    }
    Ok(())
}

/// Of the domain, or of one above it, which covers it (RFC 7489 §6.6.3).
async fn dmarc(names: &Names, domain: &str) -> Result<Option<String>> {
    let mut domain = domain;
    while domain.contains('.') {
        if let Some(dmarc) = names.text(&format!("_dmarc.{domain}"), "v=DMARC1").await? {
            return Ok(Some(dmarc));
        }
        domain = domain.split_once('.').map_or("", |(_, above)| above);
    }
    Ok(None)
}

/// The key of the signature that hansho makes itself.
async fn signature(names: &Names, config: &Config, findings: &mut Findings) -> Result<()> {
    let Some((selector, domain)) = config.dkim_names() else {
        findings.good("dkim", "the relay signs, as far as hansho knows (no broadcast.dkim)");
        return Ok(());
    };
    let name = format!("{selector}._domainkey.{domain}");
    match names.text(&name, "").await? {
        // An empty one is a key that was revoked (RFC 6376 §3.6.1).
        Some(key)
            if key.split(';').any(|tag| tag.trim().strip_prefix("p=").is_some_and(|key| !key.is_empty())) =>
        {
            findings.good("dkim", format!("{name} holds a key"));
        }
        _ => findings.warn(
            "dkim",
            format!("{name} holds no key, and notices are signed with it"),
            format!("{name} TXT \"v=DKIM1; k=rsa; p=…\": see the operations guide"),
        ),
    }
    Ok(())
}

/// Where replies come in, and whether that machine has a name.
async fn way_in(names: &Names, domain: &str, findings: &mut Findings) -> Result<()> {
    let exchangers = names.find(domain, RecordType::MX).await?;
    let exchangers: Vec<String> = exchangers
        .into_iter()
        .filter_map(|data| match data {
            // A dot alone says that the domain takes no mail (RFC 7505).
            RData::MX(mx) => Some(mx.exchange.to_utf8()).filter(|host| host != "."),
            _ => None,
        })
        .collect();
    if exchangers.is_empty() {
        findings.warn(
            "mx",
            format!("{domain} has no MX record: replies and bounces cannot come in"),
            format!("{domain} MX 10, the machine with the sink (or your provider's, with [pickup])"),
        );
    }
    for host in exchangers {
        let mut addresses = names.find(&host, RecordType::A).await?;
        addresses.extend(names.find(&host, RecordType::AAAA).await?);
        let addresses: Vec<_> = addresses.into_iter().filter_map(|data| data.ip_addr()).collect();
        if addresses.is_empty() {
            findings.warn(
                "mx",
                format!("{domain} is received by {host}, which has no address"),
                format!("{host} A, the address of the machine with the sink"),
            );
        } else {
            findings.good("mx", format!("{domain} is received by {host}"));
        }
        for address in addresses {
            let name = hickory_resolver::proto::rr::Name::from(address).to_utf8();
            let named = names.find(&name, RecordType::PTR).await?;
            // An alias may stand before it (RFC 2317).
            match named.iter().find(|data| matches!(data, RData::PTR(_))) {
                Some(name) => findings.good("ptr", format!("{address} is {name}")),
                None => findings.warn(
                    "ptr",
                    format!("{address} ({host}) has no name"),
                    "ask whoever rents you the machine to set its reverse name (PTR)",
                ),
            }
        }
    }
    if names.text(domain, "v=spf1").await?.is_none() {
        findings.warn(
            "spf",
            format!("{domain} has no SPF record; it is the envelope's sender, and receivers check it"),
            format!("{domain} TXT \"v=spf1 include:… -all\", the relay again"),
        );
    }
    Ok(())
}
