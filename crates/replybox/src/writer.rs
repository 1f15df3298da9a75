//! The one that writes. A commit costs a wait for the disk whatever it holds, so the mails that
//! arrive during one share the next; each is told what became of its own rows.

use crate::{
    Use, error, open,
    reply::NewReply,
    row::{Entity, to_row},
};
use domain::ReplyId;
use sea_orm::{
    ConnAcquireErr, DatabaseConnection, DbErr, EntityTrait, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

/// As many as a commit holds, and as wait for the next one before their sessions do.
const MAILS_MAX: usize = 128;
/// A database that has not committed by then has gone without saying so; the peers keep the mails
/// and come back, and what was committed after all is there twice.
const COMMIT_MAX: Duration = Duration::from_secs(30);

type Stored = Result<Vec<ReplyId>, DbErr>;

/// The rows of one mail, and who waits for them to be durable.
struct Mail {
    rows: Vec<NewReply>,
    tell: oneshot::Sender<Stored>,
}

/// Hands mails to the task that writes, which ends with the last of its handles.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    mails: mpsc::Sender<Mail>,
}

impl Writer {
    /// For the database at `url`, which is opened when there is something to write.
    pub(crate) fn start(url: Arc<str>, busy_timeout: Duration) -> Self {
        let (mails, arriving) = mpsc::channel(MAILS_MAX);
        tokio::spawn(Desk { url, busy_timeout, connection: None }.write(arriving));
        Self { mails }
    }

    /// All rows or none; durable when this returns. A caller that does not wait for the answer
    /// leaves a mail behind that may still be stored.
    pub(crate) async fn store(&self, rows: Vec<NewReply>) -> Stored {
        let (tell, told) = oneshot::channel();
        let gone = || DbErr::Custom("the writer of replies has ended".to_owned());
        self.mails.send(Mail { rows, tell }).await.map_err(|_| gone())?;
        told.await.map_err(|_| gone())?
    }
}

/// Where it writes: the one connection that does.
struct Desk {
    url: Arc<str>,
    busy_timeout: Duration,
    /// None after any failure. Seen on a full disk: SQLite has rolled back by itself, the
    /// connection counts as inside the transaction, and what follows is committed to nothing.
    connection: Option<DatabaseConnection>,
}

impl Desk {
    async fn write(mut self, mut arriving: mpsc::Receiver<Mail>) {
        let mut mails = Vec::with_capacity(MAILS_MAX);
        while arriving.recv_many(&mut mails, MAILS_MAX).await > 0 {
            let together = self.commit(&mails).await;
            // What ails the database ails every mail. What ails one, or the room for all of them
            // at once, must not cost the others.
            let alone = mails.len() > 1 && together.as_ref().is_err_and(error::may_be_one_mail_s);
            let mut ids = together.as_ref().map(|ids| ids.as_slice()).unwrap_or_default();
            for mail in mails.drain(..) {
                let stored = if alone {
                    self.commit(std::slice::from_ref(&mail)).await
                } else {
                    let (own, rest) = ids.split_at_checked(mail.rows.len()).unwrap_or_default();
                    ids = rest;
                    together.as_ref().map(|_| own.to_vec()).map_err(DbErr::clone)
                };
                // A session that has gone asks nobody any more.
                mail.tell.send(stored).ok();
            }
        }
    }

    /// The ids of all rows, in order, once they are durable.
    async fn commit(&mut self, mails: &[Mail]) -> Stored {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => open(&self.url, 1, self.busy_timeout, Use::Write).await?,
        };
        let committed = timeout(COMMIT_MAX, commit(&connection, mails)).await;
        let stored = committed.unwrap_or(Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)));
        if stored.is_ok() {
            self.connection = Some(connection);
        }
        stored
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place of this crate that begins transactions")]
async fn commit(connection: &DatabaseConnection, mails: &[Mail]) -> Stored {
    let mode = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    let tx = connection.begin_with_options(mode).await?;
    let mut ids = Vec::new();
    for reply in mails.iter().flat_map(|mail| &mail.rows) {
        ids.push(ReplyId::new(Entity::insert(to_row(reply)).exec(&tx).await?.last_insert_id));
    }
    tx.commit().await?;
    Ok(ids)
}
