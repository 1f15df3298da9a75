//! The table `reply` and its way into the domain.

use crate::{ArrivedBy, NewReply, ReplyBoxError, ReplySummary, StoredReply};
use data_encoding::HEXLOWER;
use domain::{BroadcastId, MemberId, ReplyId, Timestamp};
use sea_orm::{ActiveValue::NotSet, FromQueryResult, Set, entity::prelude::*};
use sha2::{Digest, Sha256};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reply")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub id: i64,
    pub received_at: i64,
    pub broadcast_id: i64,
    pub member_id: i64,
    pub token_kind: String,
    pub envelope_from: String,
    pub peer: String,
    pub class: String,
    pub reason: Option<String>,
    pub status: Option<String>,
    pub subject: String,
    pub from_header: String,
    pub body_text: String,
    pub size: i64,
    pub sha256: String,
    pub raw: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Everything of a row but the raw mail; `excerpt` takes the place of the text.
#[derive(FromQueryResult)]
pub(crate) struct SummaryRow {
    id: i64,
    received_at: i64,
    broadcast_id: i64,
    member_id: i64,
    token_kind: String,
    envelope_from: String,
    peer: String,
    class: String,
    reason: Option<String>,
    status: Option<String>,
    subject: String,
    from_header: String,
    excerpt: String,
    size: i64,
}

/// The columns of [`SummaryRow`] that come straight from the table.
pub(crate) const SUMMARY_COLUMNS: [Column; 13] = [
    Column::Id,
    Column::ReceivedAt,
    Column::BroadcastId,
    Column::MemberId,
    Column::TokenKind,
    Column::EnvelopeFrom,
    Column::Peer,
    Column::Class,
    Column::Reason,
    Column::Status,
    Column::Subject,
    Column::FromHeader,
    Column::Size,
];

/// The row to insert. PostgreSQL refuses NUL in text, and a stranger may send one in any header.
pub(crate) fn to_row(reply: &NewReply) -> ActiveModel {
    let clean = |text: &str| text.replace('\0', "\u{fffd}");
    ActiveModel {
        id: NotSet,
        received_at: Set(reply.received_at.millis()),
        broadcast_id: Set(reply.broadcast.get()),
        member_id: Set(reply.member.get()),
        token_kind: Set(reply.arrived_by.as_str().to_owned()),
        envelope_from: Set(clean(&reply.envelope_from)),
        peer: Set(clean(&reply.peer)),
        class: Set(reply.class.as_str().to_owned()),
        reason: Set(reply.reason.as_deref().map(clean)),
        status: Set(reply.status.as_deref().map(clean)),
        subject: Set(clean(&reply.subject)),
        from_header: Set(clean(&reply.from_header)),
        body_text: Set(clean(&reply.body_text)),
        size: Set(i64::try_from(reply.raw.len()).unwrap_or(i64::MAX)),
        sha256: Set(HEXLOWER.encode(&Sha256::digest(&reply.raw))),
        raw: Set(reply.raw.to_vec()),
    }
}

impl TryFrom<SummaryRow> for ReplySummary {
    type Error = ReplyBoxError;

    fn try_from(row: SummaryRow) -> Result<Self, Self::Error> {
        let corrupt = |column| ReplyBoxError::Corrupt { column, row: row.id };
        Ok(Self {
            id: ReplyId::new(row.id),
            received_at: Timestamp::from_millis(row.received_at),
            broadcast: BroadcastId::new(row.broadcast_id),
            member: MemberId::new(row.member_id),
            arrived_by: ArrivedBy::from_word(&row.token_kind).ok_or_else(|| corrupt("token_kind"))?,
            class: row.class.parse().map_err(|_| corrupt("class"))?,
            size: u64::try_from(row.size).map_err(|_| corrupt("size"))?,
            envelope_from: row.envelope_from,
            peer: row.peer,
            reason: row.reason,
            status: row.status,
            subject: row.subject,
            from_header: row.from_header,
            excerpt: row.excerpt,
        })
    }
}

impl TryFrom<Model> for StoredReply {
    type Error = ReplyBoxError;

    fn try_from(row: Model) -> Result<Self, Self::Error> {
        let excerpt = row.body_text.chars().take(ReplySummary::EXCERPT_CHARS as usize).collect();
        let summary = ReplySummary::try_from(SummaryRow {
            id: row.id,
            received_at: row.received_at,
            broadcast_id: row.broadcast_id,
            member_id: row.member_id,
            token_kind: row.token_kind,
            envelope_from: row.envelope_from,
            peer: row.peer,
            class: row.class,
            reason: row.reason,
            status: row.status,
            subject: row.subject,
            from_header: row.from_header,
            excerpt,
            size: row.size,
        })?;
        Ok(Self { summary, body_text: row.body_text, sha256: row.sha256, raw: row.raw })
    }
}
