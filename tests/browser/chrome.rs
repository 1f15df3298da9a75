//! chromedriver and the Chromium processes it starts; all of them end with their holders.

use crate::window::Window;
use fantoccini::ClientBuilder;
use hansho_tests::{PATIENCE, Process, Society, until};
use hyper::Method;
use hyper_util::client::legacy::connect::HttpConnector;
use rehearsal::browser::Browser;
use serde_json::{Map, Value, json};
use std::{path::Path, process::Command};
use testkit::Port;

/// A driver on a port of its own. Dropping it kills it.
pub(crate) struct Chrome {
    port: Port,
    wire: Browser,
    _driver: Process,
}

/// A Chromium process. Dropping it kills it, and with it its children.
pub(crate) struct Chromium {
    pid: u64,
}

/// Whether the pages' script runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Runs,
    Off,
}

impl Chrome {
    /// Starts chromedriver and waits until it takes sessions.
    ///
    /// # Panics
    /// Where Debian's chromium-driver is not installed; `cargo xtask test` sees to it.
    pub(crate) async fn start() -> Self {
        let port = Port::claim();
        let arguments = [format!("--port={}", port.address().port())];
        let driver = Process::start(Path::new("chromedriver"), &arguments, &[]);
        let chrome = Self { port, wire: Browser::new(), _driver: driver };
        until("chromedriver to be ready", PATIENCE, async || {
            let (_, status) = chrome.call(Method::GET, "status", &Value::Null).await?;
            (status["value"]["ready"] == true).then_some(())
        })
        .await;
        chrome
    }

    /// Somebody's own browser: no cookie, no history.
    pub(crate) async fn window(&self, society: &Society) -> Window<'_> {
        self.open(society, Script::Runs).await
    }

    /// The same with JavaScript switched off.
    pub(crate) async fn window_without_javascript(&self, society: &Society) -> Window<'_> {
        let window = self.open(society, Script::Off).await;
        window.goto("data:text/html,<title>off</title><script>document.title='on'</script>").await;
        assert_eq!(window.title().await, "off", "no script runs in this browser");
        window
    }

    async fn open(&self, society: &Society, script: Script) -> Window<'_> {
        let profile = tempfile::Builder::new().prefix("hansho-window-").tempdir();
        let profile = profile.expect("a folder for a profile can be made");
        let mut builder = ClientBuilder::new(HttpConnector::new());
        builder.capabilities(capabilities(profile.path(), script));
        let client = builder.connect(&format!("http://{}", self.port.address())).await;
        let client = client.expect("Chromium starts");
        let granted = client.capabilities().expect("a session has capabilities");
        let chromium = Chromium { pid: granted["goog:processID"].as_u64().expect("a process id") };
        let session = client.session_id().await.expect("a session").expect("a session has an id");
        Window::new(self, client, session, society.url(), chromium, profile)
    }

    /// A command that fantoccini does not know.
    ///
    /// # Panics
    /// Where the driver refuses it.
    pub(crate) async fn command(&self, session: &str, command: &str, parameters: Value) -> Value {
        let answer = self.call(Method::POST, &format!("session/{session}/{command}"), &parameters).await;
        let (accepted, mut answer) = answer.expect("the driver answers");
        assert!(accepted, "{command}: {answer}");
        answer["value"].take()
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Option<(bool, Value)> {
        let url = format!("http://{}/{path}", self.port.address());
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.wire.call(method, &url, "", body).await.ok()?;
        Some((status.is_success(), serde_json::from_str(&answer).ok()?))
    }
}

impl Drop for Chromium {
    #[expect(clippy::disallowed_methods, reason = "chromedriver started it: it is nobody's child here")]
    fn drop(&mut self) {
        // Gone already where the window was closed.
        let _killed = Command::new("kill").args(["-KILL", &self.pid.to_string()]).output();
    }
}

fn capabilities(profile: &Path, script: Script) -> Map<String, Value> {
    let mut arguments = vec![
        "--headless".to_owned(),
        // Its sandbox refuses to run as root, as tests in a container do.
        "--no-sandbox".to_owned(),
        "--disable-gpu".to_owned(),
        "--disable-quic".to_owned(),
        "--no-first-run".to_owned(),
        "--disable-background-networking".to_owned(),
        "--disable-component-update".to_owned(),
        "--disable-sync".to_owned(),
        "--disable-breakpad".to_owned(),
        "--hide-scrollbars".to_owned(),
        "--lang=ja".to_owned(),
        "--window-size=1280,900".to_owned(),
        format!("--user-data-dir={}", profile.display()),
    ];
    if script == Script::Off {
        arguments.push("--blink-settings=scriptEnabled=false".to_owned());
    }
    let wanted = json!({
        "browserName": "chrome",
        "goog:loggingPrefs": { "browser": "ALL" },
        "goog:chromeOptions": { "args": arguments },
        // A dialog that nobody expects must make the next command fail, not go away.
        "unhandledPromptBehavior": "ignore",
    });
    let Value::Object(wanted) = wanted else { unreachable!("invariant: an object was written") };
    wanted
}
