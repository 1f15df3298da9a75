//! `hansho serve` as a child process.

use crate::{
    Society,
    call::Answer,
    post::Post,
    process::{Process, hansho_executable},
    wait::{PATIENCE, until},
};
use rehearsal::browser::Browser;
use std::path::Path;

/// A service that is ready. Dropping it kills it.
#[derive(Debug)]
pub struct Serve {
    process: Process,
    /// How far its log was looked through.
    logged: usize,
}

impl Serve {
    pub(crate) async fn start(society: &Society, roles: &[&str], overrides: &[(&str, &str)]) -> Self {
        let mut environment = society.environment();
        environment.extend(overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = Process::start(&hansho_executable(), &serving(society, roles), &environment);
        Self { process, logged: 0 }.readied(society, roles).await
    }

    /// A write beyond the limit then fails, as on a full disk, and does not end the process.
    pub(crate) async fn start_on_a_limited_disk(society: &Society, roles: &[&str]) -> Self {
        const DEAF_TO_THE_LIMIT: &str = r#"trap '' XFSZ; exec "$0" "$@""#;
        let mut arguments = vec!["-c".to_owned(), DEAF_TO_THE_LIMIT.to_owned()];
        arguments.push(hansho_executable().display().to_string());
        arguments.extend(serving(society, roles));
        let process = Process::start(Path::new("/bin/sh"), &arguments, &society.environment());
        Self { process, logged: 0 }.readied(society, roles).await
    }

    async fn readied(mut self, society: &Society, roles: &[&str]) -> Self {
        let has = |role| roles.is_empty() || roles.contains(&role);
        if has("broadcaster") {
            self.logs("broadcaster started").await;
        }
        if has("sink") {
            let sink = society.sink();
            self.expect("the sink to greet", async || Post::connect(sink).await.is_some()).await;
        }
        if has("web") {
            let (browser, ready) = (Browser::new(), format!("{}/readyz", society.url()));
            self.expect("the web to be ready", async || browser.open(&ready).await.is_ok()).await;
        }
        self
    }

    /// The operating system's number of it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Waits until it has logged `text`, after what was waited for last.
    ///
    /// # Panics
    /// Where it ends, or does not within [`PATIENCE`].
    pub async fn logs(&mut self, text: &str) {
        let (log, from) = (self.process.stderr_path(), self.logged);
        let mut end = from;
        let says = async || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let found = said.get(from..).and_then(|later| later.find(text));
            end = found.map_or(from, |at| from + at + text.len());
            found.is_some()
        };
        self.expect(&format!("the log to say {text:?}"), says).await;
        self.logged = end;
    }

    /// No file of its grows beyond so many octets; `None` for as far as the disk goes.
    pub fn limit_files_to(&self, octets: Option<u64>) {
        self.process.limit_files_to(octets);
    }

    /// Kills it as a power failure would.
    pub fn kill_9(mut self) {
        self.process.kill_9();
    }

    /// Asks it to end (SIGTERM) and waits until it has: exit code and everything it said.
    ///
    /// # Panics
    /// Where it does not end within [`PATIENCE`].
    pub async fn terminate(mut self) -> Answer {
        self.process.signal("TERM");
        let status = self.process.end(PATIENCE).await;
        Answer::of("serve", status, &self.process)
    }

    /// Stops it in its tracks (SIGSTOP): a machine that hangs.
    pub fn freeze(&self) {
        self.process.signal("STOP");
    }

    /// Lets it go on (SIGCONT).
    pub fn thaw(&self) {
        self.process.signal("CONT");
    }

    async fn expect(&mut self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let process = &mut self.process;
        until(what, PATIENCE, async || {
            if let Some(status) = process.ended() {
                panic!("serve ended ({status}) instead of {what}:\n{}", process.stderr());
            }
            holds().await.then_some(())
        })
        .await;
    }
}

fn serving(society: &Society, roles: &[&str]) -> Vec<String> {
    let mut arguments = society.arguments(&["serve"]);
    arguments.extend(roles.iter().map(|role| format!("--role={role}")));
    arguments
}
