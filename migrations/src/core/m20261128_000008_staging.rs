//! What an import stages goes as a whole: without a reference to its plan SQLite forgets a table at once.
//! Plans that wait are made again.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct Staging;

const SCHEMA: &str = "
UPDATE import_plan SET state = 'failed', problem = '{\"code\":\"interrupted\"}'
    WHERE state IN ('reading', 'planned');
DROP TABLE import_row;
DROP TABLE import_member;
CREATE TABLE import_row (
    plan_id BIGINT NOT NULL,
    line BIGINT NOT NULL,
    member_no TEXT {bytewise},
    fiscal_year BIGINT,
    code TEXT,
    about TEXT,
    notes TEXT NOT NULL,
    cells TEXT NOT NULL,
    PRIMARY KEY (plan_id, line)
);
CREATE INDEX import_row_by_member ON import_row (plan_id, member_no, fiscal_year, line);
CREATE TABLE import_member (
    plan_id BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    change TEXT NOT NULL,
    line BIGINT NOT NULL,
    keeps_mailbox BOOLEAN NOT NULL,
    shares_with TEXT,
    is_current BOOLEAN NOT NULL,
    member_id BIGINT,
    years TEXT NOT NULL,
    differences TEXT NOT NULL,
    member_no TEXT {bytewise} NOT NULL,
    name TEXT NOT NULL,
    kana TEXT NOT NULL,
    address TEXT,
    mailbox TEXT {bytewise},
    prefecture BIGINT,
    facility TEXT NOT NULL,
    duty TEXT NOT NULL,
    status TEXT NOT NULL,
    attributes TEXT NOT NULL,
    search TEXT {bytewise} NOT NULL,
    PRIMARY KEY (plan_id, seq)
);
CREATE INDEX import_member_by_number ON import_member (plan_id, member_no);
CREATE INDEX import_member_by_mailbox ON import_member (plan_id, mailbox);
CREATE INDEX import_member_by_change ON import_member (plan_id, change, seq);
";

impl MigrationName for Staging {
    fn name(&self) -> &str {
        "m20261128_000008_staging"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Staging {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, SCHEMA).await
    }
}
