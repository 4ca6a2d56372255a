//! What is watched, and what each watch is for.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::inotify::Wd;
use crate::entry::Verdict;

#[derive(Debug, Default)]
pub(super) struct WatchTree {
    nodes: HashMap<Wd, Node>,
    // By the path without links. Two paths may be one directory: a bind mount. Some may have ended.
    by_path: HashMap<PathBuf, Wd>,
}

/// A watched directory.
#[derive(Debug, Default)]
struct Node {
    /// Its path as the paths of entries have it, if its files can be entries.
    listed: Option<PathBuf>,
    /// What depends on a name in it.
    dependencies: HashMap<OsString, Vec<Dependency>>,
}

/// Something that is reached through a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dependency {
    /// The link in the images directory that is; `None`: the images directory itself is.
    pub(super) link: Option<PathBuf>,
    /// The name is that of the file that the link leads to.
    pub(super) content: bool,
}

impl WatchTree {
    /// The directory at `real`, which has no link in its path, has this watch.
    pub(super) fn add(&mut self, real: &Path, wd: Wd) {
        self.by_path.insert(real.to_owned(), wd);
        self.nodes.entry(wd).or_default();
    }

    /// The files in the directory at `real` can be entries, whose paths begin with `listed`.
    pub(super) fn list(&mut self, real: &Path, listed: &Path) {
        if let Some(node) = self.node(real) {
            node.listed = Some(listed.to_owned());
        }
    }

    /// Something depends on a name in the directory at `real`.
    pub(super) fn depend(&mut self, real: &Path, name: OsString, dependency: Dependency) {
        if let Some(node) = self.node(real) {
            node.dependencies.entry(name).or_default().push(dependency);
        }
    }

    /// Whether this watch is one of them.
    pub(super) fn has(&self, wd: Wd) -> bool {
        self.nodes.contains_key(&wd)
    }

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

    pub(super) fn dependencies(&self, wd: Wd, name: &OsStr) -> &[Dependency] {
        let node = self.nodes.get(&wd);
        let dependencies = node.and_then(|node| node.dependencies.get(name));
        dependencies.map_or(&[], Vec::as_slice)
    }

    /// The paths by which a file of this name would be known: its own, and the links to it.
    pub(super) fn files(&self, wd: Wd, name: &OsStr) -> impl Iterator<Item = PathBuf> {
        let dependencies = self.dependencies(wd, name).iter();
        let links = dependencies.filter(|dependency| dependency.content);
        let links = links.filter_map(|dependency| dependency.link.clone());
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
        let listed = self.listed(*wd, name).is_some() && Verdict::on(name) != Verdict::Temporary;
        listed || !self.dependencies(*wd, name).is_empty()
    }

    /// The directories of entries, with the path that each has in `now`.
    pub(super) fn relocated(&self, now: &Self) -> HashMap<PathBuf, PathBuf> {
        let listed = self.nodes.iter().filter_map(|(wd, node)| {
            let new = now.nodes.get(wd)?.listed.as_ref()?;
            Some((node.listed.clone()?, new.clone()))
        });
        listed.collect()
    }

    fn node(&mut self, real: &Path) -> Option<&mut Node> {
        let wd = self.by_path.get(real)?;
        self.nodes.get_mut(wd)
    }
}
