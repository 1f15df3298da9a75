//! A PostgreSQL server of our own for the length of one command: in a temporary folder, on a
//! free loopback port. Dropping [`Postgres`] ends the server it started and
//! removes its files; no other server is touched.

use crate::children::send_signal;
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// A cold start takes one to two seconds; a loaded build machine may need ten times that.
const START_MAX: Duration = Duration::from_secs(30);
/// An immediate shutdown takes milliseconds.
const STOP_MAX: Duration = Duration::from_secs(5);
const PROBE_INTERVAL: Duration = Duration::from_millis(50);
/// Tests hold one pool per process and a few processes run side by side.
const CONNECTIONS_MAX: u16 = 200;

/// Whether a commit survives a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// For tests: the cluster is thrown away anyway.
    None,
    /// For measuring, and where a test crashes it.
    Full,
}

/// A running server.
#[derive(Debug)]
pub(crate) struct Postgres {
    server: Child,
    port: u16,
    // Removed after the server has ended, because fields drop after `drop`.
    folder: TempDir,
}

/// The servers that the tests need.
#[derive(Debug)]
pub(crate) struct TestServers {
    shared: Postgres,
    /// One test crashes it.
    crashing: Postgres,
}

impl TestServers {
    /// Starts them; returns when they answer.
    pub(crate) async fn start() -> Result<Self> {
        let shared = Postgres::start_with(Durability::None).await?;
        Ok(Self { shared, crashing: Postgres::start_with(Durability::Full).await? })
    }

    /// What tests read: where the servers are, and that their absence would be a failure.
    pub(crate) fn environment(&self) -> [(&'static str, String); 3] {
        [
            ("HANSHO_TEST_PG", self.shared.url()),
            ("HANSHO_TEST_PG_CRASHING", self.crashing.url()),
            ("HANSHO_TEST_REQUIRE_PG", "1".to_owned()),
        ]
    }
}

impl Postgres {
    /// Creates a cluster and starts it; returns when it answers.
    pub(crate) async fn start_with(durability: Durability) -> Result<Self> {
        let programs = programs().context("PostgreSQL's server programs are not installed")?;
        let account = Account::for_server()?;
        let folder = tempfile::Builder::new().prefix("hansho-postgres-").tempdir()?;
        account.give(folder.path())?;
        init_cluster(&programs, &account, folder.path())?;
        let port = free_port()?;
        let server = spawn_server(&programs, &account, folder.path(), port, durability)?;
        let mut postgres = Self { server, port, folder };
        postgres.wait_until_ready(&programs).await?;
        Ok(postgres)
    }

    fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}", self.port)
    }

    /// Creates an empty database; its URL.
    pub(crate) fn create_database(&self, name: &str) -> Result<String> {
        let programs = programs().context("PostgreSQL's server programs are not installed")?;
        let status = Command::new(programs.join("createdb"))
            .args(["--host=127.0.0.1", "--username=postgres", name])
            .arg(format!("--port={}", self.port))
            .status()
            .context("cannot run createdb")?;
        if !status.success() {
            bail!("createdb failed: {status}");
        }
        Ok(format!("{}/{name}", self.url()))
    }

    async fn wait_until_ready(&mut self, programs: &Path) -> Result<()> {
        let started = Instant::now();
        while started.elapsed() < START_MAX {
            if let Some(status) = self.server.try_wait()? {
                bail!("PostgreSQL ended at once ({status}):\n{}", self.log());
            }
            let answers = Command::new(programs.join("pg_isready"))
                .args(["--quiet", "--host=127.0.0.1", "--username=postgres"])
                .arg(format!("--port={}", self.port))
                .status()
                .context("cannot run pg_isready")?;
            if answers.success() {
                return Ok(());
            }
            tokio::time::sleep(PROBE_INTERVAL).await;
        }
        bail!("PostgreSQL did not answer within {START_MAX:?}:\n{}", self.log())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn has_ended_within(&mut self, limit: Duration) -> bool {
        let asked = Instant::now();
        while asked.elapsed() < limit {
            if !matches!(self.server.try_wait(), Ok(None)) {
                return true;
            }
            std::thread::sleep(PROBE_INTERVAL);
        }
        false
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT is PostgreSQL's immediate shutdown: the server takes its own children along.
        let asked = send_signal(self.server.id(), "QUIT");
        if asked.is_err() || !self.has_ended_within(STOP_MAX) {
            let _gone = self.server.kill();
            let _reaped = self.server.wait();
        }
    }
}

/// The folder with `initdb` and `postgres`: the newest packaged version, else what `PATH` has.
pub(crate) fn programs() -> Option<PathBuf> {
    let mut packaged: Vec<(u32, PathBuf)> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .collect();
    packaged.sort();
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    packaged
        .into_iter()
        .rev()
        .map(|(_, folder)| folder)
        .chain(std::env::split_paths(&on_path))
        .find(|folder| ["initdb", "postgres", "pg_isready"].iter().all(|name| folder.join(name).is_file()))
}

/// Whether this process may do everything; PostgreSQL refuses to run like that.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Who the server runs as: we ourselves, or the account its package made where we are root.
enum Account {
    Ourselves,
    Other { user: u32, group: u32 },
}

impl Account {
    fn for_server() -> Result<Self> {
        if !is_root() {
            return Ok(Self::Ourselves);
        }
        let accounts = fs::read_to_string("/etc/passwd").context("cannot read the list of accounts")?;
        let ids = accounts.lines().find_map(|line| {
            let mut fields = line.strip_prefix("postgres:")?.split(':').skip(1);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        });
        let (user, group) =
            ids.context("PostgreSQL does not run as root, and there is no account named postgres")?;
        Ok(Self::Other { user, group })
    }

    fn give(&self, folder: &Path) -> Result<()> {
        match self {
            Self::Ourselves => Ok(()),
            Self::Other { user, group } => {
                chown(folder, Some(*user), Some(*group)).context("cannot hand over the temporary folder")
            }
        }
    }

    fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        match self {
            Self::Ourselves => {}
            // This also drops root's further groups.
            Self::Other { user, group } => {
                command.uid(*user).gid(*group);
            }
        }
        command
    }
}

fn init_cluster(programs: &Path, account: &Account, folder: &Path) -> Result<()> {
    let output = account
        .command(programs.join("initdb"))
        .current_dir(folder)
        .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C.UTF-8"])
        .arg("--pgdata")
        .arg(folder.join("cluster"))
        .output()
        .context("cannot run initdb")?;
    if !output.status.success() {
        bail!("initdb failed:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

fn spawn_server(
    programs: &Path,
    account: &Account,
    folder: &Path,
    port: u16,
    durability: Durability,
) -> Result<Child> {
    let log = File::create(folder.join("log")).context("cannot create the server's log")?;
    let durable = if durability == Durability::Full { "on" } else { "off" };
    let settings = [
        format!("port={port}"),
        "listen_addresses=127.0.0.1".to_owned(),
        format!("unix_socket_directories={}", folder.display()),
        format!("max_connections={CONNECTIONS_MAX}"),
        format!("fsync={durable}"),
        format!("full_page_writes={durable}"),
    ];
    account
        .command(programs.join("postgres"))
        .current_dir(folder)
        .arg("-D")
        .arg(folder.join("cluster"))
        .args(settings.iter().flat_map(|setting| ["-c", setting.as_str()]))
        // A group of its own: Ctrl-C reaches the tests first, and the server only when they are done.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("cannot share the server's log")?)
        .stderr(log)
        .spawn()
        .context("cannot start postgres")
}

fn free_port() -> Result<u16> {
    let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port")?;
    Ok(probe.local_addr()?.port())
}
