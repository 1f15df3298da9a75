//! Odd and broken mails, each handed to a real sink: stored to the octet, soon, and without a panic.

use crate::intake::{LOG, Post, Sinkd, with_a_notice};
use anyhow::{Context, Result, bail};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// As long as one may take from MAIL to the 250 that says it is durable.
const STORED_WITHIN: Duration = Duration::from_millis(50);

/// Stores every mail of the folder and prints what came of it; fails where one was not stored as
/// it came.
pub(super) fn run(folder: &Path, hansho: &Path, sinkd: &Path) -> Result<()> {
    let listed = fs::read_dir(folder).with_context(|| format!("{} cannot be read", folder.display()))?;
    let mut mails: Vec<PathBuf> = listed.map(|file| Ok(file?.path())).collect::<Result<_>>()?;
    mails.sort();
    let (installation, reply_to) = with_a_notice(hansho)?;
    let mut sink = Sinkd::start(&installation, sinkd)?;
    let (mut took, mut wrong) = (Vec::new(), Vec::new());
    for (index, path) in mails.iter().enumerate() {
        let mut mail = fs::read(path)?;
        if !mail.ends_with(b"\r\n") {
            mail.extend_from_slice(b"\r\n");
        }
        let mut post = Post::connect(sink.address)?;
        match post.deliver("m000001@example.jp", &reply_to, &on_the_wire(&mail)) {
            Ok(time) => took.push((time, path)),
            Err(refusal) => {
                wrong.push(format!("{}: {refusal}", path.display()));
                continue;
            }
        }
        let id = (index + 1 - wrong.len()).to_string();
        let stored = installation.run(&["reply", "show", &id], None)?;
        if stored["sha256"] != HEXLOWER.encode(&Sha256::digest(&mail)) {
            wrong.push(format!("{}: stored otherwise than it came", path.display()));
        }
    }
    sink.end()?;
    let log = fs::read_to_string(installation.path(LOG))?;
    let unread = log.matches("could not be read").count() + log.matches("panicked").count();
    took.sort_unstable();
    let late: Vec<_> = took.iter().filter(|(time, _)| *time > STORED_WITHIN).collect();
    println!(
        "robustness: {} of {} stored to the octet; the slowest took {} ms, {} of them more than {} ms; panics: {unread}",
        took.len(),
        mails.len(),
        took.last().map_or(0, |(time, _)| time.as_millis()),
        late.len(),
        STORED_WITHIN.as_millis(),
    );
    for (time, path) in late {
        println!("{} ms: {}", time.as_millis(), path.display());
    }
    if !wrong.is_empty() || unread > 0 {
        bail!("not as they came:\n{}\n{log}", wrong.join("\n"));
    }
    Ok(())
}

/// With a dot before each line that begins with one, and the dot at the end (RFC 5321 §4.5.2).
fn on_the_wire(mail: &[u8]) -> Vec<u8> {
    let mut wire = Vec::with_capacity(mail.len() + 8);
    let mut line_begins = true;
    for (index, octet) in mail.iter().enumerate() {
        if line_begins && *octet == b'.' {
            wire.push(b'.');
        }
        wire.push(*octet);
        line_begins = *octet == b'\n' && index > 0 && mail[index - 1] == b'\r';
    }
    wire.extend_from_slice(b".\r\n");
    wire
}
