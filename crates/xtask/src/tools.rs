//! What the tests need on the machine: looked for, and installed where we may.

use crate::{
    children::Children,
    postgres::{is_root, programs},
};
use anyhow::{Context, Result, bail};
use std::path::Path;
use tokio::process::Command;

struct Need {
    what: &'static str,
    package: &'static str,
    is_there: fn() -> bool,
}

const POSTGRES: Need =
    Need { what: "the PostgreSQL server programs", package: "postgresql", is_there: || programs().is_some() };

const POSTFIX: Need = Need {
    what: "Postfix, with smtp-source and smtp-sink",
    package: "postfix",
    is_there: || {
        ["postfix", "smtp-source", "smtp-sink"]
            .iter()
            .all(|program| Path::new("/usr/sbin").join(program).is_file())
    },
};

const NEEDS: [Need; 6] = [
    POSTGRES,
    POSTFIX,
    Need {
        what: "the IMAP server Dovecot",
        package: "dovecot-imapd",
        is_there: || Path::new("/usr/lib/dovecot/imap").is_file(),
    },
    Need { what: "the Chromium browser", package: "chromium", is_there: || is_on_path("chromium") },
    Need { what: "chromedriver", package: "chromium-driver", is_there: || is_on_path("chromedriver") },
    Need { what: "a font with Japanese glyphs", package: "fonts-noto-cjk", is_there: has_japanese_font },
];

/// Makes sure of everything that a full test run needs.
pub(crate) async fn ensure_all(children: &mut Children) -> Result<()> {
    ensure(&NEEDS, children).await?;
    let nextest = Command::new("cargo").args(["nextest", "--version"]).output().await;
    if nextest.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    eprintln!("installing cargo-nextest");
    let status = children.run(Command::new("cargo").args(["install", "--locked", "cargo-nextest"])).await?;
    if !status.success() {
        bail!("cargo-nextest is missing and could not be installed: cargo install --locked cargo-nextest");
    }
    Ok(())
}

/// Makes sure of PostgreSQL alone.
pub(crate) async fn ensure_postgres(children: &mut Children) -> Result<()> {
    ensure(&[POSTGRES], children).await
}

/// Makes sure of what the bench needs.
pub(crate) async fn ensure_bench(children: &mut Children) -> Result<()> {
    ensure(&[POSTGRES, POSTFIX], children).await
}

async fn ensure(needs: &[Need], children: &mut Children) -> Result<()> {
    let missing: Vec<&Need> = needs.iter().filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let things: Vec<&str> = missing.iter().map(|need| need.what).collect();
    let packages: Vec<&str> = missing.iter().map(|need| need.package).collect();
    if !is_root() || !is_on_path("apt-get") {
        bail!("missing: {}. On Debian: sudo apt-get install -y {}", things.join(", "), packages.join(" "));
    }
    eprintln!("installing {}", packages.join(" "));
    apt_get(&["update"], children).await?;
    apt_get(&[&["install", "-y"], packages.as_slice()].concat(), children).await?;
    match missing.iter().find(|need| !(need.is_there)()) {
        None => Ok(()),
        Some(need) => bail!("{} is still missing after installing {}", need.what, need.package),
    }
}

async fn apt_get(arguments: &[&str], children: &mut Children) -> Result<()> {
    let mut command = Command::new("apt-get");
    command.arg("-qq").args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    let status = children.run(&mut command).await.context("cannot run apt-get")?;
    if status.success() { Ok(()) } else { bail!("apt-get {} failed", arguments.join(" ")) }
}

fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

fn has_japanese_font() -> bool {
    let listed = std::process::Command::new("fc-list").arg(":lang=ja").output();
    listed.is_ok_and(|output| !output.stdout.is_empty())
        || Path::new("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc").is_file()
}
