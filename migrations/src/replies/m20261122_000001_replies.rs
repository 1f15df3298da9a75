//! Replies and bounces as they arrived, with what was read in them at that moment.

use sea_orm_migration::{
    prelude::*,
    schema::{big_integer, big_pk_auto, blob, text, text_null},
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &str {
        "m20261122_000001_replies"
    }
}

#[derive(DeriveIden)]
enum Reply {
    Table,
    Id,
    ReceivedAt,
    BroadcastId,
    MemberId,
    TokenKind,
    EnvelopeFrom,
    Peer,
    Class,
    Reason,
    Status,
    Subject,
    FromHeader,
    BodyText,
    Size,
    Sha256,
    Raw,
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // `raw` stands last: SQLite then reads every other column without touching its pages.
        let table = Table::create()
            .table(Reply::Table)
            .col(big_pk_auto(Reply::Id))
            .col(big_integer(Reply::ReceivedAt))
            .col(big_integer(Reply::BroadcastId))
            .col(big_integer(Reply::MemberId))
            .col(text(Reply::TokenKind))
            .col(text(Reply::EnvelopeFrom))
            .col(text(Reply::Peer))
            .col(text(Reply::Class))
            .col(text_null(Reply::Reason))
            .col(text_null(Reply::Status))
            .col(text(Reply::Subject))
            .col(text(Reply::FromHeader))
            .col(text(Reply::BodyText))
            .col(big_integer(Reply::Size))
            .col(text(Reply::Sha256))
            .col(blob(Reply::Raw))
            .to_owned();
        manager.create_table(table).await?;
        // Lists go backwards by id, within a class or a broadcast; retention goes by time.
        index(manager, "reply_class_id", [Reply::Class, Reply::Id]).await?;
        index(manager, "reply_broadcast_id", [Reply::BroadcastId, Reply::Id]).await?;
        index(manager, "reply_received_at", [Reply::ReceivedAt]).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Reply::Table).to_owned()).await
    }
}

async fn index<const N: usize>(
    manager: &SchemaManager<'_>,
    name: &str,
    columns: [Reply; N],
) -> Result<(), DbErr> {
    let mut index = Index::create().name(name).table(Reply::Table).to_owned();
    for column in columns {
        index.col(column.into_iden());
    }
    manager.create_index(index).await
}
