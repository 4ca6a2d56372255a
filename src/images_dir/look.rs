//! What is at a path.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{self, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, openat, stat, statat};
use rustix::io::Errno;

use super::file_system::FileSystems;
use super::path_walk::{End, PathWalk};
use super::reach::{Reach, Silent};
use crate::entry::{Identity, Verdict};
use crate::source_event::DirectoryId;

/// What is at a path, links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PathState {
    File(Identity),
    Directory,
    /// A socket, a pipe or a device.
    Special,
    /// There is nothing at the path, not even a link that leads nowhere.
    Gone,
    /// It is there and cannot be looked at; the text is for people.
    Unknown(String),
}

impl PathState {
    pub(super) fn at(path: &Path, reach: &Reach) -> Self {
        if let Err(silent) = announce(path, reach) {
            return Self::Unknown(format!("cannot be read: {silent}"));
        }
        match stat(path) {
            Err(_) if is_gone(path) => Self::Gone,
            looked => Self::of(looked),
        }
    }

    /// What a look at something that is there gave.
    pub(super) fn of(looked: Result<Stat, Errno>) -> Self {
        match looked.map(|stat| (FileType::from_raw_mode(stat.st_mode), stat)) {
            Ok((FileType::RegularFile, stat)) => Self::File(identity(&stat)),
            Ok((FileType::Directory, _)) => Self::Directory,
            Ok(_) => Self::Special,
            Err(error) => Self::Unknown(format!("cannot be read: {error}")),
        }
    }
}

/// To be called before calls about `path`, which may lead through links to a mount that does not answer.
pub(super) fn announce(path: &Path, reach: &Reach) -> Result<(), Silent> {
    if !reach.is_whole() {
        let absolute = path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let walked = PathWalk::follow(Path::new("/"), &absolute, reach, |_| ());
        if let End::Silent(silent) = walked.end {
            return Err(silent);
        }
    }
    reach.look(path);
    Ok(())
}

/// A file system that fails to answer is no proof that the path is gone.
fn is_gone(path: &Path) -> bool {
    let there = fs::symlink_metadata(path).map_err(|error| error.kind());
    matches!(
        there,
        Err(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    )
}

fn identity(stat: &Stat) -> Identity {
    let time = |seconds, rest| (seconds, i64::try_from(rest).unwrap_or_default());
    Identity::from_parts(
        (stat.st_dev, stat.st_ino),
        u64::try_from(stat.st_size).unwrap_or_default(),
        time(stat.st_mtime, stat.st_mtime_nsec),
        time(stat.st_ctime, stat.st_ctime_nsec),
    )
}

/// Opens a directory to look at it and at the names in it, whether it may be listed or not.
pub(super) fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, path, flags, Mode::empty())
}

/// Whether the path was removed: its directory is the one that it was, and has not the name any
/// more. `directories` are those of the last walk.
pub(super) fn is_removed(
    path: &Path,
    directories: &BTreeMap<PathBuf, DirectoryId>,
    reach: &Reach,
) -> bool {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return false;
    };
    let Some(was) = directories.get(parent) else {
        return false;
    };
    if announce(parent, reach).is_err() {
        return false;
    }
    // The name is looked up in the directory that was opened, whatever its path leads to meanwhile.
    let Ok(directory) = open_directory(parent) else {
        return false;
    };
    FileSystems::default().directory_id(&directory) == Ok(*was)
        && statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).err() == Some(Errno::NOENT)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LookCause {
    /// An event told that it was touched.
    Touched,
    /// An event told that it was taken out of its directory.
    Unlinked,
    /// It was asked for, and an event is to follow whatever is there.
    Asked,
    /// It may be whole now, or it could not be looked at before.
    Due,
}

/// Whether a file of this name is an entry.
pub(super) fn is_entry(path: &Path) -> bool {
    let verdict = Verdict::on(path.file_name().unwrap_or_default());
    matches!(verdict, Verdict::Entry(_))
}

/// The time of day, as the times of files are.
pub(super) fn clock() -> i128 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_identity_whatever_looks_at_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.tar");
        let reach = Reach::default();
        fs::write(&path, "a").unwrap();
        let expected = Identity::of(&fs::metadata(&path).unwrap());
        assert_eq!(PathState::at(&path, &reach), PathState::File(expected));
        assert_eq!(
            PathState::at(directory.path(), &reach),
            PathState::Directory
        );
        assert_eq!(
            PathState::at(Path::new("/dev/null"), &reach),
            PathState::Special
        );
        assert_eq!(
            PathState::at(&directory.path().join("b.tar"), &reach),
            PathState::Gone
        );
        std::os::unix::fs::symlink("nowhere", directory.path().join("c.tar")).unwrap();
        let PathState::Unknown(error) = PathState::at(&directory.path().join("c.tar"), &reach)
        else {
            panic!("a link that leads nowhere is there");
        };
        assert_eq!(
            error,
            "cannot be read: No such file or directory (os error 2)"
        );
    }

    #[test]
    fn only_the_same_directory_can_say_that_a_name_was_removed() {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().join("images");
        fs::create_dir(&dir).unwrap();
        let path = dir.join("a.tar");
        let id = FileSystems::default().directory_id(open_directory(&dir).unwrap());
        let id = id.unwrap();
        let known = BTreeMap::from([(dir.clone(), id)]);
        let reach = Reach::default();
        assert!(is_removed(&path, &known, &reach));
        assert!(
            !is_removed(&path, &BTreeMap::new(), &reach),
            "it is not known"
        );
        fs::write(&path, "a").unwrap();
        assert!(!is_removed(&path, &known, &reach), "it is there");
        fs::rename(&dir, temporary.path().join("away")).unwrap();
        assert!(!is_removed(&path, &known, &reach), "the directory is away");
        fs::create_dir(&dir).unwrap();
        assert!(
            !is_removed(&path, &known, &reach),
            "it is another directory"
        );
    }
}
