//! When a file is whole: no I/O in here, and no clock.
//!
//! ```text
//!   found, and quiet for images.settle ----------------------------------------> Whole
//!   found, touched less than images.settle ago, or open for writing --> Settling --> Whole
//!                                                                          |          ^
//!                                                after 2 min of Settling   v          |
//!                                                                     StillWritten ---+
//! ```
//!
//! A file is whole when `images.settle` has passed since it was last touched, and no process is
//! known to have it open for writing.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::unsettled::{Judged, SettleLimits, Stage, Unsettled};
use super::writers::{Writers, later};
use crate::entry::{Entry, Identity};

/// The files that are entries, how far each has come, and which files are open for writing.
#[derive(Debug)]
pub(super) struct Settling {
    settle: Duration,
    limits: SettleLimits,
    whole: HashMap<PathBuf, Identity>,
    unsettled: BTreeMap<PathBuf, Unsettled>,
    /// The files that are open for writing.
    pub writers: Writers,
}

impl Settling {
    /// Nothing is known yet.
    pub(super) fn new(settle: Duration, limits: SettleLimits) -> Self {
        Self {
            settle,
            limits,
            whole: HashMap::new(),
            unsettled: BTreeMap::new(),
            writers: Writers::new(limits.silence),
        }
    }

    /// Another quiet time counts from now on, for the files that are not whole yet.
    pub(super) fn set_settle(&mut self, settle: Duration) {
        self.settle = settle;
    }

    /// A file was written to, or made empty to be written. Says whether it is a new writer.
    pub(super) fn written(&mut self, path: &Path, now: Instant) -> bool {
        if let Some(file) = self.unsettled.get_mut(path) {
            file.touched = now;
        }
        self.writers.written(path, now)
    }

    /// This file was found just now, and an event told that it was touched.
    pub(super) fn touched(&mut self, entry: &Entry, now: Instant) -> Judged {
        self.whole.remove(&entry.path);
        let before = self.unsettled.remove(&entry.path);
        self.judge(entry, Unsettled::touched(before, entry.identity, now), now)
    }

    /// This file was found just now, and no event told of it. `clock` is the time of day in
    /// nanoseconds since the epoch, as the times of the file are.
    pub(super) fn found(&mut self, entry: &Entry, now: Instant, clock: i128) -> Judged {
        let is_written = self.writers.given_up_at(&entry.path, now).is_some();
        if !is_written && self.whole.get(&entry.path) == Some(&entry.identity) {
            return Judged {
                stage: Stage::Whole,
                news: false,
            };
        }
        self.whole.remove(&entry.path);
        let before = self.unsettled.remove(&entry.path);
        let file = Unsettled::found(before, entry.identity, now, clock);
        self.judge(entry, file, now)
    }

    fn judge(&mut self, entry: &Entry, mut file: Unsettled, now: Instant) -> Judged {
        let path = &entry.path;
        let whole_at = self.whole_at(path, file.touched, now);
        let judged = file.judge(whole_at, now, &self.limits);
        if judged.stage == Stage::Whole {
            self.writers.closed(path);
            self.whole.insert(path.clone(), entry.identity);
        } else {
            self.unsettled.insert(path.clone(), file);
        }
        judged
    }

    fn whole_at(&self, path: &Path, touched: Instant, now: Instant) -> Instant {
        let quiet = later(touched, self.settle);
        let given_up = self.writers.given_up_at(path, now);
        given_up.map_or(quiet, |end| end.max(quiet))
    }

    /// Whether there was a file at this path when it was judged last.
    pub(super) fn knows(&self, path: &Path) -> bool {
        self.whole.contains_key(path) || self.unsettled.contains_key(path)
    }

    /// There is no file at this path any more, or none that can be looked at.
    pub(super) fn gone(&mut self, path: &Path) {
        self.whole.remove(path);
        self.unsettled.remove(path);
    }

    /// Forgets the files that are not among the entries any more.
    pub(super) fn keep(&mut self, is_entry: impl Fn(&Path) -> bool) {
        self.whole.retain(|path, _| is_entry(path));
        self.unsettled.retain(|path, _| is_entry(path));
    }

    /// When the next file is to be looked at.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let files = self.unsettled.iter();
        files.map(|(path, file)| self.due_of(path, file, now)).min()
    }

    /// The files that are to be looked at now.
    pub(super) fn due_files(&self, now: Instant) -> Vec<PathBuf> {
        let files = self.unsettled.iter();
        files
            .filter(|(path, file)| self.due_of(path, file, now) <= now)
            .map(|(path, _)| path.clone())
            .collect()
    }

    fn due_of(&self, path: &Path, file: &Unsettled, now: Instant) -> Instant {
        file.due(self.whole_at(path, file.touched, now), &self.limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;

    const SECOND: i128 = 1_000_000_000;
    /// The time of day when a test begins.
    const NOON: i128 = 1_000_000 * SECOND;
    const SETTLE: Duration = Duration::from_secs(2);

    /// Last changed at this time of day.
    fn entry(name: &str, changed: i128) -> Entry {
        Entry {
            path: name.into(),
            kind: Kind::Archive,
            identity: Identity {
                device: 1,
                inode: 1,
                size: 1,
                mtime: changed,
                ctime: changed,
            },
        }
    }

    struct Test {
        settling: Settling,
        start: Instant,
    }

    impl Test {
        fn new() -> Self {
            Self::with(SETTLE)
        }

        fn with(settle: Duration) -> Self {
            Self {
                settling: Settling::new(settle, SettleLimits::default()),
                start: Instant::now(),
            }
        }

        fn at(&self, millis: u64) -> Instant {
            self.start + Duration::from_millis(millis)
        }

        fn touched(&mut self, entry: &Entry, millis: u64) -> Judged {
            let now = self.at(millis);
            self.settling.touched(entry, now)
        }

        fn found(&mut self, entry: &Entry, millis: u64) -> Judged {
            let clock = NOON + i128::from(millis) * 1_000_000;
            self.found_by(entry, millis, clock)
        }

        fn found_by(&mut self, entry: &Entry, millis: u64, clock: i128) -> Judged {
            let now = self.at(millis);
            self.settling.found(entry, now, clock)
        }

        /// In how many milliseconds since the start the next file is to be looked at.
        fn due(&self, millis: u64) -> Option<u128> {
            let due = self.settling.due(self.at(millis))?;
            Some(due.duration_since(self.start).as_millis())
        }
    }

    fn news(stage: Stage) -> Judged {
        Judged { stage, news: true }
    }

    fn known(stage: Stage) -> Judged {
        Judged { stage, news: false }
    }

    #[test]
    fn a_file_that_has_been_quiet_is_whole_when_it_is_found() {
        let mut test = Test::new();
        let a = entry("a", NOON - 3 * SECOND);
        assert_eq!(test.found(&a, 0), news(Stage::Whole));
        assert_eq!(test.found(&a, 0), known(Stage::Whole));
        assert_eq!(test.due(0), None);
    }

    #[test]
    fn a_clock_that_is_set_back_touches_no_file() {
        let mut test = Test::new();
        let a = entry("a", NOON - 3 * SECOND);
        test.found(&a, 0);
        let back = NOON - 1000 * SECOND;
        assert_eq!(test.found_by(&a, 10, back), known(Stage::Whole));
        // Nor does it keep one that settles from being whole.
        let b = entry("b", NOON);
        assert_eq!(test.found_by(&b, 10, NOON), news(Stage::Settling));
        assert_eq!(test.found_by(&b, 2010, back), news(Stage::Whole));
    }

    #[test]
    fn after_an_event_the_quiet_time_is_the_monotonic_clocks() {
        let mut test = Test::new();
        // However old it says to be: a copy may keep the times.
        let a = entry("a", NOON - 1000 * SECOND);
        assert_eq!(test.touched(&a, 0), news(Stage::Settling));
        assert_eq!(test.touched(&a, 1000), known(Stage::Settling));
        assert_eq!(test.due(1000), Some(3000));
        assert_eq!(test.found(&a, 2999), known(Stage::Settling));
        assert!(test.settling.due_files(test.at(2999)).is_empty());
        assert_eq!(test.settling.due_files(test.at(3000)), [Path::new("a")]);
        assert_eq!(test.found(&a, 3000), news(Stage::Whole));
        // Touched, and another time of the file in the future: once more, and not for ever.
        let ahead = entry("a", NOON + 1000 * SECOND);
        assert_eq!(test.touched(&ahead, 4000), news(Stage::Settling));
        assert_eq!(test.found(&ahead, 6000), news(Stage::Whole));
    }

    #[test]
    fn without_a_quiet_time_a_file_is_whole_at_once_if_it_is_closed() {
        let mut test = Test::with(Duration::ZERO);
        let a = entry("a", NOON);
        assert_eq!(test.found(&a, 0), news(Stage::Whole));
        assert_eq!(test.touched(&a, 0), news(Stage::Whole));
        assert!(test.settling.written(&a.path, test.at(1)));
        assert_eq!(test.touched(&a, 1), news(Stage::Settling));
        test.settling.writers.closed(&a.path);
        assert_eq!(test.touched(&a, 2), news(Stage::Whole));
    }

    #[test]
    fn a_file_that_is_open_for_writing_is_not_whole_however_quiet_it_is() {
        let mut test = Test::new();
        let a = entry("a", NOON - 1000 * SECOND);
        assert!(test.settling.written(&a.path, test.at(0)));
        assert!(!test.settling.written(&a.path, test.at(1)), "it is known");
        assert_eq!(test.found(&a, 10), news(Stage::Settling));
        assert_eq!(test.found(&a, 60_000), known(Stage::Settling));
        assert_eq!(test.due(60_000), Some(120_010));
        assert_eq!(test.found(&a, 120_010), news(Stage::StillWritten));
        assert_eq!(test.found(&a, 120_011), known(Stage::StillWritten));
        assert_eq!(test.touched(&a, 120_012), known(Stage::StillWritten));
        assert!(test.settling.writers.closed(&a.path).is_some());
        assert_eq!(test.touched(&a, 130_000), known(Stage::StillWritten));
        assert_eq!(test.due(130_000), Some(132_000));
        assert_eq!(test.found(&a, 132_000), news(Stage::Whole));
        // It has all its time again.
        assert_eq!(test.touched(&a, 140_000), news(Stage::Settling));
    }

    #[test]
    fn a_file_that_is_touched_again_and_again_is_still_written_in_the_end() {
        let mut test = Test::new();
        let a = entry("a", NOON);
        let stages = (0..=121).map(|second| test.touched(&a, second * 1000).stage);
        let stages = stages.collect::<Vec<_>>();
        assert!(stages[..120].iter().all(|stage| *stage == Stage::Settling));
        assert_eq!(stages[120..], [Stage::StillWritten; 2]);
    }

    #[test]
    fn a_writer_that_is_silent_for_too_long_is_given_up() {
        let mut test = Test::new();
        let a = entry("a", NOON);
        test.settling.written(&a.path, test.at(0));
        test.touched(&a, 0);
        test.settling.written(&a.path, test.at(60_000));
        test.found(&a, 120_000);
        assert_eq!(test.due(120_000), Some(660_000));
        assert_eq!(test.found(&a, 659_999), known(Stage::StillWritten));
        assert_eq!(test.found(&a, 660_000), news(Stage::Whole));
        assert!(
            test.settling.written(&a.path, test.at(660_001)),
            "it writes again"
        );
        assert_eq!(test.touched(&a, 660_001), news(Stage::Settling));
    }

    #[test]
    fn a_write_is_a_touch() {
        let mut test = Test::new();
        let a = entry("a", NOON);
        test.touched(&a, 0);
        test.settling.written(&a.path, test.at(1500));
        test.settling.writers.closed(&a.path);
        assert_eq!(test.due(1600), Some(3500));
    }

    #[test]
    fn another_quiet_time_counts_for_the_files_that_settle() {
        let mut test = Test::new();
        let (a, b) = (entry("a", NOON - 3 * SECOND), entry("b", NOON));
        assert_eq!(test.found(&a, 0), news(Stage::Whole));
        test.touched(&b, 0);
        test.settling.set_settle(Duration::from_secs(10));
        assert_eq!(test.due(0), Some(10_000));
        assert_eq!(test.found(&a, 1000), known(Stage::Whole), "it was told");
        test.settling.set_settle(Duration::from_secs(1));
        assert_eq!(test.found(&b, 1000), news(Stage::Whole));
        test.settling.set_settle(Duration::MAX);
        assert_eq!(test.touched(&b, 2000), news(Stage::Settling));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let mut test = Test::new();
        let (a, b, c) = (entry("a", NOON), entry("b", NOON), entry("c", 0));
        for entry in [&a, &b, &c] {
            test.found(entry, 0);
        }
        assert!(test.settling.knows(&a.path) && test.settling.knows(&c.path));
        test.settling.gone(&a.path);
        assert!(!test.settling.knows(&a.path));
        test.settling.keep(|path| path != b.path);
        assert_eq!(test.due(0), None);
        for entry in [&a, &b] {
            assert_eq!(test.found(entry, 1000), news(Stage::Settling));
        }
        assert_eq!(test.found(&c, 1000), known(Stage::Whole));
    }
}
