//! One process of the product: its output kept, its end certain.

use crate::wait::LOOK_INTERVAL;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};
use tempfile::NamedTempFile;

/// A running or ended process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    stdout: NamedTempFile,
    stderr: NamedTempFile,
}

impl Process {
    /// Starts `executable`. Of the environment only what the product does not read is passed on,
    /// then `environment`.
    ///
    /// # Panics
    /// Where the executable cannot be started.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "process-level tests start the product's own executables")]
    pub fn start(executable: &Path, arguments: &[String], environment: &[(String, String)]) -> Self {
        let name = format!("hansho {}", arguments.join(" "));
        let (stdout, stderr) = (output_file(), output_file());
        let mut command = Command::new(executable);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("HANSHO_") {
                command.env_remove(variable);
            }
        }
        let child = command
            .args(arguments)
            .env("RUST_LOG", "info")
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(stdout.reopen().expect("an output file can be opened again"))
            .stderr(stderr.reopen().expect("an output file can be opened again"))
            .spawn()
            .unwrap_or_else(|problem| panic!("{} cannot be started: {problem}", executable.display()));
        Self { child, name, stdout, stderr }
    }

    /// The operating system's number of it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    pub(crate) fn stderr_path(&self) -> PathBuf {
        self.stderr.path().to_owned()
    }

    /// Its exit status, once it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked for its status")
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// Where it does not within `limit`; then it is killed.
    pub async fn end(&mut self, limit: Duration) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(
                began.elapsed() < limit,
                "`{}` did not end within {limit:?}: {}",
                self.name,
                self.stderr()
            );
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    }

    /// Ends it as a power failure would: no handler runs, nothing is flushed.
    pub fn kill_9(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a killed child ends");
    }

    /// Sends it a signal such as `TERM`, `STOP` or `CONT`.
    ///
    /// # Panics
    /// Where it has ended already.
    #[expect(clippy::disallowed_methods, reason = "std sends no signal but KILL")]
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill").arg(format!("-{signal}")).arg(self.pid().to_string()).status();
        assert!(sent.expect("kill can be run").success(), "`{}` took no SIG{signal}", self.name);
    }

    #[expect(clippy::disallowed_methods, reason = "std sets no limits of another process")]
    pub(crate) fn limit_files_to(&self, octets: Option<u64>) {
        let most = octets.map_or("unlimited".to_owned(), |octets| octets.to_string());
        let arguments = [format!("--pid={}", self.pid()), format!("--fsize={most}:unlimited")];
        let set = Command::new("prlimit").args(arguments).status();
        assert!(set.expect("prlimit can be run").success(), "`{}` takes no limit", self.name);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Gone already, or gone now.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// The main executable.
pub(crate) fn hansho_executable() -> PathBuf {
    executable("HANSHO_BIN", "hansho")
}

/// The executable of the sink alone.
///
/// # Panics
/// Where it was not built.
#[must_use]
pub fn sinkd_executable() -> PathBuf {
    executable("HANSHO_SINKD_BIN", "hansho-sinkd")
}

/// Named by `variable`, else beside the folder of the test's own executable.
fn executable(variable: &str, name: &str) -> PathBuf {
    if let Some(named) = std::env::var_os(variable) {
        return named.into();
    }
    let own = std::env::current_exe().expect("a test knows its own executable");
    let built = own.ancestors().skip(1).map(|folder| folder.join(name)).find(|path| path.is_file());
    built.unwrap_or_else(|| {
        panic!("there is no executable `{name}`: run `cargo build -p hansho -p hansho-sinkd`, or `cargo xtask test`")
    })
}

fn output_file() -> NamedTempFile {
    tempfile::Builder::new().prefix("hansho-output-").tempfile().expect("an output file can be made")
}

fn read(file: &NamedTempFile) -> String {
    String::from_utf8_lossy(&fs::read(file.path()).expect("an output file can be read")).into_owned()
}
