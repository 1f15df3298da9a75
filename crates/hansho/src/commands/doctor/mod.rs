//! `hansho doctor`: whatever would stand in the way tonight, found by daylight. It changes
//! nothing; the one mail it sends goes to our own sink, to see that it ends there.

mod dns;
mod machine;
mod one_way;
mod people;

use crate::{
    config::{Config, Environment},
    installation::Installation,
    output::Format,
};
use anyhow::Result;
use notice::preflight::Level;
use serde::Serialize;
use std::{fmt::Write as _, net::SocketAddr, path::Path, process::ExitCode};

/// What one check found.
#[derive(Debug, Serialize)]
struct Finding {
    /// Stable name of the check.
    rule: &'static str,
    level: Level,
    text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// All that was found; `ok` where nothing stands in the way.
#[derive(Debug, Serialize)]
struct Findings {
    ok: bool,
    findings: Vec<Finding>,
}

impl Findings {
    fn good(&mut self, rule: &'static str, text: impl Into<String>) {
        self.findings.push(Finding { rule, level: Level::Info, text: text.into(), remedy: None });
    }

    fn warn(&mut self, rule: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        let (text, remedy) = (text.into(), Some(remedy.into()));
        self.findings.push(Finding { rule, level: Level::Warning, text, remedy });
    }

    fn block(&mut self, rule: &'static str, text: impl Into<String>, remedy: impl Into<String>) {
        self.ok = false;
        let (text, remedy) = (text.into(), Some(remedy.into()));
        self.findings.push(Finding { rule, level: Level::Block, text, remedy });
    }

    fn unless_done(&mut self, rule: &'static str, done: Result<()>) {
        if let Err(problem) = done {
            self.block(
                rule,
                format!("could not be looked at: {problem:#}"),
                "mend this, and run doctor again",
            );
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for Finding { rule, level, text: said, remedy } in &self.findings {
            let mark = match level {
                Level::Info => "ok  ",
                Level::Warning => "!   ",
                Level::Block => "STOP",
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "{mark} {rule:9} {said}");
            if let Some(remedy) = remedy {
                let _ = writeln!(text, "{:14} -> {remedy}", "");
            }
        }
        let count = |level| self.findings.iter().filter(|finding| finding.level == level).count();
        let (blocks, warnings) = (count(Level::Block), count(Level::Warning));
        text + &format!("{blocks} in the way, {warnings} to look at")
    }
}

/// Exit code 1 where something stands in the way.
pub(super) async fn run(path: &Path, dns: Option<SocketAddr>, format: Format) -> Result<ExitCode> {
    let config = Config::load(path)?;
    let mut findings = Findings { ok: true, findings: Vec::new() };
    let rehearsal = config.site.environment == Environment::Rehearsal;
    findings.good(
        "config",
        format!("{} is usable{}", path.display(), if rehearsal { ", a rehearsal" } else { "" }),
    );
    machine::check(&config, &mut findings);
    if rehearsal && dns.is_none() {
        findings.good("dns", "not looked at: nothing leaves a rehearsal");
    } else {
        dns::check(&config, dns, &mut findings).await;
    }
    pickup(&config, &mut findings).await;
    match Installation::open(path).await {
        Ok(installation) => on_installation(&installation, &mut findings).await,
        Err(problem) => findings.block(
            "database",
            format!("{problem:#}"),
            "mend this first; relay, people, capacity and the sink were not looked at",
        ),
    }
    format.print(&findings, Findings::text)?;
    Ok(if findings.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn on_installation(installation: &Installation, findings: &mut Findings) {
    findings.good("database", "both databases answer, with the schema of this program");
    // A check that cannot be made is a finding, and the next one is made all the same.
    let clock = machine::check_clock(installation, findings).await;
    findings.unless_done("clock", clock);
    let relay = relays(installation, findings).await;
    findings.unless_done("relay", relay);
    let people = people::check(installation, findings).await;
    findings.unless_done("people", people);
    let sink = one_way::probe(installation, findings).await;
    findings.unless_done("sink", sink);
}

async fn relays(installation: &Installation, findings: &mut Findings) -> Result<()> {
    for (relay, greeted) in broadcaster::greet(&installation.broadcaster_settings()?).await {
        match greeted {
            Ok(()) if relay.login.is_some() => findings.good("relay", format!("{relay} lets us in")),
            Ok(()) => findings.good("relay", format!("{relay} gives a session, without a login")),
            Err(problem) => findings.block(
                "relay",
                format!("{relay}: {problem}"),
                "check relay.url (and relay.fallback), the password and the firewall",
            ),
        }
    }
    Ok(())
}

async fn pickup(config: &Config, findings: &mut Findings) {
    let Ok(Some(settings)) = config.pickup() else { return };
    match pickup::look(&settings.mailbox).await {
        Ok(0) => findings.good("pickup", format!("{} lets us in; no mail waits", settings.mailbox)),
        Ok(waiting) => findings.good("pickup", format!("{} lets us in; {waiting} wait", settings.mailbox)),
        Err(problem) => findings.block(
            "pickup",
            format!("{}: {problem}", settings.mailbox),
            "check pickup.url: server, user, password, folder",
        ),
    }
}
