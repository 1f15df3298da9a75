//! A wish to receive nothing more, or to be erased. It opens a request; it does nothing itself.

use super::{Verdict, mime::Mail};
use domain::ReplyClass;

/// Longer texts say more than a wish; a person reads them.
const WISH_CHARS_MAX: usize = 300;

/// Of these, the wish to be erased: more than to receive nothing.
const ERASURES: &[&str] = &[
    "個人情報の削除",
    "個人情報を削除",
    "個人情報削除",
    "個人データの削除",
    "データを削除して",
    "登録を削除",
    "delete my data",
    "delete my personal",
];

const WISHES: &[&str] = &[
    "配信停止",
    "配信を停止",
    "配信の停止",
    "配信を止め",
    "配信をやめ",
    "配信解除",
    "配信不要",
    "配信は不要",
    "登録解除",
    "登録を解除",
    "メールを止め",
    "メールは不要",
    "送らないで",
    "送信しないで",
    "退会したい",
    "退会を希望",
    "退会希望",
    "退会します",
    "退会いたします",
    "退会手続",
    "個人情報の削除",
    "個人情報を削除",
    "個人データの削除",
    "データを削除して",
    "登録を削除",
    "unsubscribe",
    "remove me",
    "opt me out",
    "opt out",
    "stop sending me",
    "take me off",
    "delete my data",
    "delete my personal",
];

/// A subject that is nothing but the wish, as one-tap buttons send it.
pub(super) fn in_subject(mail: &Mail) -> Option<Verdict> {
    let subject = mail.subject().to_lowercase();
    let subject = subject.trim().trim_matches(['【', '】', '[', ']', '。', '.', '!', ' ']);
    let whole = subject == "unsubscribe"
        || subject == "stop"
        || subject == "remove"
        || ["配信停止", "退会", "登録解除", "個人情報の削除", "個人情報削除"].iter().any(|wish| {
            subject.strip_prefix(wish).is_some_and(|rest| {
                ["", "希望", "依頼", "のお願い", "のご依頼", "したい", "の依頼", "申請", "届", "願い", "請求"]
                    .contains(&rest)
            })
        });
    whole.then(|| verdict_on(subject))
}

/// A short text, the quoted original taken off, that says so. Lines with links are footers.
pub(super) fn in_text(body_text: &str) -> Option<Verdict> {
    if body_text.chars().count() > WISH_CHARS_MAX {
        return None;
    }
    let text = body_text.to_lowercase();
    let footer = |line: &str| ["http", "mailto:", "こちら"].iter().any(|sign| line.contains(sign));
    let own = text.lines().filter(|line| !line.trim_start().starts_with('>') && !footer(line));
    let wishes: Vec<&str> = own.filter(|line| WISHES.iter().any(|wish| line.contains(wish))).collect();
    (!wishes.is_empty()).then(|| verdict_on(&wishes.join("\n")))
}

fn verdict_on(wish: &str) -> Verdict {
    let erasure = ERASURES.iter().any(|words| wish.contains(words));
    Verdict::of(ReplyClass::Unsubscribe, if erasure { "erasure" } else { "wish" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_wish_is_seen_and_a_footer_or_a_long_letter_is_not() {
        assert!(in_text("今後の配信停止をお願いします。").is_some());
        assert!(in_text("Please unsubscribe me").is_some());
        let both = in_text("配信を停止してください。\n個人情報の削除もお願いします。").expect("a wish");
        assert_eq!(both.reason, Some("erasure"), "the wish that asks for more");
        assert!(in_text("無事です。").is_none());
        assert!(in_text("無事です。\n配信停止はこちら https://example.jp/u").is_none());
        assert!(in_text(&format!("{}退会したい", "長い話。".repeat(100))).is_none());
    }
}
