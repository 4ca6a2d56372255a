//! The walk through the images directory: recursive, in name order, links followed once and never
//! upwards. It arms a watch on each directory that matters before it lists it, so that what it
//! misses of changes meanwhile is an event.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path, PathBuf};
use std::vec;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, fstat, openat, stat, statat};
use rustix::io::Errno;

use super::file_system::FileSystems;
use super::ignored::ignored;
use super::inotify::{Inotify, Interest};
use super::look::{PathState, is_removed, open_directory};
use super::path_walk::{End, PathWalk};
use super::reach::Reach;
use super::watch_limit::WatchLimit;
use super::watch_tree::{Dependency, WatchTree};
use crate::entry::{Entry, Verdict, name_order};
use crate::layout::{BLOBS, OCI_LAYOUT};
use crate::source_event::{DirectoryId, Ignored, Unreadable};

/// The directory at the root of a file system that fsck(8) puts what it finds into. Only root may
/// read it.
const LOST_AND_FOUND: &str = "lost+found";

#[derive(Debug, Default)]
pub(super) struct Walked {
    /// The entries, in name order.
    pub(super) entries: Vec<Entry>,
    /// What stowd does not act on: other files, and links to directories above.
    pub(super) ignored: Vec<Ignored>,
    /// What could not be looked at.
    pub(super) unreadable: Vec<Unreadable>,
    /// The directories that were listed whole.
    pub(super) directories: BTreeMap<PathBuf, DirectoryId>,
    pub(super) tree: WatchTree,
    /// Why some of it is not.
    pub(super) limits: BTreeSet<WatchLimit>,
}

/// Walks through `dir`. That a directory or a file cannot be read ends nothing but the look at it.
/// Without `inotify` nothing is watched.
///
/// `known` are the files that were ignored before: they are not looked into again.
pub(super) fn walk(
    dir: &Path,
    inotify: Option<&mut Inotify>,
    known: &HashMap<PathBuf, Ignored>,
    reach: &Reach,
) -> Walked {
    let mut walk = Walk {
        inotify,
        known,
        reach,
        found: Walked::default(),
        armed: HashMap::new(),
        above: HashSet::new(),
        walked: HashSet::new(),
        whole: HashSet::new(),
        devices: HashSet::new(),
        file_systems: FileSystems::default(),
    };
    // A relative path that cannot be made absolute has no working directory to be in.
    let absolute = path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    match walk.path(Path::new("/"), &absolute, None) {
        End::Silent(silent) => walk.unreadable(dir, "listed", silent),
        End::Directory(real) => walk.tree(real, dir),
        End::File | End::Nowhere => walk.no_directory(absolute, dir),
    }
    let mut found = walk.found;
    found.entries.sort_by(|a, b| name_order(&a.path, &b.path));
    found.ignored.sort();
    found
}

/// The directories above `dir`, each by its device and inode: of its path as it is given, and of
/// the one that it resolves to. A link to one of them is not followed, or the walk would go through
/// whatever else is there, to containerd's own files and beyond.
fn above(dir: &Path) -> HashSet<(u64, u64)> {
    let given = path::absolute(dir);
    let resolved = fs::canonicalize(dir);
    let paths = [given, resolved].into_iter().flatten();
    paths
        .flat_map(|path| {
            let above = path.ancestors().skip(1);
            above.map(fs::metadata).collect::<Vec<_>>()
        })
        .flatten()
        .map(|metadata| (metadata.dev(), metadata.ino()))
        .collect()
}

struct Walk<'a> {
    inotify: Option<&'a mut Inotify>,
    reach: &'a Reach,
    known: &'a HashMap<PathBuf, Ignored>,
    found: Walked,
    armed: HashMap<PathBuf, Interest>,
    /// What is not walked, whatever leads there.
    above: HashSet<(u64, u64)>,
    // Each directory is walked once, however many links lead to it: no loop, and no tree of links
    // that doubles at each level, keeps the walk from ending.
    walked: HashSet<(u64, u64)>,
    /// Those of them that were listed whole.
    whole: HashSet<DirectoryId>,
    devices: HashSet<u64>,
    file_systems: FileSystems,
}

/// A directory to be walked.
struct Ahead {
    /// Its path without links.
    real: PathBuf,
    /// Its path as the paths of entries have it.
    listed: PathBuf,
}

impl Walk<'_> {
    /// The path of the images directory did not lead to one when it was followed.
    fn no_directory(&mut self, absolute: PathBuf, dir: &Path) {
        self.reach.look(dir);
        match stat(dir) {
            Err(Errno::NOENT) => {}
            Err(error) => self.unreadable(dir, "listed", error),
            Ok(stat) if PathState::of(Ok(stat)) != PathState::Directory => {
                self.unreadable(dir, "listed", Errno::NOTDIR);
            }
            // It has come since.
            Ok(_) => self.tree(absolute, dir),
        }
    }

    /// The depth of the tree is not bounded by the call stack.
    fn tree(&mut self, real: PathBuf, top: &Path) {
        self.reach.look(top);
        self.above = above(top);
        // A bind mount can put a directory above itself.
        if let Ok(stat) = stat(&real) {
            self.above.remove(&(stat.st_dev, stat.st_ino));
        }
        let listed = top.to_owned();
        let mut open = vec![self.directory(&Ahead { real, listed })];
        while let Some(inside) = open.last_mut() {
            match inside.next() {
                Some(ahead) => open.push(self.directory(&ahead)),
                None => drop(open.pop()),
            }
        }
    }

    /// Watches a directory and records what is in it, but for the directories, which are left to
    /// the caller. Nothing when it was walked before.
    fn directory(&mut self, ahead: &Ahead) -> vec::IntoIter<Ahead> {
        if let Err(silent) = self.reach.enter(&ahead.real) {
            self.unreadable(&ahead.listed, "listed", silent);
            return Vec::new().into_iter();
        }
        let inside = self.list(ahead).unwrap_or_else(|error| {
            // A directory that has gone since its name was read is no error. Behind a link there is
            // always something at the path.
            if !is_removed(&ahead.listed, &self.found.directories, self.reach) {
                self.unreadable(&ahead.listed, "listed", error);
            }
            Vec::new()
        });
        inside.into_iter()
    }

    fn list(&mut self, Ahead { real, listed }: &Ahead) -> Result<Vec<Ahead>, Errno> {
        let directory = open_directory(real)?;
        let stat = fstat(&directory)?;
        let itself = (stat.st_dev, stat.st_ino);
        if self.above.contains(&itself) {
            self.found.ignored.push(listed.clone().into());
            return Ok(Vec::new());
        }
        let id = self.file_systems.directory_id(&directory)?;
        if !self.walked.insert(itself) {
            if self.whole.contains(&id) {
                self.found.directories.insert(listed.clone(), id);
            }
            return Ok(Vec::new());
        }
        self.arm(real, Interest::Files);
        self.file_system(real, stat.st_dev);
        self.found.tree.list(real, listed);
        let mut inside = Vec::new();
        let names = names(&directory)?;
        let is_layout = names.iter().any(|name| name == OCI_LAYOUT);
        // Of an OCI layout a line is told, not one for each blob.
        for name in names.iter().filter(|name| !(is_layout && *name == BLOBS)) {
            inside.extend(self.name(&directory, real, listed, name));
        }
        self.whole.insert(id);
        self.found.directories.insert(listed.clone(), id);
        Ok(inside)
    }

    /// Records what is at a name and no directory. It is looked up in the directory that was
    /// listed, whatever is mounted over it meanwhile.
    fn name(
        &mut self,
        directory: &OwnedFd,
        real: &Path,
        listed: &Path,
        name: &OsStr,
    ) -> Option<Ahead> {
        let verdict = Verdict::on(name);
        if verdict == Verdict::Temporary {
            return None;
        }
        let path = listed.join(name);
        if let Err(silent) = self.reach.enter(&real.join(name)) {
            self.unreadable(&path, "read", silent);
            return None;
        }
        let mut looked = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW);
        match looked.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            // It has gone since it was listed.
            Err(Errno::NOENT) => return None,
            Ok(FileType::Directory) if name == LOST_AND_FOUND => return None,
            Ok(FileType::Directory) => {
                let real = real.join(name);
                return Some(Ahead { real, listed: path });
            }
            Ok(FileType::Symlink) => {
                let end = self.path(real, Path::new(name), Some(&path));
                match end {
                    End::Directory(real) => return Some(Ahead { real, listed: path }),
                    End::Silent(silent) => {
                        self.unreadable(&path, "read", silent);
                        return None;
                    }
                    End::File | End::Nowhere => {}
                }
                self.reach.look(&path);
                looked = statat(directory, name, AtFlags::empty());
            }
            _ => {}
        }
        self.file(path, verdict, looked);
        None
    }

    fn file(&mut self, path: PathBuf, verdict: Verdict, looked: Result<Stat, Errno>) {
        match (PathState::of(looked), verdict) {
            (PathState::File(identity), Verdict::Entry(kind)) => self.found.entries.push(Entry {
                path,
                kind,
                identity,
            }),
            (PathState::Unknown(error), Verdict::Entry(_)) => {
                self.found.unreadable.push(Unreadable { path, error });
            }
            _ => match self.known.get(&path) {
                Some(known) => self.found.ignored.push(known.clone()),
                None => self.found.ignored.extend(ignored(path, self.reach)),
            },
        }
    }

    fn unreadable(&mut self, path: &Path, tried: &'static str, error: impl fmt::Display) {
        self.found.unreadable.push(Unreadable {
            path: path.to_owned(),
            error: format!("cannot be {tried}: {error}"),
        });
    }

    /// Watches all that `path` goes through.
    fn path(&mut self, from: &Path, path: &Path, link: Option<&Path>) -> End {
        let reach = self.reach;
        let walked = PathWalk::follow(from, path, reach, |dir| self.arm(dir, Interest::Names));
        let last = walked.steps.len().saturating_sub(1);
        for (number, step) in walked.steps.into_iter().enumerate() {
            let content = walked.end == End::File && number == last;
            if content {
                self.arm(&step.dir, Interest::Files);
                if let Ok(stat) = stat(&step.dir) {
                    self.file_system(&step.dir, stat.st_dev);
                }
            }
            let link = link.map(Path::to_owned);
            let dependency = Dependency { link, content };
            self.found.tree.depend(&step.dir, step.name, dependency);
        }
        walked.end
    }

    fn arm(&mut self, dir: &Path, interest: Interest) {
        let Some(inotify) = &mut self.inotify else {
            return;
        };
        if self.armed.get(dir).is_some_and(|armed| *armed >= interest) {
            return;
        }
        self.armed.insert(dir.to_owned(), interest);
        match inotify.watch(dir, interest) {
            Ok(wd) => self.found.tree.add(dir, wd),
            Err(error) => self.limit(WatchLimit::of_watch(error, dir)),
        }
    }

    fn file_system(&mut self, dir: &Path, device: u64) {
        if !self.devices.insert(device) {
            return;
        }
        self.limit(WatchLimit::of_file_system(dir));
    }

    /// Of those that name a directory, the first is enough.
    fn limit(&mut self, limit: Option<WatchLimit>) {
        let Some(limit) = limit else {
            return;
        };
        let refused = |limit: &WatchLimit| matches!(limit, WatchLimit::Refused { .. });
        if !(refused(&limit) && self.found.limits.iter().any(refused)) {
            self.found.limits.insert(limit);
        }
    }
}

/// The names in a directory. They are in order: which of two paths a directory goes by must not
/// depend on the file system.
fn names(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listing = Dir::new(openat(directory, ".", flags, Mode::empty())?)?;
    let mut names = Vec::new();
    for item in listing {
        let name = item?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    names.sort_by(|a, b| name_order(a.as_ref(), b.as_ref()));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::mkdirat;

    #[test]
    fn a_deep_tree_takes_no_deep_stack() {
        let directory = tempfile::tempdir().unwrap();
        let mut parent = open_directory(directory.path()).unwrap();
        for _ in 0..1000 {
            mkdirat(&parent, "d", Mode::RWXU).unwrap();
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            parent = openat(&parent, "d", flags, Mode::empty()).unwrap();
        }
        let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
        openat(&parent, "a.tar", flags, Mode::RUSR).unwrap();
        let dir = directory.path().to_owned();
        let walked = std::thread::Builder::new()
            .stack_size(128 << 10)
            .spawn(move || {
                walk(
                    &dir,
                    Inotify::new().ok().as_mut(),
                    &HashMap::new(),
                    &Reach::default(),
                )
            })
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(walked.entries.len(), 1, "{:?}", walked.unreadable);
        assert_eq!(walked.directories.len(), 1001);
    }

    #[test]
    fn what_is_watched_is_what_is_listed() {
        let directory = tempfile::tempdir().unwrap();
        let dir = fs::canonicalize(directory.path()).unwrap();
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/x.tar"), "x").unwrap();
        let mut inotify = Inotify::new().unwrap();
        let watched = walk(&dir, Some(&mut inotify), &HashMap::new(), &Reach::default());
        let unwatched = walk(&dir, None, &HashMap::new(), &Reach::default());
        assert_eq!(watched.entries, unwatched.entries);
        assert_eq!(watched.directories, unwatched.directories);
        let listed = ["", "a", "a/b"].map(|path| dir.join(path));
        assert!(watched.directories.keys().eq(&listed));
        assert!(unwatched.tree.watches().next().is_none());
        // Those above are watched for names.
        let above = dir.ancestors().skip(1).count();
        assert_eq!(watched.tree.watches().count(), listed.len() + above);
    }
}
