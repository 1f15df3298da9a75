//! How long to wait before trying again.

use crate::AttemptNo;
use std::time::Duration;

/// A greylisting relay wants to see us again within hours, not days.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);
/// More doublings than this reach [`WAIT_MAX`] from a millisecond.
const DOUBLINGS_MAX: u32 = 22;

/// The wait after an attempt: `first` after the first one, doubling, at most an hour.
#[must_use]
pub fn retry_wait(first: Duration, attempt: AttemptNo) -> Duration {
    let doublings = u32::try_from(attempt.get() - 1).unwrap_or(0).min(DOUBLINGS_MAX);
    first.saturating_mul(1 << doublings).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour() {
        let first = Duration::from_secs(60);
        let seconds = |attempt| retry_wait(first, AttemptNo::new(attempt)).as_secs();
        assert_eq!([0, 1, 2, 3, 7, 99].map(seconds), [60, 60, 120, 240, 3_600, 3_600]);
    }
}
