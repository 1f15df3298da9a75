//! A registry with people in it.

use domain::{Actor, FiscalYear, Keyring, Timestamp, TokenKey};
use registry::{ImportMode, ImportReport, Planner, RosterFile};
use std::io::Cursor;
use store::Store;

/// Imports a roster as the local engineer.
///
/// # Panics
/// Where the file is no roster, or the import is refused.
pub async fn import_roster(store: &Store, file: &str, year: FiscalYear, now: Timestamp) -> ImportReport {
    let meanings = store.column_meanings().await.expect("what headings mean");
    let file = RosterFile::open(Cursor::new(file.to_owned()), "roster.csv", &meanings);
    let keyring = Keyring::new(TokenKey::new(1, [7; 32]), Vec::new());
    let planner = Planner { store, keyring: &keyring, actor: Actor::LocalEngineer, now };
    let plan = planner.plan(file.expect("a roster"), year, ImportMode::Merge, |_| {}).await.expect("a plan");
    registry::apply(store, Actor::LocalEngineer, plan.plan, now, |_| {}).await.expect("applied")
}
