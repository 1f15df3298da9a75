//! When a sending process was last heard of, and that it has ended.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct Heartbeat;

impl MigrationName for Heartbeat {
    fn name(&self) -> &str {
        "m20261127_000002_heartbeat"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Heartbeat {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, SCHEMA).await
    }
}

const SCHEMA: &str = "
ALTER TABLE worker ADD COLUMN seen_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE worker ADD COLUMN ended_at BIGINT;
CREATE INDEX worker_alive ON worker (ended_at, seen_at);
";
