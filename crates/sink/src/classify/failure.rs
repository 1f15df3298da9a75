//! What a failed delivery's words mean: is the address bad, or may it work tomorrow?
//!
//! Only what certainly speaks of a bad address or host is hard, because a hard bounce proposes
//! to stop writing to a member. Words are looked at before numbers: many systems send 5.0.0 or
//! 550 for everything.

use domain::ReplyClass;

/// A failure, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) class: ReplyClass,
    pub(super) reason: Option<&'static str>,
    pub(super) status: Option<String>,
}

/// Words and what they mean, in the order in which they are looked for: what is not the
/// address's fault comes first.
const WORDS: &[(&str, ReplyClass, &[&str])] = &[
    ("mailbox-full", ReplyClass::BounceSoft, MAILBOX_FULL),
    ("too-large", ReplyClass::BounceSoft, TOO_LARGE),
    ("policy", ReplyClass::BounceSoft, POLICY),
    ("user-unknown", ReplyClass::BounceHard, USER_UNKNOWN),
    ("host-unknown", ReplyClass::BounceHard, HOST_UNKNOWN),
    ("expired", ReplyClass::BounceSoft, EXPIRED),
];

/// The address was taken and the mail was not: a filter spoke. Carriers then say "unknown user".
pub(super) const AFTER_DATA: &str = "in reply to end of data";

const MAILBOX_FULL: &[&str] = &[
    "full mailbox",
    "メールボックスが一杯",
    "mailbox full",
    "mailbox is full",
    "mailbox exceeds",
    "mail box full",
    "quota",
    "over limit",
    "exceeded storage",
    "storage limit",
    "insufficient system storage",
    "insufficient disk",
    "not enough storage",
    "no space left",
    "too many messages",
    "メールボックスがいっぱい",
    "容量を超え",
    "容量が一杯",
    "容量オーバー",
];
const TOO_LARGE: &[&str] =
    &["message too large", "message size exceeds", "size limit", "too big", "exceeds maximum message size"];
const POLICY: &[&str] = &[
    "sender rejected",
    "sender address rejected",
    "sender denied",
    "junk",
    "receiving mail at a rate",
    "spam",
    "blacklist",
    "blocklist",
    "block list",
    "dnsbl",
    "blocked",
    "reputation",
    "spf",
    "dkim",
    "dmarc",
    "ptr record",
    "reverse dns",
    "policy",
    "relay",
    "not permitted",
    "not authorized",
    "authentication",
    "virus",
    "content rejected",
    "rejected by content",
    "access denied",
    "greylist",
    "too many connections",
    "rate limit",
    "throttl",
    "tls",
    "受信拒否",
    "迷惑メール",
];
const USER_UNKNOWN: &[&str] = &[
    "user unknown",
    "unknown user",
    "unknown recipient",
    "unknown local",
    "unknown address",
    "unknown or illegal alias",
    "recipient unknown",
    "address unknown",
    "no such user",
    "no valid recipient",
    "not a valid user",
    "name is not recognized",
    "no such recipient",
    "no such mailbox",
    "no such address",
    "no such person",
    "no such account",
    "no mailbox here",
    "no user",
    "not a known user",
    "not a valid",
    "not listed",
    "does not exist",
    "doesn't exist",
    "not found",
    "does not have an account",
    "doesn't have a",
    "invalid recipient",
    "invalid mailbox",
    "invalid address",
    "invalid user",
    "bad destination mailbox",
    "bad address",
    "mailbox unavailable",
    "mailbox not available",
    "unrouteable address",
    "undeliverable address",
    "user doesn't",
    "has moved",
    "no longer",
    "not our customer",
    "宛先不明",
    "宛先が不明",
    "ユーザーが見つかりません",
    "アドレスが見つかりません",
    "アドレスは存在しません",
    "存在しない",
    "存在しません",
];
const HOST_UNKNOWN: &[&str] = &[
    "host unknown",
    "unknown host",
    "unknown domain",
    "domain unknown",
    "host not found",
    "domain not found",
    "name or service not known",
    "name service error",
    "no such domain",
    "no such host",
    "nxdomain",
    "bad destination host",
    "does not accept mail",
    "domain is not reachable",
    "ドメインが見つかりません",
];
const EXPIRED: &[&str] = &[
    "expired",
    "timed out",
    "timeout",
    "time out",
    "connection refused",
    "too long",
    "delayed",
    "has not yet been delivered",
    "retry",
    "try again",
    "temporar",
    "network",
    "loop",
    "too many hops",
];

impl Failure {
    /// From a report's status and the words of the far server.
    pub(super) fn read(status: Option<&str>, words: &str) -> Self {
        // Reports wrap lines in the middle of a phrase.
        let words = words.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
        let told = Numbers::find(&words);
        // The far server's own status is closer to the cause than the reporter's summary.
        let general = |status: &&str| status.ends_with(".0.0");
        let status = told
            .enhanced
            .as_deref()
            .filter(|s| !general(s))
            .or(status.filter(|s| !general(s)))
            .or(status)
            .or(told.enhanced.as_deref());
        if words.contains(AFTER_DATA) {
            let status = status.map(str::to_owned);
            return Self { class: ReplyClass::BounceSoft, reason: Some("filtered"), status };
        }
        let by_words = WORDS.iter().find(|(_, _, list)| list.iter().any(|word| words.contains(word)));
        let by_number = status.and_then(by_status);
        let (class, reason) = match (by_number, by_words) {
            // 4.x: its sender goes on trying or gave up for now, whatever the words.
            (Some(ReplyClass::BounceSoft), Some((reason, ReplyClass::BounceSoft, _))) => {
                (ReplyClass::BounceSoft, Some(*reason))
            }
            (Some(class), _) => (class, by_words.filter(|w| w.1 == class).map(|w| w.0)),
            (None, Some((reason, class, _))) => (*class, Some(*reason)),
            (None, None) => (told.code.map_or(ReplyClass::BounceSoft, by_code), None),
        };
        Self { class, reason, status: status.map(str::to_owned) }
    }
}

/// RFC 3463: what the subject and detail say, where they say something.
fn by_status(status: &str) -> Option<ReplyClass> {
    let mut parts = status.split('.');
    let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
    match (class, subject, detail) {
        ("4", _, _) => Some(ReplyClass::BounceSoft),
        ("5", "1", "7" | "8") => Some(ReplyClass::BounceSoft),
        // A domain that takes no mail (RFC 7505); some say so in the code for the sender's.
        ("5", "1", "0") | ("5", "7", "27") => None,
        ("5", "1", _) | ("5", "4", "4") => Some(ReplyClass::BounceHard),
        // Said for anything, also for unknown users.
        ("5", "3" | "5", "0") | ("5", "2", "0" | "1") => None,
        ("5", "2" | "3" | "5" | "6" | "7", _) => Some(ReplyClass::BounceSoft),
        ("5", "4", "6" | "7") => Some(ReplyClass::BounceSoft),
        _ => None,
    }
}

/// RFC 5321 §4.2.3, where nothing else is said.
fn by_code(code: u16) -> ReplyClass {
    match code {
        550 | 551 | 553 => ReplyClass::BounceHard,
        _ => ReplyClass::BounceSoft,
    }
}

/// The first SMTP code and the first enhanced status in a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) code: Option<u16>,
    pub(super) enhanced: Option<String>,
}

impl Numbers {
    pub(super) fn find(text: &str) -> Self {
        let mut found = Self::default();
        let words =
            text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.')).filter(|word| !word.is_empty());
        for word in words {
            let word = word.trim_matches('.');
            if found.code.is_none() && is_code(word) {
                found.code = word.parse().ok();
            } else if found.enhanced.is_none() && is_enhanced(word) {
                found.enhanced = Some(word.to_owned());
            }
            if found.code.is_some() && found.enhanced.is_some() {
                break;
            }
        }
        found
    }
}

fn is_code(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() == 3
        && matches!(bytes[0], b'4' | b'5')
        && matches!(bytes[1], b'0'..=b'5')
        && bytes[2].is_ascii_digit()
}

/// RFC 3463 §2, classes 4 and 5.
pub(super) fn is_enhanced(word: &str) -> bool {
    let mut parts = word.split('.');
    let number = |part: Option<&str>| {
        part.is_some_and(|p| (1..=3).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_digit()))
    };
    matches!(parts.next(), Some("4" | "5"))
        && number(parts.next())
        && number(parts.next())
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(status: Option<&str>, words: &str) -> ReplyClass {
        Failure::read(status, words).class
    }

    #[test]
    fn a_bad_address_is_hard_and_everything_that_may_pass_is_soft() {
        use ReplyClass::{BounceHard, BounceSoft};
        for (status, words, expected) in [
            (Some("5.1.1"), "550 5.1.1 User unknown", BounceHard),
            (Some("5.0.0"), "550 <x>... No such user", BounceHard),
            (Some("5.0.0"), "550 5.2.2 mailbox is over quota", BounceSoft),
            (Some("5.1.2"), "", BounceHard),
            (Some("5.2.2"), "", BounceSoft),
            (Some("5.7.1"), "550 message looks like spam", BounceSoft),
            (Some("5.1.1"), "550 5.7.1 IP address blacklisted", BounceSoft),
            (Some("5.5.0"), "550 Unknown\n user", BounceHard),
            (Some("5.0.0"), "550 Unknown user x@docomo.ne.jp (in reply to end of DATA command)", BounceSoft),
            (Some("4.4.1"), "host not found", BounceSoft),
            (Some("5.7.27"), "550 Host does not accept mail", BounceHard),
            (Some("5.5.0"), "554 the domain is not reachable", BounceHard),
            (None, "宛先不明です", BounceHard),
            (None, "550 no", BounceHard),
            (None, "552 no", BounceSoft),
            (None, "", BounceSoft),
        ] {
            assert_eq!(class(status, words), expected, "{status:?} {words}");
        }
    }

    #[test]
    fn numbers_are_found_between_other_signs() {
        let found = Numbers::find("said: 550-5.1.1 <a@b>, 10.5.0.1 port 255, 1550");
        assert_eq!(found, Numbers { code: Some(550), enhanced: Some("5.1.1".to_owned()) });
        assert_eq!(Numbers::find("in 2055 there were 600 of 5.1"), Numbers::default());
    }
}
