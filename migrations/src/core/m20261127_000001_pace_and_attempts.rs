//! Room in rate windows, over all processes; earlier attempts at a row.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct PaceAndAttempts;

impl MigrationName for PaceAndAttempts {
    fn name(&self) -> &str {
        "m20261127_000001_pace_and_attempts"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for PaceAndAttempts {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, SCHEMA).await
    }
}

const SCHEMA: &str = "
CREATE TABLE pace (
    delivery_id BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    domain TEXT NOT NULL,
    ended_at BIGINT NOT NULL,
    PRIMARY KEY (delivery_id, attempt)
);
CREATE INDEX pace_by_end ON pace (ended_at);
CREATE INDEX pace_by_domain ON pace (domain, ended_at);
INSERT INTO lock_row (name) VALUES ('pace');
CREATE TABLE attempt (
    delivery_id BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    state TEXT NOT NULL,
    smtp_code BIGINT,
    enhanced_code TEXT,
    reply TEXT,
    relay TEXT,
    submitted_at BIGINT,
    settled_at BIGINT,
    PRIMARY KEY (delivery_id, attempt)
);
";
