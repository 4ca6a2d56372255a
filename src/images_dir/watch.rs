//! Follows the images directory: what changes in it, and when it must be listed again.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::follower::Follower;
use super::mailbox::Mailbox;
use super::shortfall::Shortfall;

/// Something about the images directory was noticed.
///
/// A notice may come twice or for nothing; none is missed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noticed {
    /// This path, which is not hidden and not a directory's, was made, closed after writing, renamed
    /// (both names), removed or changed in its attributes; or that happened to what it links to.
    /// Whether it is there, what it is and whether it counts is for the receiver to see.
    Touched(PathBuf),
    /// The whole images directory must be listed again: what is there now may differ from what
    /// `Touched` told. The new directories are already watched.
    Rescan(Cause),
    /// From now on some of it is polled: `Rescan(Cause::Polling)` comes at every interval. What can
    /// be watched still is. Said once for each shortfall, for as long as it lasts.
    Polling(Shortfall),
    /// All of it is watched again; nothing is polled any more.
    Following,
}

/// Why the images directory must be listed again. Of several, the last in this order is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// [`Watch::rescan`] was called.
    Asked,
    /// The interval for what must be polled.
    Polling,
    /// The interval for what nobody can see.
    Period,
    /// A directory or a link came, went or changed: the images directory, one in it, or one on the
    /// way to either.
    Directories,
    /// Something was mounted or unmounted there.
    Mounts,
    /// More files were touched than are told one by one.
    Flood,
    /// The kernel's event queue overflowed.
    Overflow,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
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

/// How often to look where nothing tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchOptions {
    /// Between periodic rescans; zero: never.
    pub rescan: Duration,
    /// Between rescans while some of it must be polled; zero: never.
    pub poll: Duration,
}

impl WatchOptions {
    /// Ten seconds between polls: a directory that somebody copies to is listed often enough, and
    /// its server is not asked much.
    pub fn with_rescan(rescan: Duration) -> Self {
        Self {
            rescan,
            poll: Duration::from_secs(10),
        }
    }
}

/// The thread that follows the directory could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the images directory cannot be followed: {tried}: {cause}")]
pub struct Unwatchable {
    tried: &'static str,
    cause: io::Error,
}

/// Follows the images directory until it is dropped.
#[derive(Debug)]
pub struct Watch {
    mailbox: Arc<Mailbox>,
    orders: Arc<Orders>,
}

/// From the one that asks to the thread that follows.
#[derive(Debug)]
pub(super) struct Orders {
    given: AtomicU8,
    wake: OwnedFd,
}

const STOP: u8 = 1;
const RESCAN: u8 = 2;

impl Watch {
    /// Starts to follow `dir`, which may be missing, be a link, and come and go. Everything is
    /// armed when this returns: list the directory afterwards, and nothing is missed.
    ///
    /// It looks into every directory in it, so it blocks for as long as that takes. Where inotify
    /// fails it polls; [`Noticed::Polling`] says so.
    ///
    /// # Errors
    /// [`Unwatchable`]: no file descriptor or no thread is to be had.
    pub fn start(dir: &Path, options: WatchOptions) -> Result<Self, Unwatchable> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = eventfd(0, flags).map_err(|error| Unwatchable {
            tried: "eventfd",
            cause: error.into(),
        })?;
        let mailbox = Arc::new(Mailbox::default());
        let orders = Arc::new(Orders {
            given: AtomicU8::new(0),
            wake,
        });
        let follower = Follower::arm(dir, options, Arc::clone(&mailbox), Arc::clone(&orders));
        std::thread::Builder::new()
            .name("images-dir".to_owned())
            .spawn(move || follower.run())
            .map_err(|cause| Unwatchable {
                tried: "thread",
                cause,
            })?;
        Ok(Self { mailbox, orders })
    }

    /// The next notice, as soon as there is one. Dropping the future loses nothing. One task at a
    /// time may wait.
    ///
    /// `None`: the thread that follows has ended, which it does not do unless it panicked.
    pub async fn next(&self) -> Option<Noticed> {
        self.mailbox.next().await
    }

    /// Whether this path, or the file that it links to, was written to and has not been closed
    /// since. Such a file is not whole, however long it has been quiet; when it is closed, it is
    /// [`Noticed::Touched`].
    ///
    /// Known only of files that were written to since the watch was armed and the kernel's queue
    /// last overflowed. A file that nobody writes to for ten minutes, or a whole rescan period if
    /// that is longer, is given up at the next periodic rescan.
    pub fn is_being_written(&self, path: &Path) -> bool {
        self.mailbox.is_being_written(path)
    }

    /// Looks for watches that are missing, then asks for a rescan.
    pub fn rescan(&self) {
        self.orders.give(RESCAN);
    }
}

impl Drop for Watch {
    /// The thread ends on its own: it may hang in a look at a file system that does not answer.
    fn drop(&mut self) {
        self.orders.give(STOP);
    }
}

impl Orders {
    fn give(&self, order: u8) {
        self.given.fetch_or(order, Ordering::SeqCst);
        // It fails when the thread has been woken as often as can be counted.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// What becomes readable when an order is given.
    pub(super) fn wake(&self) -> &OwnedFd {
        &self.wake
    }

    /// Whether to stop.
    pub(super) fn stop(&self) -> bool {
        self.given.load(Ordering::SeqCst) & STOP != 0
    }

    /// Whether a rescan was asked for since it was last looked.
    pub(super) fn rescan(&self) -> bool {
        let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
        self.given.fetch_and(!RESCAN, Ordering::SeqCst) & RESCAN != 0
    }
}
