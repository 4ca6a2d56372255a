//! The kernel's inotify(7): one instance, watches on directories, events as values.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use inotify::{EventMask, WatchDescriptor, WatchMask};
use rustix::io::Errno;

/// Events that are taken in before anything else is looked at; the kernel keeps 16,384 by default.
const AT_ONCE: usize = 1 << 15;

/// As many bytes of events as one read takes.
const BUFFER: usize = 1 << 16;

#[derive(Debug)]
pub(super) struct Inotify {
    instance: inotify::Inotify,
    watches: HashMap<Wd, WatchDescriptor>,
}

/// A watch on one directory. The kernel counts inodes, not paths: a directory that is watched by
/// two paths has one watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Wd(pub(super) i32);

/// What a directory is watched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Interest {
    /// Names that come and go: something is reached through them.
    Names,
    /// What is done to the files in it as well.
    Files,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WatchEvent {
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
        Ok(Self {
            instance: inotify::Inotify::init().map_err(errno)?,
            watches: HashMap::new(),
        })
    }

    /// Watches a directory; one that is watched already keeps its watch, and gets the interest on
    /// top of what it had.
    ///
    /// # Errors
    /// `ENOSPC`: no more watches for this user; and those of a look at the directory.
    pub(super) fn watch(&mut self, dir: &Path, interest: Interest) -> Result<Wd, Errno> {
        let names = WatchMask::CREATE
            | WatchMask::DELETE
            | WatchMask::MOVED_FROM
            | WatchMask::MOVED_TO
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR
            // The name of a file that was replaced while it is open is its successor's.
            | WatchMask::EXCL_UNLINK
            | WatchMask::MASK_ADD;
        let mask = match interest {
            Interest::Names => names,
            Interest::Files => {
                names | WatchMask::MODIFY | WatchMask::CLOSE_WRITE | WatchMask::ATTRIB
            }
        };
        let added = self.instance.watches().add(dir, mask).map_err(errno)?;
        let wd = Wd(added.get_watch_descriptor_id());
        self.watches.insert(wd, added);
        Ok(wd)
    }

    /// Ends a watch, which may have ended by itself.
    pub(super) fn unwatch(&mut self, wd: Wd) {
        if let Some(watch) = self.watches.remove(&wd) {
            let _ = self.instance.watches().remove(watch);
        }
    }

    /// What has happened since it was asked last, oldest first; none if nothing has.
    ///
    /// # Errors
    /// None that inotify(7) knows of.
    pub(super) fn events(&mut self) -> Result<Vec<WatchEvent>, Errno> {
        let mut buffer = vec![0; BUFFER];
        let mut events = Vec::new();
        while events.len() < AT_ONCE {
            match self.instance.read_events(&mut buffer) {
                Ok(read) => events.extend(read.filter_map(event)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(errno(error)),
            }
        }
        for event in &events {
            if let WatchEvent::Itself(wd, Fate::Ended) = event {
                self.watches.remove(wd);
            }
        }
        Ok(events)
    }
}

impl AsFd for Inotify {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.as_fd()
    }
}

/// The error number, which tells the limits apart.
fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn event(event: inotify::Event<&OsStr>) -> Option<WatchEvent> {
    let mask = event.mask;
    if mask.contains(EventMask::Q_OVERFLOW) {
        return Some(WatchEvent::Overflow);
    }
    let wd = Wd(event.wd.get_watch_descriptor_id());
    let Some(name) = event.name else {
        return Some(WatchEvent::Itself(
            wd,
            if mask.contains(EventMask::IGNORED) {
                Fate::Ended
            } else if mask.contains(EventMask::UNMOUNT) {
                Fate::Unmounted
            } else {
                Fate::Changed
            },
        ));
    };
    let cookie = event.cookie;
    let acts = [
        (EventMask::CREATE, Act::Created),
        (EventMask::MOVED_TO, Act::MovedIn(cookie)),
        (EventMask::MOVED_FROM, Act::MovedOut(cookie)),
        (EventMask::DELETE, Act::Deleted),
        (EventMask::MODIFY, Act::Written),
        (EventMask::CLOSE_WRITE, Act::Closed),
        (EventMask::ATTRIB, Act::Attributes),
    ];
    let (_, act) = acts.into_iter().find(|(flag, _)| mask.contains(*flag))?;
    Some(WatchEvent::Name {
        wd,
        name: name.to_owned(),
        act,
        dir: mask.contains(EventMask::ISDIR),
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
