//! The kernel's inotify(7): one instance, watches on directories, events as values.

use std::ffi::{OsStr, OsString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

/// Events that are taken in before anything else is looked at; the kernel keeps 16,384 by default.
const AT_ONCE: usize = 1 << 15;

/// One instance.
#[derive(Debug)]
pub(super) struct Inotify(OwnedFd);

/// A watch on one directory. The kernel counts inodes, not paths: a directory that is watched by
/// two paths has one watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Wd(pub(super) i32);

/// What a directory is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Interest {
    /// Names that come and go: it lies on the way to something.
    Names,
    /// What is done to the files in it as well.
    Files,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// More happened than the kernel could keep: events of any watch are lost.
    Overflow,
    /// To the watched directory itself.
    Itself(Wd, Fate),
    /// To a name in it.
    Name {
        wd: Wd,
        name: OsString,
        act: Act,
        /// The name is that of a directory; links to directories are not.
        dir: bool,
    },
}

/// What became of a watched directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was renamed, removed, or its attributes were changed.
    Changed,
    /// Its file system is no longer mounted.
    Unmounted,
    /// The watch has ended.
    Ended,
}

/// What was done to a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// It was made: opened anew, linked, or made a directory or a link.
    Created,
    /// It was renamed to this name. The number is that of the `MovedOut` it belongs to.
    MovedIn(u32),
    /// It was renamed to another name.
    MovedOut(u32),
    /// It was unlinked.
    Deleted,
    /// It was written to.
    Written,
    /// It was closed by one that could write.
    Closed,
    /// Its owner, mode, times or number of links changed.
    Attributes,
}

impl Inotify {
    /// # Errors
    /// `EMFILE`: no more instances for this user, or no more descriptors for this process.
    pub(super) fn new() -> Result<Self, Errno> {
        inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).map(Self)
    }

    /// Watches a directory; one that is watched already keeps its watch, and gets the interest on
    /// top of what it had.
    ///
    /// # Errors
    /// `ENOSPC`: no more watches for this user; and those of a look at the directory.
    pub(super) fn watch(&self, dir: &Path, interest: Interest) -> Result<Wd, Errno> {
        let names = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR
            // The name of a file that was replaced while it is open is its successor's.
            | WatchFlags::EXCL_UNLINK
            | WatchFlags::MASK_ADD;
        let flags = match interest {
            Interest::Names => names,
            Interest::Files => {
                names | WatchFlags::MODIFY | WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB
            }
        };
        inotify::add_watch(&self.0, dir, flags).map(Wd)
    }

    /// Ends a watch, which may have ended by itself.
    pub(super) fn unwatch(&self, wd: Wd) {
        let _ = inotify::remove_watch(&self.0, wd.0);
    }

    /// What has happened since it was asked last, oldest first; none if nothing has.
    ///
    /// # Errors
    /// None that inotify(7) knows of.
    pub(super) fn events(&self) -> Result<Vec<Event>, Errno> {
        let mut buffer = vec![MaybeUninit::uninit(); 1 << 16];
        let mut reader = Reader::new(&self.0, &mut buffer);
        let mut events = Vec::new();
        while events.len() < AT_ONCE || !reader.is_buffer_empty() {
            match reader.next() {
                Ok(raw) => {
                    let name = raw
                        .file_name()
                        .map(|name| OsStr::from_bytes(name.to_bytes()));
                    let flags = raw.events();
                    events.extend(event(Wd(raw.wd()), flags, raw.cookie(), name));
                }
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn event(wd: Wd, flags: ReadFlags, cookie: u32, name: Option<&OsStr>) -> Option<Event> {
    if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
        return Some(Event::Overflow);
    }
    let Some(name) = name else {
        return Some(Event::Itself(
            wd,
            if flags.contains(ReadFlags::IGNORED) {
                Fate::Ended
            } else if flags.contains(ReadFlags::UNMOUNT) {
                Fate::Unmounted
            } else {
                Fate::Changed
            },
        ));
    };
    let acts = [
        (ReadFlags::CREATE, Act::Created),
        (ReadFlags::MOVED_TO, Act::MovedIn(cookie)),
        (ReadFlags::MOVED_FROM, Act::MovedOut(cookie)),
        (ReadFlags::DELETE, Act::Deleted),
        (ReadFlags::MODIFY, Act::Written),
        (ReadFlags::CLOSE_WRITE, Act::Closed),
        (ReadFlags::ATTRIB, Act::Attributes),
    ];
    let (_, act) = acts.into_iter().find(|(flag, _)| flags.contains(*flag))?;
    Some(Event::Name {
        wd,
        name: name.to_owned(),
        act,
        dir: flags.contains(ReadFlags::ISDIR),
    })
}

impl Act {
    /// Whether the name came, went, or is another file now.
    pub(super) fn is_of_names(self) -> bool {
        match self {
            Self::Created | Self::MovedIn(_) | Self::MovedOut(_) | Self::Deleted => true,
            Self::Written | Self::Closed | Self::Attributes => false,
        }
    }
}
