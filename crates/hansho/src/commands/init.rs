//! `hansho init`: a commented configuration, keys, databases and the engineer's first account.

use super::user::add_account;
use crate::{cli::InitArgs, config::Config, entropy, installation::Installation, output::Format};
use anyhow::{Context, Result, ensure};
use domain::{Actor, EmailAddress, Role, write_key_file};
use serde::Serialize;
use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

#[derive(Serialize)]
struct Answer {
    config: PathBuf,
    email: String,
    password: String,
}

pub(super) async fn run(args: &InitArgs, format: Format) -> Result<()> {
    let admin = EmailAddress::parse(&args.admin).context("--admin is not an e-mail address")?;
    let config_path = args.dir.join("hansho.toml");
    ensure!(!config_path.exists(), "{} exists already; nothing was changed", config_path.display());
    fs::create_dir_all(&args.dir)
        .with_context(|| format!("the folder {} cannot be made", args.dir.display()))?;
    write_private(&args.dir.join("hansho.key"), &write_key_file(1, &entropy::secret()))?;
    write_private(&config_path, &template(&args.organization, &admin))?;
    let installation = Installation::open_any_schema(Config::load(&config_path)?).await?;
    installation.migrate().await?;
    let account =
        add_account(&installation, Actor::LocalEngineer, &admin.reveal(), None, Role::Engineer).await?;
    let answer = Answer { config: config_path, email: account.email, password: account.password };
    format.print(&answer, |answer| {
        format!(
            "made {config}\nengineer: {email}\none-time password: {password}\n\nnext: check [relay] and \
             [sink] in {config}, add people with `hansho user add`, import a roster, then run `hansho serve`",
            config = answer.config.display(),
            email = answer.email,
            password = answer.password,
        )
    })
}

/// Writes a new file that holds, or names, secrets.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut file = new_private(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all().with_context(|| format!("{} cannot be written to the end", path.display()))
}

/// Only the owner and their group may read it.
pub(crate) fn new_private(path: &Path) -> Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o640)
        .open(path)
        .with_context(|| format!("{} cannot be written", path.display()))
}

fn template(organization: &str, admin: &EmailAddress) -> String {
    let domain = admin.domain();
    format!(
        r#"# hansho (半鐘). Every key can be set by environment: HANSHO_RELAY__URL=…
# Relative paths are relative to this file. Secrets may be given as {{ file = "…" }}.

[site]
organization = {organization}
contact = {contact}                 # stands under every notice
public_url = "http://127.0.0.1:8080" # base of every link: set the https:// address members reach
environment = "production"           # "rehearsal" allows a capture relay on this machine only
time_zone = "Asia/Tokyo"
# fiscal_year_starts = 4             # the month; audiences hold members of the present fiscal year
language = "ja"
# prove_membership = ["actual"]      # whose answer pages first ask for the end of the member's number; [] = none
key_file = "hansho.key"              # signs links and reply addresses; keep a copy, never change the first line's meaning

[database]
url = "sqlite://hansho.db"           # or postgres://user:password@host/database
# replies_url = "sqlite://replies.db"

[web]
listen = "127.0.0.1:8080"

[relay]
url = "smtp://127.0.0.1:25"          # smtp+starttls://user:password@host:587, smtps://user:password@host:465
# fallback = ["smtp+starttls://user:password@other:587"]  # tried in this order while the one above does not work
connections = 8
rates = ["10/s"]                     # all hold at once, e.g. ["10/s", "1500/h"]; [] = none
# messages_per_connection = 100      # where the relay wants a new connection after so many
# carriers = true                    # be gentle to docomo, au and SoftBank: 5/s each, two at once, begun slowly
# per_domain = {{ "docomo.ne.jp" = "2/s", "au.com" = {{ rate = "5/s", at_once = 2, ramp = "10m" }} }}
dot_timeout = "10m"

[broadcast]
from = {from}
daily_cap = 3000                     # recipients in 24 hours; above it a second approver signs
chunk_size = 200
chunk_budget = "60s"
retry_first = "60s"
retry_for = "24h"
operators = []                       # who gets alerts besides the approvers, and a first copy of every notice
# canary = {{ recipients = 50, wait = "10m" }}  # a first batch; without wait a person says "continue"
# one_click_unsubscribe = true       # offer the button of RFC 8058; a wish opens a request, nobody is erased by it
# dkim = {{ selector = "hansho", domain = "example.jp", key_file = "dkim.pem" }}  # where the relay does not sign
unknown = "hold"                     # a person settles lost outcomes; "retry" sends again with the same Message-ID

[sink]
listen = "127.0.0.1:2525"            # where replies come in; the MX of the domain below, or your mail server, delivers here
protocol = "smtp"                    # or "lmtp"
domain = {sink_domain}
# certificate = "fullchain.pem"      # with `key`: offers STARTTLS; both are read again when they are renewed
# key = "privkey.pem"
# suppress = "automatic"             # dead addresses and complaints: send nothing more without asking a person

[retention]                          # at least 30d, or "off": kept for ever
replies = "400d"                     # mails that came back
recipients = "1100d"                 # addresses and names in the ledger, from a broadcast's end; its counts stay
left_members = "400d"                # withdrawn, or no member for two years: erased, 14 days after notice on the dashboard
# replies_url = "postgres://hansho_retention:password@host/database"  # a role that may only delete (deploy/roles.sql)
# [pickup]                           # where no MX can point here: a mailbox that takes every address of sink.domain
# url = "imaps://user:password@imap.example.jp"  # @ in the user as %40; needs sink.protocol = "lmtp"
"#,
        organization = toml_string(organization),
        contact = toml_string(&admin.reveal()),
        from = toml_string(&format!("訓練本部 <drill@{domain}>")),
        sink_domain = toml_string(&format!("reply.{domain}")),
    )
}

fn toml_string(text: &str) -> String {
    let escaped: String = text
        .chars()
        .filter(|c| !c.is_control())
        .flat_map(|c| match c {
            '"' => vec!['\\', '"'],
            '\\' => vec!['\\', '\\'],
            other => vec![other],
        })
        .collect();
    format!("\"{escaped}\"")
}
