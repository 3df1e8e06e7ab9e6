//! Waiting for what the cluster does by itself, for a while and no longer.

use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Looks again and again until `look` gives something. Panics after `limit` with the last reason.
pub fn wait_for<T>(limit: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        match look() {
            Ok(found) => return found,
            Err(reason) => assert!(
                Instant::now() < deadline,
                "still after {} s: {reason}",
                limit.as_secs()
            ),
        }
        std::thread::sleep(PAUSE);
    }
}
