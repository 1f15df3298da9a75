//! The envelope a mail came in: what mail servers wrote above it, for the sink to judge.

use mail_parser::{HeaderName, HeaderValue, MessageParser};

/// What servers write about the recipient they delivered to, the closest first. A server that
/// writes several at once means the same recipient.
const DELIVERED: [&str; 5] =
    ["Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Delivered-To"];
/// Of each source: more than an honest reply to several notices has, and fewer in all than the sink
/// lets anybody guess.
const RECIPIENTS_MAX: usize = 6;

/// Who sent a mail and which addresses of the reply domain it may have come for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    /// Empty where a mail system reports.
    pub(crate) sender: String,
    /// From whoever delivered it, from the servers that received it, and from its author: the
    /// first of them who names an address that the sink knows is believed.
    pub(crate) recipients: [Vec<String>; 3],
}

impl Envelope {
    /// Reads the headers of `mail` for addresses at `domain`.
    pub(crate) fn of(mail: &[u8], domain: &str) -> Self {
        let Some(head) = MessageParser::new().parse_headers(mail) else {
            return Self { sender: String::new(), recipients: Default::default() };
        };
        let found = |names: &[&str]| {
            let mut addresses = Vec::new();
            let headers =
                head.headers_raw().filter(|(name, _)| names.iter().any(|n| n.eq_ignore_ascii_case(name)));
            for address in headers.flat_map(|(_, value)| addresses_at(domain, value)) {
                if !addresses.contains(&address) && addresses.len() < RECIPIENTS_MAX {
                    addresses.push(address);
                }
            }
            addresses
        };
        let sources: [&[&str]; 3] = [&DELIVERED, &["Received"], &["To", "Cc"]];
        // The last server wrote it on top; others further down are a stranger's words.
        let return_path = head.headers_raw().find(|(name, _)| name.eq_ignore_ascii_case("Return-Path"));
        let sender = match return_path {
            Some((_, value)) => value.trim().trim_start_matches('<').trim_end_matches('>').to_owned(),
            None => first_author(head.header(HeaderName::From)),
        };
        Self {
            sender: if is_speakable(&sender) { sender } else { String::new() },
            recipients: sources.map(found),
        }
    }
}

fn first_author(from: Option<&HeaderValue<'_>>) -> String {
    let address = from.and_then(HeaderValue::as_address).and_then(|address| address.first());
    address.and_then(|address| address.address()).unwrap_or_default().to_owned()
}

/// Whether it can stand in `MAIL FROM:<…>` and nowhere else.
fn is_speakable(sender: &str) -> bool {
    sender.len() <= 320
        && !sender.contains(|c: char| c.is_control() || c.is_whitespace() || "<>\"\\".contains(c))
}

/// Every address at `domain` in a header's text. The local part of ours is letters and digits,
/// so nothing has to be unquoted.
fn addresses_at(domain: &str, text: &str) -> Vec<String> {
    let text = text.to_ascii_lowercase();
    let at_domain = format!("@{}", domain.to_ascii_lowercase());
    let belongs = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let mut found = Vec::new();
    for (at, _) in text.match_indices(&at_domain) {
        let rest = &text[at + at_domain.len()..];
        let goes_on =
            rest.trim_start_matches('.').starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
        let local = text[..at].rsplit(|c: char| !belongs(c)).next().unwrap_or_default();
        if !goes_on && !local.is_empty() {
            found.push(format!("{local}{at_domain}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(head: &str) -> (String, [Vec<String>; 3]) {
        let mail = format!("{}\r\n\r\nTo: body@reply.example.jp\r\n", head.trim_end());
        let Envelope { sender, recipients } = Envelope::of(mail.as_bytes(), "reply.example.jp");
        (sender, recipients)
    }

    #[test]
    fn who_delivered_it_goes_before_who_wrote_it() {
        let (sender, recipients) = envelope(
            "Return-Path: <hanako@docomo.ne.jp>\r\nDelivered-To: rented@provider.example\r\n\
             X-Original-To: TOKENA@Reply.Example.JP\r\n\
             Received: from mx by provider for <tokenb@reply.example.jp>; Sat, 28 Nov 2026\r\n\
             From: other@example.jp\r\nTo: \"x\" <tokenc@reply.example.jp>, all@example.jp",
        );
        assert_eq!(sender, "hanako@docomo.ne.jp");
        let [delivered, received, written] = recipients;
        assert_eq!(delivered, ["tokena@reply.example.jp"]);
        assert_eq!(received, ["tokenb@reply.example.jp"]);
        assert_eq!(written, ["tokenc@reply.example.jp"]);
    }

    #[test]
    fn a_server_that_writes_nothing_leaves_the_author_s_word() {
        let (sender, recipients) = envelope(
            "From: =?utf-8?B?6Iqx?= <hanako@example.jp>\r\nTo: a@reply.example.jp,\r\n b@reply.example.jp\r\n\
             Cc: a@reply.example.jp, c@reply.example.jp.evil.example, d@xreply.example.jp",
        );
        assert_eq!(sender, "hanako@example.jp");
        assert_eq!(recipients.concat(), ["a@reply.example.jp", "b@reply.example.jp"]);
    }

    #[test]
    fn a_report_has_no_sender_and_nothing_can_be_smuggled_into_the_dialogue() {
        assert_eq!(envelope("Return-Path: <>\r\nFrom: mailer-daemon@example.jp").0, "");
        for path in ["<a@b.jp> SIZE=1", "<a@b\r\n RCPT TO:<x@y>", "<a@b.jp\u{0}>", "<\"a b\"@c.jp>"] {
            assert_eq!(envelope(&format!("Return-Path: {path}\r\nFrom: a@b.jp")).0, "", "{path}");
        }
        assert!(envelope("Subject: nothing").1.concat().is_empty());
        assert!(Envelope::of(b"", "reply.example.jp").recipients.concat().is_empty());
    }
}
