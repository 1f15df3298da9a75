//! Waiting for a condition.

use std::time::{Duration, Instant};

/// How long a test waits for something that takes a moment: two busy cores and a debug build.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks; short against everything that is waited for.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Looks again and again until `look` gives something.
///
/// # Panics
/// After `within`, naming `what` was waited for.
pub async fn until<T>(what: &str, within: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(began.elapsed() < within, "waited {within:?} in vain for {what}");
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}
