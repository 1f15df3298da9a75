//! Reports that are not about delivery: abuse (RFC 5965), receipts (RFC 8098), DMARC and TLS
//! statistics (RFC 7489, RFC 8460).

use super::{Verdict, mime::Mail};
use domain::ReplyClass;

/// A report, where the mail is one.
pub(super) fn read(mail: &Mail) -> Option<Verdict> {
    if let Some(part) = mail.part(&["message/feedback-report"]) {
        return Some(feedback(&part.text()));
    }
    if mail.part(&["message/disposition-notification", "message/global-disposition-notification"]).is_some() {
        return Some(Verdict::of(ReplyClass::Other, "receipt"));
    }
    let content_type = mail.head().lower("content-type");
    let statistics = content_type.contains("tlsrpt")
        || mail.part(&["application/tlsrpt+gzip", "application/tlsrpt+json"]).is_some()
        || (mail.subject().to_lowercase().starts_with("report domain:")
            && mail.part(&["application/zip", "application/gzip", "application/x-gzip"]).is_some());
    if statistics {
        return Some(Verdict::of(ReplyClass::Other, "statistics"));
    }
    // Outlook.com's older programme encloses the mail and marks it so.
    let outlook = mail.head().has("x-hmxmroriginalrecipient")
        || mail.subject().to_lowercase().starts_with("complaint about message from");
    outlook.then(|| Verdict::of(ReplyClass::Complaint, "abuse"))
}

/// The report's type; whatever is not named as harmless is a complaint.
fn feedback(report: &str) -> Verdict {
    let kind = report.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("feedback-type").then(|| value.trim().to_ascii_lowercase())
    });
    match kind.as_deref() {
        Some("auth-failure" | "authfailure" | "dmarc") => Verdict::of(ReplyClass::Other, "auth-failure"),
        Some("not-spam") => Verdict::of(ReplyClass::Other, "not-spam"),
        Some("opt-out" | "opt-out-list") => Verdict::of(ReplyClass::Complaint, "opt-out"),
        Some("fraud") => Verdict::of(ReplyClass::Complaint, "fraud"),
        Some("virus") => Verdict::of(ReplyClass::Complaint, "virus"),
        _ => Verdict::of(ReplyClass::Complaint, "abuse"),
    }
}
