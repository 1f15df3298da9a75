//! What is looked at before a broadcast starts, and how it opens: the comparison with the one
//! before, the operators' first copies, the canary batch.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct BeforeTheStart;

impl MigrationName for BeforeTheStart {
    fn name(&self) -> &str {
        "m20261127_000003_before_the_start"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for BeforeTheStart {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, SCHEMA).await
    }
}

const SCHEMA: &str = "
ALTER TABLE broadcast ADD COLUMN comparison TEXT;
ALTER TABLE broadcast ADD COLUMN opens_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE broadcast ADD COLUMN copies_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE broadcast ADD COLUMN canary_rows BIGINT NOT NULL DEFAULT 0;
ALTER TABLE broadcast ADD COLUMN canary_last BIGINT NOT NULL DEFAULT 0;
ALTER TABLE broadcast ADD COLUMN canary_until BIGINT NOT NULL DEFAULT 0;
";
