//! Reads one command line. MAIL and RCPT keep their path as written.
//!
//! smtp-proto unquotes local parts and refuses the carriers' dots in a row, which real members
//! have; so the path is taken here and smtp-proto reads the line with a harmless path in its
//! place: parameters and every other command are its business.
//!
//! # Security
//! Any octets reach [`parse`]. A path that passes has printable ASCII only and one `@` outside
//! quotes: it can be written into a command or header without starting a second one.

use smtp_proto::{Error, Request};

/// RFC 5321 §4.5.3.1.3, without the angle brackets.
const PATH_OCTETS_MAX: usize = 254;

/// A command that was understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Hello,
    ExtendedHello,
    Mail { path: String, octets: usize },
    Rcpt { path: String },
    Data,
    Rset,
    Noop,
    Quit,
}

/// A line that was not: the reply it gets.
pub(super) type Complaint = &'static str;

const SYNTAX: Complaint = "501 5.5.4 syntax error in parameters";
const BAD_SENDER: Complaint = "501 5.1.7 bad sender address";
const BAD_RECIPIENT: Complaint = "501 5.1.3 bad recipient address";
const UNKNOWN: Complaint = "500 5.5.1 command unrecognised";
const NOT_HERE: Complaint = "502 5.5.1 command not implemented";
const NO_PARAMETER: Complaint = "555 5.5.4 parameter not recognised";

/// Reads a line that ends in CRLF.
pub(super) fn parse(line: &[u8]) -> Result<Command, Complaint> {
    if let Some(rest) = after(line, b"MAIL FROM:") {
        let (path, parameters) = split_path(rest).ok_or(BAD_SENDER)?;
        if !path.is_empty() && !is_mailbox(path) {
            return Err(BAD_SENDER);
        }
        return match reread(b"MAIL FROM:<a@invalid>", parameters)? {
            Request::Mail { from } => Ok(Command::Mail { path: path.to_owned(), octets: from.size }),
            _ => Err(SYNTAX),
        };
    }
    if let Some(rest) = after(line, b"RCPT TO:") {
        let (path, parameters) = split_path(rest).ok_or(BAD_RECIPIENT)?;
        if !is_mailbox(path) {
            return Err(BAD_RECIPIENT);
        }
        return match reread(b"RCPT TO:<a@invalid>", parameters)? {
            Request::Rcpt { .. } => Ok(Command::Rcpt { path: path.to_owned() }),
            _ => Err(SYNTAX),
        };
    }
    match reread(b"", line)? {
        Request::Helo { .. } => Ok(Command::Hello),
        Request::Ehlo { .. } => Ok(Command::ExtendedHello),
        Request::Data => Ok(Command::Data),
        Request::Rset => Ok(Command::Rset),
        Request::Noop { .. } => Ok(Command::Noop),
        Request::Quit => Ok(Command::Quit),
        Request::Mail { .. } | Request::Rcpt { .. } => Err(SYNTAX),
        Request::Lhlo { .. }
        | Request::Bdat { .. }
        | Request::Auth { .. }
        | Request::Vrfy { .. }
        | Request::Expn { .. }
        | Request::Help { .. }
        | Request::Etrn { .. }
        | Request::Atrn { .. }
        | Request::Burl { .. }
        | Request::StartTls => Err(NOT_HERE),
    }
}

fn reread(head: &[u8], tail: &[u8]) -> Result<Request<String>, Complaint> {
    let line = [head, tail].concat();
    match Request::parse(&mut line.iter()) {
        Ok(request) => Ok(request.into_owned()),
        Err(Error::UnknownCommand) => Err(UNKNOWN),
        Err(Error::UnsupportedParameter { .. }) => Err(NO_PARAMETER),
        Err(_) => Err(SYNTAX),
    }
}

fn after<'line>(line: &'line [u8], verb: &[u8]) -> Option<&'line [u8]> {
    let (head, rest) = line.split_at_checked(verb.len())?;
    head.eq_ignore_ascii_case(verb).then_some(rest)
}

/// Splits `<path> parameters CRLF` behind the closing bracket; brackets in quotes do not count.
fn split_path(rest: &[u8]) -> Option<(&str, &[u8])> {
    let rest = rest.trim_ascii_start().strip_prefix(b"<")?;
    let mut quoted = false;
    let mut escaped = false;
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'>' if !quoted => return Some((std::str::from_utf8(&rest[..at]).ok()?, &rest[at + 1..])),
            _ => {}
        }
    }
    None
}

/// Lenient on purpose: dots anywhere in the local part, quoted or not.
fn is_mailbox(path: &str) -> bool {
    let Some((local, domain)) = path.rsplit_once('@') else { return false };
    let quoted = local.len() > 2 && local.starts_with('"') && local.ends_with('"');
    let atoms = |b: u8| b.is_ascii_graphic() && !br#"()<>[]:;,@\""#.contains(&b);
    let local_is_plain = if quoted {
        local[1..local.len() - 1]
            .bytes()
            .all(|b| b == b' ' || (b.is_ascii_graphic() && !br#"\"<>"#.contains(&b)))
    } else {
        !local.is_empty() && local.bytes().all(atoms)
    };
    let domain_is_plain =
        !domain.is_empty() && domain.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b));
    path.len() <= PATH_OCTETS_MAX && local_is_plain && domain_is_plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rcpt(path: &str) -> Result<Command, Complaint> {
        parse(format!("RCPT TO:<{path}>\r\n").as_bytes())
    }

    #[test]
    fn carrier_dot_forms_pass_quoted_and_bare_and_keep_their_spelling() {
        for path in [r#""a..b"@docomo.ne.jp"#, "a..b@docomo.ne.jp", r#""hanako."@ezweb.ne.jp"#, "x.@au.com"] {
            assert_eq!(rcpt(path), Ok(Command::Rcpt { path: path.to_owned() }));
            let mail = parse(format!("mail from:<{path}> SIZE=120 BODY=8BITMIME\r\n").as_bytes());
            assert_eq!(mail, Ok(Command::Mail { path: path.to_owned(), octets: 120 }));
        }
    }

    #[test]
    fn paths_that_are_no_mailbox_are_refused() {
        for path in
            ["", "a", "a@", "@b.jp", "a b@c.jp", "a@b@c.jp", "a@c.jp,d@e.jp", "あ@c.jp", "\"a\"b\"@c.jp"]
        {
            assert!(rcpt(path).is_err(), "{path:?} must be refused");
        }
        assert!(rcpt(&format!("{}@c.jp", "a".repeat(PATH_OCTETS_MAX))).is_err());
    }

    #[test]
    fn the_null_sender_is_a_sender_and_no_recipient() {
        assert_eq!(parse(b"MAIL FROM:<>\r\n"), Ok(Command::Mail { path: String::new(), octets: 0 }));
        assert_eq!(rcpt(""), Err(BAD_RECIPIENT));
    }

    #[test]
    fn unknown_commands_and_parameters_are_told_apart() {
        assert_eq!(parse(b"HELLO there\r\n"), Err(UNKNOWN));
        assert_eq!(parse(b"AUTH PLAIN\r\n"), Err(NOT_HERE));
        assert!(parse(b"MAIL FROM:<a@b.jp> NONSENSE=1\r\n").is_err());
        assert!(parse(b"MAIL FROM:a@b.jp\r\n").is_err());
    }
}
