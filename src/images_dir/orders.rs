//! What the thread that follows the images directory is asked for, and what makes it walk.

use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceOptions {
    /// The quiet time after which a file is whole; zero: none.
    pub settle: Duration,
    /// Between periodic listings; zero: never.
    pub rescan: Duration,
    /// Between listings while some of it must be polled; zero: never.
    pub poll: Duration,
}

impl SourceOptions {
    /// Ten seconds between polls: often enough for a directory that files are copied to, and seldom
    /// enough for its server.
    pub fn with_rescan(settle: Duration, rescan: Duration) -> Self {
        Self {
            settle,
            rescan,
            poll: Duration::from_secs(10),
        }
    }
}

/// Why the images directory is walked. Of several, the last in this order is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum WalkCause {
    Start,
    Asked,
    /// The interval for what must be polled.
    Polling,
    /// The interval for what inotify does not see.
    Period,
    /// A directory or a link came, went or changed: the images directory, one in it, or one on the
    /// path to either. Or a path could not be looked at for a reason that only a walk can tell.
    Directories,
    /// Something was mounted or unmounted there.
    Mounts,
    /// More files changed than are told one by one.
    Flood,
    /// The kernel's event queue overflowed.
    Overflow,
}

impl fmt::Display for WalkCause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Start => "start",
            Self::Asked => "asked for",
            Self::Polling => "polling",
            Self::Period => "periodic",
            Self::Directories => "a directory or a link changed",
            Self::Mounts => "a mount changed",
            Self::Flood => "many files changed at once",
            Self::Overflow => "the inotify queue overflowed",
        })
    }
}

/// From the async side to the thread.
#[derive(Debug)]
pub(super) struct Orders {
    given: Mutex<Given>,
    wake: OwnedFd,
}

#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) stop: bool,
    pub(super) rescan: bool,
    /// Another quiet time; told each time once it was given.
    pub(super) settle: Option<Duration>,
    pub(super) looks: BTreeSet<PathBuf>,
}

impl Orders {
    /// # Errors
    /// `EMFILE`, `ENFILE`: no file descriptor is left.
    pub(super) fn new() -> Result<Self, Errno> {
        Ok(Self {
            given: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    pub(super) fn stop(&self) {
        self.give(|given| given.stop = true);
    }

    pub(super) fn rescan(&self) {
        self.give(|given| given.rescan = true);
    }

    pub(super) fn settle(&self, settle: Duration) {
        self.give(|given| given.settle = Some(settle));
    }

    pub(super) fn look(&self, path: &Path) {
        self.give(|given| _ = given.looks.insert(path.to_owned()));
    }

    fn give(&self, order: impl FnOnce(&mut Given)) {
        order(&mut self.given());
        // It fails when the thread has been woken as often as can be counted.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// What becomes readable when an order is given.
    pub(super) fn wake(&self) -> &OwnedFd {
        &self.wake
    }

    /// The orders given since it was asked last.
    pub(super) fn take(&self) -> Given {
        let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
        let mut given = self.given();
        // A thread that takes over needs it too.
        let next = Given {
            settle: given.settle,
            ..Given::default()
        };
        std::mem::replace(&mut given, next)
    }

    // Nothing panics while it is locked.
    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
