//! A file that is not whole: when it was touched last, and how far it has come.
//!
//! An event is as old as the monotonic clock says. Where no event told, the times of the file say when it
//! was touched last. The clocks of small machines jump when they boot: a time in the future is worth one
//! whole `images.settle`, never more.

use std::time::{Duration, Instant};

use super::writers::later;
use crate::entry::Identity;

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

/// A file that is not whole, or was not when it was judged before.
#[derive(Debug)]
pub(super) struct Unsettled {
    identity: Identity,
    pub(super) touched: Instant,
    since: Instant,
    /// Its stage when it was judged last.
    told: Option<Stage>,
}

impl Unsettled {
    /// It was found just now, and an event told that it was touched. `before` is what was known of it.
    pub(super) fn touched(before: Option<Self>, identity: Identity, now: Instant) -> Self {
        Self {
            identity,
            touched: now,
            since: before.as_ref().map_or(now, |file| file.since),
            told: before.and_then(|file| file.told),
        }
    }

    /// It was found just now, and no event told of it. `clock` is the time of day in nanoseconds since the
    /// epoch, as the times of the file are.
    pub(super) fn found(
        before: Option<Self>,
        identity: Identity,
        now: Instant,
        clock: i128,
    ) -> Self {
        // Before the machine was started, or before time began: it is worth a whole quiet time.
        let last = now.checked_sub(quiet(&identity, clock)).unwrap_or(now);
        match before {
            Some(file) if file.identity == identity => file,
            Some(file) => Self {
                identity,
                touched: file.touched.max(last),
                ..file
            },
            None => Self {
                identity,
                touched: last,
                since: now,
                told: None,
            },
        }
    }

    /// Its stage now; it is whole from `whole_at` on.
    pub(super) fn judge(
        &mut self,
        whole_at: Instant,
        now: Instant,
        limits: &SettleLimits,
    ) -> Judged {
        let stage = if whole_at <= now {
            Stage::Whole
        } else if now.saturating_duration_since(self.since) < limits.unsettled {
            Stage::Settling
        } else {
            Stage::StillWritten
        };
        let news = self.told.replace(stage) != Some(stage);
        Judged { stage, news }
    }

    /// When it is to be looked at, if it is whole from `whole_at` on.
    pub(super) fn due(&self, whole_at: Instant, limits: &SettleLimits) -> Instant {
        match self.told {
            Some(Stage::Settling) => whole_at.min(later(self.since, limits.unsettled)),
            _ => whole_at,
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

    const SECOND: i128 = 1_000_000_000;
    /// The time of day when a test begins.
    const NOON: i128 = 1_000_000 * SECOND;

    /// Changed so many seconds after noon.
    fn identity(mtime: i64, ctime: i64) -> Identity {
        let of = |seconds: i64| NOON + i128::from(seconds) * SECOND;
        Identity {
            device: 1,
            inode: 1,
            size: 1,
            mtime: of(mtime),
            ctime: of(ctime),
        }
    }

    #[test]
    fn without_an_event_a_file_was_touched_when_the_newer_of_its_times_says() {
        let now = Instant::now() + Duration::from_secs(3600);
        for (mtime, ctime, ago) in [
            (-3, -3, 3),
            (-1, -10, 1),
            // cp -p keeps the mtime.
            (-90, -1, 1),
            // A clock that was ahead: it is touched when it is found first, however often it is found.
            (400, -10, 0),
            (i64::MAX / 2, -10, 0),
        ] {
            let identity = identity(mtime, ctime);
            let touched = now - Duration::from_secs(ago);
            let mut file = Unsettled::found(None, identity, now, NOON);
            for second in 0..3 {
                assert_eq!(file.touched, touched, "{mtime} {ctime}");
                let (later, clock) = (Duration::from_secs(second), i128::from(second) * SECOND);
                file = Unsettled::found(Some(file), identity, now + later, NOON + clock);
            }
        }
    }

    #[test]
    fn a_change_without_an_event_is_a_touch_also_where_the_clock_of_the_server_is_ahead() {
        let start = Instant::now() + Duration::from_secs(3600);
        let mut file = Unsettled::found(None, identity(-1, -1), start, NOON);
        for (second, changed, touched) in [(1, 1, 1), (2, 1, 1), (3, 60, 3), (4, 61, 4), (5, 61, 4)]
        {
            let now = start + Duration::from_secs(second);
            let clock = NOON + i128::from(second) * SECOND;
            file = Unsettled::found(Some(file), identity(changed, changed), now, clock);
            let touched = start + Duration::from_secs(touched);
            assert_eq!(file.touched, touched, "after {second} s");
        }
        let since = file.since;
        let now = start + Duration::from_secs(9);
        let file = Unsettled::touched(Some(file), identity(61, 61), now);
        assert_eq!((file.touched, file.since), (now, since));
        assert_eq!(since, start, "it has all its time from the beginning on");
    }
}
