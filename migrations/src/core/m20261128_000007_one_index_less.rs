//! A row of the ledger moves twice on its way out, and PostgreSQL writes every index of it anew each
//! time. One that begins with the member answers both who was ever written to and whether a member
//! stands in a broadcast.

use sea_orm_migration::{prelude::*, sea_orm::DatabaseBackend};

/// See the module.
#[derive(Debug)]
pub(super) struct OneIndexLess;

const SWAP: &str = "
CREATE UNIQUE INDEX delivery_of_member ON delivery (member_id, broadcast_id);
ALTER TABLE delivery DROP CONSTRAINT delivery_broadcast_id_member_id_key;
DROP INDEX delivery_by_member;
";

impl MigrationName for OneIndexLess {
    fn name(&self) -> &str {
        "m20261128_000007_one_index_less"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for OneIndexLess {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // SQLite leaves the indexes of unchanged columns alone.
        if manager.get_database_backend() == DatabaseBackend::Postgres {
            manager.get_connection().execute_unprepared(SWAP).await?;
        }
        Ok(())
    }
}
