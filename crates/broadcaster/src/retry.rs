//! When to try again.

use domain::{AttemptNo, DeliveryId, retry_wait};
use std::time::Duration;

/// How long a deferred row waits after its `attempt`: doubles from `first`, with a fifth of
/// jitter so that rows deferred together do not come back together. The jitter is taken from
/// the row's id, so that the same row always waits the same.
pub(crate) fn wait_after(first: Duration, attempt: AttemptNo, row: DeliveryId) -> Duration {
    let base = retry_wait(first, attempt);
    let spread = row.get().unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 54;
    base + base.mul_f64(0.2 * (spread as f64 / 1024.0))
}

/// Waits between tries to reach something that is away: doubling, up to a maximum.
pub(crate) struct Backoff {
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, max: Duration) -> Self {
        Self { next: first, max }
    }

    pub(crate) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.max);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_stay_within_their_jitter() {
        let first = Duration::from_secs(60);
        for (attempt, base) in [(1, 60), (2, 120), (3, 240), (20, 3_600)] {
            for row in 1..200 {
                let wait = wait_after(first, AttemptNo::new(attempt), DeliveryId::new(row)).as_secs_f64();
                let base = f64::from(base);
                assert!((base..=base * 1.2).contains(&wait), "attempt {attempt} row {row}: {wait}");
            }
        }
    }
}
