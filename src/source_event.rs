//! What the source of entries, the images directory, says.
//!
//! The source decides whether a file is whole, and nothing else: what follows from an event is the
//! plan's decision.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::compression::Compression;
use crate::entry::Entry;

/// Something about the images directory.
///
/// An event may come twice. Events of one path come in the order in which they happened. A listing
/// replaces the events before it, but for removals: of a directory that has gone it cannot tell what
/// was removed from it before.
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
    /// The removal of the path was seen. It may be that of an entry, of an ignored file, or of a
    /// directory with all that was in it.
    Removed(PathBuf),
    /// The path of an entry is there and cannot be looked at. The source looks again by itself.
    Unreadable(Unreadable),
    /// A file that is neither an archive nor a list.
    Ignored(Ignored),
    /// All that is there.
    Listed(Listing),
    /// A part of the directory is polled from now on; the text says why, and what to do about it.
    Degraded(String),
    /// All of it is followed by events again.
    Restored,
}

/// A source of entries.
pub trait EntrySource: Send + Sync + 'static {
    /// The next event. Nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// [`SourceEnded`]: nothing comes any more.
    fn next(&self) -> impl Future<Output = Result<SourceEvent, SourceEnded>> + Send;

    /// Has everything listed again.
    fn rescan(&self);

    /// Looks at a path as if it had been touched now: an event of the path, or a listing, follows.
    fn look(&self, path: &Path);

    /// Another quiet time counts from now on.
    fn set_settle(&self, settle: Duration);
}

/// Nothing comes of the source any more, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the images directory is not followed any more: {0}")]
pub struct SourceEnded(pub String);

/// All that one walk of the images directory found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The entries, in name order.
    pub entries: Vec<Listed>,
    /// Entries and directories that could not be looked at.
    pub unreadable: Vec<Unreadable>,
    /// Files that are neither archives nor lists.
    pub ignored: Vec<Ignored>,
    /// The directories that were listed whole, the images directory itself among them, by the path
    /// that the paths of their entries begin with.
    pub directories: BTreeMap<PathBuf, DirectoryId>,
}

/// An entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub entry: Entry,
    /// Whether its file is whole. If not, `SourceEvent::Settled` or another event of the path
    /// follows.
    pub whole: bool,
}

/// A file that is no entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ignored {
    pub path: PathBuf,
    pub looks_like: LooksLike,
}

/// What a file that is no entry may be, all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LooksLike {
    Nothing,
    /// It marks its directory as an OCI layout.
    OciLayout,
    /// It begins like an archive that is compressed so.
    Archive(Compression),
}

impl From<PathBuf> for Ignored {
    fn from(path: PathBuf) -> Self {
        let looks_like = LooksLike::Nothing;
        Self { path, looks_like }
    }
}

/// A path that is there and could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    pub path: PathBuf,
    /// What was tried and what went wrong, in one line.
    pub error: String,
}

/// What tells one directory from another, whatever lies at its path: a mount over it, or a file
/// system that is not mounted yet, makes it another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DirectoryId {
    /// `f_fsid` of statfs(2), or a hash of what else tells the file system from others.
    pub file_system: u64,
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
    /// The listing, ready to be asked about many paths.
    pub fn sight(&self) -> Sight<'_> {
        Sight {
            directories: &self.directories,
            unreadable: self
                .unreadable
                .iter()
                .map(|other| other.path.as_path())
                .collect(),
            ignored: self
                .ignored
                .iter()
                .map(|other| other.path.as_path())
                .collect(),
        }
    }
}

/// What can be seen of the images directory.
#[derive(Debug)]
pub struct Sight<'a> {
    directories: &'a BTreeMap<PathBuf, DirectoryId>,
    unreadable: HashSet<&'a Path>,
    ignored: HashSet<&'a Path>,
}

impl Sight<'_> {
    /// Says why `path` is not among the entries, for one that was seen when the directories above it
    /// were `seen_in`: none where that is not known.
    ///
    /// The images directory must be the one that it was, and so must the directories in it. One that
    /// was no mount point, and is no link that leads nowhere, may be gone: then it was removed with all
    /// that was in it.
    pub fn absence(&self, path: &Path, root: &Path, seen_in: &[DirectoryId]) -> Absence {
        // A link to a directory that is not mounted leads nowhere, and is ignored.
        let is_hidden = |dir: &Path| self.unreadable.contains(dir) || self.ignored.contains(dir);
        // A look at it when a directory above it was not listed has seen it in less.
        let is_partly_known = !seen_in.is_empty() && seen_in.len() < chain(path, root).count();
        if !self.directories.contains_key(root)
            || chain(path, root).any(is_hidden)
            || self.unreadable.contains(path)
            || is_partly_known
        {
            return Absence::OutOfSight;
        }
        let mut parent: Option<&DirectoryId> = None;
        for (dir, seen) in chain(path, root).zip(seen_in) {
            let is_mount_point = parent.is_none_or(|above| above.file_system != seen.file_system);
            let is_there = match self.directories.get(dir) {
                Some(now) => now == seen,
                None => !is_mount_point,
            };
            if !is_there {
                return Absence::OutOfSight;
            }
            parent = Some(seen);
        }
        Absence::Removed
    }
}

/// The directories above `path`, from the images directory `root` on down, as far as `directories` has
/// them.
pub fn above(
    directories: &BTreeMap<PathBuf, DirectoryId>,
    path: &Path,
    root: &Path,
) -> Vec<DirectoryId> {
    let known = chain(path, root).map_while(|dir| directories.get(dir));
    known.copied().collect()
}

/// The directories from `root` down to the parent of `path`.
fn chain<'a>(path: &'a Path, root: &'a Path) -> impl Iterator<Item = &'a Path> {
    let above = path.ancestors().skip(1);
    let mut above = above
        .take_while(|dir| dir.starts_with(root))
        .collect::<Vec<_>>();
    above.reverse();
    above.into_iter()
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

    #[test]
    fn only_the_same_directory_can_say_that_a_file_was_removed() {
        let (file, root) = (Path::new("/i/a/b/x.tar"), Path::new("/i"));
        let seen_in = [id(1), id(2), id(3)];
        let absence = |now: &[(&str, u64)], unreadable: &[&str]| {
            let unreadable = unreadable.iter().map(|path| Unreadable {
                path: path.into(),
                error: "cannot be listed".to_owned(),
            });
            let now = now.iter().map(|(path, inode)| (path.into(), id(*inode)));
            let listing = Listing {
                unreadable: unreadable.collect(),
                directories: now.collect(),
                ..Listing::default()
            };
            assert_eq!(
                listing.sight().absence(file, root, &[]) == Absence::Removed,
                !listing.directories.is_empty() && listing.unreadable.is_empty(),
                "of an older stowd's record"
            );
            listing.sight().absence(file, root, &seen_in)
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
                "another directory in its place",
            ),
            (
                &[("/i", 1), ("/i/a", 2), ("/i/a/b", 9)],
                &[],
                away,
                "another parent in its place",
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

    #[test]
    fn a_mount_that_is_not_there_has_removed_nothing() {
        let (file, root) = (Path::new("/i/m/x.tar"), Path::new("/i"));
        let mounted = DirectoryId {
            file_system: 2,
            inode: 1,
        };
        let absence = |now: &[(&str, DirectoryId)]| {
            let now = now.iter().map(|(path, id)| (path.into(), *id));
            let listing = Listing {
                directories: now.collect(),
                ..Listing::default()
            };
            listing.sight().absence(file, root, &[id(1), mounted])
        };
        let root = ("/i", id(1));
        for (now, expected) in [
            (&[root, ("/i/m", mounted)][..], Absence::Removed),
            (&[root, ("/i/m", id(3))], Absence::OutOfSight),
            (&[root], Absence::OutOfSight),
        ] {
            assert_eq!(absence(now), expected, "{now:?}");
        }
    }
}
