//! Delivery status notifications by the book (RFC 3464, RFC 6533).

use super::{
    Verdict,
    failure::{AFTER_DATA, Failure},
    mime::Mail,
};
use domain::ReplyClass;

/// Reports about more recipients than this are none of ours: a notice has one.
const BLOCKS_MAX: usize = 50;

/// One recipient's block.
#[derive(Default)]
struct Recipient {
    action: String,
    status: Option<String>,
    diagnostic: String,
}

/// A report about a failed, delayed or successful delivery, where the mail has one.
pub(super) fn read(mail: &Mail) -> Option<Verdict> {
    let part = mail.part(&["message/delivery-status", "message/global-delivery-status"])?;
    let recipients = blocks(&part.text());
    let verdicts: Vec<Verdict> = recipients.iter().filter_map(|recipient| judge(recipient, mail)).collect();
    let hard = verdicts.iter().position(|v| v.class == ReplyClass::BounceHard);
    let soft = verdicts.iter().position(|v| v.class == ReplyClass::BounceSoft);
    verdicts.into_iter().nth(hard.or(soft).unwrap_or(0))
}

fn judge(recipient: &Recipient, mail: &Mail) -> Option<Verdict> {
    let class_4 = recipient.status.as_deref().is_some_and(|status| status.starts_with('4'));
    match recipient.action.as_str() {
        "delivered" | "relayed" | "expanded" => Some(Verdict::of(ReplyClass::Other, "delivered")),
        "delayed" => Some(Verdict {
            class: ReplyClass::BounceSoft,
            reason: Some("delayed"),
            status: recipient.status.clone(),
        }),
        "" if recipient.status.is_none() => None,
        _ => {
            // Where the report has no words of the far server, the text for people may.
            let text = super::bounce::report_text(mail);
            let words = if recipient.diagnostic.is_empty() && !class_4 {
                text
            } else if text.split_whitespace().collect::<Vec<_>>().join(" ").contains(AFTER_DATA) {
                // Postfix says when it was refused only to people.
                format!("{} ({AFTER_DATA})", recipient.diagnostic)
            } else {
                recipient.diagnostic.clone()
            };
            Some(Verdict::bounce(Failure::read(recipient.status.as_deref(), &words)))
        }
    }
}

/// The blocks of the report; the first is about the message and has no action.
fn blocks(text: &str) -> Vec<Recipient> {
    let mut found = vec![Recipient::default()];
    let mut last_field = String::new();
    for line in text.lines() {
        let current = found.last_mut().expect("invariant: never empty");
        if line.trim().is_empty() {
            if !current.action.is_empty() || current.status.is_some() {
                if found.len() >= BLOCKS_MAX {
                    break;
                }
                found.push(Recipient::default());
            }
            last_field.clear();
        } else if line.starts_with([' ', '\t']) {
            if last_field == "diagnostic-code" {
                current.diagnostic.push(' ');
                current.diagnostic.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            last_field = name.trim().to_ascii_lowercase();
            current.take(&last_field, value.trim());
        }
    }
    found
}

/// RFC 3463 §2, generously: some systems leave a number out.
fn could_be_status(word: &str) -> bool {
    (1..="5.999.999".len()).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

impl Recipient {
    fn take(&mut self, field: &str, value: &str) {
        let first_word = || value.split([' ', '(', ';']).next().unwrap_or_default();
        match field {
            "action" => self.action = first_word().to_ascii_lowercase(),
            "status" => {
                self.status = Some(first_word()).filter(|word| could_be_status(word)).map(str::to_owned)
            }
            "diagnostic-code" => {
                let words = value.split_once(';').map_or(value, |(_, words)| words);
                self.diagnostic = words.trim().to_owned();
            }
            _ => {}
        }
    }
}
