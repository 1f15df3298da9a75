//! The clock and the randomness of the real world, and the secrets made from it. The only file
//! of this executable that touches either.

use domain::{Clock, Timestamp};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::SystemTime;

/// The operating system's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the composition root reads the wall clock")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

/// A generator seeded by the operating system.
#[expect(clippy::disallowed_methods, reason = "the composition root seeds randomness")]
pub(crate) fn generator() -> StdRng {
    StdRng::from_rng(&mut rand::rng())
}

/// 256 random bits.
pub(crate) fn secret() -> [u8; 32] {
    let mut bytes = [0; 32];
    generator().fill_bytes(&mut bytes);
    bytes
}

/// A password of 80 random bits in four groups, without letters that look alike.
pub(crate) fn password() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let chars: Vec<char> =
        secret().iter().take(16).map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    chars.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join("-")
}

/// A personal token: 256 bits as hex.
pub(crate) fn token() -> String {
    data_encoding::HEXLOWER.encode(&secret())
}

/// Salt for one password hash.
pub(crate) fn salt() -> [u8; 16] {
    let mut salt = [0; 16];
    generator().fill_bytes(&mut salt);
    salt
}
