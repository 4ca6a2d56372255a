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
//! known to have it open for writing. An event is as old as the monotonic clock says. Where no event
//! told, the times of the file say when it was touched last. The clocks of small machines jump when
//! they boot: a time in the future is worth one whole `images.settle`, never more.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::writers::{Writers, later};
use crate::entry::{Entry, Identity};

/// How long a file may take to become whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettleLimits {
    /// After so long it is [`Stage::StillWritten`].
    pub unsettled: Duration,
    /// A writer that has been silent for so long is not taken for one any more: truncate(2) writes,
    /// and never closes.
    pub silence: Duration,
}

impl Default for SettleLimits {
    fn default() -> Self {
        Self {
            unsettled: Duration::from_secs(2 * 60),
            silence: Duration::from_secs(10 * 60),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It was touched less than `images.settle` ago, or it is open for writing.
    Settling,
    /// It has been settling for so long that nothing is to wait for it.
    StillWritten,
    /// It can be read.
    Whole,
}

/// The stage of a file, and whether it is another one than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judged {
    pub stage: Stage,
    /// It was in another stage, or not known, when it was judged before.
    pub news: bool,
}

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

/// A file that is not whole.
#[derive(Debug)]
struct Unsettled {
    identity: Identity,
    touched: Instant,
    since: Instant,
    told: Stage,
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
        let known = self.unsettled.get(&entry.path);
        let since = known.map_or(now, |file| file.since);
        let told = known.map(|file| file.told);
        self.judge(entry, now, since, told, now)
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
        let quiet = quiet(&entry.identity, clock);
        // Before the machine was started, or before time began: it is worth a whole quiet time.
        let last = now.checked_sub(quiet).unwrap_or(now);
        let (touched, since, told) = match self.unsettled.get(&entry.path) {
            Some(file) if file.identity == entry.identity => {
                (file.touched, file.since, Some(file.told))
            }
            Some(file) => (file.touched.max(last), file.since, Some(file.told)),
            None => (last, now, None),
        };
        self.judge(entry, touched, since, told, now)
    }

    fn judge(
        &mut self,
        entry: &Entry,
        touched: Instant,
        since: Instant,
        told: Option<Stage>,
        now: Instant,
    ) -> Judged {
        let path = &entry.path;
        let stage = if self.whole_at(path, touched, now) <= now {
            Stage::Whole
        } else if now.saturating_duration_since(since) < self.limits.unsettled {
            Stage::Settling
        } else {
            Stage::StillWritten
        };
        if stage == Stage::Whole {
            self.unsettled.remove(path);
            self.writers.closed(path);
            self.whole.insert(path.clone(), entry.identity);
        } else {
            let file = Unsettled {
                identity: entry.identity,
                touched,
                since,
                told: stage,
            };
            self.unsettled.insert(path.clone(), file);
        }
        Judged {
            stage,
            news: told != Some(stage),
        }
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
        let whole = self.whole_at(path, file.touched, now);
        match file.told {
            Stage::Settling => whole.min(later(file.since, self.limits.unsettled)),
            Stage::StillWritten | Stage::Whole => whole,
        }
    }
}

/// How long the times of a file say that it has been left alone.
fn quiet(identity: &Identity, clock: i128) -> Duration {
    let touched = identity.mtime.max(identity.ctime);
    u64::try_from(clock - touched).map_or(Duration::ZERO, Duration::from_nanos)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Kind;

    const SECOND: i128 = 1_000_000_000;
    /// The time of day when a test begins.
    const NOON: i128 = 1_000_000 * SECOND;
    const SETTLE: Duration = Duration::from_secs(2);

    fn identity(mtime: i128, ctime: i128) -> Identity {
        Identity {
            device: 1,
            inode: 1,
            size: 1,
            mtime,
            ctime,
        }
    }

    /// Last changed at this time of day.
    fn entry(name: &str, changed: i128) -> Entry {
        Entry {
            path: name.into(),
            kind: Kind::Archive,
            identity: identity(changed, changed),
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
    fn quiet_time_is_counted_from_the_last_touch_whichever_clock_told_it() {
        for (mtime, ctime, expected) in [
            (-3, -3, None),
            (-1, -10, Some(1000)),
            // cp -p keeps the mtime.
            (-90, -1, Some(1000)),
            // A clock that was ahead.
            (400, -10, Some(2000)),
            (i64::MAX / 2, -10, Some(2000)),
        ] {
            let mut test = Test::new();
            let of = |seconds: i64| NOON + i128::from(seconds) * SECOND;
            let a = Entry {
                identity: identity(of(mtime), of(ctime)),
                ..entry("a", 0)
            };
            test.found(&a, 0);
            assert_eq!(test.due(0), expected, "{mtime} {ctime}");
            // A time in the future is worth one quiet time, however often it is found.
            for millis in [500, 1000, 1999] {
                test.found(&a, millis);
            }
            assert_eq!(test.found(&a, 2000).stage, Stage::Whole, "{mtime} {ctime}");
            assert_eq!(test.found(&a, 2000), known(Stage::Whole));
        }
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
    fn a_file_that_changes_without_an_event_settles_anew() {
        let mut test = Test::new();
        for second in 0..5 {
            let grows = entry("a", NOON + i128::from(second) * SECOND);
            let judged = test.found(&grows, second * 1000);
            assert_eq!(judged.stage, Stage::Settling);
        }
        let last = entry("a", NOON + 4 * SECOND);
        assert_eq!(test.found(&last, 5999), known(Stage::Settling));
        assert_eq!(test.found(&last, 6000), news(Stage::Whole));
        // The server's clock is ahead: each change is worth a whole quiet time.
        for second in 7..10 {
            let grows = entry("a", NOON + i128::from(second + 60) * SECOND);
            assert_eq!(test.found(&grows, second * 1000).stage, Stage::Settling);
        }
        assert_eq!(test.due(9000), Some(11_000));
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
