//! The schema of the reply database: one table that is written once and never updated.
//!
//! Its own migration table lets it live in a file of its own (SQLite) or beside the core tables
//! in one PostgreSQL database.

mod m20261122_000001_replies;

use sea_orm_migration::prelude::*;

/// Brings a reply database to the present schema.
#[derive(Debug)]
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![Box::new(m20261122_000001_replies::Migration)]
    }

    fn migration_table_name() -> DynIden {
        Alias::new("replies_migrations").into_iden()
    }
}
