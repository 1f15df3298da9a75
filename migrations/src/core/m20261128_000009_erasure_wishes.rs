//! Whoever asked to be erased gets nothing meanwhile because the erasure says so. It was written down a
//! second time beside it, which would outlast a withdrawal.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct ErasureWishes;

const SCHEMA: &str = "
DELETE FROM suppression WHERE kind = 'erasure' AND member_id IN
    (SELECT member_id FROM erasure WHERE core_done_at IS NULL AND asked_by <> 'scheduler');
";

impl MigrationName for ErasureWishes {
    fn name(&self) -> &str {
        "m20261128_000009_erasure_wishes"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for ErasureWishes {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, SCHEMA).await
    }
}
