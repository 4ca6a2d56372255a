//! Walks through the images directory and arms a watch on each directory that matters to it.
//!
//! It takes the same way as `scan`, so that both call a file by the same path.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::vec;

use rustix::fs::statfs;

use super::inotify::{Inotify, Interest, Wd};
use super::scan::ancestors;
use super::shortfall::{Shortfall, shared};
use super::trail::{End, Trail};
use crate::entry::Verdict;

/// What is watched, and what each watch is for.
#[derive(Debug, Default)]
pub(super) struct Map {
    nodes: HashMap<Wd, Node>,
    // By the path without links. Two paths may be one directory: a bind mount. Some may have ended.
    by_path: HashMap<PathBuf, Wd>,
}

/// A watched directory.
#[derive(Debug, Default)]
struct Node {
    /// Its path as the paths of entries have it, if its files can be entries.
    listed: Option<PathBuf>,
    /// The names in it that the way to something goes through.
    ways: HashMap<OsString, Vec<Way>>,
}

/// Something that a name is on the way to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Way {
    /// The link in the images directory whose way it is; `None`: the images directory itself.
    pub(super) link: Option<PathBuf>,
    /// The name is the end of the way, and a file.
    pub(super) content: bool,
}

/// What a survey found.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    inotify: &'a mut Inotify,
    map: Map,
    shortfalls: BTreeSet<Shortfall>,
    armed: HashMap<PathBuf, Interest>,
    walked: HashSet<(u64, u64)>,
    devices: HashSet<u64>,
}

/// A directory that is being walked through.
struct Directory {
    real: PathBuf,
    seen: PathBuf,
    inside: vec::IntoIter<(OsString, FileType)>,
}

/// What is in a directory and no plain file, in name order.
fn listing(dir: &Path) -> Vec<(OsString, FileType)> {
    let inside = fs::read_dir(dir).into_iter().flatten().flatten();
    let inside = inside.filter_map(|item| {
        let name = item.file_name();
        let kind = item.file_type().ok()?;
        (!kind.is_file() && Verdict::on(&name) != Verdict::Passing).then_some((name, kind))
    });
    let mut inside = inside.collect::<Vec<_>>();
    inside.sort_by(|(a, _), (b, _)| a.cmp(b));
    inside
}

impl<'a> Survey<'a> {
    /// Arms what there is. A directory is armed before it is listed, so that what it misses of
    /// changes under way is an event.
    pub(super) fn take(dir: &Path, inotify: &'a mut Inotify) -> (Map, BTreeSet<Shortfall>) {
        let mut survey = Self {
            inotify,
            map: Map::default(),
            shortfalls: BTreeSet::new(),
            armed: HashMap::new(),
            walked: ancestors(dir),
            devices: HashSet::new(),
        };
        // A relative path that cannot be made absolute has no working directory to be in.
        let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        if let End::Directory(real) = survey.way(Path::new("/"), &absolute, None) {
            survey.tree(real, dir);
        }
        (survey.map, survey.shortfalls)
    }

    /// As [`scan`](super::scan()) does it: in name order, and not by the call stack.
    fn tree(&mut self, top: PathBuf, seen: &Path) {
        let mut open = vec![self.directory(top, seen.to_owned())];
        while let Some(directory) = open.last_mut() {
            let Some((name, kind)) = directory.inside.next() else {
                open.pop();
                continue;
            };
            let seen = directory.seen.join(&name);
            if kind.is_dir() {
                let real = directory.real.join(&name);
                open.push(self.directory(real, seen));
            } else if kind.is_symlink()
                && let End::Directory(real) =
                    self.way(&directory.real, Path::new(&name), Some(&seen))
            {
                open.push(self.directory(real, seen));
            }
        }
    }

    /// Watches a directory, and lists what is in it that may have to be watched. Nothing when it was
    /// walked before, or lies above the images directory.
    fn directory(&mut self, real: PathBuf, seen: PathBuf) -> Directory {
        let inside = match fs::metadata(&real) {
            Ok(metadata) if self.walked.insert((metadata.dev(), metadata.ino())) => {
                self.arm(&real, Interest::Files);
                self.file_system(&real, metadata.dev());
                if let Some(node) = self.map.node(&real) {
                    node.listed = Some(seen.clone());
                }
                listing(&real)
            }
            _ => Vec::new(),
        };
        let inside = inside.into_iter();
        Directory { real, seen, inside }
    }

    /// Watches the way to where `path` leads.
    fn way(&mut self, from: &Path, path: &Path, link: Option<&Path>) -> End {
        let trail = Trail::follow(from, path, |dir| self.arm(dir, Interest::Names));
        let last = trail.steps.len().saturating_sub(1);
        for (number, step) in trail.steps.into_iter().enumerate() {
            let content = trail.end == End::File && number == last;
            if content {
                self.arm(&step.dir, Interest::Files);
                if let Ok(metadata) = fs::metadata(&step.dir) {
                    self.file_system(&step.dir, metadata.dev());
                }
            }
            if let Some(node) = self.map.node(&step.dir) {
                let link = link.map(Path::to_owned);
                let ways = node.ways.entry(step.name).or_default();
                ways.push(Way { link, content });
            }
        }
        trail.end
    }

    fn arm(&mut self, dir: &Path, interest: Interest) {
        if self.armed.get(dir).is_some_and(|armed| *armed >= interest) {
            return;
        }
        self.armed.insert(dir.to_owned(), interest);
        match self.inotify.watch(dir, interest) {
            Ok(wd) => {
                self.map.by_path.insert(dir.to_owned(), wd);
                self.map.nodes.entry(wd).or_default();
            }
            Err(error) => self.falls_short(Shortfall::of_watch(error, dir)),
        }
    }

    fn file_system(&mut self, dir: &Path, device: u64) {
        if !self.devices.insert(device) {
            return;
        }
        let Ok(status) = statfs(dir) else {
            return;
        };
        // The field is wider than the numbers on some machines, and signed on others.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let name = shared(status.f_type as u32);
        self.falls_short(name.map(|file_system| Shortfall::FileSystem {
            path: dir.to_owned(),
            file_system,
        }));
    }

    /// Of those that name a directory, the first is enough.
    fn falls_short(&mut self, shortfall: Option<Shortfall>) {
        let Some(shortfall) = shortfall else {
            return;
        };
        let refused = |s: &Shortfall| matches!(s, Shortfall::Refused { .. });
        if !(refused(&shortfall) && self.shortfalls.iter().any(refused)) {
            self.shortfalls.insert(shortfall);
        }
    }
}

impl Map {
    /// Whether this watch is one of them.
    pub(super) fn has(&self, wd: Wd) -> bool {
        self.nodes.contains_key(&wd)
    }

    /// The watches.
    pub(super) fn watches(&self) -> impl Iterator<Item = Wd> {
        self.nodes.keys().copied()
    }

    /// A watch that has ended by itself. Whether it was one of them.
    pub(super) fn forget(&mut self, wd: Wd) -> bool {
        self.nodes.remove(&wd).is_some()
    }

    /// The path by which an entry of this name would be known.
    pub(super) fn listed(&self, wd: Wd, name: &OsStr) -> Option<PathBuf> {
        let listed = self.nodes.get(&wd)?.listed.as_ref()?;
        Some(listed.join(name))
    }

    /// What this name is on the way to.
    pub(super) fn ways(&self, wd: Wd, name: &OsStr) -> &[Way] {
        let ways = self.nodes.get(&wd).and_then(|node| node.ways.get(name));
        ways.map_or(&[], Vec::as_slice)
    }

    /// The paths by which a file of this name would be known: its own, and the links to it.
    pub(super) fn files(&self, wd: Wd, name: &OsStr) -> impl Iterator<Item = PathBuf> {
        let ways = self.ways(wd, name).iter().filter(|way| way.content);
        let links = ways.filter_map(|way| way.link.clone());
        links.chain(self.listed(wd, name))
    }

    /// Whether it makes a difference what is mounted here.
    pub(super) fn concerns(&self, point: &Path) -> bool {
        let (Some(dir), Some(name)) = (point.parent(), point.file_name()) else {
            return false;
        };
        let Some(wd) = self.by_path.get(dir) else {
            return false;
        };
        let listed = self.listed(*wd, name).is_some() && Verdict::on(name) != Verdict::Passing;
        listed || !self.ways(*wd, name).is_empty()
    }

    fn node(&mut self, real: &Path) -> Option<&mut Node> {
        let wd = self.by_path.get(real)?;
        self.nodes.get_mut(wd)
    }
}
