//! Paths that could not be looked at, and when each is looked at again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::retry;

/// The paths, which are looked at again for ever, at growing intervals.
#[derive(Debug, Default)]
pub(super) struct Unreadables(BTreeMap<PathBuf, Retry>);

#[derive(Debug)]
struct Retry {
    error: String,
    looks: u32,
    due: Instant,
}

impl Unreadables {
    /// The path could not be looked at. Says whether that, or the error, is news.
    pub(super) fn failed(&mut self, path: &Path, error: &str, now: Instant) -> bool {
        if let Some(failed) = self.0.get_mut(path) {
            let news = failed.error != error;
            error.clone_into(&mut failed.error);
            return news;
        }
        let failed = Retry {
            error: error.to_owned(),
            looks: 1,
            due: due(path, 1, now),
        };
        self.0.insert(path.to_owned(), failed);
        true
    }

    /// Whether the path could not be looked at.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    /// The path could be looked at, or has gone.
    pub(super) fn remove(&mut self, path: &Path) {
        self.0.remove(path);
    }

    /// Forgets the paths that are not unreadable any more.
    pub(super) fn keep(&mut self, is_unreadable: impl Fn(&Path) -> bool) {
        self.0.retain(|path, _| is_unreadable(path));
    }

    /// When the next path is to be looked at.
    pub(super) fn due(&self) -> Option<Instant> {
        self.0.values().map(|failed| failed.due).min()
    }

    /// The paths that are to be looked at now. If a look fails, the next one is later.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<PathBuf> {
        let due_now = self.0.iter_mut().filter(|(_, failed)| failed.due <= now);
        due_now
            .map(|(path, failed)| {
                failed.looks = failed.looks.saturating_add(1);
                failed.due = due(path, failed.looks, now);
                path.clone()
            })
            .collect()
    }
}

/// From 5 s to 10 min, as failed entries are tried again.
fn due(path: &Path, looks: u32, now: Instant) -> Instant {
    now + retry::delay(looks, path, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_path_is_looked_at_less_and_less_often_until_it_can_be() {
        let mut unreadables = Unreadables::default();
        let (path, start) = (Path::new("/images/a.tar"), Instant::now());
        assert!(unreadables.failed(path, "stale", start));
        assert!(!unreadables.failed(path, "stale", start), "it is known");
        assert!(unreadables.failed(path, "denied", start), "another error");
        let mut last = start;
        for (shortest, longest) in [(4, 6), (8, 12), (16, 24), (32, 48), (64, 96), (128, 192)] {
            let due = unreadables.due().unwrap();
            let wait = due - last;
            assert!(wait >= Duration::from_secs(shortest), "{wait:?}");
            assert!(wait <= Duration::from_secs(longest), "{wait:?}");
            assert!(
                unreadables
                    .take_due(due - Duration::from_nanos(1))
                    .is_empty()
            );
            assert_eq!(unreadables.take_due(due), [path]);
            assert!(!unreadables.failed(path, "denied", due));
            last = due;
        }
        for _ in 0..10 {
            last = unreadables.due().unwrap();
            unreadables.take_due(last);
        }
        assert!(unreadables.due().unwrap() - last <= Duration::from_secs(720));
        unreadables.remove(path);
        assert_eq!(unreadables.due(), None);
    }
}
