//! A notice as its reader sees it, and the mails that come back on it.
//!
//! What comes back is what members' programs really send: ISO-2022-JP and UTF-8, the original
//! quoted below, carriers' addresses with dots in a row unquoted, delivery reports by RFC 3464.
//!
//! # Security
//! Reads any mail the relay was handed. Addresses and ids that are not plain are not used, so
//! nothing from a mail can start a second header or command.

use super::post::Outgoing;
use data_encoding::{BASE64, BASE64_MIME};
use domain::Timestamp;
use encoding_rs::ISO_2022_JP;
use mail_parser::{Message, MessageParser};

/// Lines of the original quoted below a reply, and their length: enough to look like one.
const QUOTED_LINES_MAX: usize = 12;
const QUOTED_CHARS_MAX: usize = 120;
/// Octets of the original's header returned with a bounce.
const RETURNED_OCTETS_MAX: usize = 8 * 1024;
/// RFC 2047 §2 limits an encoded word to 75 octets; ten characters fit in either charset.
const WORD_CHARS: usize = 10;

const REPLIES: [&str; 8] = [
    "訓練の案内、受け取りました。病棟に共有します。",
    "お疲れさまです。当日は夜勤明けのため、回答が遅れるかもしれません。",
    "回答ページは携帯電話からでも大丈夫でしょうか。",
    "所属が変わりました。登録の変更はどちらに連絡すればよいですか。",
    "これは訓練ですよね？念のため確認させてください。",
    "職場の連絡網にも流してよいか、教えてください。",
    "安否を回答しました。届いているか確認をお願いします。",
    "電話番号が変わりました。新しい番号は090-0000-0000です。",
];
const REPLIES_TO_ALL: [&str; 3] = [
    "皆さま、お疲れさまです。私の病棟は全員無事の想定です。",
    "全員に返信で失礼します。集合場所は昨年と同じでしょうか。",
    "了解しました。当日はどうぞよろしくお願いいたします。",
];
const AWAY: [(&str, &str); 2] = [
    (
        "自動応答: ",
        "ただいま不在にしております。戻り次第ご連絡いたします。\r\n※このメールは自動で送信されています。",
    ),
    ("【不在】", "休暇をいただいております。お急ぎの場合は職場の代表電話へお願いします。"),
];
const COLLEAGUES: [&str; 5] = [
    "sato.hanako@colleague.example.com",
    "suzuki.ichiro@colleague.example.com",
    "tanaka.yumi@colleague.example.com",
    "ito.kenji@colleague.example.com",
    "honbu-all@colleague.example.com",
];

/// A notice as one recipient has it.
#[derive(Debug)]
pub(super) struct Letter {
    /// As in the envelope.
    pub(super) recipient: String,
    /// Without angle brackets; something else that names the mail where it has none.
    pub(super) message_id: String,
    /// The first personal link in the text.
    pub(super) link: Option<String>,
    return_path: Option<String>,
    reply_to: Option<String>,
    reader: Option<String>,
    subject: String,
    text: String,
    header: Vec<u8>,
}

impl Letter {
    /// Reads a mail; `None` where it is none.
    pub(super) fn read(raw: &[u8], return_path: &str, recipient: &str) -> Option<Self> {
        let mail = MessageParser::default().parse(raw)?;
        let text = mail.body_text(0).map(|text| text.into_owned()).unwrap_or_default();
        Some(Self {
            recipient: recipient.to_owned(),
            message_id: message_id(&mail, raw),
            link: personal_link(&text),
            return_path: plain_address(return_path),
            reply_to: mail
                .reply_to()
                .and_then(|to| to.first())
                .and_then(|to| to.address())
                .and_then(plain_address),
            reader: mail.to().and_then(|to| to.first()).and_then(|to| to.name()).map(str::to_owned),
            subject: mail.subject().unwrap_or_default().to_owned(),
            text,
            header: header_of(raw),
        })
    }

    /// Whether both a reply and a bounce have somewhere to go.
    pub(super) fn can_be_answered_by_mail(&self) -> bool {
        self.reply_to.is_some() && self.return_path.is_some()
    }

    /// The member's address as their own program writes it: carriers' dots without quotes.
    fn own_address(&self) -> String {
        match self.recipient.strip_prefix('"').and_then(|rest| rest.split_once("\"@")) {
            Some((local, domain)) => format!("{local}@{domain}"),
            None => self.recipient.clone(),
        }
    }

    fn quoted(&self) -> String {
        let lines = self.text.lines().take(QUOTED_LINES_MAX);
        lines
            .map(|line| format!("> {}\r\n", line.chars().take(QUOTED_CHARS_MAX).collect::<String>()))
            .collect()
    }
}

/// A reply by a person to the notice's Reply-To.
pub(super) fn plain_reply(letter: &Letter, now: Timestamp, draw: u64) -> Outgoing {
    let body = format!("{}\r\n\r\n{}", pick(&REPLIES, draw), letter.quoted());
    let mut headers = Headers::from_member(letter, now, draw);
    headers.subject("Re: ", &letter.subject);
    reply(letter, headers, &body, letter.own_address(), &[])
}

/// A reply by a person who had colleagues in mind.
pub(super) fn reply_to_all(letter: &Letter, now: Timestamp, draw: u64) -> Outgoing {
    let body = format!("{}\r\n\r\n{}", pick(&REPLIES_TO_ALL, draw), letter.quoted());
    let mut headers = Headers::from_member(letter, now, draw);
    headers.subject("Re: ", &letter.subject);
    headers.add("Cc", &COLLEAGUES.join(",\r\n "));
    reply(letter, headers, &body, letter.own_address(), &COLLEAGUES)
}

/// An out-of-office notice (RFC 3834): half of them with the null sender to the return path, half as
/// a person would answer.
pub(super) fn away_notice(letter: &Letter, now: Timestamp, draw: u64) -> Outgoing {
    let (prefix, body) = pick(&AWAY, draw);
    let mut headers = Headers::from_member(letter, now, draw);
    headers.subject("", &format!("{prefix}{}", letter.subject));
    headers.add("Auto-Submitted", "auto-replied");
    let as_a_person = reply(letter, headers, body, letter.own_address(), &[]);
    if draw & 0x100 != 0 {
        return as_a_person;
    }
    let recipient = letter.return_path.clone().unwrap_or_default();
    Outgoing { mail_from: String::new(), recipient, ..as_a_person }
}

/// A delivery report (RFC 3464) to the notice's return path: two thirds of them because there
/// is no such mailbox, the others because it is full.
pub(super) fn bounce(letter: &Letter, now: Timestamp, draw: u64) -> Outgoing {
    let (status, action, reason) = if draw.is_multiple_of(3) {
        ("4.2.2", "delayed", "452 4.2.2 mailbox full")
    } else {
        ("5.1.1", "failed", "550 5.1.1 no such mailbox")
    };
    let recipient = letter.return_path.clone().unwrap_or_default();
    let boundary = format!("=_{draw:016x}");
    let mut headers = Headers { lines: Vec::new(), charset: Charset::Utf8 };
    headers.add("Date", &date(now));
    headers.add("From", "MAILER-DAEMON@mx.example.net");
    headers.add("To", &recipient);
    headers.add("Message-ID", &format!("<{draw:016x}@mx.example.net>"));
    headers.add("Subject", "Undelivered Mail Returned to Sender");
    headers.add("Auto-Submitted", "auto-replied");
    headers.add("MIME-Version", "1.0");
    headers.add(
        "Content-Type",
        &format!("multipart/report; report-type=delivery-status;\r\n boundary=\"{boundary}\""),
    );
    let mut raw = headers.lines;
    let report = format!(
        "\r\n--{boundary}\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n\
         This is the mail system at host mx.example.net.\r\n\
         Your message could not be delivered: {reason}\r\n\
         \r\n--{boundary}\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; mx.example.net\r\n\r\n\
         Final-Recipient: rfc822; {}\r\nAction: {action}\r\nStatus: {status}\r\n\
         Diagnostic-Code: smtp; {reason}\r\n\
         \r\n--{boundary}\r\nContent-Type: text/rfc822-headers\r\n\r\n",
        letter.recipient
    );
    raw.extend_from_slice(report.as_bytes());
    raw.extend_from_slice(&letter.header);
    raw.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Outgoing { mail_from: String::new(), recipient, foreign: Vec::new(), raw }
}

fn reply(letter: &Letter, headers: Headers, body: &str, mail_from: String, foreign: &[&str]) -> Outgoing {
    Outgoing {
        mail_from,
        recipient: letter.reply_to.clone().unwrap_or_default(),
        foreign: foreign.iter().map(|colleague| (*colleague).to_owned()).collect(),
        raw: headers.with_text(body),
    }
}

/// What a member's program writes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Charset {
    Utf8,
    Iso2022Jp,
}

impl Charset {
    fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Iso2022Jp => "ISO-2022-JP",
        }
    }

    /// Characters outside ISO-2022-JP become character references, as some programs do.
    fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 => text.as_bytes().to_vec(),
            Self::Iso2022Jp => ISO_2022_JP.encode(text).0.into_owned(),
        }
    }

    /// RFC 2047 words, folded; plain ASCII stays as it is.
    fn words(self, text: &str) -> String {
        if text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return text.to_owned();
        }
        let characters: Vec<char> = text.chars().collect();
        let words: Vec<String> = characters
            .chunks(WORD_CHARS)
            .map(|chunk| {
                let octets = self.encode(&chunk.iter().collect::<String>());
                format!("=?{}?B?{}?=", self.name(), BASE64.encode(&octets))
            })
            .collect();
        words.join("\r\n ")
    }
}

/// A header under construction.
struct Headers {
    lines: Vec<u8>,
    charset: Charset,
}

impl Headers {
    fn from_member(letter: &Letter, now: Timestamp, draw: u64) -> Self {
        let charset = if draw.is_multiple_of(4) { Charset::Iso2022Jp } else { Charset::Utf8 };
        let mut headers = Self { lines: Vec::new(), charset };
        let own = letter.own_address();
        let domain = own.rsplit('@').next().unwrap_or_default().to_owned();
        headers.add("Date", &date(now));
        match &letter.reader {
            // An ASCII name could need quotes for its signs, so it is left out.
            Some(name) if !name.is_ascii() => {
                headers.add("From", &format!("{}\r\n <{own}>", charset.words(name)));
            }
            Some(_) | None => headers.add("From", &own),
        }
        headers.add("To", letter.reply_to.as_deref().unwrap_or_default());
        headers.add("Message-ID", &format!("<{draw:016x}@{domain}>"));
        headers.add("In-Reply-To", &format!("<{}>", letter.message_id));
        headers.add("References", &format!("<{}>", letter.message_id));
        headers.add("MIME-Version", "1.0");
        headers
    }

    fn add(&mut self, name: &str, value: &str) {
        self.lines.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }

    fn subject(&mut self, prefix: &str, text: &str) {
        let words = self.charset.words(text);
        self.add("Subject", &format!("{prefix}{words}"));
    }

    fn with_text(mut self, body: &str) -> Vec<u8> {
        self.add("Content-Type", &format!("text/plain; charset={}", self.charset.name()));
        let octets = self.charset.encode(body);
        match self.charset {
            Charset::Utf8 => {
                self.add("Content-Transfer-Encoding", "base64");
                self.lines.extend_from_slice(b"\r\n");
                self.lines.extend_from_slice(BASE64_MIME.encode(&octets).as_bytes());
            }
            Charset::Iso2022Jp => {
                self.add("Content-Transfer-Encoding", "7bit");
                self.lines.extend_from_slice(b"\r\n");
                self.lines.extend_from_slice(&octets);
            }
        }
        self.lines
    }
}

fn pick<T>(choices: &[T], draw: u64) -> &T {
    // Other bits than those that decide charset and sender.
    let index = (draw >> 32) as usize % choices.len();
    &choices[index]
}

fn date(now: Timestamp) -> String {
    let zone = "Asia/Tokyo".parse().expect("invariant: Japan has a time zone");
    now.in_zone(zone).to_rfc2822()
}

fn message_id(mail: &Message<'_>, raw: &[u8]) -> String {
    match mail.message_id() {
        Some(id) if id.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>".contains(&byte)) => id.to_owned(),
        Some(_) | None => format!("{:016x}@unnamed.invalid", super::decision::hash(&[raw])),
    }
}

fn plain_address(text: &str) -> Option<String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>\",;:\\".contains(&byte));
    (plain && text.split('@').count() == 2).then(|| text.to_owned())
}

fn personal_link(text: &str) -> Option<String> {
    text.split_whitespace()
        .find(|word| word.starts_with("http://") && word.contains("/r/"))
        .map(str::to_owned)
}

/// The header's lines, without the empty one that ends them; cut at a line.
fn header_of(raw: &[u8]) -> Vec<u8> {
    let mut header = Vec::new();
    for line in raw.split_inclusive(|byte| *byte == b'\n') {
        if line == b"\r\n" || line == b"\n" || header.len() + line.len() > RETURNED_OCTETS_MAX {
            break;
        }
        header.extend_from_slice(line);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail_parser::MimeHeaders;

    const NOTICE: &str = "From: drill@example.jp\r\nTo: =?UTF-8?B?5L2Q6JekIOiKseWtkA==?= <hanako@example.jp>\r\n\
        Reply-To: abc234@reply.example.jp\r\nMessage-ID: <n1.m1@example.jp>\r\n\
        Subject: =?UTF-8?B?44CQ6KiT57e044CR5a6J5ZCm56K66KqN?=\r\n\
        Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
        訓練です。\r\n次のページで回答してください。\r\nhttp://127.0.0.1:8080/r/tok\r\n";

    fn letter(recipient: &str) -> Letter {
        Letter::read(NOTICE.as_bytes(), "ver@bounce.example.jp", recipient).expect("a letter")
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_600_000_000_000)
    }

    #[test]
    fn a_notice_is_read_with_its_link_and_ways_back() {
        let letter = letter("hanako@example.jp");
        assert_eq!(letter.link.as_deref(), Some("http://127.0.0.1:8080/r/tok"));
        assert_eq!(letter.reply_to.as_deref(), Some("abc234@reply.example.jp"));
        assert_eq!(
            (letter.subject.as_str(), letter.message_id.as_str()),
            ("【訓練】安否確認", "n1.m1@example.jp")
        );
        assert_eq!(letter.reader.as_deref(), Some("佐藤 花子"));
        assert!(letter.can_be_answered_by_mail());
    }

    #[test]
    fn replies_can_be_read_in_both_charsets() {
        for (draw, charset) in [(4, "iso-2022-jp"), (5, "utf-8")] {
            let mail = plain_reply(&letter("hanako@example.jp"), now(), draw);
            let parsed = MessageParser::default().parse(&mail.raw).expect("a mail");
            assert_eq!(parsed.subject(), Some("Re: 【訓練】安否確認"));
            assert_eq!(parsed.from().and_then(|f| f.first()).and_then(|f| f.name()), Some("佐藤 花子"));
            let text = parsed.body_text(0).expect("a text");
            assert!(text.contains("病棟に共有") && text.contains("> 訓練です。"), "{text}");
            let written = parsed.content_type().and_then(|kind| kind.attribute("charset"));
            assert_eq!(written.map(str::to_ascii_lowercase).as_deref(), Some(charset));
            assert_eq!(
                (mail.mail_from.as_str(), mail.recipient.as_str()),
                ("hanako@example.jp", "abc234@reply.example.jp")
            );
            assert!(mail.raw.split(|byte| *byte == b'\n').all(|line| line.len() < 998));
        }
    }

    #[test]
    fn a_carrier_member_replies_without_quotes() {
        let mail = plain_reply(&letter("\"a..b\"@docomo.ne.jp"), now(), 1);
        assert_eq!(mail.mail_from, "a..b@docomo.ne.jp");
    }

    #[test]
    fn a_reply_to_all_names_five_colleagues() {
        let mail = reply_to_all(&letter("hanako@example.jp"), now(), 1);
        assert_eq!(mail.foreign.len(), 5);
        let parsed = MessageParser::default().parse(&mail.raw).expect("a mail");
        assert_eq!(parsed.cc().map(|cc| cc.iter().count()), Some(5));
    }

    #[test]
    fn an_away_notice_says_that_it_is_automatic() {
        for draw in [0, 1 << 32, 0x100] {
            let mail = away_notice(&letter("hanako@example.jp"), now(), draw);
            let parsed = MessageParser::default().parse(&mail.raw).expect("a mail");
            assert_eq!(parsed.header_raw("Auto-Submitted").map(str::trim), Some("auto-replied"));
            let subject = parsed.subject().expect("a subject");
            assert!(subject.contains("自動応答") || subject.contains("不在"), "{subject}");
        }
    }

    #[test]
    fn a_bounce_is_a_delivery_report_to_the_return_path() {
        for (draw, status) in [(3, "Status: 4.2.2"), (4, "Status: 5.1.1")] {
            let mail = bounce(&letter("hanako@example.jp"), now(), draw);
            assert_eq!((mail.mail_from.as_str(), mail.recipient.as_str()), ("", "ver@bounce.example.jp"));
            let parsed = MessageParser::default().parse(&mail.raw).expect("a mail");
            assert!(parsed.is_content_type("multipart", "report"));
            assert_eq!(parsed.parts.len(), 4);
            let text = String::from_utf8_lossy(&mail.raw);
            assert!(text.contains(status) && text.contains("Final-Recipient: rfc822; hanako@example.jp"));
            assert!(text.contains("Message-ID: <n1.m1@example.jp>"));
        }
    }

    #[test]
    fn what_could_start_a_second_header_or_command_is_not_used() {
        for text in ["a@b.jp>\r\nRCPT TO:<x@y.jp", "a b@c.jp", "a@b@c.jp", "nobody", "\"a\"@b.jp"] {
            assert_eq!(plain_address(text), None, "{text:?}");
        }
    }
}
