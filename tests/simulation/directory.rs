//! A simulated images directory, and the source that tells of it.
//!
//! `/i` is a file system; `/i/own` is a directory of it, and over `/i/sub` another one is mounted.
//! Each of the two can go away and come back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use stowd::entry::{Entry, Identity};
use stowd::source_event::{DirectoryId, Listed, Listing, SourceEvent, Unreadable};

use crate::content::{Content, kind};

/// Quiet time after the last change of a file.
pub(crate) const SETTLE: Duration = Duration::from_secs(2);

/// A file that is written for so long holds nothing any more.
const STILL_WRITTEN: Duration = Duration::from_secs(120);

pub(crate) const ROOT: &str = "/i";
const OWN: &str = "/i/own";
const SUB: &str = "/i/sub";

/// Every path that a file of a history can have.
pub(crate) const PATHS: [&str; 7] = [
    "/i/a.tar",
    "/i/b.tar",
    "/i/c.txt",
    "/i/own/d.tar",
    "/i/own/e.txt",
    "/i/sub/f.tar",
    "/i/sub/g.txt",
];

#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) identity: Identity,
    pub(crate) content: Content,
    pub(crate) open: bool,
    /// Its mode lets it be read.
    pub(crate) readable: bool,
    /// Its medium fails.
    pub(crate) reading_fails: bool,
    /// Its next reading finds it broken, which it is not.
    pub(crate) is_misread: bool,
    pub(crate) was_misread: bool,
    /// A process writes to it all the time: each time that it is read it has changed by then.
    pub(crate) changes: bool,
}

impl File {
    pub(crate) fn can_be_read(&self) -> bool {
        self.readable && !self.reading_fails
    }
}

/// What lies at the place of a file system that is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Away {
    Missing,
    Empty,
    Unreadable,
}

#[derive(Debug, Default)]
pub(crate) struct Directory {
    pub(crate) files: BTreeMap<PathBuf, File>,
    pub(crate) root_away: Option<Away>,
    pub(crate) sub_away: Option<Away>,
    /// The inode of `/i/own`; `None` where it was removed.
    pub(crate) own: Option<u64>,
    /// Another directory was made in its place.
    pub(crate) own_is_another: bool,
    inodes: u64,
}

impl Directory {
    fn stamp(&mut self) -> u64 {
        self.inodes += 1;
        self.inodes
    }

    /// Whether the file at a path can be seen.
    pub(crate) fn is_visible(&self, path: &Path) -> bool {
        self.root_away.is_none() && (!path.starts_with(SUB) || self.sub_away.is_none())
    }

    /// Whether the path is in a directory that may be another one than when a file of it was seen.
    pub(crate) fn is_in_another(&self, path: &Path) -> bool {
        path.starts_with(OWN) && self.own.is_some() && self.own_is_another
    }

    /// The file, if it is there and can be seen.
    pub(crate) fn seen(&self, path: &Path) -> Option<&File> {
        self.files.get(path).filter(|_| self.is_visible(path))
    }

    pub(crate) fn entry(&self, path: &Path) -> Option<Entry> {
        self.seen(path).map(|file| Entry {
            path: path.to_owned(),
            kind: kind(path),
            identity: file.identity,
        })
    }

    /// Another file at the path, whole or still open. Says whether a directory was made for it.
    pub(crate) fn write(&mut self, path: &Path, content: Content, open: bool) -> bool {
        let is_new = path.starts_with(OWN) && self.own.is_none();
        if is_new {
            self.own = Some(self.stamp());
        }
        let inode = self.stamp();
        let identity = Identity {
            device: 1,
            inode,
            size: 1,
            mtime: i128::from(inode),
            ctime: i128::from(inode),
        };
        let file = File {
            identity,
            content,
            open,
            readable: true,
            reading_fails: false,
            changes: false,
            is_misread: false,
            was_misread: false,
        };
        self.files.insert(path.to_owned(), file);
        is_new
    }

    /// The same file, with other content.
    pub(crate) fn change(&mut self, path: &Path, content: Content, open: bool) {
        let stamp = self.stamp();
        if let Some(file) = self.files.get_mut(path) {
            file.content = content;
            file.open = open;
            file.identity.mtime = i128::from(stamp);
            file.identity.ctime = i128::from(stamp);
        }
    }

    /// Each file is a copy.
    pub(crate) fn copy(&mut self) {
        let stamp = self.stamp();
        for file in self.files.values_mut() {
            file.identity.inode += stamp << 32;
            file.identity.ctime = i128::from(stamp);
        }
    }

    /// The file has other content, and is told by nothing else.
    pub(crate) fn disguise(&mut self, path: &Path, content: Content) {
        if let Some(file) = self.files.get_mut(path) {
            file.content = content;
        }
    }

    /// The mode of a file is changed, and with it its ctime. Says whether there is one.
    pub(crate) fn toggle_readable(&mut self, path: &Path) -> bool {
        let stamp = self.stamp();
        let Some(file) = self.files.get_mut(path) else {
            return false;
        };
        file.readable = !file.readable;
        file.identity.ctime = i128::from(stamp);
        true
    }

    pub(crate) fn remove_own(&mut self) {
        self.own_is_another |= self.own.is_some();
        self.own = None;
        self.files.retain(|path, _| !path.starts_with(OWN));
    }

    fn listing(&self, is_whole: impl Fn(&Path) -> bool) -> Listing {
        let mut listing = Listing::default();
        let id = |file_system, inode| DirectoryId { file_system, inode };
        let directory = |listing: &mut Listing, path: &str, there, away: Option<Away>, under| {
            match away {
                None => drop(listing.directories.insert(path.into(), there)),
                Some(Away::Missing) => {}
                Some(Away::Empty) => drop(listing.directories.insert(path.into(), under)),
                Some(Away::Unreadable) => listing.unreadable.push(Unreadable {
                    path: path.into(),
                    error: "cannot be listed".to_owned(),
                }),
            }
            away.is_none()
        };
        if !directory(&mut listing, ROOT, id(1, 1), self.root_away, id(9, 1)) {
            return listing;
        }
        if let Some(own) = self.own {
            listing.directories.insert(OWN.into(), id(1, own));
        }
        directory(&mut listing, SUB, id(2, 1), self.sub_away, id(1, 2));
        for (path, file) in &self.files {
            let Some(entry) = self.entry(path) else {
                continue;
            };
            if file.can_be_read() {
                let whole = is_whole(path);
                listing.entries.push(Listed { entry, whole });
            } else {
                listing.unreadable.push(Unreadable {
                    path: path.clone(),
                    error: "cannot be read".to_owned(),
                });
            }
        }
        listing
    }
}

/// The source of one process.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) events: VecDeque<SourceEvent>,
    /// Files that are not whole: since when, and until when they are left alone, if not open.
    settling: BTreeMap<PathBuf, (Duration, Duration)>,
    told: BTreeSet<PathBuf>,
}

impl Source {
    /// Everything is listed; what was to be told before is in it.
    pub(crate) fn list(&mut self, directory: &Directory, now: Duration) {
        self.settling
            .retain(|path, _| directory.seen(path).is_some());
        self.told.retain(|path| directory.seen(path).is_some());
        for (path, file) in &directory.files {
            if file.open && directory.is_visible(path) {
                self.settling
                    .entry(path.clone())
                    .or_insert((now, now + SETTLE));
            }
        }
        // A listing does not tell what was removed before its directory went away, or was made again.
        let is_removal = |event: &SourceEvent| matches!(event, SourceEvent::Removed(_));
        self.events.retain(is_removal);
        let listing = directory.listing(|path| !self.settling.contains_key(path));
        self.events.push_back(SourceEvent::Listed(listing));
        for path in &self.told {
            if let Some(entry) = directory.entry(path) {
                self.events.push_back(SourceEvent::StillWritten(entry));
            }
        }
    }

    /// The file is not waited for any more.
    fn left(&mut self, path: &Path) {
        self.settling.remove(path);
        self.told.remove(path);
    }

    /// Something was done to a file.
    pub(crate) fn touched(&mut self, directory: &Directory, path: &Path, now: Duration) {
        self.look(directory, path, now, false);
    }

    /// The plan asks for the path.
    pub(crate) fn look_again(&mut self, directory: &Directory, path: &Path, now: Duration) {
        self.look(directory, path, now, true);
    }

    fn look(&mut self, directory: &Directory, path: &Path, now: Duration, is_asked: bool) {
        if !directory.is_visible(path) {
            return;
        }
        match (directory.entry(path), directory.files.get(path)) {
            (Some(entry), Some(file)) if file.can_be_read() => {
                let settling = self.settling.entry(path.to_owned());
                settling.or_insert((now, now)).1 = now + SETTLE;
                match self.told.contains(path) {
                    false => self.events.push_back(SourceEvent::Settling(entry)),
                    // Of what is still written only its end is news.
                    true if is_asked => self.events.push_back(SourceEvent::StillWritten(entry)),
                    true => {}
                }
            }
            (Some(_), Some(_)) => {
                self.left(path);
                self.events.push_back(SourceEvent::Unreadable(Unreadable {
                    path: path.to_owned(),
                    error: "cannot be read".to_owned(),
                }));
            }
            _ => {
                self.left(path);
                self.events.push_back(SourceEvent::Removed(path.to_owned()));
            }
        }
    }

    /// The directory `/i/own` was removed, with all in it.
    pub(crate) fn own_removed(&mut self, directory: &Directory) {
        if directory.root_away.is_none() {
            self.settling.retain(|path, _| !path.starts_with(OWN));
            self.told.retain(|path| !path.starts_with(OWN));
            self.events.push_back(SourceEvent::Removed(OWN.into()));
            let listing = directory.listing(|path| !self.settling.contains_key(path));
            self.events.push_back(SourceEvent::Listed(listing));
        }
    }

    /// When a file becomes whole next.
    pub(crate) fn next_due(&self, directory: &Directory) -> Option<Duration> {
        let due = self.settling.iter().filter_map(|(path, (since, until))| {
            let is_open = directory.seen(path).is_some_and(|file| file.open);
            match (is_open, self.told.contains(path)) {
                (false, _) => Some(*until),
                (true, false) => Some(*since + STILL_WRITTEN),
                (true, true) => None,
            }
        });
        due.min()
    }

    /// Tells what has become whole.
    pub(crate) fn tick(&mut self, directory: &Directory, now: Duration) {
        let mut whole = Vec::new();
        for (path, (since, until)) in &self.settling {
            let Some((entry, file)) = directory.entry(path).zip(directory.seen(path)) else {
                whole.push(path.clone());
                continue;
            };
            if !file.open && *until <= now {
                self.events.push_back(SourceEvent::Settled(entry));
                whole.push(path.clone());
            } else if file.open && *since + STILL_WRITTEN <= now && self.told.insert(path.clone()) {
                self.events.push_back(SourceEvent::StillWritten(entry));
            }
        }
        for path in whole {
            self.left(&path);
        }
    }
}
