//! Addresses and display names, parsed once at the edge.
//!
//! # Security
//! Hostile text from rosters and forms reaches this module. What passes is safe to place in an
//! SMTP envelope and a header: no control characters, no second address, no route, no IP literal.
//! `Display` and `Debug` mask (law 12); only [`EmailAddress::reveal`] and
//! [`EmailAddress::to_wire`] show the address.

use std::{fmt, str::FromStr};

/// RFC 5321 §4.5.3.1.1.
const LOCAL_OCTETS_MAX: usize = 64;
/// RFC 5321 §4.5.3.1.3 allows 256 with the angle brackets.
const ADDRESS_OCTETS_MAX: usize = 254;
/// RFC 1035 §2.3.4.
const LABEL_OCTETS_MAX: usize = 63;
/// Longer names only serve to push the rest of a header out of sight.
const DISPLAY_NAME_CHARS_MAX: usize = 100;

/// Carriers that handed out local parts with dots in a row or at the end before RFC rules were
/// enforced, and still deliver to them.
const LEGACY_DOT_DOMAINS: [&str; 8] = [
    "docomo.ne.jp",
    "ezweb.ne.jp",
    "au.com",
    "softbank.ne.jp",
    "i.softbank.jp",
    "vodafone.ne.jp",
    "disney.ne.jp",
    "ymobile.ne.jp",
];

/// Why a text is not an address we would send to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing there.
    #[error("the address is empty")]
    Empty,
    /// No `@`, or more than one.
    #[error("an address has exactly one @")]
    At,
    /// A control, space or other character that no deliverable local part of ours has.
    #[error("the part before the @ has a character that is not allowed")]
    Local,
    /// Dots in a row or at an end, outside the carriers known to use them.
    #[error("the part before the @ has dots in a row or at an end")]
    Dots,
    /// Not a host name with at least two labels.
    #[error("the part after the @ is not a domain name")]
    Domain,
    /// Longer than SMTP carries.
    #[error("the address is too long")]
    Long,
}

/// One mailbox, e.g. `hanako@example.jp`, with the carriers' historical dot forms allowed where
/// they exist. Written form is kept byte for byte, the domain in lower case and in ASCII.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress {
    local: String,
    domain: String,
}

impl EmailAddress {
    /// Parses one address.
    ///
    /// # Errors
    /// [`AddressError`] says which part is wrong; the text itself is not repeated.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.is_empty() {
            return Err(AddressError::Empty);
        }
        if text.len() > ADDRESS_OCTETS_MAX {
            return Err(AddressError::Long);
        }
        let (local, domain) = text.split_once('@').ok_or(AddressError::At)?;
        if domain.contains('@') {
            return Err(AddressError::At);
        }
        // A domain in Japanese script is written to by its ASCII form (RFC 5891).
        let domain = if domain.is_ascii() {
            domain.to_ascii_lowercase()
        } else {
            idna::domain_to_ascii(domain).map_err(|_| AddressError::Domain)?
        };
        if local.len() + 1 + domain.len() > ADDRESS_OCTETS_MAX {
            return Err(AddressError::Long);
        }
        check_domain(&domain)?;
        check_local(local, &domain)?;
        Ok(Self { local: local.to_owned(), domain })
    }

    /// The address as the registry writes it. Reveals it: for exports and pages whose reader
    /// may see addresses, and for the ledger's own columns.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}@{}", self.local, self.domain)
    }

    /// The address as it goes into an SMTP envelope or header: a historical dot form is quoted
    /// (RFC 5321 §4.1.2 quoted-string).
    #[must_use]
    pub fn to_wire(&self) -> String {
        if has_odd_dots(&self.local) { format!("\"{}\"@{}", self.local, self.domain) } else { self.reveal() }
    }

    /// The domain in lower case: what per-domain limits are keyed by.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// What two spellings of the same mailbox have in common: everything in lower case.
    #[must_use]
    pub fn key(&self) -> String {
        self.reveal().to_ascii_lowercase()
    }
}

impl FromStr for EmailAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self.local.chars().next().unwrap_or('*');
        write!(f, "{first}***@{}", self.domain)
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EmailAddress({self})")
    }
}

fn has_odd_dots(local: &str) -> bool {
    local.starts_with('.') || local.ends_with('.') || local.contains("..")
}

fn check_local(local: &str, domain: &str) -> Result<(), AddressError> {
    if local.is_empty() {
        return Err(AddressError::Local);
    }
    if local.len() > LOCAL_OCTETS_MAX {
        return Err(AddressError::Long);
    }
    // RFC 5322 atext and the dot; `%` and `!` route mail on old relays, so they stay out.
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"#$&'*+-/=?^_`{|}~.".contains(&b);
    if !local.bytes().all(allowed) {
        return Err(AddressError::Local);
    }
    let legacy = LEGACY_DOT_DOMAINS
        .iter()
        .any(|d| domain == *d || domain.strip_suffix(d).is_some_and(|rest| rest.ends_with('.')));
    if has_odd_dots(local) && !legacy {
        return Err(AddressError::Dots);
    }
    Ok(())
}

fn check_domain(domain: &str) -> Result<(), AddressError> {
    let labels: Vec<&str> = domain.split('.').collect();
    let good_label = |label: &&str| {
        (1..=LABEL_OCTETS_MAX).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top_is_a_name = labels.last().is_some_and(|top| top.bytes().any(|b| b.is_ascii_alphabetic()));
    if labels.len() >= 2 && labels.iter().all(good_label) && top_is_a_name {
        Ok(())
    } else {
        Err(AddressError::Domain)
    }
}

/// A person's or sender's name, safe for a header: 1 to 100 characters, no controls, no line
/// or paragraph separators, no directional overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text is not usable as a display name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 100 characters and no control characters")]
pub struct DisplayNameError;

impl FromStr for DisplayName {
    type Err = DisplayNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.chars().count();
        let separator = |c: char| {
            c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        if (1..=DISPLAY_NAME_CHARS_MAX).contains(&length) && !text.chars().any(separator) {
            Ok(Self(text.to_owned()))
        } else {
            Err(DisplayNameError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_addresses_pass_unchanged() {
        for text in ["hanako@example.jp", "a.b+c@mail.example.co.jp", "x_1@docomo.ne.jp"] {
            let address = EmailAddress::parse(text).expect("an address");
            assert_eq!(address.reveal(), text);
            assert_eq!(address.to_wire(), text);
        }
    }

    #[test]
    fn carrier_dot_forms_are_kept_and_quoted_on_the_wire() {
        for (text, wire) in [
            ("a..b@docomo.ne.jp", "\"a..b\"@docomo.ne.jp"),
            ("abc.@ezweb.ne.jp", "\"abc.\"@ezweb.ne.jp"),
            ("x..y@t.vodafone.ne.jp", "\"x..y\"@t.vodafone.ne.jp"),
        ] {
            let address = EmailAddress::parse(text).expect("an address");
            assert_eq!((address.reveal().as_str(), address.to_wire().as_str()), (text, wire));
        }
        assert_eq!(EmailAddress::parse("a..b@example.jp"), Err(AddressError::Dots));
        assert_eq!(EmailAddress::parse("a..b@notdocomo.ne.jp"), Err(AddressError::Dots));
    }

    #[test]
    fn a_domain_in_japanese_script_becomes_its_ascii_form() {
        let address = EmailAddress::parse("hanako@日本語.jp").expect("an address");
        assert_eq!(address.reveal(), "hanako@xn--wgv71a119e.jp");
        assert_eq!(address, EmailAddress::parse("hanako@XN--WGV71A119E.jp").expect("an address"));
    }

    #[test]
    fn tricks_are_refused() {
        for text in [
            "",
            "a",
            "@",
            "a@",
            "@b.jp",
            "a@b",
            "a@b@c.jp",
            "a b@c.jp",
            "a\r\nRCPT TO:<x@y.jp>@c.jp",
            "a@c.jp\n",
            "<a@c.jp>",
            "a,b@c.jp",
            "a%b@c.jp",
            "a!b@c.jp",
            "a@[127.0.0.1]",
            "a@127.0.0.1",
            "\"a\"@c.jp",
            "あ@c.jp",
            "a@あ\u{202e}い.jp",
            "a@日本語",
            "a@c\u{ff0e}jp\u{2024}",
            "a@-c.jp",
            "a@c..jp",
            "a@c.jp.",
            "a\0@c.jp",
            "a@c.jp,d@e.jp",
        ] {
            assert!(EmailAddress::parse(text).is_err(), "{text:?} must be refused");
        }
        assert_eq!(EmailAddress::parse(&format!("{}@c.jp", "a".repeat(65))), Err(AddressError::Long));
    }

    #[test]
    fn logs_never_show_an_address() {
        let address = EmailAddress::parse("hanako.suzuki@example.jp").expect("an address");
        assert_eq!(address.to_string(), "h***@example.jp");
        assert!(!format!("{address:?}").contains("suzuki"));
    }

    #[test]
    fn names_that_would_break_a_header_are_refused() {
        assert!("鈴木 花子".parse::<DisplayName>().is_ok());
        for text in ["", "a\r\nBcc: x@y.jp", "a\0", "a\u{2028}b", "a\u{202e}b"] {
            assert!(text.parse::<DisplayName>().is_err(), "{text:?} must be refused");
        }
    }
}
