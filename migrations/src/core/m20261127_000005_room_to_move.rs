//! A row of the ledger moves several times in seconds. Where its page has room for another version,
//! PostgreSQL leaves the indexes alone if no indexed column changed, as with a claim.

use sea_orm_migration::{prelude::*, sea_orm::DatabaseBackend};

/// See the module.
#[derive(Debug)]
pub(super) struct RoomToMove;

impl MigrationName for RoomToMove {
    fn name(&self) -> &str {
        "m20261127_000005_room_to_move"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for RoomToMove {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DatabaseBackend::Postgres {
            manager.get_connection().execute_unprepared("ALTER TABLE delivery SET (fillfactor = 45)").await?;
        }
        Ok(())
    }
}
