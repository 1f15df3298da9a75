//! A registry on a fresh database, and the few steps every test takes.

use domain::{Actor, FiscalYear, Nature, Timestamp};
use registry::{AudienceSpec, ImportMode, ImportPlan, ImportReport, SnapshotMember};
use store::{MemberQuery, Store};
use testkit::TestDatabase;

/// The fiscal year that the tests live in.
pub(crate) const YEAR: FiscalYear = FiscalYear::new(2026);
/// A moment in it.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

/// A registry on one database.
pub(crate) struct Registry {
    pub(crate) store: Store,
    _database: TestDatabase,
}

impl Registry {
    /// Opens the registry of a fresh database.
    pub(crate) async fn on(database: TestDatabase) -> Self {
        let store = Store::connect(&database.core_url).await.expect("the database opens");
        Self { store, _database: database }
    }

    /// Plans an import for the present fiscal year.
    pub(crate) async fn plan(&self, file: &[u8], mode: ImportMode) -> ImportPlan {
        let roster = registry::read_roster(file, "roster.csv").expect("a readable roster");
        registry::plan(&self.store, &roster, YEAR, mode).await.expect("a plan")
    }

    /// Plans and applies.
    pub(crate) async fn import(&self, file: &str, mode: ImportMode) -> ImportReport {
        let plan = self.plan(file.as_bytes(), mode).await;
        registry::apply(&self.store, Actor::LocalEngineer, &plan, NOW).await.expect("applied")
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

/// Member numbers of a snapshot.
pub(crate) fn numbers(members: &[SnapshotMember]) -> Vec<String> {
    members.iter().map(|member| member.member_no.to_string()).collect()
}
