//! Password hashing: Argon2id with the crate's defaults, in PHC string form.
//!
//! # Security
//! What a stranger types at the login reaches [`verify`]; its length is bounded before.

use argon2::{
    Argon2, PasswordHasher, PasswordVerifier,
    password_hash::{self, phc::PasswordHash},
};

/// Longer passwords are refused: hashing must not become a way to use up the processor.
pub const OCTETS_MAX: usize = 256;

/// A password could not be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Longer than [`OCTETS_MAX`].
    #[error("a password has at most {OCTETS_MAX} bytes")]
    Long,
    /// The algorithm refused its parameters.
    #[error("hash the password")]
    Hash(#[source] password_hash::Error),
}

/// The PHC string for `password`; takes about 20 ms and 19 MiB, so not on an async thread.
///
/// # Errors
/// [`PasswordError::Long`] for a password that [`verify`] would never accept.
pub fn hash(password: &str, salt: &[u8; 16]) -> Result<String, PasswordError> {
    if password.len() > OCTETS_MAX {
        return Err(PasswordError::Long);
    }
    let hashed: PasswordHash =
        Argon2::default().hash_password_with_salt(password.as_bytes(), salt).map_err(PasswordError::Hash)?;
    Ok(hashed.to_string())
}

/// Whether `password` is the one behind the PHC string; compared in constant time. A string
/// that is no PHC string belongs to nobody.
#[must_use]
pub fn verify(password: &str, phc: &str) -> bool {
    if password.len() > OCTETS_MAX {
        return false;
    }
    PasswordHash::new(phc)
        .is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_password_verifies() {
        let phc = hash("火の用心 2020", &[7; 16]).expect("a hash");
        assert!(phc.starts_with("$argon2id$"));
        assert!(verify("火の用心 2020", &phc));
        assert!(!verify("火の用心 2021", &phc));
        assert!(!verify("", &phc));
        assert!(!verify("火の用心 2020", "not a hash"));
        assert!(hash(&"a".repeat(OCTETS_MAX + 1), &[7; 16]).is_err());
    }
}
