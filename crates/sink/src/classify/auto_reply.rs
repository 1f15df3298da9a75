//! Out of office and its kin (RFC 3834).

use super::{Verdict, mime::Mail};
use domain::ReplyClass;

/// Subjects that only machines write, at their beginning.
const BEGINNINGS: &[&str] = &[
    "out of office",
    "out-of-office",
    "automatic reply",
    "auto reply",
    "auto-reply",
    "autoreply",
    "auto response",
    "auto-response",
    "autoresponse",
    "automated reply",
    "automatische antwort",
    "abwesenheitsnotiz",
    "réponse automatique",
    "absence du bureau",
    "respuesta automática",
    "risposta automatica",
    "resposta automática",
    "自動応答",
    "自動返信",
    "自動送信",
    "自動回答",
    "不在のお知らせ",
    "不在通知",
    "不在連絡",
    "不在のご連絡",
    "부재중",
    "자동 회신",
    "자동회신",
    "自动回复",
    "自動回覆",
];

/// The same, behind the subject that is answered.
const ENDS: &[&str] = &[
    "(automatic response)",
    "(out of office)",
    "(autoreply)",
    "(自動応答)",
    "（自動応答）",
    "(自動返信)",
    "（自動返信）",
];

/// Says so itself in its header.
pub(super) fn by_header(mail: &Mail) -> Option<Verdict> {
    let head = mail.head();
    let submitted = head.lower("auto-submitted");
    if !submitted.is_empty() && !submitted.starts_with("no") {
        return Some(Verdict::of(ReplyClass::AutoReply, "auto-submitted"));
    }
    let precedence = head.lower("precedence");
    let marked = head.has("x-autoreply")
        || head.has("x-autorespond")
        || head.has("x-autoresponder")
        || head.has("x-auto-reply-from")
        || precedence.starts_with("auto_reply")
        || precedence.starts_with("auto-reply")
        || head.lower("x-apple-action") == "vacation"
        || head.lower("x-ms-exchange-generated-message-source").contains("mailbox rules agent")
        || head.lower("x-mailer").contains("vacation");
    marked.then(|| Verdict::of(ReplyClass::AutoReply, "auto-header"))
}

/// Its subject is one that only machines write.
pub(super) fn by_subject(mail: &Mail) -> Option<Verdict> {
    let subject = mail.subject().to_lowercase();
    let subject = subject.trim_start_matches(['[', '【', '(', '（', '<', '＜', ' ']);
    let is_one = BEGINNINGS.iter().any(|word| subject.starts_with(word))
        || ENDS.iter().any(|word| subject.ends_with(word));
    is_one.then(|| Verdict::of(ReplyClass::AutoReply, "auto-subject"))
}

/// Nobody writes by hand from the null sender (RFC 5321 §4.5.5).
pub(super) fn by_null_sender(mail: &Mail) -> Option<Verdict> {
    mail.has_null_sender().then(|| Verdict::of(ReplyClass::AutoReply, "null-sender"))
}
