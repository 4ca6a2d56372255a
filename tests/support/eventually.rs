//! Waiting without sleeping blindly.

use std::future::Future;
use std::time::{Duration, Instant};

/// Probes until the probe is content, and answers what it found. After `deadline` it panics with
/// `what` and the last thing that the probe saw (its `Err`).
pub async fn eventually<T, F, P>(deadline: Duration, what: &str, mut probe: F) -> T
where
    F: FnMut() -> P,
    P: Future<Output = Result<T, String>>,
{
    let began = Instant::now();
    loop {
        let seen = match probe().await {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(
            began.elapsed() < deadline,
            "{what}: not within {deadline:?}; last seen: {seen}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The same of a probe that may block. Not for use inside of an async test.
pub fn eventually_in_turn<T>(
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> Result<T, String>,
) -> T {
    let began = Instant::now();
    loop {
        let seen = match probe() {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(
            began.elapsed() < deadline,
            "{what}: not within {deadline:?}; last seen: {seen}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}
