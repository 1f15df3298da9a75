//! Files that are written while they are read: a large ledger or the replies of a storm are more than a
//! process should hold.

use super::reply;
use bytes::Bytes;
use report::{CsvLine, csv_headings, csv_page};
use std::{error::Error, future::Future, io, marker::PhantomData};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::error;
use warp::reply::Response;

/// The mark makes spreadsheet programs read the file as UTF-8.
const MARK: &str = "\u{feff}";

/// Why a file broke off.
pub(super) type BrokenOff = Box<dyn Error + Send + Sync>;

/// A file that is being written.
#[derive(Clone)]
pub(super) struct Pieces(mpsc::Sender<Result<Bytes, io::Error>>);

impl Pieces {
    /// Adds a piece, as soon as the reader has taken the one before.
    pub(super) async fn add(&self, piece: impl Into<Bytes>) {
        // Whoever does not read any more is noticed by `file`.
        self.0.send(Ok(piece.into())).await.ok();
    }
}

/// A file of such lines.
pub(super) struct CsvFile<L> {
    pieces: Pieces,
    lines: PhantomData<L>,
}

impl<L: CsvLine> CsvFile<L> {
    /// Adds lines.
    pub(super) async fn add(&self, lines: impl IntoIterator<Item = L>) -> Result<(), BrokenOff> {
        self.pieces.add(csv_page(lines)?).await;
        Ok(())
    }
}

/// A download of the lines that `write` adds, below their headings.
pub(super) fn csv<L, W, F>(name: &str, write: W) -> Response
where
    L: CsvLine,
    W: FnOnce(CsvFile<L>) -> F,
    F: Future<Output = Result<(), BrokenOff>> + Send + 'static,
{
    file(name, "text/csv; charset=utf-8", |pieces| {
        let headings = csv_headings::<L>();
        let lines = write(CsvFile { pieces: pieces.clone(), lines: PhantomData });
        async move {
            pieces.add(MARK).await;
            pieces.add(headings?).await;
            lines.await
        }
    })
}

/// A download of what `write` adds. A failure breaks it off, so that nobody takes a part for the whole.
pub(super) fn file<W, F>(name: &str, content_type: &'static str, write: W) -> Response
where
    W: FnOnce(Pieces) -> F,
    F: Future<Output = Result<(), BrokenOff>> + Send + 'static,
{
    let (pieces, written) = mpsc::channel(1);
    let writing = write(Pieces(pieces.clone()));
    tokio::spawn(async move {
        let done = tokio::select! {
            done = writing => done,
            () = pieces.closed() => Ok(()),
        };
        if let Err(problem) = done {
            error!(error = &*problem as &dyn Error, "an export broke off");
            pieces.send(Err(io::Error::other("the rest cannot be read"))).await.ok();
        }
    });
    reply::download_stream(ReceiverStream::new(written), name, content_type)
}
