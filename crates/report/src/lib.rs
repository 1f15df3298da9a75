//! Read-only views over ledger, responses and replies: how an exercise stands, and what is said
//! about it afterwards. Figures come from rows; nothing here is estimated or remembered.

mod after_action;
mod csv_pages;
mod held_export;
mod ledger_export;
mod personal_data;
mod reply_export;
mod situation;

pub use after_action::{AfterAction, AnswerTimes, NoticeFigures, QuestionFigures, SheetFigures};
pub use csv_pages::{CsvLine, csv_headings, csv_page};
pub use held_export::{HeldExport, HeldLine};
pub use ledger_export::LedgerLine;
pub use personal_data::{
    AnswerLine, MemberRecord, NoticeRecord, PersonalData, PersonalDocument, ReplyRecord, RequestLine,
    SuppressionRecord,
};
pub use reply_export::{ReplyExport, ReplyLine};
pub use situation::{Asked, Situation};

/// Why a report cannot be drawn.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The core database.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The reply database.
    #[error(transparent)]
    ReplyBox(#[from] replybox::ReplyBoxError),
}
