//! How often the end of a member's number was typed wrong.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct Proofs;

const SCHEMA: &str = "
CREATE TABLE proof (
    member_id BIGINT PRIMARY KEY,
    failed BIGINT NOT NULL,
    since BIGINT NOT NULL
);
";

impl MigrationName for Proofs {
    fn name(&self) -> &str {
        "m20261128_000004_proofs"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Proofs {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, SCHEMA).await
    }
}
