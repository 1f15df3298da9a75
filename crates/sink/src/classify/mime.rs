//! The parts of a mail, taken apart in linear time.
//!
//! # Security
//! Nesting bombs end at [`DEPTH_MAX`] and [`PARTS_MAX`], and only the first [`READ_OCTETS_MAX`]
//! are looked at. The walk is our own because mail-parser bounds neither nesting nor the search
//! for boundaries that never come; it sees single flat parts only, to decode them.

use super::{
    Sender,
    head::{Head, Lines, is_unseen, trim_end},
};
use mail_parser::MessageParser;

/// A bounce holds report, status and original: two levels; forwarded ones a few more.
const DEPTH_MAX: usize = 8;
/// More parts than any honest mail whose text matters.
const PARTS_MAX: usize = 64;
/// Text and reports stand in front of attachments.
const READ_OCTETS_MAX: usize = 1024 * 1024;
/// Larger texts are read up to here.
const TEXT_OCTETS_MAX: usize = 128 * 1024;
/// Texts of bounces without a standard: more parts than this say nothing new.
const TEXTS_MAX: usize = 8;
/// RFC 2046 §5.1.1 allows 70.
const BOUNDARY_OCTETS_MAX: usize = 200;

/// A mail taken apart, with its texts decoded.
pub(super) struct Mail<'a> {
    sender: Sender,
    parts: Vec<Part<'a>>,
    subject: String,
    from: String,
    text: String,
}

/// One part; the first is the mail itself.
pub(super) struct Part<'a> {
    pub(super) head: Head<'a>,
    /// Lower case, e.g. `text/plain`.
    pub(super) kind: String,
    body: &'a [u8],
    /// Inside a returned or forwarded mail.
    enclosed: bool,
}

impl<'a> Mail<'a> {
    pub(super) fn read(raw: &'a [u8], sender: Sender) -> Self {
        // Blank lines in front of the header are left behind by careless forwarding.
        let raw = raw[..raw.len().min(READ_OCTETS_MAX)].trim_ascii_start();
        let mut parts = Vec::new();
        walk(raw, 0, false, &mut parts);
        let (subject, from) =
            parts.first().map_or_else(Default::default, |p| (p.head.subject(), p.head.from()));
        let text = first_text(&parts);
        Self { sender, parts, subject, from, text }
    }

    pub(super) fn head(&self) -> &Head<'a> {
        &self.root().head
    }

    pub(super) fn root(&self) -> &Part<'a> {
        self.parts.first().expect("invariant: the mail itself is always a part")
    }

    /// Decoded, one line.
    pub(super) fn subject(&self) -> &str {
        &self.subject
    }

    /// Decoded, one line.
    pub(super) fn from(&self) -> &str {
        &self.from
    }

    /// What its writer wrote: the first text part that is no attachment and not inside another
    /// mail.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// All texts outside enclosed mails: what a machine reports may stand in any of them.
    pub(super) fn texts(&self) -> Vec<String> {
        let texts = self.parts.iter().filter(|part| part.is_text() && !part.enclosed);
        texts.take(TEXTS_MAX).map(Part::text).collect()
    }

    /// The first part of one of these kinds outside enclosed mails.
    pub(super) fn part(&self, kinds: &[&str]) -> Option<&Part<'a>> {
        self.parts.iter().find(|part| !part.enclosed && kinds.contains(&part.kind.as_str()))
    }

    /// Sent by a machine, as the envelope or its trace says (RFC 5321 §4.4, §4.5.5).
    pub(super) fn has_null_sender(&self) -> bool {
        match self.sender {
            Sender::Null => true,
            Sender::Named => false,
            Sender::Unknown => self.head().get("return-path").trim() == "<>",
        }
    }

    /// Answers or continues a conversation.
    pub(super) fn is_an_answer(&self) -> bool {
        let subject = self.subject.to_lowercase();
        self.head().has("in-reply-to")
            || self.head().has("references")
            || ["re:", "re：", "aw:", "sv:", "返信"].iter().any(|prefix| subject.starts_with(prefix))
    }
}

impl Part<'_> {
    /// The decoded text, line ends as LF, without other controls.
    pub(super) fn text(&self) -> String {
        let kind = if self.kind == "text/html" { "text/html" } else { "text/plain" };
        let charset = match parameter(&self.head.get("content-type"), "charset") {
            Some(given) => plain_word(&given),
            // Undeclared escape sequences: what old Japanese systems send.
            None if contains(self.body, b"\x1b$") => "iso-2022-jp".to_owned(),
            None => String::new(),
        };
        let encoding = plain_word(&self.head.get("content-transfer-encoding"));
        let mut flat = format!(
            "Content-Type: {kind}; charset=\"{charset}\"\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
        )
        .into_bytes();
        flat.extend_from_slice(&self.body[..self.body.len().min(TEXT_OCTETS_MAX)]);
        let decoded = MessageParser::default()
            .parse(&flat)
            .and_then(|mail| mail.body_text(0).map(|text| text.into_owned()))
            .unwrap_or_default();
        decoded.replace("\r\n", "\n").chars().filter(|c| matches!(c, '\n' | '\t') || !is_unseen(*c)).collect()
    }

    fn is_text(&self) -> bool {
        self.kind == "text/plain" || self.kind == "text/html"
    }

    fn is_attachment(&self) -> bool {
        self.head.lower("content-disposition").starts_with("attachment")
    }
}

fn walk<'a>(bytes: &'a [u8], depth: usize, enclosed: bool, parts: &mut Vec<Part<'a>>) {
    let (head, body) = Head::read(bytes);
    let content_type = head.get("content-type").into_owned();
    let kind = media_type(&content_type);
    let boundary = parameter(&content_type, "boundary");
    let is_mail = matches!(kind.as_str(), "message/rfc822" | "message/global" | "text/rfc822-headers");
    let multipart = kind.starts_with("multipart/");
    let children = match boundary.filter(|b| multipart && (1..=BOUNDARY_OCTETS_MAX).contains(&b.len())) {
        Some(boundary) => split(body, boundary.as_bytes()),
        None => Vec::new(),
    };
    // A multipart without parts is shown as the text it is.
    let kind = if multipart && children.is_empty() { "text/plain".to_owned() } else { kind };
    parts.push(Part { head, kind, body, enclosed });
    if depth >= DEPTH_MAX {
        return;
    }
    if is_mail {
        children_of(&[body], depth, true, parts);
    }
    children_of(&children, depth, enclosed, parts);
}

fn children_of<'a>(children: &[&'a [u8]], depth: usize, enclosed: bool, parts: &mut Vec<Part<'a>>) {
    for child in children {
        if parts.len() >= PARTS_MAX {
            return;
        }
        walk(child, depth + 1, enclosed, parts);
    }
}

/// The parts between `--boundary` lines (RFC 2046 §5.1.1), at most [`PARTS_MAX`].
fn split<'a>(body: &'a [u8], boundary: &[u8]) -> Vec<&'a [u8]> {
    let mut found = Vec::new();
    let mut start = None;
    let mut at = 0;
    for line in (Lines { rest: body }) {
        let after = trim_end(line).strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary));
        let closes = after.is_some_and(|rest| rest.trim_ascii_end() == b"--");
        if closes || after.is_some_and(|rest| rest.trim_ascii_end().is_empty()) {
            if let Some(start) = start.replace(at + line.len()) {
                found.push(&body[start..at]);
            }
            if closes || found.len() >= PARTS_MAX {
                return found;
            }
        }
        at += line.len();
    }
    // Cut off before its end: the rest is the last part.
    found.extend(start.map(|start| &body[start..]));
    found
}

fn first_text(parts: &[Part<'_>]) -> String {
    let readable = || parts.iter().filter(|part| !part.enclosed && !part.is_attachment());
    let plain = readable().filter(|part| part.kind == "text/plain").take(TEXTS_MAX).map(Part::text);
    let html = readable().filter(|part| part.kind == "text/html").take(TEXTS_MAX).map(Part::text);
    plain.chain(html).find(|text| !text.trim().is_empty()).unwrap_or_default()
}

/// `text/plain` where nothing is said (RFC 2045 §5.2).
fn media_type(content_type: &str) -> String {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind.contains('/') { kind } else { "text/plain".to_owned() }
}

/// A parameter of a Content-Type, quoted or not.
fn parameter(content_type: &str, name: &str) -> Option<String> {
    let mut rest = content_type;
    while let Some(at) = rest.find(';') {
        rest = rest[at + 1..].trim_start();
        let (key, value) = rest.split_once('=')?;
        if key.trim().eq_ignore_ascii_case(name) {
            let value = value.trim_start();
            return Some(match value.strip_prefix('"') {
                Some(quoted) => quoted.split('"').next().unwrap_or_default().to_owned(),
                None => value.split([';', ' ', '\t']).next().unwrap_or_default().to_owned(),
            });
        }
    }
    None
}

/// A charset or encoding name, safe to place into a header.
fn plain_word(text: &str) -> String {
    text.trim().chars().take_while(|c| c.is_ascii_alphanumeric() || "-_.:+".contains(*c)).take(40).collect()
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn text_of(raw: &[u8]) -> String {
        Mail::read(raw, Sender::Unknown).text().to_owned()
    }

    #[test]
    fn the_writers_text_is_found_among_the_parts() {
        let raw = b"Content-Type: multipart/mixed; boundary=\"x y\"\r\n\r\npreamble\r\n--x y\r\n\
            Content-Type: multipart/alternative;\r\n boundary=in\r\n\r\n--in\r\n\
            Content-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$BL5;v\x1b(B\r\n--in\r\n\
            Content-Type: text/html\r\n\r\n<p>html</p>\r\n--in--\r\n--x y\r\n\
            Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner text\r\n--x y--\r\n";
        assert_eq!(text_of(raw).trim(), "無事");
        let mail = Mail::read(raw, Sender::Unknown);
        assert!(mail.texts().iter().all(|text| !text.contains("inner")));
    }

    #[test]
    fn html_alone_is_read_as_text() {
        let raw =
            b"Content-Type: text/html\r\n\r\n<style>p{}</style><p>safe &amp; sound</p><script>x</script>";
        assert_eq!(text_of(raw).trim(), "safe & sound");
    }

    #[test]
    fn a_broken_multipart_is_shown_as_text() {
        assert_eq!(text_of(b"Content-Type: multipart/mixed\r\n\r\nhello").trim(), "hello");
        assert_eq!(text_of(b"Content-Type: multipart/mixed; boundary=q\r\n\r\nhello").trim(), "hello");
        assert_eq!(text_of(b"").trim(), "");
    }

    #[test]
    fn nesting_bombs_are_read_in_bounded_time() {
        let mut deep = Vec::new();
        for level in 0..20_000 {
            deep.extend_from_slice(
                format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n--b{level}\r\n").as_bytes(),
            );
        }
        let enclosed = b"Content-Type: message/rfc822\r\n\r\n".repeat(30_000);
        let many = [
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n".to_vec(),
            b"--b\r\nContent-Type: multipart/mixed; boundary=never\r\n\r\nx\r\n".repeat(15_000),
        ]
        .concat();
        let base64 = [b"Content-Transfer-Encoding: base64\r\n\r\n".to_vec(), vec![b'A'; 5_000_000]].concat();
        let begun = Instant::now();
        for bomb in [deep, enclosed, many, base64] {
            let mail = Mail::read(&bomb, Sender::Unknown);
            assert!(mail.parts.len() <= PARTS_MAX);
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "took {:?}", begun.elapsed());
    }
}
