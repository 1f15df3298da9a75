//! The first schema. Times are milliseconds since the Unix epoch, ids are 64-bit.

use super::create;
use sea_orm_migration::prelude::*;

/// See the module.
#[derive(Debug)]
pub(super) struct First;

impl MigrationName for First {
    fn name(&self) -> &str {
        "m20261122_000001_first"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for First {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        create(manager, SCHEMA).await
    }
}

const SCHEMA: &str = "
CREATE TABLE staff (
    id {id},
    email TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    disabled BOOLEAN NOT NULL,
    failed_logins BIGINT NOT NULL,
    locked_until BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE session (
    token_hash TEXT PRIMARY KEY,
    staff_id BIGINT NOT NULL REFERENCES staff (id),
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE TABLE api_token (
    token_hash TEXT PRIMARY KEY,
    staff_id BIGINT NOT NULL REFERENCES staff (id),
    created_at BIGINT NOT NULL
);
CREATE TABLE member (
    id {id},
    member_no TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    kana TEXT NOT NULL,
    address TEXT,
    prefecture BIGINT,
    facility TEXT NOT NULL,
    duty TEXT NOT NULL,
    status TEXT NOT NULL,
    attributes TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE TABLE membership (
    member_id BIGINT NOT NULL REFERENCES member (id),
    fiscal_year BIGINT NOT NULL,
    PRIMARY KEY (member_id, fiscal_year)
);
CREATE INDEX membership_by_year ON membership (fiscal_year, member_id);
CREATE TABLE test_roster (
    member_id BIGINT PRIMARY KEY REFERENCES member (id),
    added_at BIGINT NOT NULL
);
CREATE TABLE roster_import (
    id {id},
    file_name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    mode TEXT NOT NULL,
    fiscal_year BIGINT NOT NULL,
    plan TEXT NOT NULL,
    actor TEXT NOT NULL,
    applied_at BIGINT NOT NULL
);
CREATE TABLE audience (
    id {id},
    name TEXT NOT NULL UNIQUE,
    filter TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
INSERT INTO audience (name, filter, created_at) VALUES ('all', '{}', 0);
CREATE TABLE questionnaire (
    id {id},
    body TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE TABLE exercise (
    id {id},
    title TEXT NOT NULL,
    nature TEXT NOT NULL,
    state TEXT NOT NULL,
    author_id BIGINT NOT NULL REFERENCES staff (id),
    idempotency_key TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT
);
CREATE TABLE broadcast (
    id {id},
    nature TEXT NOT NULL,
    state TEXT NOT NULL,
    author_id BIGINT NOT NULL REFERENCES staff (id),
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    audience TEXT NOT NULL,
    questionnaire_id BIGINT REFERENCES questionnaire (id),
    answers_to BIGINT,
    finish_by BIGINT,
    terms TEXT NOT NULL,
    digest TEXT,
    recipients BIGINT NOT NULL,
    held BIGINT NOT NULL,
    findings TEXT NOT NULL,
    signatures_required BIGINT NOT NULL,
    idempotency_key TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL,
    frozen_at BIGINT,
    released_at BIGINT,
    stopped_at BIGINT,
    completed_at BIGINT
);
CREATE INDEX broadcast_by_state ON broadcast (state, id);
CREATE INDEX broadcast_by_release ON broadcast (released_at);
CREATE TABLE inject (
    id {id},
    exercise_id BIGINT NOT NULL REFERENCES exercise (id),
    inject_key TEXT NOT NULL,
    seq BIGINT NOT NULL,
    title TEXT NOT NULL,
    offset_ms BIGINT NOT NULL,
    grace_ms BIGINT NOT NULL,
    subject TEXT NOT NULL,
    body TEXT NOT NULL,
    audience TEXT NOT NULL,
    questionnaire_id BIGINT REFERENCES questionnaire (id),
    state TEXT NOT NULL,
    broadcast_id BIGINT REFERENCES broadcast (id),
    UNIQUE (exercise_id, inject_key)
);
CREATE TABLE delivery (
    id {id},
    broadcast_id BIGINT NOT NULL REFERENCES broadcast (id),
    member_id BIGINT NOT NULL,
    member_no TEXT NOT NULL,
    address TEXT NOT NULL,
    prefecture BIGINT,
    fields TEXT NOT NULL,
    message_id TEXT NOT NULL,
    state TEXT NOT NULL,
    held_reason TEXT,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    lease_id BIGINT NOT NULL,
    lease_until BIGINT NOT NULL,
    smtp_code BIGINT,
    enhanced_code TEXT,
    reply TEXT,
    relay TEXT,
    submitted_at BIGINT,
    settled_at BIGINT,
    UNIQUE (broadcast_id, member_id)
);
CREATE INDEX delivery_due ON delivery (broadcast_id, state, due_at, id);
CREATE INDEX delivery_by_member ON delivery (member_id);
CREATE TABLE signature (
    broadcast_id BIGINT NOT NULL REFERENCES broadcast (id),
    staff_id BIGINT NOT NULL REFERENCES staff (id),
    digest TEXT NOT NULL,
    signed_at BIGINT NOT NULL,
    PRIMARY KEY (broadcast_id, staff_id)
);
CREATE TABLE response (
    broadcast_id BIGINT NOT NULL REFERENCES broadcast (id),
    member_id BIGINT NOT NULL,
    answers TEXT NOT NULL,
    first_answered_at BIGINT NOT NULL,
    answered_at BIGINT NOT NULL,
    PRIMARY KEY (broadcast_id, member_id)
);
CREATE TABLE member_request (
    id {id},
    kind TEXT NOT NULL,
    broadcast_id BIGINT NOT NULL,
    member_id BIGINT NOT NULL,
    state TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    UNIQUE (kind, member_id, state)
);
CREATE TABLE reply_mark (
    reply_id BIGINT PRIMARY KEY,
    staff_id BIGINT NOT NULL REFERENCES staff (id),
    read_at BIGINT NOT NULL
);
CREATE TABLE bounce_match (
    reply_id BIGINT PRIMARY KEY,
    broadcast_id BIGINT NOT NULL,
    member_id BIGINT NOT NULL,
    class TEXT NOT NULL,
    status TEXT,
    noted_at BIGINT NOT NULL
);
CREATE INDEX bounce_match_by_row ON bounce_match (broadcast_id, member_id);
CREATE TABLE staff_mail (
    id {id},
    kind TEXT NOT NULL,
    broadcast_id BIGINT NOT NULL,
    address TEXT NOT NULL,
    args TEXT NOT NULL,
    state TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    settled_at BIGINT,
    UNIQUE (kind, broadcast_id, address)
);
CREATE TABLE audit (
    id {id},
    at BIGINT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    detail TEXT NOT NULL,
    previous_hash TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE TABLE lock_row (
    name TEXT PRIMARY KEY
);
INSERT INTO lock_row (name) VALUES ('release'), ('audit');
CREATE TABLE worker (
    id {id},
    name TEXT NOT NULL,
    started_at BIGINT NOT NULL
);
";
