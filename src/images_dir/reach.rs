//! What the thread that looks at the images directory is looking at, and which mounts do not answer.
//!
//! A call about a file system whose server is away may block for ever: nfs(5) `hard`, or a FUSE server
//! that was stopped. So the thread says before each call what it is about. When a call does not return,
//! its mount is left alone and another thread takes over. When it returns after all, the mount is looked
//! at again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::mounts::{Mount, Table};

/// After this a call that seems to hang is looked at once more: a process that was stopped for a while must
/// not take that for a call that hangs.
const AGAIN: Duration = Duration::from_secs(1);

/// So often the limit is asked for again while a call is under way.
const SLICE: Duration = Duration::from_secs(5);

/// A path is on a mount that does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Silent {
    mount: PathBuf,
}

/// The mounts that do not answer, each with the thread that waits for it.
#[derive(Debug, Default)]
pub(super) struct SilentMounts(Mutex<Vec<(Mount, Arc<Looks>)>>);

/// What one thread is looking at.
#[derive(Debug, Default)]
pub(super) struct Looks {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The call that is under way.
    look: Option<Look>,
    /// How many looks there were.
    count: u64,
    /// Another thread has taken over.
    is_abandoned: bool,
    has_ended: bool,
}

/// A call about a path.
#[derive(Debug, Clone)]
struct Look {
    path: PathBuf,
    /// No link is in the path: the call is about the mount that the path is on.
    is_real: bool,
    since: Instant,
}

/// One thread's view of the file systems.
#[derive(Debug, Clone, Default)]
pub(super) struct Reach {
    looks: Arc<Looks>,
    silent: Arc<SilentMounts>,
}

impl Reach {
    /// That of a new thread.
    pub(super) fn new(silent: &Arc<SilentMounts>) -> Self {
        Self {
            looks: Arc::default(),
            silent: Arc::clone(silent),
        }
    }

    pub(super) fn looks(&self) -> &Arc<Looks> {
        &self.looks
    }

    /// Calls about `real`, a path without a link, follow.
    pub(super) fn enter(&self, real: &Path) -> Result<(), Silent> {
        self.silent.check(real)?;
        self.looks.begin(real, true);
        Ok(())
    }

    /// A call about `path` follows, which may lead through links.
    pub(super) fn look(&self, path: &Path) {
        self.looks.begin(path, false);
    }

    /// No call is under way. Says whether the thread is to go on: it ends when another one has taken over.
    #[must_use]
    pub(super) fn rest(&self) -> bool {
        let mut state = self.looks.state();
        state.look = None;
        self.looks.changed.notify_one();
        !state.is_abandoned
    }

    pub(super) fn is_abandoned(&self) -> bool {
        self.looks.state().is_abandoned
    }

    /// Whether all mounts answer, as far as is known.
    pub(super) fn is_whole(&self) -> bool {
        self.silent.mounts().is_empty()
    }

    /// Mounts that are not in `table` any more are not waited for.
    pub(super) fn forget_unmounted(&self, table: &Table) {
        self.silent.mounts().retain(|(mount, _)| table.has(mount));
    }
}

impl Looks {
    fn begin(&self, path: &Path, is_real: bool) {
        let mut state = self.state();
        let was_at_rest = state.look.is_none();
        state.count += 1;
        state.look = Some(Look {
            path: path.to_owned(),
            is_real,
            since: Instant::now(),
        });
        if was_at_rest {
            self.changed.notify_one();
        }
    }

    /// The thread has ended.
    pub(super) fn end(&self) {
        self.state().has_ended = true;
        self.changed.notify_one();
    }

    /// Waits until the thread has ended, or a call of it has not returned for as long as `limit` says at the
    /// time: then the thread is abandoned, and the mount of the call is silent. Returns whether it has ended.
    pub(super) fn watch(
        self: &Arc<Self>,
        mut limit: impl FnMut() -> Duration,
        silent: &SilentMounts,
    ) -> bool {
        let mut state = self.state();
        loop {
            if state.has_ended {
                return true;
            }
            let Some(look) = &state.look else {
                state = self
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = limit().saturating_sub(look.since.elapsed());
            let (count, is_late) = (state.count, left.is_zero());
            let waited = self.changed.wait_timeout(state, left.clamp(AGAIN, SLICE));
            let (guard, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if let Some(look) = &state.look
                && is_late
                && waited.timed_out()
                && state.count == count
            {
                if look.is_real
                    && let Some(mount) = Table::read().mount_of(&look.path)
                {
                    silent.mounts().push((mount, Arc::clone(self)));
                }
                state.is_abandoned = true;
                return false;
            }
        }
    }

    /// Whether the call that is under way is about this path.
    #[cfg(test)]
    pub(super) fn is_at(&self, path: &Path) -> bool {
        let state = self.state();
        state.look.as_ref().is_some_and(|look| look.path == path)
    }

    // Nothing panics while it is locked.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SilentMounts {
    fn check(&self, real: &Path) -> Result<(), Silent> {
        let mounts = self.mounts();
        let silent = mounts
            .iter()
            .find(|(mount, _)| real.starts_with(&mount.point));
        silent.map_or(Ok(()), |(mount, _)| {
            let mount = mount.point.clone();
            Err(Silent { mount })
        })
    }

    /// The call of this thread has returned. Says whether a mount that was silent is not any more.
    pub(super) fn answered(&self, thread: &Arc<Looks>) -> bool {
        let mut mounts = self.mounts();
        let before = mounts.len();
        mounts.retain(|(_, other)| !Arc::ptr_eq(other, thread));
        mounts.len() < before
    }

    // Nothing panics while it is locked.
    fn mounts(&self) -> MutexGuard<'_, Vec<(Mount, Arc<Looks>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mount = self.mount.display();
        write!(f, "the file system mounted at {mount} does not answer")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    fn watched(limit: Duration, act: impl FnOnce(&Reach)) -> (bool, Reach) {
        watched_within(move || limit, act)
    }

    fn watched_within(
        limit: impl FnMut() -> Duration + Send + 'static,
        act: impl FnOnce(&Reach),
    ) -> (bool, Reach) {
        let silent = Arc::default();
        let reach = Reach::new(&silent);
        let looks = Arc::clone(reach.looks());
        let watch = std::thread::spawn(move || looks.watch(limit, &silent));
        act(&reach);
        (watch.join().unwrap(), reach)
    }

    #[test]
    fn a_call_that_does_not_return_makes_its_mount_silent() {
        let path = Path::new("/proc/self");
        let (has_ended, reach) = watched(LIMIT, |reach| reach.enter(path).unwrap());
        assert!(!has_ended);
        assert!(reach.is_abandoned());
        assert!(!reach.rest(), "it is to end");
        let silent = reach.enter(Path::new("/proc/1")).unwrap_err();
        assert_eq!(
            silent.to_string(),
            "the file system mounted at /proc does not answer"
        );
        assert!(reach.enter(Path::new("/proceed")).is_ok());
        assert!(reach.silent.answered(reach.looks()));
        assert!(reach.enter(path).is_ok());
    }

    #[test]
    fn a_call_hangs_also_when_the_limit_falls_while_it_is_under_way() {
        let mut limits = [Duration::MAX].into_iter();
        let limit = move || limits.next().unwrap_or(LIMIT);
        let (has_ended, reach) = watched_within(limit, |reach| reach.look(Path::new("/")));
        assert!(!has_ended && reach.is_abandoned());
    }

    #[test]
    fn a_mount_that_is_gone_is_not_waited_for() {
        let (_, reach) = watched(LIMIT, |reach| reach.enter(Path::new("/proc/self")).unwrap());
        reach.forget_unmounted(&Table::read());
        assert!(!reach.is_whole());
        reach.forget_unmounted(&Table::default());
        assert!(reach.is_whole());
    }

    #[test]
    fn of_a_path_that_leads_through_links_the_mount_is_not_known() {
        let (has_ended, reach) = watched(LIMIT, |reach| reach.look(Path::new("/proc/self")));
        assert!(!has_ended && reach.is_whole());
    }

    #[test]
    fn a_call_that_has_returned_when_it_is_looked_at_once_more_does_not_hang() {
        let limit = AGAIN + LIMIT;
        loop {
            let begun = Instant::now();
            let (has_ended, reach) = watched(limit, |reach| {
                reach.enter(Path::new("/")).unwrap();
                std::thread::sleep(limit + LIMIT);
                let _ = reach.rest();
                reach.looks().end();
            });
            // A machine that is busy may have slept for longer.
            if begun.elapsed() < limit + AGAIN {
                return assert!(has_ended && !reach.is_abandoned());
            }
        }
    }

    #[test]
    fn calls_that_return_and_rest_are_left_alone() {
        let (has_ended, reach) = watched(LIMIT, |reach| {
            for _ in 0..4 {
                reach.enter(Path::new("/")).unwrap();
                std::thread::sleep(LIMIT / 2);
            }
            assert!(reach.rest());
            std::thread::sleep(LIMIT * 4);
            reach.looks().end();
        });
        assert!(has_ended && !reach.is_abandoned());
    }
}
