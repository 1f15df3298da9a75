//! What came back, as people and scripts take it away: one line per reply.

use crate::{ReportError, csv_pages::CsvLine};
use domain::{ReplyId, spreadsheet_safe};
use replybox::{ReplyBox, ReplyFilter, ReplySummary};
use store::Store;

/// One reply. `member_no` and `name` are those whose address of ours it came to (empty where they
/// are no longer in the registry), not proof of who wrote it; the time is RFC 3339 with
/// milliseconds.
#[derive(Debug, Clone, Default, serde::Serialize)]
#[expect(missing_docs, reason = "the columns of the export")]
pub struct ReplyLine {
    pub id: i64,
    pub received_at: String,
    pub broadcast: i64,
    pub member_no: String,
    pub name: String,
    pub class: String,
    pub reason: Option<String>,
    pub status: Option<String>,
    pub from: String,
    pub subject: String,
    pub text: String,
}

impl CsvLine for ReplyLine {
    fn spreadsheet_safe(mut self) -> Self {
        for cell in [&mut self.member_no, &mut self.name, &mut self.from, &mut self.subject, &mut self.text] {
            *cell = spreadsheet_safe(cell);
        }
        for cell in [&mut self.reason, &mut self.status].into_iter().flatten() {
            *cell = spreadsheet_safe(cell);
        }
        self
    }
}

/// Replies with the members they came for, page by page, the oldest first.
#[derive(Debug)]
pub struct ReplyExport<'a> {
    store: &'a Store,
    replies: &'a ReplyBox,
    filter: ReplyFilter,
    seen: ReplyId,
}

impl<'a> ReplyExport<'a> {
    /// Of the replies that `filter` lets through.
    #[must_use]
    pub fn new(store: &'a Store, replies: &'a ReplyBox, filter: ReplyFilter) -> Self {
        Self { store, replies, filter, seen: ReplyId::new(0) }
    }

    /// The next lines; none at the end.
    ///
    /// # Errors
    /// [`ReportError`], where a database cannot be read.
    pub async fn next_page(&mut self) -> Result<Vec<ReplyLine>, ReportError> {
        let mut lines = Vec::new();
        while lines.is_empty() {
            let page = self.replies.after_in_full(self.seen).await?;
            let Some(last) = page.last() else { break };
            self.seen = last.id;
            for reply in page.into_iter().filter(|reply| self.filter.lets_through(reply)) {
                lines.push(self.line(reply).await?);
            }
        }
        Ok(lines)
    }

    async fn line(&self, summary: ReplySummary) -> Result<ReplyLine, ReportError> {
        let member = self.store.member(summary.member).await?.map(|known| known.member.data);
        let (member_no, name) =
            member.map(|data| (data.member_no.to_string(), data.name)).unwrap_or_default();
        Ok(ReplyLine {
            id: summary.id.get(),
            received_at: summary.received_at.to_rfc3339(),
            broadcast: summary.broadcast.get(),
            member_no,
            name,
            class: summary.class.to_string(),
            reason: summary.reason,
            status: summary.status,
            from: summary.from_header,
            subject: summary.subject,
            text: summary.excerpt,
        })
    }
}
