//! A notice as bytes for the wire (RFC 5322, 2045, 2047).
//!
//! Guarantees: exactly one recipient, in `To`; never a `Cc` or `Bcc`. Lines end with CRLF and no
//! other CR or LF occurs. The same input gives the same bytes, so what was checked is what is sent.
//! `Reply-To` is a bare address on one line: mail programs on old telephones cut folded ones.
//!
//! # Security
//! Names and texts come as types that hold no controls ([`domain::DisplayName`], [`BanneredText`]);
//! the finished bytes are checked once more before they leave.

use crate::text::BanneredText;
use data_encoding::HEXLOWER;
use domain::{AddressError, BroadcastId, DisplayName, DisplayNameError, EmailAddress, MemberId, Timestamp};
use lettre::{
    Address,
    message::{
        Body, Mailbox, Mailboxes,
        header::{self, ContentType, HeaderName, HeaderValue, Headers, MIME_VERSION_1_0},
    },
};
use sha2::{Digest, Sha256};
use std::{
    fmt::{self, Write as _},
    str::FromStr,
    time::{Duration, SystemTime},
};

/// RFC 5322 §2.1.1: 998 octets and CRLF. Ours stay far below, a longer one is a defect.
const LINE_OCTETS_MAX: usize = 998;
/// The last second a four-digit year can name, in milliseconds since the Unix epoch.
const DATE_MILLIS_MAX: u64 = 253_402_300_799_000;
/// RFC 2369 sets no limit; a header line does.
const URL_OCTETS_MAX: usize = 500;

/// Who a notice is from, e.g. `訓練本部 <drill@example.jp>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SenderAddress {
    /// What recipients read, where there is one.
    pub name: Option<DisplayName>,
    /// The address; also where `List-Id` and `Message-ID` take their domain from.
    pub address: EmailAddress,
}

/// Why a text is not a sender.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SenderAddressError {
    /// The address.
    #[error("the sender's address is not usable: {0}")]
    Address(AddressError),
    /// The name before it.
    #[error("the sender's name is not usable: {0}")]
    Name(DisplayNameError),
    /// `<` without `>` at the end.
    #[error("a sender is written as `Name <name@example.jp>`")]
    Brackets,
}

impl SenderAddress {
    /// As written in the configuration. Reveals the address, which is public.
    #[must_use]
    pub fn reveal(&self) -> String {
        match &self.name {
            Some(name) => format!("{} <{}>", name.as_str(), self.address.reveal()),
            None => self.address.reveal(),
        }
    }
}

impl FromStr for SenderAddress {
    type Err = SenderAddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        let Some((name, rest)) = text.rsplit_once('<') else {
            let address = EmailAddress::parse(text).map_err(SenderAddressError::Address)?;
            return Ok(Self { name: None, address });
        };
        let address = rest.strip_suffix('>').ok_or(SenderAddressError::Brackets)?;
        let address = EmailAddress::parse(address).map_err(SenderAddressError::Address)?;
        let name = name.trim();
        // `<a@x.jp>, <b@x.jp>` would be a sender whose name is an address.
        if name.contains(['<', '>']) {
            return Err(SenderAddressError::Brackets);
        }
        let name = name.strip_prefix('"').and_then(|n| n.strip_suffix('"')).unwrap_or(name).trim();
        let name = if name.is_empty() { None } else { Some(name.parse().map_err(SenderAddressError::Name)?) };
        Ok(Self { name, address })
    }
}

/// A `Message-ID` with its angle brackets: printable ASCII, one `@`, at most 200 octets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId(String);

/// A text is not a `Message-ID`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a message id is written as <left@right> in printable ASCII")]
pub struct MessageIdError;

impl MessageId {
    /// With its angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text.strip_prefix('<').and_then(|t| t.strip_suffix('>')).ok_or(MessageIdError)?;
        let (left, right) = inner.split_once('@').ok_or(MessageIdError)?;
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic() && !b"<>@()[],;:\\\"".contains(&b))
        };
        if text.len() <= 200 && plain(left) && plain(right) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MessageIdError)
        }
    }
}

/// The one `Message-ID` of a broadcast's mail to a member: the same at every attempt, so that a
/// relay or mailbox can drop a second copy. Holds row ids, nothing about the person.
#[must_use]
pub fn message_id(broadcast: BroadcastId, member: MemberId, from: &EmailAddress) -> MessageId {
    let mut hash = Sha256::new();
    hash.update(b"hansho message-id v1\0");
    hash.update(broadcast.get().to_be_bytes());
    hash.update(member.get().to_be_bytes());
    hash.update(from.domain().as_bytes());
    let tail = HEXLOWER.encode(&hash.finalize()[..8]);
    MessageId(format!("<b{broadcast}.m{member}.{tail}@{}>", from.domain()))
}

/// The header fields that all mails of one sender share, written once.
#[derive(Debug, Clone)]
pub(crate) struct Letterhead(String);

impl Letterhead {
    /// Of notices.
    ///
    /// # Errors
    /// [`RenderError::Address`].
    pub(crate) fn of_notices(from: &SenderAddress) -> Result<Self, RenderError> {
        let mut headers = headers_from(from)?;
        headers.insert_raw(raw("Precedence", "bulk".to_owned()));
        headers.insert_raw(raw("List-Id", format!("<hansho.{}>", from.address.domain())));
        Ok(Self(headers.to_string()))
    }
}

/// One sender, plain text, and no answer from a machine wanted.
fn headers_from(from: &SenderAddress) -> Result<Headers, RenderError> {
    let name = from.name.as_ref().map(|name| name.as_str().to_owned());
    let mut headers = Headers::new();
    headers.set(header::From::from(Mailboxes::from(Mailbox::new(name, address("From", &from.address)?))));
    headers.set(MIME_VERSION_1_0);
    headers.set(ContentType::TEXT_PLAIN);
    headers.insert_raw(raw("Auto-Submitted", "auto-generated".to_owned()));
    headers.insert_raw(raw("X-Auto-Response-Suppress", "DR, RN, NRN, OOF, AutoReply".to_owned()));
    Ok(headers)
}

/// One mail to one recipient.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    /// From whom.
    pub(crate) letterhead: &'a Letterhead,
    /// The one recipient: the address alone, for a name may be wrong and is nobody's business.
    pub(crate) to: &'a EmailAddress,
    /// The signed address at the reply sink.
    pub(crate) reply_to: &'a EmailAddress,
    /// Stable per broadcast and recipient: [`message_id`].
    pub(crate) message_id: &'a MessageId,
    /// `Date`, written in UTC to the second.
    pub(crate) date: Timestamp,
    /// One-click unsubscription (RFC 8058), where the notice offers it.
    pub(crate) unsubscribe_url: Option<&'a str>,
    /// Subject and body.
    pub(crate) text: &'a BanneredText,
}

/// Why no mail was made. Names the header, never its content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// An address that the message builder does not take.
    #[error("the address of header {0} cannot be written")]
    Address(&'static str),
    /// Before 1970 or after 9999.
    #[error("the date of the mail is out of range")]
    Date,
    /// Not an http(s) URL in printable ASCII.
    #[error("the unsubscribe URL cannot be written into a header")]
    UnsubscribeUrl,
    /// The finished bytes broke a rule of this module.
    #[error("the finished mail is not well-formed: {0}")]
    Malformed(&'static str),
}

const NOT_ASCII: RenderError = RenderError::Malformed("a byte is not text in ASCII");

/// The whole mail, ending with CRLF.
///
/// # Errors
/// [`RenderError`]; nothing is half-written.
pub(crate) fn render(mail: &Outgoing<'_>) -> Result<String, RenderError> {
    let mut headers = one_to_one(mail.to, mail.message_id, mail.date)?;
    headers.set(header::ReplyTo::from(only(address("Reply-To", mail.reply_to)?)));
    headers.insert_raw(raw("X-Hansho-Nature", mail.text.nature().to_string()));
    if let Some(url) = mail.unsubscribe_url {
        headers.insert_raw(raw("List-Unsubscribe", list_unsubscribe(url)?));
        headers.insert_raw(raw("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()));
    }
    finish(mail.letterhead, headers, mail.text.subject(), mail.text.body())
}

/// A mail to one member of staff: a text of ours, never anybody's words.
pub(crate) fn render_staff(
    from: &SenderAddress,
    to: &EmailAddress,
    message_id: &MessageId,
    date: Timestamp,
    subject: &str,
    body: &str,
) -> Result<String, RenderError> {
    let letterhead = Letterhead(headers_from(from)?.to_string());
    finish(&letterhead, one_to_one(to, message_id, date)?, subject, body)
}

fn one_to_one(to: &EmailAddress, message_id: &MessageId, at: Timestamp) -> Result<Headers, RenderError> {
    let mut headers = Headers::new();
    headers.set(header::Date::from(date(at)?));
    headers.set(header::To::from(only(address("To", to)?)));
    headers.set(header::MessageId::from(message_id.as_str().to_owned()));
    Ok(headers)
}

fn finish(
    letterhead: &Letterhead,
    mut headers: Headers,
    subject: &str,
    body: &str,
) -> Result<String, RenderError> {
    let body = Body::new(body.to_owned());
    headers.set(header::Subject::from(subject.to_owned()));
    headers.set(body.encoding());
    // Room for the recipient's own header fields.
    let mut mail = String::with_capacity(letterhead.0.len() + body.len() + 1_024);
    mail.push_str(&letterhead.0);
    write!(mail, "{headers}\r\n").expect("invariant: a string takes every text");
    mail.push_str(str::from_utf8(body.as_ref()).map_err(|_| NOT_ASCII)?);
    if !mail.ends_with("\r\n") {
        mail.push_str("\r\n");
    }
    check_lines(mail.as_bytes())?;
    Ok(mail)
}

/// A header field with one address and no name.
fn only(address: Address) -> Mailboxes {
    Mailbox::from(address).into()
}

fn address(header: &'static str, address: &EmailAddress) -> Result<Address, RenderError> {
    address.to_wire().parse().map_err(|_| RenderError::Address(header))
}

fn raw(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value)
}

fn date(at: Timestamp) -> Result<SystemTime, RenderError> {
    let millis = u64::try_from(at.millis()).map_err(|_| RenderError::Date)?;
    if millis > DATE_MILLIS_MAX {
        return Err(RenderError::Date);
    }
    Ok(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

fn list_unsubscribe(url: &str) -> Result<String, RenderError> {
    let plain = url.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"".contains(&b));
    let web = url.starts_with("https://") || url.starts_with("http://");
    if plain && web && url.len() <= URL_OCTETS_MAX {
        Ok(format!("<{url}>"))
    } else {
        Err(RenderError::UnsubscribeUrl)
    }
}

/// What a strict receiver would reject, and what a lenient one could read as a second mail.
fn check_lines(bytes: &[u8]) -> Result<(), RenderError> {
    for line in bytes.split_inclusive(|b| *b == b'\n') {
        let Some(content) = line.strip_suffix(b"\r\n") else {
            return Err(RenderError::Malformed("a line does not end with CRLF"));
        };
        if content.contains(&b'\r') {
            return Err(RenderError::Malformed("a CR stands inside a line"));
        }
        if content.contains(&0) || !content.is_ascii() {
            return Err(NOT_ASCII);
        }
        if content.len() > LINE_OCTETS_MAX {
            return Err(RenderError::Malformed("a line is too long"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::{Footer, NoticeText};
    use domain::Nature;
    use mail_parser::{HeaderValue as Parsed, MessageParser};
    use proptest::prelude::*;

    const TOKEN: &str = "aeaqaaaaaaaaahaaaaaaaaaaqaj3k6n5x7w2s4d6f7g5h3j2k4l6";

    fn sender(text: &str) -> SenderAddress {
        text.parse().expect("a sender")
    }

    fn email(text: &str) -> EmailAddress {
        EmailAddress::parse(text).expect("an address")
    }

    fn text(subject: &str, body: &str) -> BanneredText {
        let footer = Footer {
            organization: "災害看護の会".into(),
            contact: "03-0000-0000".into(),
            verify_url: "https://drill.example.jp/verify".into(),
        };
        let text = NoticeText { subject: subject.into(), body: body.into() };
        BanneredText::compose(Nature::Exercise, &text, &footer, Some("https://drill.example.jp/r/abc"))
            .expect("a text")
    }

    fn rendered(from: &str, to: &str, text: &BanneredText) -> String {
        let (from, to) = (sender(from), email(to));
        render(&Outgoing {
            letterhead: &Letterhead::of_notices(&from).expect("a letterhead"),
            to: &to,
            reply_to: &email(&format!("{TOKEN}@reply.example.jp")),
            message_id: &message_id(BroadcastId::new(7), MemberId::new(4_000), &from.address),
            date: Timestamp::parse_rfc3339("2026-09-04T13:00:00+09:00").expect("a time"),
            unsubscribe_url: Some("https://drill.example.jp/u/xyz"),
            text,
        })
        .expect("a mail")
    }

    const FROM: &str = "訓練本部 <drill@example.jp>";

    #[test]
    fn a_mail_looks_like_this() {
        let mail = rendered(FROM, "hanako@example.com", &text("開始のお知らせ", "本日13時に始めます。"));
        let shown = mail.replace("\r\n", "\n");
        insta::assert_snapshot!(shown, @"
        From: =?utf-8?b?6KiT57e05pys6YOo?= <drill@example.jp>
        MIME-Version: 1.0
        Content-Type: text/plain; charset=utf-8
        Auto-Submitted: auto-generated
        X-Auto-Response-Suppress: DR, RN, NRN, OOF, AutoReply
        Precedence: bulk
        List-Id: <hansho.example.jp>
        Date: Fri, 04 Sep 2026 04:00:00 +0000
        To: hanako@example.com
        Message-ID: <b7.m4000.42b32ffb46117d71@example.jp>
        Reply-To: aeaqaaaaaaaaahaaaaaaaaaaqaj3k6n5x7w2s4d6f7g5h3j2k4l6@reply.example.jp
        X-Hansho-Nature: exercise
        List-Unsubscribe: <https://drill.example.jp/u/xyz>
        List-Unsubscribe-Post: List-Unsubscribe=One-Click
        Subject: =?utf-8?b?44CQ6KiT57e044CR6ZaL5aeL44Gu44GK55+l44KJ44Gb?=
        Content-Transfer-Encoding: base64

        44CQ6KiT57e044CR44GT44KM44Gv6KiT57e044Gn44GZ44CC5a6f6Zqb44Gu54G95a6z44Gn44Gv
        44GC44KK44G+44Gb44KT44CCDQoNCuacrOaXpTEz5pmC44Gr5aeL44KB44G+44GZ44CCDQoNCuOB
        lOWbnuetlOOBr+OBk+OBoeOCieOBruODmuODvOOCuOOBi+OCie+8iOOBguOBquOBn+WwgueUqOOB
        p+OBmeOAgui7oumAgeOBl+OBquOBhOOBp+OBj+OBoOOBleOBhO+8iQ0KaHR0cHM6Ly9kcmlsbC5l
        eGFtcGxlLmpwL3IvYWJjDQoNCuKAleKAleKAleKAleKAleKAleKAleKAleKAleKAleKAleKAleKA
        leKAleKAleKAlQ0K54G95a6z55yL6K2344Gu5LyaIOmFjeS/oeOCt+OCueODhuODoA0K44GK5ZWP
        44GE5ZCI44KP44GbOiAwMy0wMDAwLTAwMDANCuOBk+OBruOBiuefpeOCieOBm+OBjOacrOeJqeOB
        i+OBqeOBhuOBi+OBrueiuuiqjTogaHR0cHM6Ly9kcmlsbC5leGFtcGxlLmpwL3ZlcmlmeQ0K44CQ
        6KiT57e044CR44GT44KM44Gv6KiT57e044Gn44GZ44CC5a6f6Zqb44Gu54G95a6z44Gn44Gv44GC
        44KK44G+44Gb44KT44CCDQo=
        ");
    }

    #[test]
    fn another_parser_reads_subject_name_and_body_back_exactly() {
        let long = "とても長い件名".repeat(20);
        let text =
            text(&long, "改行\n\n . \n.\n..dots\nfrom\nFrom here\n行末の空白  \n長い行".repeat(3).as_str());
        let bytes = rendered("災害看護の会 訓練本部 (2026) <drill@example.jp>", "a@example.com", &text);
        let parsed = MessageParser::new().parse(&bytes).expect("a mail");
        assert_eq!(parsed.subject(), Some(text.subject()));
        let from = parsed.from().and_then(|a| a.first()).expect("from");
        assert_eq!(from.name(), Some("災害看護の会 訓練本部 (2026)"));
        assert_eq!(from.address(), Some("drill@example.jp"));
        let body = parsed.body_text(0).expect("a body").replace("\r\n", "\n");
        assert_eq!(body, text.body());
    }

    #[test]
    fn there_is_one_recipient_and_no_other_address() {
        let shown = rendered(FROM, "a..b@docomo.ne.jp", &text("件名", "本文"));
        let parsed = MessageParser::new().parse(&shown).expect("a mail");
        let to: Vec<_> = parsed.to().expect("to").iter().collect();
        assert_eq!(to.len(), 1);
        assert!(parsed.cc().is_none() && parsed.bcc().is_none());
        assert_eq!(
            shown.lines().filter(|l| l.starts_with("To: ")).collect::<Vec<_>>(),
            ["To: \"a..b\"@docomo.ne.jp"]
        );
    }

    #[test]
    fn the_reply_address_is_bare_and_on_one_line() {
        let shown = rendered(FROM, "a@example.com", &text("件名", "本文"));
        let expected = format!("\r\nReply-To: {TOKEN}@reply.example.jp\r\n");
        assert!(shown.contains(&expected));
        let next = shown.split(expected.trim_start()).nth(1).and_then(|rest| rest.chars().next());
        assert!(next.is_some_and(|c| !c.is_whitespace()), "no continuation line follows");
    }

    #[test]
    fn machines_are_told_not_to_answer() {
        let bytes = rendered(FROM, "a@example.com", &text("件名", "本文"));
        let parsed = MessageParser::new().parse(&bytes).expect("a mail");
        for (header, value) in [
            ("Auto-Submitted", "auto-generated"),
            ("Precedence", "bulk"),
            ("X-Auto-Response-Suppress", "DR, RN, NRN, OOF, AutoReply"),
            ("X-Hansho-Nature", "exercise"),
        ] {
            assert_eq!(parsed.header(header).and_then(Parsed::as_text), Some(value), "{header}");
        }
    }

    #[test]
    fn the_message_id_is_stable_differs_per_recipient_and_names_nobody() {
        let from = email("drill@example.jp");
        let id = |b, m| message_id(BroadcastId::new(b), MemberId::new(m), &from);
        assert_eq!(id(7, 4_000), id(7, 4_000));
        assert_ne!(id(7, 4_000), id(7, 4_001));
        assert_ne!(id(7, 4_000), id(8, 4_000));
        assert_eq!(id(7, 4_000).as_str().parse(), Ok(id(7, 4_000)));
        for bad in ["", "a@b", "<a>", "<a@b", "<a b@c>", "<a@b>\r\n", "<a@b@c>"] {
            assert_eq!(bad.parse::<MessageId>(), Err(MessageIdError), "{bad:?}");
        }
    }

    #[test]
    fn senders_read_as_they_are_written() {
        for (given, name, address) in [
            ("drill@example.jp", None, "drill@example.jp"),
            ("<drill@example.jp>", None, "drill@example.jp"),
            (FROM, Some("訓練本部"), "drill@example.jp"),
            ("\"Drill, Desk\" <drill@example.jp>", Some("Drill, Desk"), "drill@example.jp"),
        ] {
            let parsed = sender(given);
            assert_eq!(parsed.name.as_ref().map(DisplayName::as_str), name);
            assert_eq!(parsed.address.reveal(), address);
            assert_eq!(sender(&parsed.reveal()), parsed);
        }
        for bad in ["", "x", "x <a@b.jp", "x <a@b.jp> y", "a\r\nBcc: c@d.jp <a@b.jp>", "x <a@b.jp, c@d.jp>"] {
            assert!(bad.parse::<SenderAddress>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_date_or_url_that_cannot_be_written_is_refused() {
        let (from, to, text) = (sender(FROM), email("a@example.com"), text("件名", "本文"));
        let id = message_id(BroadcastId::new(1), MemberId::new(1), &from.address);
        let mail = Outgoing {
            letterhead: &Letterhead::of_notices(&from).expect("a letterhead"),
            to: &to,
            reply_to: &to,
            message_id: &id,
            date: Timestamp::from_millis(0),
            unsubscribe_url: None,
            text: &text,
        };
        assert!(render(&mail).is_ok());
        for ms in [-1, i64::MAX] {
            assert_eq!(
                render(&Outgoing { date: Timestamp::from_millis(ms), ..mail }),
                Err(RenderError::Date)
            );
        }
        for url in ["", "ftp://x", "https://x/\r\nBcc: y", "https://x/>, <mailto:y@z.jp"] {
            let mail = Outgoing { unsubscribe_url: Some(url), ..mail };
            assert_eq!(render(&mail), Err(RenderError::UnsubscribeUrl), "{url:?}");
        }
    }

    proptest! {
        #[test]
        fn every_mail_is_well_formed_and_reads_back(
            name in "\\PC{1,60}",
            local in "[a-zA-Z0-9#$&'*+/=?^_`{|}~-]{1,20}(\\.[a-z0-9]{1,5}){0,2}",
            subject in "[ -~あ-んア-ン一-龠]{1,80}",
            body in "([ -~あ-んア-ン一-龠]{0,60}\n){1,6}",
        ) {
            let footer = Footer { organization: "会".into(), contact: "係".into(), verify_url: "https://v.jp".into() };
            let source = NoticeText { subject, body };
            let (Ok(text), Ok(name)) = (
                BanneredText::compose(Nature::Exercise, &source, &footer, None),
                name.trim().parse::<DisplayName>(),
            ) else {
                return Ok(());
            };
            let from = SenderAddress { name: Some(name), address: email("drill@example.jp") };
            let to = email(&format!("{local}@example.com"));
            let id = message_id(BroadcastId::new(1), MemberId::new(1), &from.address);
            let mail = Outgoing {
                letterhead: &Letterhead::of_notices(&from).expect("a letterhead"), to: &to, reply_to: &from.address, message_id: &id,
                date: Timestamp::from_millis(1_000), unsubscribe_url: None, text: &text,
            };
            let bytes = render(&mail).expect("a mail");
            prop_assert_eq!(&bytes, &render(&mail).expect("a mail"));
            let parsed = MessageParser::new().parse(&bytes).expect("parses");
            prop_assert_eq!(parsed.body_text(0).expect("a body").replace("\r\n", "\n"), text.body());
            prop_assert_eq!(parsed.to().expect("to").iter().count(), 1);
            let address = parsed.to().and_then(|a| a.first()).and_then(|a| a.address());
            prop_assert_eq!(address.map(str::to_owned), Some(to.reveal()));
        }
    }
}
