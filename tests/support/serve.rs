//! `hansho serve` as a child process.

use crate::{
    Society,
    call::Answer,
    post::Post,
    process::{Process, hansho_executable},
    wait::{PATIENCE, until},
};
use rehearsal::browser::Browser;

/// A service that is ready. Dropping it kills it.
#[derive(Debug)]
pub struct Serve {
    process: Process,
}

impl Serve {
    pub(crate) async fn start(society: &Society, roles: &[&str], overrides: &[(&str, &str)]) -> Self {
        let mut arguments = society.arguments(&["serve"]);
        arguments.extend(roles.iter().map(|role| format!("--role={role}")));
        let mut environment = society.environment();
        environment.extend(overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let process = Process::start(&hansho_executable(), &arguments, &environment);
        let mut serve = Self { process };
        let has = |role| roles.is_empty() || roles.contains(&role);
        if has("broadcaster") {
            serve.logs("broadcaster started").await;
        }
        if has("sink") {
            let sink = society.sink();
            serve.expect("the sink to greet", async || Post::connect(sink).await.is_some()).await;
        }
        if has("web") {
            let (browser, ready) = (Browser::new(), format!("{}/readyz", society.url()));
            serve.expect("the web to be ready", async || browser.open(&ready).await.is_ok()).await;
        }
        serve
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

    /// Waits until it has logged `text`.
    ///
    /// # Panics
    /// Where it ends, or does not within [`PATIENCE`].
    pub async fn logs(&mut self, text: &str) {
        let log = self.process.stderr_path();
        let says = async || std::fs::read_to_string(&log).is_ok_and(|said| said.contains(text));
        self.expect(&format!("the log to say {text:?}"), says).await;
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
