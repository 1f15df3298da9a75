//! `relay.url`: which relay, how it is secured, who we are to it.

use std::{fmt, str::FromStr};

/// How the connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// `smtp://`: none; for a relay on this machine or a private network.
    Plain,
    /// `smtp+starttls://`: upgraded before anything else, or not used.
    StartTls,
    /// `smtps://`: from the first byte.
    Tls,
}

/// User and password at the relay.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub user: String,
    /// Never shown.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(…)")
    }
}

/// A parsed `relay.url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelayUrl {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Protection.
    pub security: Security,
    /// Credentials, where needed.
    pub login: Option<Login>,
}

/// Why a text is not a relay URL. The text is not repeated: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("relay.url: {0}; write smtp://host:25, smtp+starttls://user:password@host:587 or smtps://host:465")]
pub struct RelayError(&'static str);

impl FromStr for RelayUrl {
    type Err = RelayError;

    fn from_str(text: &str) -> Result<Self, RelayError> {
        let (scheme, rest) = text.split_once("://").ok_or(RelayError("there is no scheme"))?;
        let (security, default_port) = match scheme {
            "smtp" => (Security::Plain, 25),
            "smtp+starttls" => (Security::StartTls, 587),
            "smtps" => (Security::Tls, 465),
            _ => return Err(RelayError("the scheme is unknown")),
        };
        let (login, host_port) = match rest.rsplit_once('@') {
            Some((login, host_port)) => (Some(parse_login(login)?), host_port),
            None => (None, rest),
        };
        if login.is_some() && security == Security::Plain {
            return Err(RelayError("a password is never sent over smtp://"));
        }
        let (host, port) = split_port(host_port.trim_end_matches('/'), default_port)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':');
        if host.is_empty() || !host.chars().all(plain) {
            return Err(RelayError("the host is not a name or address"));
        }
        Ok(Self { host: host.to_owned(), port, security, login })
    }
}

impl fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

fn split_port(text: &str, default: u16) -> Result<(&str, u16), RelayError> {
    let parse = |port: &str| port.parse().map_err(|_| RelayError("the port is not a number from 1 to 65535"));
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or(RelayError("an IPv6 address stands in brackets"))?;
        return Ok((host, port.strip_prefix(':').map_or(Ok(default), parse)?));
    }
    match text.split_once(':') {
        Some((host, port)) => Ok((host, parse(port)?)),
        None => Ok((text, default)),
    }
}

fn parse_login(text: &str) -> Result<Login, RelayError> {
    let (user, password) = text.split_once(':').ok_or(RelayError("the login is user:password"))?;
    Ok(Login { user: percent_decoded(user)?, password: percent_decoded(password)? })
}

/// RFC 3986 §2.1: a password may hold `@`, `:` and `/` as %40, %3A and %2F.
fn percent_decoded(text: &str) -> Result<String, RelayError> {
    let bad = RelayError("a % in the login is followed by two hex digits");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok()).ok_or(bad.clone())?;
            bytes.push(u8::from_str_radix(hex, 16).map_err(|_| bad.clone())?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_err(|_| bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_urls_read_as_documented() {
        let plain: RelayUrl = "smtp://127.0.0.1:2525".parse().expect("a relay");
        assert_eq!((plain.host.as_str(), plain.port, plain.security), ("127.0.0.1", 2525, Security::Plain));
        let secure: RelayUrl = "smtp+starttls://me:p%40ss@mail.example.jp".parse().expect("a relay");
        assert_eq!((secure.port, secure.security), (587, Security::StartTls));
        assert_eq!(secure.login.map(|login| login.password), Some("p@ss".to_owned()));
        let six: RelayUrl = "smtps://[::1]:4650".parse().expect("a relay");
        assert_eq!((six.host.as_str(), six.port), ("::1", 4650));
    }

    #[test]
    fn a_wrong_url_is_refused_without_showing_the_password() {
        for text in
            ["mail.example.jp", "http://a", "smtp://", "smtp://a:99999", "smtp://u:secret@a", "smtps://u@a"]
        {
            let refused = text.parse::<RelayUrl>().expect_err("refused").to_string();
            assert!(!refused.contains("secret"), "{refused}");
        }
    }
}
