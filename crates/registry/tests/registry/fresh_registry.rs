//! A registry on a fresh database, and the few steps every test takes.

use domain::{Actor, FiscalYear, Keyring, Nature, Timestamp, TokenKey};
use registry::{AudienceSpec, ImportError, ImportMode, ImportReport, Planner, RosterFile, SnapshotMember};
use std::{collections::BTreeMap, io::Cursor};
use store::{MemberQuery, Store, StoreError};
use testkit::TestDatabase;

/// The fiscal year that the tests live in.
pub(crate) const YEAR: FiscalYear = FiscalYear::new(2026);
/// A moment in it.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// A registry on one database.
pub(crate) struct Registry {
    pub(crate) store: Store,
    pub(crate) keyring: Keyring,
    _database: TestDatabase,
}

impl Registry {
    /// Opens the registry of a fresh database.
    pub(crate) async fn on(database: TestDatabase) -> Self {
        let store = Store::connect(&database.core_url).await.expect("the database opens");
        let keyring = Keyring::new(TokenKey::new(1, [7; 32]), Vec::new());
        Self { store, keyring, _database: database }
    }

    /// Remembers what a heading means; an empty meaning forgets.
    pub(crate) async fn remember(&self, heading: &str, meaning: &str) {
        let meanings = BTreeMap::from([(registry::heading_key(heading), meaning.to_owned())]);
        self.store.remember_columns(Actor::LocalEngineer, &meanings, NOW).await.expect("remembered");
    }

    /// Plans an import for the present fiscal year.
    pub(crate) async fn plan(&self, file: &[u8], mode: ImportMode) -> ImportReport {
        let meanings = self.store.column_meanings().await.expect("meanings");
        let roster = RosterFile::open(Cursor::new(file.to_vec()), "roster.csv", &meanings);
        let roster = roster.expect("a readable roster");
        let actor = Actor::LocalEngineer;
        self.planner(actor).plan(roster, YEAR, mode, |_| {}).await.expect("a plan")
    }

    /// Plans as somebody.
    pub(crate) fn planner(&self, actor: Actor) -> Planner<'_> {
        Planner { store: &self.store, keyring: &self.keyring, actor, now: NOW }
    }

    /// Writes a plan.
    pub(crate) async fn apply(&self, actor: Actor, plan: i64) -> Result<ImportReport, StoreError> {
        registry::apply(&self.store, actor, plan, NOW, |_| {}).await
    }

    /// Plans and applies.
    pub(crate) async fn import(&self, file: &str, mode: ImportMode) -> ImportReport {
        let plan = self.plan(file.as_bytes(), mode).await;
        self.apply(Actor::LocalEngineer, plan.plan).await.expect("applied")
    }

    /// Member numbers in an audience of the year.
    pub(crate) async fn audience(&self, name: &str, nature: Nature) -> Vec<String> {
        let spec = AudienceSpec::Named(name.to_owned());
        let members = registry::resolve(&self.store, &spec, nature, YEAR).await.expect("an audience");
        numbers(&members)
    }

    /// Everything the registry holds, as text to compare.
    pub(crate) async fn dump(&self) -> String {
        let page = self.store.members_with_years(domain::MemberId::new(0), 100).await.expect("members");
        let lines = page.iter().map(|known| {
            let data = &known.member.data;
            let years: Vec<String> = known.years.iter().map(ToString::to_string).collect();
            format!(
                "{} {} {} {:?} r{} {}\n",
                data.member_no,
                data.name,
                data.address.as_ref().map_or(String::new(), domain::EmailAddress::reveal),
                data.status,
                known.member.revision,
                years.join("+")
            )
        });
        lines.collect()
    }

    /// Numbers of the members that a search finds, and how many there are in all.
    pub(crate) async fn search(&self, query: MemberQuery<'_>) -> (Vec<String>, u64) {
        let page = self.store.search_members(&query).await.expect("a page");
        (page.members.iter().map(|member| member.data.member_no.to_string()).collect(), page.total)
    }
}

/// A file with these octets.
pub(crate) fn open(file: &[u8]) -> Result<RosterFile, ImportError> {
    RosterFile::open(Cursor::new(file.to_vec()), "roster.csv", &BTreeMap::new())
}

/// Member numbers of a snapshot.
pub(crate) fn numbers(members: &[SnapshotMember]) -> Vec<String> {
    members.iter().map(|member| member.member_no.to_string()).collect()
}
