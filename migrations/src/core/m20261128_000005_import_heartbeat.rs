//! When somebody was last heard of who reads a roster for a plan: a reader that died leaves no word.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct ImportHeartbeat;

impl MigrationName for ImportHeartbeat {
    fn name(&self) -> &str {
        "m20261128_000005_import_heartbeat"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for ImportHeartbeat {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, "ALTER TABLE import_plan ADD COLUMN touched_at BIGINT NOT NULL DEFAULT 0;").await
    }
}
