//! The one-way self-probe: a reply to a notice that never was, put into the sink as a stranger
//! would, has to end there. It is marked as automatic, so that nobody has to read it.

use super::Findings;
use crate::installation::Installation;
use anyhow::{Context, Result, bail};
use domain::{BroadcastId, BroadcastState, MemberId, RecipientToken, ReplyId, TokenKind};
use replybox::ReplyFilter;
use sink::Protocol;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{sleep, timeout},
};

/// No broadcast and no member has this number.
const NOBODY: i64 = 0;
const STEP_MAX: Duration = Duration::from_secs(30);
/// Something that passed replies on would have begun by then.
const WATCHED: Duration = Duration::from_secs(3);

pub(super) async fn probe(installation: &Installation, findings: &mut Findings) -> Result<()> {
    let listen = installation.config.sink.listen;
    let Ok(Ok(stream)) = timeout(STEP_MAX, connect(listen)).await else {
        findings.warn(
            "sink",
            format!("nobody listens at {listen}, so whether replies end there was not tried"),
            "start `hansho serve` or hansho-sinkd, and run doctor again",
        );
        return Ok(());
    };
    let busy = is_sending(installation).await?;
    let (before, newest) = (installation.store.submissions().await?, newest_probe(installation).await?);
    if let Err(problem) = dialogue(installation, stream).await {
        let remedy = "do not send before this is clear; see the sink's log";
        findings.block("sink", format!("{problem:#}"), remedy);
        return Ok(());
    }
    if newest_probe(installation).await? == newest {
        findings.block(
            "sink",
            "it took a reply that is not in this installation's reply database",
            "another installation listens there: check sink.listen and database.replies_url",
        );
        return Ok(());
    }
    sleep(WATCHED).await;
    let sent = installation.store.submissions().await?.saturating_sub(before);
    if busy || is_sending(installation).await? {
        findings.warn(
            "sink",
            "a reply ended there; a broadcast is being sent, so copies could not be told from its mails",
            "run doctor again when nothing is being sent",
        );
    } else if sent > 0 {
        findings.block(
            "sink",
            format!("{sent} mails left within {} seconds of a reply to nobody", WATCHED.as_secs()),
            "hansho broadcast stop --all, and find out which: hansho audit export",
        );
    } else {
        findings
            .good("sink", "a reply ended there, nothing was sent to anybody, other addresses are refused");
    }
    Ok(())
}

async fn is_sending(installation: &Installation) -> Result<bool> {
    Ok(!installation.store.broadcasts_in(BroadcastState::Sending).await?.is_empty())
}

/// The newest reply to the notice that never was.
async fn newest_probe(installation: &Installation) -> Result<Option<ReplyId>> {
    let filter = ReplyFilter { broadcast: Some(BroadcastId::new(NOBODY)), class: None };
    Ok(installation.replybox.page(filter, None, 1).await?.first().map(|reply| reply.id))
}

#[expect(clippy::disallowed_methods, reason = "our own sink, as strangers reach it")]
async fn connect(sink: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect(sink).await
}

/// What has to be refused is, and the reply is taken.
async fn dialogue(installation: &Installation, stream: TcpStream) -> Result<()> {
    let domain = &installation.config.sink.domain;
    let nobody = RecipientToken {
        kind: TokenKind::Reply,
        broadcast: BroadcastId::new(NOBODY),
        member: MemberId::new(NOBODY),
    };
    let reply_to = format!("{}@{domain}", installation.keyring.write(nobody));
    let hello = match installation.config.sink_protocol() {
        Protocol::Smtp => "EHLO doctor.invalid",
        Protocol::Lmtp => "LHLO doctor.invalid",
    };
    let mut peer = Peer(BufReader::new(stream));
    peer.expect("2", "its greeting").await?;
    for (command, code) in [
        (hello, "2"),
        ("MAIL FROM:<doctor@invalid>", "2"),
        ("RCPT TO:<everybody@example.invalid>", "5"),
        (&format!("RCPT TO:<everybody@{domain}>"), "5"),
        (&format!("RCPT TO:<{reply_to}>"), "2"),
        ("DATA", "3"),
        (&mail(&reply_to), "2"),
        ("QUIT", "2"),
    ] {
        peer.says(command).await?;
        peer.expect(code, command.lines().next().unwrap_or_default()).await?;
    }
    Ok(())
}

/// As from somebody who answers to all.
fn mail(reply_to: &str) -> String {
    format!(
        "From: <doctor@invalid>\r\nTo: <{reply_to}>, <everybody@example.invalid>\r\n\
         Subject: hansho doctor: does a reply end here?\r\nAuto-Submitted: auto-generated\r\n\r\n\
         Written by `hansho doctor`. Nobody has to read this.\r\n."
    )
}

struct Peer(BufReader<TcpStream>);

impl Peer {
    async fn says(&mut self, text: &str) -> Result<()> {
        let line = format!("{text}\r\n");
        timeout(STEP_MAX, self.0.get_mut().write_all(line.as_bytes()))
            .await
            .context("the sink does not listen")??;
        Ok(())
    }

    /// The answer to `what` begins with `code`.
    async fn expect(&mut self, code: &str, what: &str) -> Result<()> {
        loop {
            let mut line = String::new();
            let read = timeout(STEP_MAX, self.0.read_line(&mut line)).await;
            if read.context("the sink does not answer")?? == 0 {
                bail!("the sink hung up at {what}");
            }
            if !line.starts_with(code) {
                bail!("to {what} the sink said {:?}", line.trim_end());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(());
            }
        }
    }
}
