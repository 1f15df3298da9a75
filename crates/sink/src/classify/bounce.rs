//! Bounces of systems that follow no standard: qmail, Exim, carriers, webmail.

use super::{
    Verdict,
    failure::{Failure, Numbers},
    mime::Mail,
};

/// Where the returned original begins in a report without MIME parts.
const ORIGINAL_MARKS: &[&str] = &[
    "--- below this line is a copy of the message",
    "this is a copy of the message",
    "copy of your message",
    "original message follows",
    "original message ----",
    "unsent message follows",
    "unsent message below",
    "message header follows",
    "message headers follow",
    "text of your message",
    "your message follows",
    "\nreceived:",
    "\nreturn-path:",
    "\n> received:",
    "original message:\n",
    "元のメッセージ",
    "--- 元のメール",
];

/// Parts that hold the returned mail or its header.
const ORIGINAL_KINDS: &[&str] = &["message/rfc822", "message/global", "text/rfc822-headers"];

const NOT_DELIVERED: &[&str] = &["could not be delivered", "送信できませんでした", "配信できませんでした"];

const DAEMONS: &[&str] = &[
    "mailer-daemon",
    "mailer daemon",
    "mailerdaemon",
    "mail-daemon",
    "mail daemon",
    "postmaster",
    "mail delivery",
    "mail-delivery",
    "delivery subsystem",
    "mail administrator",
    "bounce@",
    "bounces@",
];

const SUBJECTS: &[&str] = &[
    "delivery status notification",
    "delivery failure",
    "delivery warning",
    "メールエラー",
    "delivery report",
    "delivery has failed",
    "delivery error",
    "delivery notification",
    "undeliver",
    "undelivered mail",
    "returned mail",
    "returned to sender",
    "mail delivery failed",
    "mail delivery failure",
    "mail delivery problem",
    "mail system error",
    "mail failure",
    "message delivery failure",
    "message could not be delivered",
    "failure notice",
    "failure delivery",
    "non-delivery",
    "nondeliverable",
    "could not send message",
    "warning: message",
    "user unknown",
    "配信不能",
    "配信エラー",
    "配信できません",
    "送信エラー",
    "送信できません",
    "宛先不明",
    "不達",
];

/// A report of a failed delivery, where sender or subject make it one.
pub(super) fn read(mail: &Mail) -> Option<Verdict> {
    if !looks_like_one(mail) {
        return None;
    }
    let words = report_text(mail);
    let failure = Failure::read(None, &words);
    let says_something =
        failure.reason.is_some() || failure.status.is_some() || Numbers::find(&words).code.is_some();
    let is_certain = has_subject(mail) || is_from(mail, &["mailer-daemon"]) || returns_original(mail, &words);
    (says_something || is_certain).then(|| Verdict::bounce(failure))
}

/// Its sender is a mail system, or a machine whose words speak of delivery.
pub(super) fn looks_like_one(mail: &Mail) -> bool {
    let by_machine = mail.has_null_sender()
        || mail.root().kind == "multipart/report"
        || mail.part(ORIGINAL_KINDS).is_some();
    mail.head().has("x-failed-recipients")
        || (is_from(mail, DAEMONS) && !person_answers(mail))
        || (has_subject(mail) && by_machine)
        || returns_original(mail, &report_text(mail))
}

fn is_from(mail: &Mail, names: &[&str]) -> bool {
    let from = mail.head().lower("from");
    names.iter().any(|name| from.contains(name))
}

/// Gives the original back, says that it could not be delivered, and is no person's address.
fn returns_original(mail: &Mail, words: &str) -> bool {
    let unattended = mail.has_null_sender() || is_from(mail, &["no-reply@", "noreply@", "no_reply@"]);
    unattended && mail.part(ORIGINAL_KINDS).is_some() && NOT_DELIVERED.iter().any(|said| words.contains(said))
}

/// What the mail system itself says, in lower case, without the original it returns.
pub(super) fn report_text(mail: &Mail) -> String {
    let text = format!("{}\n{}", mail.subject(), mail.texts().join("\n")).to_lowercase();
    let end = ORIGINAL_MARKS.iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    text[..end].to_owned()
}

fn has_subject(mail: &Mail) -> bool {
    let subject = mail.subject().to_lowercase();
    SUBJECTS.iter().any(|word| subject.contains(word)) && !person_answers(mail)
}

/// A postmaster who writes back is a person.
fn person_answers(mail: &Mail) -> bool {
    mail.subject().to_lowercase().starts_with("re:") && !mail.has_null_sender()
}
