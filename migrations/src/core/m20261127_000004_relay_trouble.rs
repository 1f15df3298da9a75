//! What keeps a sending process from reaching its relays, for people to read.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct RelayTrouble;

impl MigrationName for RelayTrouble {
    fn name(&self) -> &str {
        "m20261127_000004_relay_trouble"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for RelayTrouble {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, "ALTER TABLE worker ADD COLUMN trouble TEXT;").await
    }
}
