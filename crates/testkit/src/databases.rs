//! Fresh databases, migrated to the present schema, one per call: no test sees another's rows.
//!
//! A store test runs its body on [`fresh_databases`], and so on both engines:
//!
//! ```no_run
//! # async fn test() {
//! for database in testkit::fresh_databases().await {
//!     println!("{}: {}", database.kind, database.core_url);
//! }
//! # }
//! ```

use migrations::{core::Migrator as CoreMigrator, replies::Migrator as RepliesMigrator};
use sea_orm_migration::{
    MigratorTrait,
    sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseBackend, DatabaseConnection, Statement},
};
use std::{
    env, fmt,
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};
use tempfile::TempDir;

/// Where PostgreSQL listens for tests: `postgres://user@host:port`, without a database name.
/// `cargo xtask test` sets it.
const SERVER_VARIABLE: &str = "HANSHO_TEST_PG";
/// The same of a server that a test may crash: nobody else uses it.
const CRASHING_SERVER_VARIABLE: &str = "HANSHO_TEST_PG_CRASHING";
/// As long as a crashed server may take to be back.
const RECOVERY_MAX: Duration = Duration::from_secs(60);
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
/// With one of these set, a missing PostgreSQL fails the test instead of skipping half of it.
const REQUIRING_VARIABLES: [&str; 2] = ["HANSHO_TEST_REQUIRE_PG", "CI"];

/// Which engine a [`TestDatabase`] runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DatabaseKind {
    /// A file in a temporary folder.
    Sqlite,
    /// A database of its own on the server named by `HANSHO_TEST_PG`.
    Postgres,
}

impl fmt::Display for DatabaseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// Core and reply database of one installation, empty but for the schema.
///
/// On SQLite these are two files in a folder that goes away with this value. On PostgreSQL they
/// are one database, which stays on the server: `cargo xtask test` throws the server away.
#[derive(Debug)]
pub struct TestDatabase {
    /// Connection URL of the core database.
    pub core_url: String,
    /// Connection URL of the reply database.
    pub replies_url: String,
    /// Which engine.
    pub kind: DatabaseKind,
    folder: TempDir,
}

impl TestDatabase {
    /// An empty folder that lives as long as this value, for the other files of the test's
    /// installation. On SQLite the database files are in it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A PostgreSQL database that goes away as in a restart: sessions end, new ones are refused.
#[derive(Debug)]
pub struct Outage {
    server: String,
    name: String,
}

impl TestDatabase {
    /// To be begun and ended on a PostgreSQL database.
    ///
    /// # Panics
    /// On SQLite, which has no server.
    #[must_use]
    pub fn outage(&self) -> Outage {
        assert_eq!(self.kind, DatabaseKind::Postgres, "a file has no server that could go away");
        let (server, name) = self.core_url.rsplit_once('/').expect("the URL ends with the database");
        Outage { server: server.to_owned(), name: name.to_owned() }
    }
}

impl Outage {
    /// Ends every session and lets none begin.
    ///
    /// # Panics
    /// Where the server does not let us.
    pub async fn begins(&self) {
        let end =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", self.name);
        self.run(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS false; {end}", self.name)).await;
    }

    /// Lets sessions begin again.
    ///
    /// # Panics
    /// Where the server does not let us.
    pub async fn ends(&self) {
        self.run(&format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name)).await;
    }

    /// Crashes the server, and waits until it has recovered from its log by itself: one of its
    /// processes is killed, so it cannot trust the memory that all of them share, and ends every
    /// session. It serves a new one only when the old ones are gone.
    ///
    /// # Panics
    /// Where it does not let us, or is not back within [`RECOVERY_MAX`].
    pub async fn crashes(&self) {
        let witness = self.admin().await;
        let session = session_of(&witness).await.expect("the test server serves");
        // The shell is a child of the process that serves this session.
        let kill = "COPY (SELECT 1) TO PROGRAM 'kill -KILL $PPID'";
        let _session_is_gone = self.admin().await.execute_unprepared(kill).await;
        // Until the server has noticed, it serves the others as if nothing had happened.
        let recovered = async {
            while session_of(&witness).await.is_none_or(|now| now == session) {
                tokio::time::sleep(BETWEEN_TRIES).await;
            }
        };
        tokio::time::timeout(RECOVERY_MAX, recovered).await.expect("the server recovers");
    }

    async fn admin(&self) -> DatabaseConnection {
        connect(&format!("{}/postgres", self.server)).await
    }

    async fn run(&self, statements: &str) {
        let admin = self.admin().await;
        admin.execute_unprepared(statements).await.expect("the test server lets us");
        admin.close().await.expect("the connection closes");
    }
}

/// A fresh SQLite installation.
///
/// # Panics
/// Where the files cannot be created or migrated.
pub async fn fresh_sqlite() -> TestDatabase {
    let folder = new_folder();
    let url = |file: &str| format!("sqlite://{}?mode=rwc", folder.path().join(file).display());
    let database = TestDatabase {
        core_url: url("hansho.db"),
        replies_url: url("replies.db"),
        kind: DatabaseKind::Sqlite,
        folder,
    };
    migrate(&database).await;
    database
}

/// A fresh PostgreSQL installation on the server named by `HANSHO_TEST_PG`, or `None` where the
/// variable is not set; then stderr says that this half of the test was not run.
///
/// # Panics
/// Where the server does not answer or the schema cannot be created; and where the variable is
/// not set although `CI` or `HANSHO_TEST_REQUIRE_PG` is.
pub async fn fresh_postgres() -> Option<TestDatabase> {
    fresh_on(SERVER_VARIABLE).await
}

/// The same on a server of its own, named by `HANSHO_TEST_PG_CRASHING`.
///
/// # Panics
/// As [`fresh_postgres`] does.
pub async fn fresh_postgres_to_crash() -> Option<TestDatabase> {
    fresh_on(CRASHING_SERVER_VARIABLE).await
}

async fn fresh_on(variable: &str) -> Option<TestDatabase> {
    let Ok(server) = env::var(variable) else {
        let required = REQUIRING_VARIABLES.iter().find(|name| env::var_os(name).is_some());
        assert!(
            required.is_none(),
            "{} is set, but {variable} is not: run the tests with `cargo xtask test`",
            required.unwrap_or(&"")
        );
        eprintln!("!!! NOT RUN ON POSTGRESQL: {variable} is not set. `cargo xtask test` runs both halves.");
        return None;
    };
    let server = server.trim_end_matches('/');
    let name = new_database_name();
    let admin = connect(&format!("{server}/postgres")).await;
    // template0 has no connections by definition, so parallel tests do not block each other.
    admin
        .execute_unprepared(&format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"))
        .await
        .expect("the test server lets us create a database");
    admin.close().await.expect("the connection closes");
    let url = format!("{server}/{name}");
    let database = TestDatabase {
        core_url: url.clone(),
        replies_url: url,
        kind: DatabaseKind::Postgres,
        folder: new_folder(),
    };
    migrate(&database).await;
    Some(database)
}

/// One fresh installation per engine that is at hand: SQLite always, PostgreSQL as
/// [`fresh_postgres`] says.
///
/// # Panics
/// As [`fresh_sqlite`] and [`fresh_postgres`] do.
pub async fn fresh_databases() -> Vec<TestDatabase> {
    let mut databases = vec![fresh_sqlite().await];
    databases.extend(fresh_postgres().await);
    databases
}

async fn migrate(database: &TestDatabase) {
    let core = connect(&database.core_url).await;
    CoreMigrator::up(&core, None).await.expect("the core schema can be created");
    core.close().await.expect("the core connection closes");
    let replies = connect(&database.replies_url).await;
    RepliesMigrator::up(&replies, None).await.expect("the reply schema can be created");
    replies.close().await.expect("the reply connection closes");
}

/// The process that serves this connection, or `None` where the server does not answer.
async fn session_of(connection: &DatabaseConnection) -> Option<i32> {
    let asked = Statement::from_string(DatabaseBackend::Postgres, "SELECT pg_backend_pid()");
    let row = connection.query_one_raw(asked).await.ok()??;
    row.try_get_by_index(0).ok()
}

async fn connect(url: &str) -> DatabaseConnection {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    match Database::connect(options).await {
        Ok(connection) => connection,
        Err(error) => panic!("cannot open the test database {url}: {error}"),
    }
}

fn new_folder() -> TempDir {
    tempfile::Builder::new().prefix("hansho-test-").tempdir().expect("a temporary folder can be created")
}

/// Unique among the tests of one server: processes that run at the same time have different
/// ids, and one that follows with the same id has another random part.
fn new_database_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), count);
    format!("hansho_test_{}_{count}_{random:016x}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_call_gives_an_installation_of_its_own_with_the_schema_in_place() {
        let (first, second) = (fresh_databases().await, fresh_databases().await);
        for (one, other) in first.iter().zip(&second) {
            assert_eq!(one.kind, other.kind);
            let staff = "INSERT INTO staff (email, name, role, password_hash, disabled, failed_logins, \
                         locked_until, created_at) VALUES ('a@example.jp', 'A', 'viewer', '', false, 0, 0, 0)";
            for database in [one, other] {
                connect(&database.core_url)
                    .await
                    .execute_unprepared(staff)
                    .await
                    .expect("the unique address is free in each installation");
            }
        }
    }
}
