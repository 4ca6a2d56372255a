//! When the blobs of stowd's images are read again, to find those whose bytes are wrong.
//!
//! ```text
//!   every images.scrub      all of them, in the order of their digests
//!   after an unclean stop   those of what was brought since stowd was last stopped cleanly; what was
//!                           brought first comes first
//! ```
//!
//! What was found wrong is remembered until it is right again, and is read once more when a run begins: so
//! it is brought back before READY.
//!
//! A stop is unclean when the kernel has ended under stowd: a marker is there that a clean stop removes,
//! and it is of another boot. Pages that were not on the disk yet are lost then. A stowd that is killed
//! while the kernel goes on leaves the marker as well, and loses nothing: the pages are the kernel's.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::needed_blob::{BlobFaults, NeededBlob};

/// What a run leaves for the next one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubMemory {
    /// When all blobs had been read the last time, or the first images were there.
    pub ended: Option<SystemTime>,
    /// How far the scrub that is under way has come: the last digest.
    pub after: Option<Digest>,
    /// Images that were brought from then on may have lost something at an unclean stop.
    pub suspect_since: Option<SystemTime>,
    /// Blobs whose bytes were found wrong, and not right since.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub damaged: BTreeSet<NeededBlob>,
}

impl ScrubMemory {
    /// When all blobs had been read the last time, where that is known: a time that is to come is that of a
    /// clock that was ahead.
    pub(crate) fn last_end(&self, now: SystemTime) -> Option<SystemTime> {
        self.ended.filter(|ended| *ended <= now)
    }

    /// How long it is until the next scrub.
    pub(crate) fn left(&self, interval: Duration, now: SystemTime) -> Duration {
        let due = self
            .last_end(now)
            .and_then(|ended| ended.checked_add(interval));
        let left = due.and_then(|due| due.duration_since(now).ok());
        left.unwrap_or_default()
    }

    /// These blobs were read, and have these faults.
    pub fn read(&mut self, blobs: &[NeededBlob], faults: &BlobFaults) {
        for blob in blobs {
            match faults.get(&blob.digest) {
                Some(fault) if fault.is_proven() => _ = self.damaged.insert(blob.clone()),
                Some(_) => {}
                None => _ = self.damaged.remove(blob),
            }
        }
    }

    /// A stop was unclean, and so may one before it have been that is not dealt with yet.
    pub fn suspect(&mut self, since: SystemTime) {
        let earlier = self.suspect_since.unwrap_or(since);
        self.suspect_since = Some(earlier.min(since));
    }
}

/// What is there while stowd runs, and stays when it does not end cleanly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunMarker {
    /// That of the kernel.
    boot_id: String,
    /// When the first run began that was not ended cleanly: seconds since the epoch.
    since: u64,
}

impl RunMarker {
    /// Of a run that begins now. An empty `boot_id` is not known.
    pub(crate) fn new(boot_id: String, now: SystemTime) -> Self {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            boot_id,
            since: since.as_secs(),
        }
    }

    /// The run has come to this time: before its beginning, where the clock was ahead then. Returns whether
    /// that is news.
    pub fn reach(&mut self, now: SystemTime) -> bool {
        let now = Self::new(String::new(), now).since;
        let is_news = now < self.since;
        self.since = self.since.min(now);
        is_news
    }

    /// From when on what was brought may be lost, if this was left by a kernel that has ended: all of it,
    /// where the clock has been set back since.
    pub(crate) fn lost_since(&self, boot_id: &str, now: SystemTime) -> Option<SystemTime> {
        if self.is_of(boot_id) {
            return None;
        }
        let since = UNIX_EPOCH.checked_add(Duration::from_secs(self.since));
        Some(since.filter(|since| *since <= now).unwrap_or(UNIX_EPOCH))
    }

    /// Whether the kernel is still the same one.
    pub(crate) fn is_of(&self, boot_id: &str) -> bool {
        !boot_id.is_empty() && self.boot_id == boot_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needed_blob::BlobFault;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    const DAY: u64 = 86_400;

    #[test]
    fn a_scrub_is_due_by_the_wall_clock() {
        let interval = Duration::from_secs(7 * DAY);
        for (ended, now, left) in [
            (None, 0, 0),
            (Some(DAY), DAY, 7 * DAY),
            (Some(DAY), 2 * DAY, 6 * DAY),
            (Some(DAY), 8 * DAY, 0),
            (Some(DAY), 99 * DAY, 0),
            // The clock was ahead: when that was is not known.
            (Some(99 * DAY), DAY, 0),
        ] {
            let memory = ScrubMemory {
                ended: ended.map(at),
                ..ScrubMemory::default()
            };
            let is = memory.left(interval, at(now));
            assert_eq!(is, Duration::from_secs(left), "{ended:?} {now}");
        }
    }

    #[test]
    fn what_was_found_wrong_is_remembered_until_it_is_right() {
        let [a, b] = ["a", "b"].map(|text| NeededBlob {
            digest: Digest::of(text.as_bytes()),
            size: 1,
        });
        let faults = |fault| BlobFaults::from([(a.digest.clone(), fault)]);
        let mut memory = ScrubMemory::default();
        let both = [a.clone(), b.clone()];
        for (read, faults, damaged) in [
            (&both[..], faults(BlobFault::Bytes), true),
            (&both[1..], BlobFaults::new(), true),
            (&both, faults(BlobFault::Unreadable), true),
            (&both, BlobFaults::new(), false),
            (&both, faults(BlobFault::Unreadable), false),
        ] {
            memory.read(read, &faults);
            let damaged = BTreeSet::from_iter(damaged.then(|| a.clone()));
            assert_eq!(memory.damaged, damaged, "{faults:?}");
            let json = serde_json::to_string(&memory).unwrap();
            assert_eq!(serde_json::from_str::<ScrubMemory>(&json).unwrap(), memory);
        }
        let older = r#"{"ended":null,"after":null,"suspect_since":null}"#;
        assert_eq!(serde_json::from_str::<ScrubMemory>(older).unwrap(), memory);
    }

    #[test]
    fn a_stop_is_unclean_when_the_kernel_has_ended() {
        let marker = RunMarker::new("a".to_owned(), at(100));
        for (boot_id, now, lost_since) in [
            // It was killed.
            ("a", 200, None),
            ("b", 200, Some(at(100))),
            // It is not known which kernel this is.
            ("", 200, Some(at(100))),
            // The clock was set back: what was brought before may have a later time.
            ("b", 99, Some(at(0))),
        ] {
            assert_eq!(marker.lost_since(boot_id, at(now)), lost_since, "{boot_id}");
        }
        let unknown = RunMarker::new(String::new(), at(100));
        assert_eq!(unknown.lost_since("", at(200)), Some(at(100)));
    }

    #[test]
    fn of_two_unclean_stops_the_first_counts() {
        let mut memory = ScrubMemory::default();
        for (since, counts) in [(20, 20), (30, 20), (10, 10)] {
            memory.suspect(at(since));
            assert_eq!(memory.suspect_since, Some(at(counts)));
        }
    }
}
