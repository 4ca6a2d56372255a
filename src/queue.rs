//! What is to be done, in which order and when: every decision of the intake, and none of its effects.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::entry::{Entry, Identity};

/// The entries that wait and those that are worked on.
///
/// It is drained when nothing waits, nothing is worked on and no directory is still being listed:
/// what has been handed out counts until its outcome is in, or READY would come too early.
#[derive(Debug)]
pub struct Queue {
    slots: usize,
    listings: usize,
    waiting: BTreeMap<PathBuf, Waiting>,
    working: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    due: Instant,
}

impl Queue {
    /// A queue that hands out at most `slots` entries at a time.
    pub fn new(slots: usize) -> Self {
        Self {
            slots,
            listings: 0,
            waiting: BTreeMap::new(),
            working: BTreeSet::new(),
        }
    }

    /// A directory is being listed: entries may come of it.
    pub fn listing_begun(&mut self) {
        self.listings += 1;
    }

    /// All that the listing found has been added.
    pub fn listing_ended(&mut self) {
        self.listings -= 1;
    }

    /// Adds an entry, not to be read before `due`. An entry of the same path that still waits is
    /// replaced: only the newest version of a file can be read.
    pub fn add(&mut self, entry: Entry, due: Instant) {
        self.waiting
            .insert(entry.path.clone(), Waiting { entry, due });
    }

    /// The first entry in name order that is due and is not being worked on already, if a slot is
    /// free. It counts as being worked on until [`finished`](Self::finished).
    pub fn take(&mut self, now: Instant) -> Option<Entry> {
        if self.working.len() >= self.slots {
            return None;
        }
        let path = self
            .waiting
            .iter()
            .find(|(path, waiting)| waiting.due <= now && !self.working.contains(*path))
            .map(|(path, _)| path.clone())?;
        let waiting = self.waiting.remove(&path)?;
        self.working.insert(path);
        Some(waiting.entry)
    }

    /// The work on an entry has ended, whatever came of it.
    pub fn finished(&mut self, path: &Path) {
        self.working.remove(path);
    }

    /// When the next entry becomes due that is not due yet.
    pub fn next_due(&self, now: Instant) -> Option<Instant> {
        self.waiting
            .values()
            .map(|waiting| waiting.due)
            .filter(|due| *due > now)
            .min()
    }

    /// Whether nothing is left to wait for.
    pub fn is_drained(&self) -> bool {
        self.listings == 0 && self.waiting.is_empty() && self.working.is_empty()
    }

    /// How many entries wait or are worked on.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.working.len()
    }

    /// Whether no entry waits or is worked on; a listing may still add some.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first entry that waits.
    pub fn first_waiting(&self) -> Option<&Path> {
        self.waiting.keys().next().map(PathBuf::as_path)
    }
}

/// How long a file that was seen like this must still be left alone, so that it is read only when
/// `settle` has passed since it was last touched. The clocks of small machines jump when they boot:
/// a time in the future is worth a whole `settle`, never more.
pub fn settling(seen: &Identity, now: i128, settle: Duration) -> Duration {
    let touched = seen.mtime.max(seen.ctime);
    let quiet = u64::try_from(now - touched).map_or(Duration::ZERO, Duration::from_nanos);
    settle.saturating_sub(quiet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;

    fn identity(mtime: i128, ctime: i128) -> Identity {
        Identity {
            device: 1,
            inode: 1,
            size: 1,
            mtime,
            ctime,
        }
    }

    fn entry(name: &str) -> Entry {
        Entry {
            path: name.into(),
            kind: Kind::Archive,
            identity: identity(0, 0),
        }
    }

    #[test]
    fn entries_leave_in_name_order_as_slots_come_free() {
        let now = Instant::now();
        let mut queue = Queue::new(2);
        for name in ["c", "a", "b"] {
            queue.add(entry(name), now);
        }
        let taken = [queue.take(now), queue.take(now), queue.take(now)];
        assert_eq!(taken, [Some(entry("a")), Some(entry("b")), None]);
        queue.finished(Path::new("b"));
        assert_eq!(queue.take(now), Some(entry("c")));
    }

    #[test]
    fn the_entry_in_work_keeps_the_drain_from_ending() {
        let now = Instant::now();
        let mut queue = Queue::new(1);
        queue.listing_begun();
        assert!(!queue.is_drained(), "a listing may still add entries");
        queue.add(entry("a"), now);
        queue.listing_ended();
        assert!(!queue.is_drained());
        assert!(queue.take(now).is_some());
        assert!(
            !queue.is_drained(),
            "it was handed out, but it has no outcome"
        );
        queue.finished(Path::new("a"));
        assert!(queue.is_drained());
    }

    #[test]
    fn an_entry_that_settles_is_passed_by_others() {
        let now = Instant::now();
        let later = now + Duration::from_secs(2);
        let mut queue = Queue::new(9);
        queue.add(entry("a"), later);
        queue.add(entry("b"), now);
        assert_eq!(queue.take(now), Some(entry("b")));
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.next_due(now), Some(later));
        assert_eq!(queue.take(later), Some(entry("a")));
    }

    #[test]
    fn a_file_that_changes_in_work_is_read_again_afterwards_not_beside() {
        let now = Instant::now();
        let mut queue = Queue::new(9);
        queue.add(entry("a"), now);
        assert!(queue.take(now).is_some());
        queue.add(entry("a"), now);
        assert_eq!(queue.take(now), None);
        queue.finished(Path::new("a"));
        assert!(!queue.is_drained());
        assert_eq!(queue.take(now), Some(entry("a")));
    }

    #[test]
    fn quiet_time_is_counted_from_the_last_touch_whichever_clock_told_it() {
        const SECOND: i128 = 1_000_000_000;
        let settle = Duration::from_secs(2);
        let at = |mtime, ctime| settling(&identity(mtime, ctime), 100 * SECOND, settle);
        assert_eq!(at(90 * SECOND, 90 * SECOND), Duration::ZERO);
        assert_eq!(at(99 * SECOND, 90 * SECOND), Duration::from_secs(1));
        assert_eq!(
            at(10 * SECOND, 99 * SECOND),
            Duration::from_secs(1),
            "cp -p keeps the mtime"
        );
        assert_eq!(
            at(500 * SECOND, 90 * SECOND),
            settle,
            "a clock that was ahead"
        );
        assert_eq!(at(0, 0), Duration::ZERO);
    }
}
