//! SMTP and LMTP commands, read leniently where members' mail systems are odd and strictly where
//! anything would be granted.
//!
//! # Security
//! A reverse path is kept as text and never used: historical carrier addresses such as
//! `abc..def@docomo.ne.jp` pass, and so does nonsense. A forward path is only split at its last
//! `@`; whether it is ours is decided by the token's signature.

/// RFC 5321 §4.5.3.1.3 says 256; a generous peer may send SMTPUTF8.
const PATH_OCTETS_MAX: usize = 512;

/// One command line, understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// HELO: old SMTP.
    Helo,
    /// EHLO: SMTP with extensions.
    Ehlo,
    /// LHLO: LMTP.
    Lhlo,
    /// MAIL FROM, and the announced size in octets.
    Mail { from: String, size: Option<usize> },
    /// RCPT TO.
    Rcpt { to: String },
    /// DATA.
    Data,
    /// STARTTLS (RFC 3207).
    StartTls,
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// A command that exists and that a one-way sink has no use for.
    NotOffered,
    /// A command of ours whose arguments make no sense.
    BadArguments,
    /// Not a command.
    Unknown,
}

/// Reads one line without its CRLF.
pub(crate) fn parse(line: &[u8]) -> Command {
    let text = String::from_utf8_lossy(line);
    let text = text.trim_end();
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    match verb.to_ascii_uppercase().as_str() {
        "HELO" => Command::Helo,
        "EHLO" => Command::Ehlo,
        "LHLO" => Command::Lhlo,
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "DATA" if rest.is_empty() => Command::Data,
        "STARTTLS" if rest.is_empty() => Command::StartTls,
        "DATA" | "STARTTLS" => Command::BadArguments,
        "RSET" => Command::Rset,
        "NOOP" => Command::Noop,
        "QUIT" => Command::Quit,
        "VRFY" | "EXPN" | "HELP" | "AUTH" | "ETRN" | "ATRN" | "TURN" | "BDAT" | "BURL" | "XCLIENT"
        | "XFORWARD" | "SEND" | "SOML" | "SAML" => Command::NotOffered,
        _ => Command::Unknown,
    }
}

fn mail(rest: &str) -> Command {
    let Some((from, parameters)) = path_after("FROM:", rest) else { return Command::BadArguments };
    // RFC 1870 §3. Parameters we never offered are not worth refusing a member's reply for.
    let size = parameters.split_ascii_whitespace().find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("SIZE").then(|| value.parse().unwrap_or(usize::MAX))
    });
    Command::Mail { from: from.to_owned(), size }
}

fn rcpt(rest: &str) -> Command {
    match path_after("TO:", rest) {
        Some((to, _)) if !to.is_empty() => Command::Rcpt { to: to.to_owned() },
        _ => Command::BadArguments,
    }
}

/// Splits `FROM:<path> parameters` into path and parameters. Missing brackets and a space after
/// the colon are common in the field.
fn path_after<'a>(word: &str, rest: &'a str) -> Option<(&'a str, &'a str)> {
    let rest = rest.trim_start();
    let found = rest.get(..word.len())?.eq_ignore_ascii_case(word);
    let rest = rest.get(word.len()..).filter(|_| found)?.trim_start();
    let (path, parameters) = match rest.strip_prefix('<') {
        Some(inner) => inner.split_at(closing_bracket(inner)?),
        None if rest.is_empty() => return None,
        None => rest.split_once(' ').unwrap_or((rest, "")),
    };
    (path.len() <= PATH_OCTETS_MAX).then(|| (path, parameters.trim_start_matches('>')))
}

/// Where the path ends: the first `>` outside a quoted string.
fn closing_bracket(inner: &str) -> Option<usize> {
    let mut quoted = false;
    let mut escaped = false;
    for (index, byte) in inner.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some(index),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(line: &str) -> Option<(String, Option<usize>)> {
        match parse(line.as_bytes()) {
            Command::Mail { from, size } => Some((from, size)),
            _ => None,
        }
    }

    #[test]
    fn historical_and_sloppy_senders_can_reply() {
        for (line, address) in [
            ("MAIL FROM:<abc..def@docomo.ne.jp>", "abc..def@docomo.ne.jp"),
            ("mail from:<.abc.@ezweb.ne.jp> BODY=8BITMIME", ".abc.@ezweb.ne.jp"),
            ("MAIL FROM: <a@b.jp>", "a@b.jp"),
            ("MAIL FROM:a@b.jp", "a@b.jp"),
            ("MAIL FROM:<\"a>b\"@c.jp>", "\"a>b\"@c.jp"),
            ("MAIL FROM:<>", ""),
            ("MAIL FROM:<花子@例.jp> SMTPUTF8", "花子@例.jp"),
        ] {
            assert_eq!(from(line), Some((address.to_owned(), None)), "{line}");
        }
        assert_eq!(from("MAIL FROM:<a@b.jp> size=77 BODY=7BIT"), Some(("a@b.jp".to_owned(), Some(77))));
        assert_eq!(from("MAIL FROM:<a@b.jp> SIZE=9e99"), Some(("a@b.jp".to_owned(), Some(usize::MAX))));
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "MAIL",
            "MAIL FROM:",
            "MAIL FROM:<a",
            "MAIL TO:<a@b>",
            "RCPT TO:<>",
            "RCPT",
            "DATA x",
            "STARTTLS x",
        ] {
            assert_eq!(parse(line.as_bytes()), Command::BadArguments, "{line}");
        }
        let long = format!("MAIL FROM:<{}@b.jp>", "a".repeat(600));
        assert_eq!(parse(long.as_bytes()), Command::BadArguments);
        assert_eq!(parse(b"GET / HTTP/1.1"), Command::Unknown);
        assert_eq!(parse(b"\xff\xfe"), Command::Unknown);
        for verb in ["VRFY a", "EXPN list", "XCLIENT ADDR=1.2.3.4", "AUTH PLAIN AA==", "BDAT 1 LAST"] {
            assert_eq!(parse(verb.as_bytes()), Command::NotOffered, "{verb}");
        }
    }
}
