//! Imports are planned in the database: a file of any size passes through in batches, and what it
//! would change can be looked at, and confirmed by a second person, before it is written. The registry
//! gains a revision, and members what they are searched by and the key of their mailbox.

use super::create;
use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

/// See the module.
#[derive(Debug)]
pub(super) struct Imports;

// The registry writes finer search texts; until a member is imported again this one serves.
const SCHEMA: &str = "
ALTER TABLE member ADD COLUMN mailbox TEXT {bytewise};
ALTER TABLE member ADD COLUMN search TEXT {bytewise} NOT NULL DEFAULT '';
UPDATE member SET mailbox = lower(address),
    search = substr(lower(replace(replace(
        member_no || '|' || name || '|' || kana || '|' || facility, ' ', ''), '　', '')), 1, 600);
CREATE INDEX member_by_mailbox ON member (mailbox);
CREATE INDEX member_by_search ON member (search);
CREATE TABLE registry_state (
    id BIGINT PRIMARY KEY,
    revision BIGINT NOT NULL
);
INSERT INTO registry_state (id, revision) VALUES (1, 1);
ALTER TABLE broadcast ADD COLUMN registry_revision BIGINT;
CREATE TABLE member_field (
    name TEXT PRIMARY KEY
);
CREATE TABLE column_meaning (
    heading TEXT PRIMARY KEY,
    meaning TEXT NOT NULL
);
CREATE TABLE import_plan (
    id {id},
    file_name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    mode TEXT NOT NULL,
    fiscal_year BIGINT NOT NULL,
    state TEXT NOT NULL,
    registry_revision BIGINT NOT NULL,
    report TEXT NOT NULL,
    problem TEXT,
    actor TEXT NOT NULL,
    confirmed_by TEXT,
    import_id BIGINT,
    created_at BIGINT NOT NULL
);
CREATE TABLE import_row (
    plan_id BIGINT NOT NULL REFERENCES import_plan (id),
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
    plan_id BIGINT NOT NULL REFERENCES import_plan (id),
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

impl MigrationName for Imports {
    fn name(&self) -> &str {
        "m20261128_000002_imports"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Imports {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, SCHEMA).await?;
        let names = match manager.get_database_backend() {
            DbBackend::Postgres => "SELECT DISTINCT jsonb_object_keys(CAST(attributes AS jsonb)) FROM member",
            _ => "SELECT DISTINCT e.key FROM member m, json_each(m.attributes) e",
        };
        let text = format!("INSERT INTO member_field (name) {names}");
        manager.get_connection().execute_unprepared(&text).await.map(|_| ())
    }
}
