//! What the demonstration shows of its own captured mail. The executable implements it; a real
//! installation has none, and the pages under `/demo/` do not exist there.

use domain::Timestamp;

/// One captured mail, for the list.
#[derive(Debug, Clone)]
pub struct DemoMail {
    /// Number in order of arrival, from 1.
    pub seq: u64,
    /// When the capture relay took it.
    pub at: Timestamp,
    /// The envelope recipient.
    pub to: String,
    /// Decoded subject.
    pub subject: String,
    /// Path of the personal answer page, e.g. `/r/TOKEN`, where the mail has one.
    pub answer: Option<String>,
}

/// One captured mail in full.
#[derive(Debug, Clone)]
pub struct DemoMailFull {
    /// As in the list.
    pub mail: DemoMail,
    /// Header field names and decoded values, in order.
    pub headers: Vec<(String, String)>,
    /// Decoded text part.
    pub text: String,
}

/// The capture relay's mailbox.
pub trait DemoMailbox: Send + Sync + 'static {
    /// The latest mails, newest first, at most `limit`.
    fn recent(&self, limit: usize) -> Vec<DemoMail>;
    /// One mail.
    fn get(&self, seq: u64) -> Option<DemoMailFull>;
}
