//! When a failed entry is tried again.
//!
//! ```text
//!   after failure   1    2    3    4    5    6     7     8 and every further one
//!   base            5 s 10 s 20 s 40 s 80 s 160 s 320 s  600 s
//!   at the soonest  4 s  8 s 16 s 32 s 64 s 128 s 256 s  480 s
//!   at the latest   6 s 12 s 24 s 48 s 96 s 192 s 384 s  720 s
//! ```
//!
//! For ever, because what is wrong may be mended elsewhere: a disk that was full, a registry that
//! was away. The spread keeps entries that failed together, and nodes that share a registry, from
//! coming back together.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The base after the first failure.
const FIRST: Duration = Duration::from_secs(5);
/// No base is longer.
const CAP: Duration = Duration::from_secs(10 * 60);
/// The spread to either side, in thousandths of the base.
const SPREAD: u32 = 200;
/// No wait is longer, whatever a registry asks for.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// How long to wait after the `failures`-th failure in a row (the first is 1; 0 counts as 1) of
/// the entry at `path`. `seed` tells this process from others; with equal arguments the answer is
/// equal.
pub fn delay(failures: u32, path: &Path, seed: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let base = (FIRST * (1 << doublings)).min(CAP);
    let mut hasher = DefaultHasher::new();
    (seed, path, failures).hash(&mut hasher);
    let steps = u64::from(2 * SPREAD + 1);
    // Less than 2 * SPREAD + 1: it fits.
    let spread = u32::try_from(hasher.finish() % steps).unwrap_or(SPREAD);
    base * (1000 - SPREAD + spread) / 1000
}

/// How much of the wait until `due` is left. A clock that was set back makes no wait longer than
/// an hour.
pub fn left(due: SystemTime, now: SystemTime) -> Duration {
    due.duration_since(now).unwrap_or_default().min(LONGEST)
}

/// How long a registry asks to be left alone, if its words, which reach stowd through containerd, say
/// so after a 429: `Retry-After: 30`, and `retry-after: 1.5s`, `retry after 2m30s` as in its body.
/// Never longer than an hour.
pub(crate) fn asked_for(words: &str) -> Option<Duration> {
    let words = words.to_ascii_lowercase();
    // Names of images stand before it, and may have any words in them.
    let asks = ["429 too many requests", "toomanyrequests"];
    let at = asks.iter().filter_map(|asks| words.find(asks)).min()?;
    let words = &words[at..];
    let (_, after) = words
        .split_once("retry-after")
        .or_else(|| words.split_once("retry after"))?;
    let after = after.trim_start_matches([':', '=', ' ', '"']);
    let seconds = seconds(after).filter(|seconds| *seconds > 0.0)?;
    Some(Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64())))
}

/// The duration that a text begins with, as Go writes it (`time.Duration.String`), or a bare number
/// of seconds.
fn seconds(text: &str) -> Option<f64> {
    let mut rest = text;
    let mut total = None;
    loop {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<f64>() else {
            return total;
        };
        let after = &rest[digits..];
        let units = [
            ("ms", 1e-3),
            ("µs", 1e-6),
            ("us", 1e-6),
            ("ns", 1e-9),
            ("h", 3600.0),
            ("m", 60.0),
            ("s", 1.0),
        ];
        let unit = units.iter().find(|(unit, _)| after.starts_with(unit));
        match unit {
            Some((unit, seconds)) => {
                total = Some(total.unwrap_or(0.0) + number * seconds);
                rest = &after[unit.len()..];
            }
            None => return total.or(Some(number)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASES: [u64; 10] = [5, 10, 20, 40, 80, 160, 320, 600, 600, 600];

    fn delays(failures: u32) -> Vec<Duration> {
        let paths = (0..200).map(|i| format!("{i}.tar"));
        paths
            .map(|path| delay(failures, Path::new(&path), 7))
            .collect()
    }

    #[test]
    fn the_table_holds() {
        for (failures, base) in (1..).zip(BASES) {
            let (soonest, latest) = (base * 800, base * 1200);
            let delays = delays(failures);
            for delay in &delays {
                let millis = u64::try_from(delay.as_millis()).unwrap();
                assert!(
                    (soonest..=latest).contains(&millis),
                    "{failures}: {delay:?}"
                );
            }
            let (first, last) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
            assert!(
                *first < Duration::from_millis(base * 850),
                "{failures}: {first:?}"
            );
            assert!(
                *last > Duration::from_millis(base * 1150),
                "{failures}: {last:?}"
            );
        }
    }

    #[test]
    fn no_count_is_out_of_bounds() {
        let path = Path::new("a");
        assert!(delay(0, path, 0) >= Duration::from_secs(4));
        assert!(delay(0, path, 0) <= Duration::from_secs(6));
        for failures in [17, 32, 33, 64, u32::MAX] {
            let delay = delay(failures, path, u64::MAX);
            assert!(delay >= Duration::from_secs(480), "{failures}: {delay:?}");
            assert!(delay <= LONGEST, "{failures}: {delay:?}");
        }
    }

    #[test]
    fn the_same_question_has_the_same_answer_and_others_differ() {
        let ask = |path: &str, seed| delay(3, Path::new(path), seed);
        assert_eq!(ask("a", 1), ask("a", 1));
        let mut by_seed = (0..50).map(|seed| ask("a", seed)).collect::<Vec<_>>();
        by_seed.sort();
        by_seed.dedup();
        assert!(by_seed.len() > 30, "nodes do not spread: {by_seed:?}");
    }

    #[test]
    fn a_clock_that_jumps_neither_hastens_nor_hinders_for_long() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 30);
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(left(later(30), now), Duration::from_secs(30));
        assert_eq!(left(now, later(30)), Duration::ZERO);
        assert_eq!(left(later(1 << 32), now), LONGEST);
    }

    #[test]
    fn what_a_registry_asks_for_is_heard() {
        for (words, asked) in [
            ("429 Too Many Requests: Retry-After: 30", Some(30.0)),
            (
                "toomanyrequests: retry-after: 566.09µs, allowed: 44000/minute",
                Some(566.09e-6),
            ),
            ("toomanyrequests: denied, retry after 1m30.5s.", Some(90.5)),
            ("429 Too Many Requests: retry-after: \"7\"", Some(7.0)),
            (
                "429 Too Many Requests: Retry-After: 999999999999999999999",
                Some(3600.0),
            ),
            (
                "429 Too Many Requests: Retry-After: Wed, 21 Oct 2026 07:28:00 GMT",
                None,
            ),
            ("429 Too Many Requests: Retry-After: 0", None),
            ("429 Too Many Requests: Retry-After: ...", None),
            ("429 Too Many Requests: retry-after:", None),
            ("429 Too Many Requests", None),
            ("pull r.example/retry-after:3000: connection refused", None),
            ("r.example/retry-after:3000: 429 Too Many Requests", None),
        ] {
            let heard = asked_for(words).map(|heard| heard.as_secs_f64());
            let near = match (heard, asked) {
                (Some(heard), Some(asked)) => (heard - asked).abs() < 1e-6,
                (heard, asked) => heard == asked,
            };
            assert!(near, "{words}: {heard:?}");
        }
    }
}
