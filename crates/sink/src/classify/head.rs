//! A header block, field by field.
//!
//! # Security
//! Header text is hostile: only the first 128 KiB and 1,000 fields are looked at, and what is
//! decoded for display is one bounded line without controls.

use mail_parser::MessageParser;
use std::borrow::Cow;

/// Mail systems refuse headers of this size (Postfix: 100 kB); what lies beyond is not read.
const HEAD_OCTETS_MAX: usize = 128 * 1024;
/// Far above what honest mail has, even after many hops.
const FIELDS_MAX: usize = 1_000;
/// RFC 5322 §2.1.1: one full line. Longer display texts only push others off the page.
const DISPLAY_CHARS_MAX: usize = 998;

/// The fields of one header block, in order.
#[derive(Default)]
pub(super) struct Head<'a> {
    fields: Vec<(String, Cow<'a, [u8]>)>,
}

impl<'a> Head<'a> {
    /// Reads the block at the start of `bytes`; returns it and the octets after its blank line.
    pub(super) fn read(bytes: &'a [u8]) -> (Self, &'a [u8]) {
        let mut head = Self::default();
        let mut lines = Lines { rest: bytes };
        let mut read = 0;
        while let Some(line) = lines.next() {
            let text = trim_end(line);
            if text.is_empty() {
                return (head, lines.rest);
            }
            read += line.len();
            if read > HEAD_OCTETS_MAX || head.fields.len() >= FIELDS_MAX {
                return (head, after_blank_line(lines.rest));
            }
            head.take_line(text);
        }
        (head, &[])
    }

    fn take_line(&mut self, line: &'a [u8]) {
        if line.starts_with(b" ") || line.starts_with(b"\t") {
            if let Some((_, value)) = self.fields.last_mut() {
                let value = value.to_mut();
                value.extend_from_slice(b" ");
                value.extend_from_slice(line.trim_ascii_start());
            }
            return;
        }
        // An mbox `From ` line has no colon directly behind a name without spaces.
        let Some(colon) = line.iter().position(|b| *b == b':') else { return };
        let name = line[..colon].trim_ascii_end();
        if !name.is_empty() && name.iter().all(u8::is_ascii_graphic) {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            self.fields.push((name, Cow::Borrowed(line[colon + 1..].trim_ascii())));
        }
    }

    /// The first field of that lower-case name, as text; empty where there is none.
    pub(super) fn get(&self, name: &str) -> Cow<'_, str> {
        self.bytes(name).map_or(Cow::Borrowed(""), |value| String::from_utf8_lossy(value))
    }

    /// As [`Head::get`], in lower case.
    pub(super) fn lower(&self, name: &str) -> String {
        self.get(name).to_ascii_lowercase()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.bytes(name).is_some()
    }

    /// The decoded subject, for display.
    pub(super) fn subject(&self) -> String {
        let Some(value) = self.bytes("subject") else { return String::new() };
        let decoded = decode(b"Subject: ", value, |mail| mail.subject().map(str::to_owned));
        one_line(&decoded)
    }

    /// The decoded From as `name <address>`, for display.
    pub(super) fn from(&self) -> String {
        let Some(value) = self.bytes("from") else { return String::new() };
        let decoded = decode(b"From: ", value, |mail| {
            let first = mail.from()?.first()?;
            match (first.name(), first.address()) {
                (Some(name), Some(address)) => Some(format!("{name} <{address}>")),
                (name, address) => name.or(address).map(str::to_owned),
            }
        });
        one_line(&decoded)
    }

    fn bytes(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_ref())
    }
}

/// How many fields of that lower-case name stand in the header at the start of `raw`. Reads the
/// whole header, however long.
pub(super) fn count(raw: &[u8], name: &str) -> usize {
    Lines { rest: raw }
        .take_while(|line| !trim_end(line).is_empty())
        .filter(|line| {
            line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name.as_bytes()))
                && line[name.len()..].trim_ascii_start().starts_with(b":")
        })
        .count()
}

/// Lets the parser decode one field; a field it cannot decode is shown as it stands.
fn decode(
    name: &[u8],
    value: &[u8],
    pick: impl FnOnce(&mail_parser::Message<'_>) -> Option<String>,
) -> String {
    let field = [name, value, b"\r\n\r\n"].concat();
    MessageParser::default()
        .parse_headers(&field)
        .and_then(|mail| pick(&mail))
        .unwrap_or_else(|| String::from_utf8_lossy(value).into_owned())
}

/// Without anything that could break a line or turn the text around it.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if is_unseen(c) { ' ' } else { c })
        .take(DISPLAY_CHARS_MAX)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// Controls, line and paragraph separators, directional overrides and isolates.
pub(super) fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Lines with their LF.
pub(super) struct Lines<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.iter().position(|b| *b == b'\n').map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        Some(line)
    }
}

/// Without the line end.
pub(super) fn trim_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn after_blank_line(bytes: &[u8]) -> &[u8] {
    let mut lines = Lines { rest: bytes };
    while let Some(line) = lines.next() {
        if trim_end(line).is_empty() {
            return lines.rest;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_unfolded_and_decoded() {
        let raw = b"From x@y Mon Jan  1\r\nSUBJECT: =?ISO-2022-JP?B?GyRCNzE6UhsoQg==?=\r\n =?utf-8?q?=E3=81=82?=\r\n\
            From: =?utf-8?B?6Iqx5a2Q?= <a@b.jp>\r\n\r\nbody";
        let (head, body) = Head::read(raw);
        assert_eq!(body, b"body");
        assert_eq!(head.subject(), "訓災あ");
        assert_eq!(head.from(), "花子 <a@b.jp>");
    }

    #[test]
    fn display_texts_hold_no_controls_and_no_overrides() {
        let raw = "Subject: a\u{202e}b\u{1b}[31m =?utf-8?q?=0D=0ABcc:_x?=\r\n\r\n";
        let (head, _) = Head::read(raw.as_bytes());
        let subject = head.subject();
        assert!(!subject.chars().any(is_unseen), "{subject:?}");
    }

    #[test]
    fn hops_are_counted_in_the_header_only() {
        let raw = "Received: a\r\nreceived : b\r\nReceivedX: c\r\n\r\nReceived: d\r\n";
        assert_eq!(count(raw.as_bytes(), "received"), 2);
    }

    #[test]
    fn a_header_of_a_megabyte_is_read_in_part() {
        let raw = [vec![b'a'; 1_000_000], b"\r\nSubject: late\r\n\r\nbody".to_vec()].concat();
        let (head, body) = Head::read(&raw);
        assert_eq!((head.subject().as_str(), body), ("", b"body".as_slice()));
    }
}
