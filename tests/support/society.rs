//! A society's installation: folder, configuration, people, roster, relay.

use crate::{
    broadcast::Broadcast,
    call::{Call, hansho},
    dot::Dot,
    post::Post,
    roster::write_members,
    serve::Serve,
};
use rehearsal::relay::{CaptureRelay, Script};
use serde_json::Value;
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};
use store::Store;
use tempfile::TempDir;
use testkit::{Port, SystemClock, TestDatabase};

/// The engineer whom `init` makes.
const ENGINEER: &str = "engineer@staff.example.jp";

/// Somebody who signs in.
#[derive(Debug, Clone)]
pub struct Person {
    /// What they sign in with.
    pub email: String,
    /// Their one-time password.
    pub password: String,
    /// Their personal token.
    pub token: String,
}

/// What to found.
#[derive(Debug)]
#[must_use = "a plan is carried out by `found`"]
pub struct Plan {
    members: usize,
    settings: Vec<(String, String)>,
    script: Script,
    database: Option<TestDatabase>,
}

/// An installation under test. Everything it made goes away with it; processes it serves with
/// are their own holders' to keep.
#[derive(Debug)]
pub struct Society {
    folder: TempDir,
    settings: Vec<(String, String)>,
    web: Port,
    sink: Port,
    store: Store,
    /// What really left. It lives in the test: it sees processes come and go.
    pub relay: CaptureRelay,
    _relay_port: Port,
    /// 訓練担当者: the author of every notice, unless a test says otherwise.
    pub coordinator: Person,
    /// 承認者.
    pub approver: Person,
    /// Another 承認者, for notices over the cap.
    pub second_approver: Person,
    /// システム管理者, made by `init`.
    pub engineer: Person,
    /// Looks on.
    pub viewer: Person,
    _database: Option<TestDatabase>,
}

impl Plan {
    /// With this many members, `m0001@example.jp` and so on; none by default.
    pub fn members(mut self, count: usize) -> Self {
        self.members = count;
        self
    }

    /// With a configuration key set by environment, e.g. `HANSHO_RELAY__CONNECTIONS`.
    pub fn set(mut self, variable: &str, value: &str) -> Self {
        self.settings.push((variable.to_owned(), value.to_owned()));
        self
    }

    /// With a relay that follows this script; it takes everything by default.
    pub fn relay(mut self, script: Script) -> Self {
        self.script = script;
        self
    }

    /// On this database; on a SQLite file of its own by default.
    pub fn on(mut self, database: TestDatabase) -> Self {
        self.database = Some(database);
        self
    }

    /// Makes the installation, by the command line, as a stranger would.
    ///
    /// # Panics
    /// Where a step fails.
    pub async fn found(self) -> Society {
        let folder = tempfile::Builder::new().prefix("hansho-society-").tempdir();
        let folder = folder.expect("a temporary folder can be made");
        let [web, sink, port] = [Port::claim(), Port::claim(), Port::claim()];
        let relay = CaptureRelay::start(port.address(), self.script, Arc::new(SystemClock)).await;
        let relay = relay.expect("a relay can listen");
        let mut settings = basics(&relay, &web, &sink);
        if let Some(database) = &self.database {
            settings.push(("HANSHO_DATABASE__URL".to_owned(), database.core_url.clone()));
            settings.push(("HANSHO_DATABASE__REPLIES_URL".to_owned(), database.replies_url.clone()));
        }
        settings.extend(self.settings);
        let desk = Desk { folder: folder.path(), settings: &settings };
        let engineer = desk.init().await;
        let [coordinator, approver, second_approver, viewer] = desk.hire().await;
        let engineer = desk.with_token(engineer).await;
        let core_url = match &self.database {
            Some(database) => database.core_url.clone(),
            None => format!("sqlite://{}", folder.path().join("hansho.db").display()),
        };
        let society = Society {
            store: Store::connect(&core_url).await.expect("the ledger can be read"),
            folder,
            settings,
            web,
            sink,
            relay,
            _relay_port: port,
            coordinator,
            approver,
            second_approver,
            engineer,
            viewer,
            _database: self.database,
        };
        if self.members > 0 {
            let roster = society.path("roster.csv");
            write_members(&roster, self.members);
            let report = society.import(&roster).await;
            assert_eq!(report["added"], self.members, "every member is new: {report}");
        }
        society
    }
}

impl Society {
    /// A society without members, to be changed before it is founded.
    pub fn plan() -> Plan {
        Plan { members: 0, settings: Vec::new(), script: Script::accept_all(), database: None }
    }

    /// A society of this many members, on SQLite, with a relay that takes everything.
    ///
    /// # Panics
    /// Where a step of its making fails.
    pub async fn of(members: usize) -> Self {
        Self::plan().members(members).found().await
    }

    /// A call of the command line on this installation.
    pub fn hansho(&self, arguments: &[&str]) -> Call {
        call(self.folder.path(), &self.settings, arguments)
    }

    /// Imports a roster as the local engineer; the report.
    ///
    /// # Panics
    /// Where it is refused.
    pub async fn import(&self, roster: &Path) -> Value {
        self.hansho(&["member", "import", &roster.display().to_string(), "--apply"]).await.done()
    }

    /// Starts `hansho serve` with these roles (none = all) and waits until it is ready.
    ///
    /// # Panics
    /// Where it ends instead.
    pub async fn serve(&self, roles: &[&str]) -> Serve {
        Serve::start(self, roles, &[]).await
    }

    /// The same, in a process that can be given a limit for its files later.
    ///
    /// # Panics
    /// Where it ends instead.
    pub async fn serve_on_a_limited_disk(&self, roles: &[&str]) -> Serve {
        Serve::start_on_a_limited_disk(self, roles).await
    }

    /// The same with other settings in this one process, e.g. a web port of its own.
    ///
    /// # Panics
    /// Where it ends instead.
    pub async fn serve_with(&self, roles: &[&str], overrides: &[(&str, &str)]) -> Serve {
        Serve::start(self, roles, overrides).await
    }

    /// A draft of the coordinator's to `audience`, of `nature` `actual`, `exercise` or `test`.
    ///
    /// # Panics
    /// Where it is refused.
    pub async fn draft(&self, nature: &str, audience: &str, subject: &str, body: &str) -> Broadcast<'_> {
        let file = self.text(body);
        let arguments = ["broadcast", "create", "--nature", nature, "--subject", subject];
        let rest = ["--audience", audience, "--body-file", &file];
        let created = self.hansho(&[&arguments[..], &rest[..]].concat()).by(&self.coordinator).await.done();
        Broadcast::new(self, created["id"].as_i64().expect("an id"))
    }

    /// An exercise notice to all, preflighted and approved by as many as it needs.
    ///
    /// # Panics
    /// Where a step is refused.
    pub async fn approved(&self, subject: &str) -> Broadcast<'_> {
        let body = "{{name}} 様\n\n総合防災訓練のお知らせです。{{prefecture}} {{facility}}\n";
        let notice = self.draft("exercise", "all", subject, body).await;
        let preflight = notice.preflight().await;
        assert_eq!(preflight["ok"], true, "preflight passes: {preflight}");
        let signed = notice.approve_by(&self.approver).await.done();
        if signed["required"] == 2 {
            let _signed = notice.approve_by(&self.second_approver).await.done();
        }
        notice
    }

    /// The same, released to the broadcaster.
    ///
    /// # Panics
    /// Where a step is refused.
    pub async fn released(&self, subject: &str) -> Broadcast<'_> {
        let notice = self.approved(subject).await;
        let _status = notice.send().await.done();
        notice
    }

    /// The broadcast with this id.
    #[must_use]
    pub fn broadcast(&self, id: i64) -> Broadcast<'_> {
        Broadcast::new(self, id)
    }

    /// A text in a file; its path.
    ///
    /// # Panics
    /// Where it cannot be written.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let file = tempfile::Builder::new().prefix("text-").tempfile_in(self.folder.path());
        let (_, path) = file.expect("a text file can be made").keep().expect("a text file can be kept");
        std::fs::write(&path, text).expect("a text can be written");
        path.display().to_string()
    }

    /// Every mail that left so far, to members and to staff, in order.
    #[must_use]
    pub fn dots(&self) -> Vec<Dot> {
        self.relay.captured().into_iter().map(Dot::from).collect()
    }

    /// A relay on the same port, after `society.relay.stop()`. Its record begins anew.
    ///
    /// # Panics
    /// Where a stranger took the port meanwhile.
    pub async fn another_relay(&self, script: Script) -> CaptureRelay {
        let relay = CaptureRelay::start(self.relay.addr(), script, Arc::new(SystemClock)).await;
        relay.expect("the relay's port is free again")
    }

    /// A member's mail server, connected to the sink.
    ///
    /// # Panics
    /// Where no sink listens.
    pub async fn post(&self) -> Post {
        Post::connect(self.sink()).await.expect("the sink listens")
    }

    /// The core database, to look at.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The base of the dashboard and of every link.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.web.address())
    }

    /// Where replies come in.
    #[must_use]
    pub fn sink(&self) -> SocketAddr {
        self.sink.address()
    }

    /// A path in the installation's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let config = self.path("hansho.toml").display().to_string();
        ["--config", &config].iter().chain(arguments).map(|argument| (*argument).to_owned()).collect()
    }

    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        self.settings.clone()
    }
}

/// A rehearsal installation with ports of its own, as fast as the relay takes it.
fn basics(relay: &CaptureRelay, web: &Port, sink: &Port) -> Vec<(String, String)> {
    [
        ("HANSHO_SITE__ENVIRONMENT", "rehearsal".to_owned()),
        ("HANSHO_SITE__PUBLIC_URL", format!("http://{}", web.address())),
        ("HANSHO_WEB__LISTEN", web.address().to_string()),
        ("HANSHO_SINK__LISTEN", sink.address().to_string()),
        ("HANSHO_RELAY__URL", relay.url()),
        ("HANSHO_RELAY__RATES", "[]".to_owned()),
        ("HANSHO_BROADCAST__RETRY_FIRST", "1s".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn call(folder: &Path, settings: &[(String, String)], arguments: &[&str]) -> Call {
    let config = folder.join("hansho.toml").display().to_string();
    let call = hansho(&[&["--config", config.as_str()], arguments].concat());
    settings.iter().fold(call, |call, (name, value)| call.with(name, value))
}

/// Where an installation is set up, before it is one.
struct Desk<'a> {
    folder: &'a Path,
    settings: &'a [(String, String)],
}

impl Desk<'_> {
    async fn init(&self) -> Person {
        let folder = self.folder.display().to_string();
        let arguments = ["init", "--organization", "全国災害看護の会（架空）"];
        let rest = ["--admin", ENGINEER, "--dir", &folder];
        let call = hansho(&[&arguments[..], &rest[..]].concat());
        let call = self.settings.iter().fold(call, |call, (name, value)| call.with(name, value));
        person(&call.await.done())
    }

    async fn hire(&self) -> [Person; 4] {
        let (coordinator, approver, second_approver, viewer) = tokio::join!(
            self.person("coordinator", "coordinator"),
            self.person("approver", "approver"),
            self.person("approver2", "approver"),
            self.person("viewer", "viewer"),
        );
        [coordinator, approver, second_approver, viewer]
    }

    async fn person(&self, name: &str, role: &str) -> Person {
        let email = format!("{name}@staff.example.jp");
        let added = call(self.folder, self.settings, &["user", "add", &email, "--role", role]).await;
        self.with_token(person(&added.done())).await
    }

    async fn with_token(&self, person: Person) -> Person {
        let made = call(self.folder, self.settings, &["user", "token", &person.email]).await.done();
        let token = made["token"].as_str().expect("a token").to_owned();
        Person { token, ..person }
    }
}

fn person(account: &Value) -> Person {
    let text = |key: &str| account[key].as_str().expect("an account has it").to_owned();
    Person { email: text("email"), password: text("password"), token: String::new() }
}
