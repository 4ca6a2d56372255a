//! What the source of entries, the images directory, says.
//!
//! The source decides whether a file is whole, and nothing else: what follows from an event is the
//! plan's decision.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::entry::Entry;

/// Something about the images directory.
///
/// An event may come twice. Events of one path come in the order in which they happened, and a
/// listing replaces all events before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEvent {
    /// The file of an entry was touched, and is not whole yet: it changed less than `images.settle`
    /// ago, or a process has it open for writing. `Settled`, `StillWritten`, `Removed`, `Unreadable`
    /// or a listing follows.
    Settling(Entry),
    /// The file of an entry is whole.
    Settled(Entry),
    /// The file of an entry has not been whole for so long that nothing is to wait for it any more.
    /// `Settled` follows when it is.
    StillWritten(Entry),
    /// The removal of the path was seen: its directory is the one that it was, and has not the name
    /// any more. The path may be that of an entry or of an ignored file.
    Removed(PathBuf),
    /// The path of an entry is there and cannot be looked at. The source looks again by itself.
    Unreadable(Unreadable),
    /// A file that is neither an archive nor a list.
    Ignored(PathBuf),
    /// All that is there.
    Listed(Listing),
    /// A part of the directory is polled from now on; the text says why, and what to do about it.
    Degraded(String),
    /// All of it is followed by events again.
    Restored,
}

/// All that one walk of the images directory found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The entries, in name order.
    pub entries: Vec<Listed>,
    /// Entries and directories that could not be looked at.
    pub unreadable: Vec<Unreadable>,
    /// Files that are neither archives nor lists.
    pub ignored: Vec<PathBuf>,
    /// The directories that were listed whole, the images directory itself among them, by the path
    /// that the paths of their entries begin with.
    pub directories: BTreeMap<PathBuf, DirectoryId>,
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// The entry.
    pub entry: Entry,
    /// Whether its file is whole. If not, `SourceEvent::Settled` or another event of the path
    /// follows.
    pub whole: bool,
}

/// A path that is there and could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// The path.
    pub path: PathBuf,
    /// What was tried and what went wrong, in one line.
    pub error: String,
}

/// What tells one directory from another, whatever lies at its path: a mount over it, or a file
/// system that is not mounted yet, makes it another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryId {
    /// `f_fsid` of statfs(2); the device number where the file system has none.
    pub file_system: u64,
    /// The inode.
    pub inode: u64,
}

/// Where an entry is that a listing has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It was removed: a directory above it is the one that it was, and has not the name any more.
    Removed,
    /// It cannot be seen: its directory is missing, unmounted, unreadable, or another one lies there.
    OutOfSight,
}

impl Listing {
    /// Says why `path` is not among the entries, for one that was seen when its directories were
    /// those of `before`. `root` is the images directory.
    ///
    /// The nearest directory above the path that was listed decides.
    pub fn absence(
        &self,
        path: &Path,
        root: &Path,
        before: &BTreeMap<PathBuf, DirectoryId>,
    ) -> Absence {
        let mut above = path
            .ancestors()
            .skip(1)
            .take_while(|dir| dir.starts_with(root));
        let hidden = |path: &Path| self.unreadable.iter().any(|other| other.path == path);
        if hidden(path) {
            return Absence::OutOfSight;
        }
        let nearest = above.find(|dir| self.directories.contains_key(*dir) || hidden(dir));
        match nearest {
            Some(dir) if !hidden(dir) && self.directories.get(dir) == before.get(dir) => {
                Absence::Removed
            }
            _ => Absence::OutOfSight,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(inode: u64) -> DirectoryId {
        DirectoryId {
            file_system: 1,
            inode,
        }
    }

    fn directories(of: &[(&str, u64)]) -> BTreeMap<PathBuf, DirectoryId> {
        of.iter()
            .map(|(path, inode)| (path.into(), id(*inode)))
            .collect()
    }

    #[test]
    fn only_the_same_directory_can_say_that_a_file_was_removed() {
        let before = directories(&[("/i", 1), ("/i/a", 2), ("/i/a/b", 3)]);
        let absence = |now: &[(&str, u64)], unreadable: &[&str]| {
            let unreadable = unreadable.iter().map(|path| Unreadable {
                path: path.into(),
                error: "cannot be listed".to_owned(),
            });
            let listing = Listing {
                unreadable: unreadable.collect(),
                directories: directories(now),
                ..Listing::default()
            };
            listing.absence(Path::new("/i/a/b/x.tar"), Path::new("/i"), &before)
        };
        let (removed, away) = (Absence::Removed, Absence::OutOfSight);
        for (now, unreadable, expected, why) in [
            (
                &[("/i", 1), ("/i/a", 2), ("/i/a/b", 3)][..],
                &[][..],
                removed,
                "the file",
            ),
            (&[("/i", 1), ("/i/a", 2)], &[], removed, "its directory"),
            (&[("/i", 1)], &[], removed, "the directory above"),
            (&[], &[], away, "the images directory is missing"),
            (&[("/i", 9)], &[], away, "another images directory"),
            (
                &[("/i", 1), ("/i/a", 9)],
                &[],
                away,
                "another directory over it",
            ),
            (
                &[("/i", 1), ("/i/a", 2), ("/i/a/b", 9)],
                &[],
                away,
                "a mount has gone",
            ),
            (
                &[("/i", 1)],
                &["/i/a"],
                away,
                "a directory that cannot be listed",
            ),
            (
                &[("/i", 1), ("/i/a", 2), ("/i/a/b", 3)],
                &["/i/a/b/x.tar"],
                away,
                "the file itself",
            ),
        ] {
            assert_eq!(absence(now, unreadable), expected, "{why}");
        }
    }
}
