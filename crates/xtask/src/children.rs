//! Programs that this one runs and waits for. An interrupt ends the child first and then comes
//! back as an error, so that guards further up still clean up.

use anyhow::{Context, Result, anyhow, bail};
use std::{
    io::Write,
    process::{ExitStatus, Stdio},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    signal::unix::{Signal, SignalKind, signal},
};

/// A test runner asked to end gives its own tests ten seconds; a little more than that.
const ENDING_MAX: Duration = Duration::from_secs(15);

/// Which of a child's streams to keep; it is shown as well.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kept {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Runs one child at a time and listens for Ctrl-C and SIGTERM meanwhile.
pub(crate) struct Children {
    interrupt: Signal,
    terminate: Signal,
}

impl Children {
    /// Starts to listen; from here on a signal no longer ends this process at once.
    pub(crate) fn new() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { interrupt: listen(SignalKind::interrupt())?, terminate: listen(SignalKind::terminate())? })
    }

    /// Runs a program to its end.
    pub(crate) async fn run(&mut self, command: &mut Command) -> Result<ExitStatus> {
        let mut child = spawn(command)?;
        self.wait(&mut child).await
    }

    /// Runs a program to its end, shows what it says and returns the text of one stream.
    pub(crate) async fn run_keeping(
        &mut self,
        command: &mut Command,
        kept: Kept,
    ) -> Result<(ExitStatus, String)> {
        match kept {
            Kept::Stdout => command.stdout(Stdio::piped()),
            Kept::Stderr => command.stderr(Stdio::piped()),
        };
        let mut child = spawn(command)?;
        let copied = match kept {
            Kept::Stdout => {
                let stream = child.stdout.take().context("the child has no standard output")?;
                tokio::spawn(copy(stream, std::io::stdout()))
            }
            Kept::Stderr => {
                let stream = child.stderr.take().context("the child has no standard error")?;
                tokio::spawn(copy(stream, std::io::stderr()))
            }
        };
        let status = self.wait(&mut child).await?;
        Ok((status, copied.await.context("copying a child's output broke off")??))
    }

    async fn wait(&mut self, child: &mut Child) -> Result<ExitStatus> {
        tokio::select! {
            status = child.wait() => return status.context("cannot wait for a child"),
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
        if let Some(id) = child.id() {
            send_signal(id, "TERM")?;
            // On timeout the child is dropped by the caller, which kills it.
            let _ended = tokio::time::timeout(ENDING_MAX, child.wait()).await;
        }
        bail!("interrupted")
    }
}

/// Sends a signal to one process, by its id.
pub(crate) fn send_signal(process: u32, name: &str) -> Result<()> {
    let status = std::process::Command::new("kill")
        .args(["-s", name, &process.to_string()])
        .status()
        .context("cannot run kill")?;
    if status.success() { Ok(()) } else { Err(anyhow!("cannot send SIG{name} to process {process}")) }
}

fn spawn(command: &mut Command) -> Result<Child> {
    // What cargo told this program of its own package. Passed on by a cargo that this one runs, it
    // makes build scripts build anew what is built already, and everything that stands on it.
    for (name, _) in std::env::vars_os() {
        let of_ours = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        if name.to_str().is_some_and(of_ours) {
            command.env_remove(name);
        }
    }
    command
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot start {}", command.as_std().get_program().to_string_lossy()))
}

async fn copy(from: impl AsyncRead + Unpin, mut to: impl Write) -> Result<String> {
    let mut from = BufReader::new(from);
    let (mut all, mut line) = (String::new(), Vec::new());
    while from.read_until(b'\n', &mut line).await? > 0 {
        to.write_all(&line)?;
        to.flush()?;
        all.push_str(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(all)
}
