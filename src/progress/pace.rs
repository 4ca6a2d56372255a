//! How fast the work goes, and when a line of the log is due about it.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytesize::ByteSize;

/// Between two lines about work that goes on. Work that is over before the first has none.
const LINES: Duration = Duration::from_secs(10);

/// The speed is that of so long a time up to now.
const WINDOW: Duration = Duration::from_secs(30);

/// Between two samples.
const SAMPLES: Duration = Duration::from_secs(1);

/// No speed is told of a shorter time.
const SHORTEST: Duration = Duration::from_secs(3);

/// How much of the work is done, in bytes of archives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    pub done: u64,
    /// With what is done.
    pub total: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speed {
    pub bytes_per_second: u64,
    /// How long the rest takes; `None` where there is none, and where nothing moves.
    pub left: Option<Duration>,
}

/// Follows the work while it goes on. It has no clock: the time is told to it.
#[derive(Debug, Default)]
pub(crate) struct LoadPace {
    next_line: Option<Instant>,
    /// When how many bytes were done, the oldest first.
    samples: VecDeque<(Instant, u64)>,
}

impl LoadPace {
    /// The work as it stands; `None` where there is none. Says how fast it goes.
    pub(crate) fn see(&mut self, now: Instant, work: Option<Amount>) -> Option<Speed> {
        let Some(Amount { done, total }) = work else {
            *self = Self::default();
            return None;
        };
        self.next_line.get_or_insert(now + LINES);
        match self.samples.back() {
            // Other work, or a file that is read once more.
            Some((_, before)) if *before > done => self.samples.clear(),
            _ => {}
        }
        let newest = self.samples.back();
        if newest.is_none_or(|(at, _)| now.duration_since(*at) >= SAMPLES) {
            self.samples.push_back((now, done));
        }
        let is_old = |(at, _): &mut (Instant, u64)| now.duration_since(*at) > WINDOW;
        while self.samples.pop_front_if(is_old).is_some() {}
        let (since, before) = self.samples.front()?;
        let time = now.duration_since(*since);
        (time >= SHORTEST).then(|| {
            let bytes_per_second = ((done - before) as f64 / time.as_secs_f64()) as u64;
            let left = total.saturating_sub(done);
            Speed {
                bytes_per_second,
                left: (left > 0)
                    .then(|| left.checked_div(bytes_per_second))
                    .flatten()
                    .map(Duration::from_secs),
            }
        })
    }

    /// Whether a line is due. The next one is due ten seconds later.
    pub(crate) fn is_line_due(&mut self, now: Instant) -> bool {
        let due = self.next_line.as_mut().filter(|due| **due <= now);
        due.map(|due| *due = now + LINES).is_some()
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/s",
            ByteSize::b(self.bytes_per_second).display().iec()
        )?;
        let Some(left) = self.left.map(|left| left.as_secs()) else {
            return Ok(());
        };
        match left {
            ..120 => write!(f, ", {left} s left"),
            120..7200 => write!(f, ", {} min left", left / 60),
            _ => write!(f, ", {} h left", left / 3600),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn of(done: u64, total: u64) -> Option<Amount> {
        Some(Amount { done, total })
    }

    /// The lines that are due while a look is taken four times a second.
    fn lines(pace: &mut LoadPace, begin: Instant, seconds: u32) -> usize {
        let looks = (0..seconds * 4).map(|n| begin + n * Duration::from_millis(250));
        let due = looks.filter(|now| {
            pace.see(*now, of(0, MIB));
            pace.is_line_due(*now)
        });
        due.count()
    }

    #[test]
    fn a_line_is_due_every_ten_seconds_and_none_of_what_is_shorter() {
        let (mut pace, begin) = (LoadPace::default(), Instant::now());
        assert_eq!(lines(&mut pace, begin, 10), 0);
        pace.see(begin, None);
        assert!(!pace.is_line_due(begin + WINDOW), "there is no work");
        assert_eq!(lines(&mut pace, begin, 35), 3);
    }

    #[test]
    fn the_speed_is_that_of_the_last_half_minute() {
        let (mut pace, begin) = (LoadPace::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let speed = |mib_per_second, left: Option<u64>| {
            Some(Speed {
                bytes_per_second: mib_per_second * MIB,
                left: left.map(Duration::from_secs),
            })
        };
        for second in 0..3 {
            assert_eq!(pace.see(at(second), of(second * MIB, 100 * MIB)), None);
        }
        assert_eq!(pace.see(at(3), of(3 * MIB, 100 * MIB)), speed(1, Some(97)));
        for second in 4..=33 {
            pace.see(at(second), of(3 * MIB, 100 * MIB));
        }
        assert_eq!(pace.see(at(34), of(3 * MIB, 100 * MIB)), speed(0, None));
        assert_eq!(pace.see(at(35), of(0, 100 * MIB)), None, "read once more");
        assert_eq!(pace.see(at(38), of(90 * MIB, 90 * MIB)), speed(30, None));
    }

    #[test]
    fn the_time_left_has_a_unit_that_fits() {
        let shown = |left| {
            let speed = Speed {
                bytes_per_second: 120 * MIB,
                left: Some(Duration::from_secs(left)),
            };
            speed.to_string()
        };
        assert_eq!(shown(18), "120.0 MiB/s, 18 s left");
        assert_eq!(shown(200), "120.0 MiB/s, 3 min left");
        assert_eq!(shown(8000), "120.0 MiB/s, 2 h left");
    }
}
