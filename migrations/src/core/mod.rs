//! The core database: registry, exercises, broadcasts, ledger, responses, staff and audit.

mod m20261122_000001_first;

use sea_orm_migration::prelude::*;

/// Brings the core database to the present schema.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261122_000001_first::First)]
    }

    fn migration_table_name() -> DynIden {
        "core_migrations".into_iden()
    }
}
