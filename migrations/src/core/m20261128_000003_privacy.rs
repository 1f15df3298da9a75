//! Erasing a person: what is under way, what a later roster must not bring back, and which rows of
//! the ledger no longer hold what was frozen.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct Privacy;

impl MigrationName for Privacy {
    fn name(&self) -> &str {
        "m20261128_000003_privacy"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Privacy {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, SCHEMA).await
    }
}

const SCHEMA: &str = "
CREATE TABLE erased (
    key TEXT PRIMARY KEY,
    what TEXT NOT NULL,
    erased_at BIGINT NOT NULL
);
CREATE TABLE erasure (
    member_id BIGINT PRIMARY KEY,
    request_id BIGINT,
    asked_by TEXT NOT NULL,
    asked_at BIGINT NOT NULL,
    core_done_at BIGINT,
    replies_done_at BIGINT,
    files_done_at BIGINT
);
CREATE INDEX erasure_under_way ON erasure (files_done_at, asked_at);
ALTER TABLE delivery ADD COLUMN cleared_at BIGINT;
ALTER TABLE broadcast ADD COLUMN cleared_at BIGINT;
";
