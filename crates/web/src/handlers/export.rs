//! CSV files that are written while they are read: a large ledger or the replies of a storm are more
//! than a process should hold.

use super::reply;
use bytes::Bytes;
use report::{CsvLine, CsvPages};
use std::{error::Error, future::Future, io};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::error;
use warp::reply::Response;

/// The mark makes spreadsheet programs read the file as UTF-8.
const MARK: &str = "\u{feff}";

/// Why a file broke off.
pub(super) type BrokenOff = Box<dyn Error + Send + Sync>;

/// A file that is being written.
pub(super) struct CsvFile {
    csv: CsvPages,
    pieces: mpsc::Sender<Result<Bytes, io::Error>>,
}

impl CsvFile {
    /// Adds lines, as soon as the reader has taken those before.
    pub(super) async fn add<L: CsvLine>(
        &mut self,
        lines: impl IntoIterator<Item = L>,
    ) -> Result<(), BrokenOff> {
        let page = self.csv.page(lines)?;
        // Whoever does not read any more is noticed by `csv`.
        self.pieces.send(Ok(Bytes::from(page))).await.ok();
        Ok(())
    }
}

/// A download of what `write` adds. A failure breaks it off, so that nobody takes a part for the whole.
pub(super) fn csv<W, F>(name: &str, write: W) -> Response
where
    W: FnOnce(CsvFile) -> F,
    F: Future<Output = Result<(), BrokenOff>> + Send + 'static,
{
    let (pieces, written) = mpsc::channel(1);
    let writing = write(CsvFile { csv: CsvPages::default(), pieces: pieces.clone() });
    tokio::spawn(async move {
        pieces.send(Ok(Bytes::from_static(MARK.as_bytes()))).await.ok();
        let done = tokio::select! {
            done = writing => done,
            () = pieces.closed() => Ok(()),
        };
        if let Err(problem) = done {
            error!(error = &*problem as &dyn Error, "an export broke off");
            pieces.send(Err(io::Error::other("the rows cannot be read"))).await.ok();
        }
    });
    reply::download_stream(ReceiverStream::new(written), name, "text/csv; charset=utf-8")
}
