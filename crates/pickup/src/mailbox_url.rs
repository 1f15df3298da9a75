//! Which mailbox: `imaps://user:password@host[:993][/Folder]`.

use percent_encoding::percent_decode_str;
use std::{fmt, net::IpAddr, str::FromStr};
use url::{Host, Url};

/// A mailbox and the login to it. Shows neither user nor password.
#[derive(Clone, PartialEq, Eq)]
pub struct MailboxUrl {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) tls: bool,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) folder: String,
}

/// Why a text names no mailbox.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write imaps://user:password@host or imaps://user:password@host/Folder (@ in a user as %40)")]
pub struct MailboxUrlError(&'static str);

impl MailboxUrl {
    /// Whether it is on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl FromStr for MailboxUrl {
    type Err = MailboxUrlError;

    fn from_str(text: &str) -> Result<Self, MailboxUrlError> {
        let url = Url::parse(text).map_err(|_| MailboxUrlError("the mailbox's address is no URL"))?;
        let (tls, default_port) = match url.scheme() {
            "imaps" => (true, 993),
            "imap" => (false, 143),
            _ => return Err(MailboxUrlError("the scheme is unknown")),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(MailboxUrlError("there is no host")),
        };
        let decoded = |text: &str| {
            let text = percent_decode_str(text).decode_utf8();
            text.map(|text| text.into_owned())
                .map_err(|_| MailboxUrlError("a % stands before two hex digits"))
        };
        let user = decoded(url.username())?;
        let password = decoded(url.password().unwrap_or_default())?;
        if user.is_empty() || password.is_empty() {
            return Err(MailboxUrlError("there is no user and password"));
        }
        let folder = match url.path().trim_matches('/') {
            "" => "INBOX".to_owned(),
            folder => decoded(folder)?,
        };
        if !folder.is_ascii() {
            return Err(MailboxUrlError(
                "the folder's name holds letters beyond ASCII; let replies come to INBOX",
            ));
        }
        let mailbox = Self { host, port: url.port().unwrap_or(default_port), tls, user, password, folder };
        if !mailbox.tls && !mailbox.is_local() {
            return Err(MailboxUrlError("a password is never sent over imap://"));
        }
        Ok(mailbox)
    }
}

impl fmt::Display for MailboxUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.host, self.port, self.folder)
    }
}

impl fmt::Debug for MailboxUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_may_hold_anything_and_is_never_shown() {
        let url: MailboxUrl =
            "imaps://replies%40example.jp:p%3A%2Fw@imap.example.jp".parse().expect("a mailbox");
        assert_eq!((url.user.as_str(), url.password.as_str()), ("replies@example.jp", "p:/w"));
        assert_eq!(url.to_string(), "imap.example.jp:993/INBOX");
        assert_eq!(format!("{url:?}"), url.to_string());
        let url: MailboxUrl = "imap://u:p@127.0.0.1:1143/Drill/Replies".parse().expect("a mailbox");
        assert_eq!((url.port, url.folder.as_str(), url.tls), (1143, "Drill/Replies", false));
    }

    #[test]
    fn what_is_no_mailbox_or_would_show_the_password_is_refused() {
        for text in ["", "imap.example.jp", "pop3://u:p@h", "imaps://h", "imaps://u@h", "imaps://u:p@"] {
            assert!(text.parse::<MailboxUrl>().is_err(), "{text}");
        }
        let plain = "imap://u:geheim@imap.example.jp".parse::<MailboxUrl>().expect_err("plain");
        assert!(plain.to_string().contains("never") && !plain.to_string().contains("geheim"), "{plain}");
    }
}
