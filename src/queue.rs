//! What is to be done, in which order and when: every decision of the intake, and none of its effects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::entry::{Entry, Identity, Kind};

/// How many entries are handed out at a time, of each kind. Neither kind waits for the other: a
/// registry that does not answer must not delay an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// Archives.
    pub archives: usize,
    /// Lists.
    pub lists: usize,
}

impl Slots {
    fn of(self, kind: Kind) -> usize {
        match kind {
            Kind::Archive => self.archives,
            Kind::List => self.lists,
        }
    }
}

/// The entries that wait and those that are worked on.
///
/// It is drained when nothing waits, nothing is worked on and no directory is still being listed:
/// what has been handed out counts until its outcome is in, or READY would come too early. An entry
/// that failed has its outcome: that it waits for its next try holds nobody.
#[derive(Debug)]
pub struct Queue {
    slots: Slots,
    listings: usize,
    waiting: BTreeMap<PathBuf, Waiting>,
    working: BTreeMap<PathBuf, Kind>,
}

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    due: Instant,
    again: bool,
}

impl Queue {
    /// A queue that hands out at most so many entries at a time.
    pub fn new(slots: Slots) -> Self {
        Self {
            slots,
            listings: 0,
            waiting: BTreeMap::new(),
            working: BTreeMap::new(),
        }
    }

    /// Hands out at most so many entries at a time from now on.
    pub fn set_slots(&mut self, slots: Slots) {
        self.slots = slots;
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
        self.put(entry, due, false);
    }

    /// Adds an entry that has failed, to be tried again at `due`; unless it waits already, as it
    /// does when it has changed meanwhile.
    pub fn add_again(&mut self, entry: Entry, due: Instant) {
        if !self.waiting.contains_key(&entry.path) {
            self.put(entry, due, true);
        }
    }

    /// Lists that wait for another try wait no longer.
    pub fn hurry_lists(&mut self, now: Instant) {
        for waiting in self.waiting.values_mut() {
            if waiting.again && waiting.entry.kind == Kind::List {
                waiting.due = waiting.due.min(now);
            }
        }
    }

    fn put(&mut self, entry: Entry, due: Instant, again: bool) {
        let waiting = Waiting { entry, due, again };
        self.waiting.insert(waiting.entry.path.clone(), waiting);
    }

    /// Forgets an entry that waits: its file is gone.
    pub fn remove(&mut self, path: &Path) {
        self.waiting.remove(path);
    }

    /// The version of an entry that waits.
    pub fn waiting(&self, path: &Path) -> Option<&Identity> {
        self.waiting
            .get(path)
            .map(|waiting| &waiting.entry.identity)
    }

    /// The entries that wait, with their paths.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.waiting.keys().map(PathBuf::as_path)
    }

    fn first_tries(&self) -> impl Iterator<Item = (&PathBuf, &Waiting)> {
        self.waiting.iter().filter(|(_, waiting)| !waiting.again)
    }

    /// The first entry in name order that is due and is not being worked on already, if a slot of
    /// its kind is free; one that has failed before only when no other is due. It counts as being
    /// worked on until [`finished`](Self::finished).
    pub fn take(&mut self, now: Instant) -> Option<Entry> {
        let is_free = |kind: Kind| {
            let working = self.working.values().filter(|working| **working == kind);
            working.count() < self.slots.of(kind)
        };
        let free = [Kind::Archive, Kind::List].map(|kind| is_free(kind).then_some(kind));
        let path = self
            .waiting
            .iter()
            .filter(|(path, waiting)| {
                let is_due = waiting.due <= now && !self.working.contains_key(*path);
                is_due && free.contains(&Some(waiting.entry.kind))
            })
            .min_by_key(|(_, waiting)| waiting.again)
            .map(|(path, _)| path.clone())?;
        let waiting = self.waiting.remove(&path)?;
        self.working.insert(path, waiting.entry.kind);
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
        self.listings == 0 && self.working.is_empty() && self.first_tries().next().is_none()
    }

    /// Whether nothing but lists is left to wait for.
    pub fn is_drained_of_archives(&self) -> bool {
        let mut kinds = self.kinds_without_outcome();
        self.listings == 0 && kinds.all(|kind| kind == Kind::List)
    }

    fn kinds_without_outcome(&self) -> impl Iterator<Item = Kind> {
        let waiting = self.first_tries().map(|(_, waiting)| waiting.entry.kind);
        waiting.chain(self.working.values().copied())
    }

    /// The lists that wait, and not for another try.
    pub fn waiting_lists(&self) -> impl Iterator<Item = &Path> {
        let lists = self.first_tries();
        lists
            .filter(|(_, waiting)| waiting.entry.kind == Kind::List)
            .map(|(path, _)| path.as_path())
    }

    /// How many entries have no outcome: they are worked on, or wait and not for another try.
    pub fn open(&self) -> usize {
        self.first_tries().count() + self.working.len()
    }

    /// The first entry that waits, and not for another try.
    pub fn first_settling(&self) -> Option<&Path> {
        self.first_tries().next().map(|(path, _)| path.as_path())
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

    fn identity(mtime: i128, ctime: i128) -> Identity {
        Identity {
            device: 1,
            inode: 1,
            size: 1,
            mtime,
            ctime,
        }
    }

    fn slots(each: usize) -> Slots {
        Slots {
            archives: each,
            lists: each,
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
        let mut queue = Queue::new(slots(2));
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
        let mut queue = Queue::new(slots(1));
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
    fn another_try_holds_nobody_and_gives_way_to_a_change() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut queue = Queue::new(slots(1));
        queue.add_again(entry("a"), later);
        assert!(queue.is_drained());
        assert_eq!((queue.open(), queue.first_settling()), (0, None));
        queue.add(entry("a"), now);
        assert!(!queue.is_drained());
        queue.add_again(entry("a"), later);
        assert_eq!(queue.take(now), Some(entry("a")), "the change was first");
        queue.finished(Path::new("a"));
        queue.add_again(entry("a"), later);
        queue.add(entry("b"), later);
        assert_eq!(
            queue.take(later),
            Some(entry("b")),
            "who has no outcome goes first"
        );
        queue.finished(Path::new("b"));
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.take(later), Some(entry("a")));
        assert!(!queue.is_drained(), "what is worked on counts");
        queue.finished(Path::new("a"));
        queue.add_again(entry("a"), later);
        queue.remove(Path::new("a"));
        assert_eq!(queue.take(later), None);
    }

    #[test]
    fn an_entry_that_settles_is_passed_by_others() {
        let now = Instant::now();
        let later = now + Duration::from_secs(2);
        let mut queue = Queue::new(slots(9));
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
        let mut queue = Queue::new(slots(9));
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

    #[test]
    fn a_list_in_work_delays_no_archive() {
        let now = Instant::now();
        let list = Entry {
            kind: Kind::List,
            ..entry("a.txt")
        };
        let mut queue = Queue::new(slots(1));
        for entry in [list.clone(), entry("b.tar"), entry("c.tar")] {
            queue.add(entry, now);
        }
        assert_eq!(
            queue.waiting_lists().collect::<Vec<_>>(),
            [Path::new("a.txt")]
        );
        assert_eq!(queue.take(now), Some(list));
        assert_eq!(queue.take(now), Some(entry("b.tar")));
        assert_eq!(queue.take(now), None);
        assert!(!queue.is_drained_of_archives());
        queue.finished(Path::new("b.tar"));
        assert_eq!(queue.take(now), Some(entry("c.tar")));
        queue.finished(Path::new("c.tar"));
        assert!(queue.is_drained_of_archives() && !queue.is_drained());
        queue.listing_begun();
        assert!(
            !queue.is_drained_of_archives(),
            "a listing may find archives"
        );
    }
}
