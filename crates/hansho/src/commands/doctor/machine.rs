//! The machine: rights of secret files, room on the disk, open files, the clock.

use super::Findings;
use crate::{config::Config, installation::Installation};
use anyhow::Result;
use domain::sqlite_path;
use std::{fs, os::unix::fs::PermissionsExt, path::Path};
use store::Engine;

/// A broadcast to 100,000 writes less than a tenth of this.
const ROOM_OCTETS_MIN: u64 = 1 << 30;
/// Strangers at the sink, pages and their databases, beside the connections to the relay.
const FILES_BESIDE: u64 = 1_000;
/// A lease and an audit entry can live with this; people comparing logs cannot with more.
const CLOCK_DIFFERENCE_MS_MAX: i64 = 1_000;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    keys(&config.key_file(), findings);
    // A URL that cannot be read is said where the database is opened.
    let url = config.core_url().unwrap_or_default();
    if let Some((path, _)) = sqlite_path(&url) {
        room(Path::new(path), findings);
    }
    files(u64::from(config.relay.connections), findings);
}

fn keys(path: &Path, findings: &mut Findings) {
    match fs::metadata(path) {
        Ok(file) if file.permissions().mode() & 0o007 == 0 => {
            findings.good("keys", "the key file is there, and not for everybody");
        }
        Ok(_) => findings.warn(
            "keys",
            "everybody on this machine can read the key file, and with it make reply addresses and links",
            format!("chmod 640 {}", path.display()),
        ),
        Err(problem) => findings.block(
            "keys",
            format!("{}: {problem}", path.display()),
            "bring it back from the backup: without it, links and reply addresses already sent are unknown",
        ),
    }
}

fn room(database: &Path, findings: &mut Findings) {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match rustix::fs::statvfs(folder) {
        Ok(disk) => {
            let free = disk.f_bavail * disk.f_frsize;
            let text = format!("{} MiB free where the database is", free >> 20);
            if free < ROOM_OCTETS_MIN {
                findings.warn("disk", text, "make room before the next broadcast: a full disk holds it up");
            } else {
                findings.good("disk", text);
            }
        }
        Err(problem) => findings.warn("disk", problem.to_string(), "check the folder of database.url"),
    }
}

fn files(connections: u64, findings: &mut Findings) {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let Some(soft) = line.and_then(|line| line.split_whitespace().next()) else { return };
    let wanted = connections + FILES_BESIDE;
    // "unlimited" is no number and needs no advice.
    match soft.parse::<u64>() {
        Ok(soft) if soft < wanted => findings.warn(
            "limits",
            format!("this shell may open {soft} files, and {wanted} can be needed"),
            "set LimitNOFILE=8192 in the service's unit, as deploy/hansho.service does",
        ),
        _ => findings.good("limits", format!("{soft} files may be open, {wanted} can be needed")),
    }
}

pub(super) async fn check_clock(installation: &Installation, findings: &mut Findings) -> Result<()> {
    if installation.store.engine() == Engine::Sqlite {
        findings.good(
            "clock",
            "the database goes by this machine's clock; keep it right with chrony or timesyncd",
        );
        return Ok(());
    }
    let before = installation.clock.now().millis();
    let database = installation.store.now().await?.millis();
    let after = installation.clock.now().millis();
    let difference = (database - after).max(before - database).max(0);
    if difference > CLOCK_DIFFERENCE_MS_MAX {
        findings.warn(
            "clock",
            format!("this machine and the database are {difference} ms apart"),
            "run chrony or timesyncd on both",
        );
    } else {
        findings.good("clock", "this machine and the database agree");
    }
    Ok(())
}
