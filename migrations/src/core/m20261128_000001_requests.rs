//! What members and mail systems ask for, settled by a person, and whom nothing is sent to. Requests
//! move to a table in which the same wish may come again after the first one was settled; the old
//! table goes in a later version.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct Requests;

const SCHEMA: &str = "
CREATE TABLE request (
    id {id},
    kind TEXT NOT NULL,
    broadcast_id BIGINT NOT NULL,
    member_id BIGINT NOT NULL,
    reply_id BIGINT,
    opened_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    settled_at BIGINT
);
CREATE UNIQUE INDEX request_open ON request (kind, member_id) WHERE state = 'open';
CREATE UNIQUE INDEX request_of_reply ON request (reply_id) WHERE reply_id IS NOT NULL;
CREATE INDEX request_by_member ON request (member_id, id);
INSERT INTO request (kind, broadcast_id, member_id, opened_at, state)
    SELECT kind, broadcast_id, member_id, opened_at, state FROM member_request;
CREATE TABLE suppression (
    member_id BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,
    address TEXT,
    since BIGINT NOT NULL
);
CREATE TABLE triage_progress (
    id BIGINT PRIMARY KEY,
    seen_reply_id BIGINT NOT NULL
);
INSERT INTO triage_progress (id, seen_reply_id) SELECT 1, COALESCE(MAX(reply_id), 0) FROM bounce_match;
";

impl MigrationName for Requests {
    fn name(&self) -> &str {
        "m20261128_000001_requests"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for Requests {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, SCHEMA).await
    }
}
