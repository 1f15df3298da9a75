//! Free fields of members have a kind: text, as they all were, date or number.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct FieldKinds;

const SCHEMA: &str = "
ALTER TABLE member_field ADD COLUMN kind TEXT NOT NULL DEFAULT 'text';
";

impl MigrationName for FieldKinds {
    fn name(&self) -> &str {
        "m20261128_000006_field_kinds"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for FieldKinds {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, SCHEMA).await
    }
}
