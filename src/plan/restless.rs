//! A file that changes at each reading.

use std::time::Duration;

/// A file that has changed at each reading for so long holds nothing any more.
const RESTLESS: Duration = Duration::from_secs(2 * 60);

/// But a file that has changed at so many readings at most may have come to rest in between.
const RESTLESS_READS: u32 = 2;

/// A file that has changed at each reading so far. What was pinned for it no record tells.
#[derive(Debug)]
pub(super) struct Restless {
    since: Duration,
    readings: u32,
    /// It has changed for too long. It is not read before this uptime.
    pub(super) rests_until: Option<Duration>,
}

impl Restless {
    /// It has not been read yet.
    pub(super) fn new(uptime: Duration) -> Self {
        Self {
            since: uptime,
            readings: 0,
            rests_until: None,
        }
    }

    /// It has changed once more; says whether that has gone on for too long.
    pub(super) fn changed(&mut self, uptime: Duration) -> bool {
        self.readings += 1;
        let is_long = uptime.saturating_sub(self.since) >= RESTLESS;
        is_long && self.readings > RESTLESS_READS
    }
}
