//! The file that holds the token keys: one line for each key, `ID:64 hex digits`.
//!
//! The first key signs; the others are still recognised, so that links and addresses in mails
//! already sent go on working after a change of keys. Blank lines and `#` comments are skipped.
//!
//! # Security
//! Errors name a line by its number and never repeat it: it may hold half a key.

use crate::{Keyring, TokenKey};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use std::collections::HashSet;

/// A key is changed rarely, and links outlive a year or two: more than this is not a key file.
const KEYS_MAX: usize = 32;
const SECRET_BYTES: usize = 32;

/// Why a text is not a key file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// No line with a key.
    #[error("the key file holds no key")]
    Empty,
    /// A line of another form.
    #[error("line {line} of the key file is not `ID:KEY` with an ID of 0 to 255 and 64 hex digits")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// Two keys with one id: a token names its key by the id.
    #[error("line {line} of the key file repeats the key id {id}")]
    Repeated {
        /// Counted from 1.
        line: usize,
        /// The id.
        id: u8,
    },
    /// More keys than anybody needs.
    #[error("the key file holds more than {KEYS_MAX} keys")]
    TooMany,
}

/// Reads a key file; its first key signs.
///
/// # Errors
/// [`KeyFileError`] names the line, never what stands in it.
pub fn parse_key_file(text: &str) -> Result<Keyring, KeyFileError> {
    let mut keys = Vec::new();
    let mut ids = HashSet::new();
    for (index, content) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = index + 1;
        let content = content.trim();
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (id, secret) = parse_line(content).ok_or(KeyFileError::Line { line })?;
        if !ids.insert(id) {
            return Err(KeyFileError::Repeated { line, id });
        }
        if keys.len() >= KEYS_MAX {
            return Err(KeyFileError::TooMany);
        }
        keys.push(TokenKey::new(id, secret));
    }
    let mut keys = keys.into_iter();
    let current = keys.next().ok_or(KeyFileError::Empty)?;
    Ok(Keyring::new(current, keys.collect()))
}

/// The text of a new key file with one key.
#[must_use]
pub fn write_key_file(id: u8, secret: &[u8; SECRET_BYTES]) -> String {
    format!(
        "# Keys of reply addresses and personal links. Whoever has them can forge both: keep this file secret.\n\
         # The first key signs; older ones below it are still recognised.\n{id}:{}\n",
        HEXLOWER.encode(secret)
    )
}

fn parse_line(content: &str) -> Option<(u8, [u8; SECRET_BYTES])> {
    let (id, digits) = content.split_once(':')?;
    let secret = HEXLOWER_PERMISSIVE.decode(digits.trim().as_bytes()).ok()?;
    Some((id.trim().parse().ok()?, secret.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BroadcastId, MemberId, RecipientToken, TokenKind};

    fn token() -> RecipientToken {
        RecipientToken { kind: TokenKind::Reply, broadcast: BroadcastId::new(1), member: MemberId::new(2) }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let text = write_key_file(3, &[0xab; 32]);
        let read = parse_key_file(&text).expect("a key file");
        let made = Keyring::new(TokenKey::new(3, [0xab; 32]), vec![]);
        assert_eq!(read.write(token()), made.write(token()));
    }

    #[test]
    fn the_first_key_signs_and_the_others_are_recognised() {
        let old = parse_key_file(&write_key_file(1, &[1; 32])).expect("a key file");
        let text = format!("2:{}\r\n\r\n# old\n 1 : {}\n", "02".repeat(32), "01".repeat(32));
        let both = parse_key_file(&text).expect("a key file");
        let new = parse_key_file(&write_key_file(2, &[2; 32])).expect("a key file");
        assert_eq!(both.write(token()), new.write(token()));
        assert_eq!(both.read(&old.write(token())), Ok(token()));
    }

    #[test]
    fn errors_name_the_line_and_never_the_key() {
        let key = "0f".repeat(32);
        assert_eq!(parse_key_file("# nothing\n").err(), Some(KeyFileError::Empty));
        for (text, line) in [
            (key.clone(), 1),
            (format!("\n1:{}", &key[1..]), 2),
            (format!("256:{key}"), 1),
            (format!("x:{key}"), 1),
        ] {
            let error = parse_key_file(&text).expect_err("not a key file");
            assert_eq!(error, KeyFileError::Line { line });
            assert!(!error.to_string().contains("0f0f"));
        }
        let twice = format!("1:{key}\n1:{key}\n");
        assert_eq!(parse_key_file(&twice).err(), Some(KeyFileError::Repeated { line: 2, id: 1 }));
    }
}
