//! Lists the images directory: recursive, in name order, links followed once and never upwards.

use std::collections::HashSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{self, Path, PathBuf};
use std::vec;

use crate::entry::{Entry, Identity, Verdict};

/// What one walk through the images directory found.
#[derive(Debug, Default)]
pub struct Scan {
    /// The entries, in name order.
    pub entries: Vec<Entry>,
    /// What stowd does not act on: other files, and links to directories above.
    pub others: Vec<PathBuf>,
    /// What could not be looked at.
    pub unreadable: Vec<Unreadable>,
    /// The images directory is not there.
    pub missing: bool,
}

/// Something in the images directory that could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot be {tried}: {cause}")]
pub struct Unreadable {
    /// Where it is.
    pub path: PathBuf,
    /// "listed" or "read".
    tried: &'static str,
    cause: io::Error,
}

/// Walks through `dir`. That a directory or a file cannot be read ends nothing but the look at it.
pub fn scan(dir: &Path) -> Scan {
    let mut walk = Walk {
        above: ancestors(dir),
        ..Walk::default()
    };
    match fs::metadata(dir) {
        Ok(metadata) => walk.tree(dir, &metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => walk.scan.missing = true,
        Err(cause) => walk.unreadable(dir, "listed", cause),
    }
    let mut scan = walk.scan;
    scan.entries.sort_by(|a, b| a.path.cmp(&b.path));
    scan
}

/// The directories above `dir`, each by its device and inode: of its path as it is given, and of
/// the one that it resolves to. A link to one of them is not followed, or the walk would go through
/// whatever else is there, to containerd's own files and beyond.
pub fn ancestors(dir: &Path) -> HashSet<(u64, u64)> {
    let given = path::absolute(dir);
    let resolved = fs::canonicalize(dir);
    let paths = [given, resolved].into_iter().flatten();
    paths
        .flat_map(|path| {
            let above = path.ancestors().skip(1);
            above.map(fs::metadata).collect::<Vec<_>>()
        })
        .flatten()
        .map(|metadata| identity(&metadata))
        .collect()
}

/// What tells one directory from another, whatever leads to it.
fn identity(directory: &Metadata) -> (u64, u64) {
    (directory.dev(), directory.ino())
}

#[derive(Default)]
struct Walk {
    scan: Scan,
    /// What is not walked, whatever leads there.
    above: HashSet<(u64, u64)>,
    // Each directory is walked once, however many links lead to it: no loop, and no tree of links
    // that doubles at each level, keeps the walk from ending.
    walked: HashSet<(u64, u64)>,
}

impl Walk {
    /// Whoever may write here decides how deep the tree is, so the call stack does not follow it.
    fn tree(&mut self, top: &Path, metadata: &Metadata) {
        let mut open = vec![self.directory(top, metadata)];
        while let Some(listing) = open.last_mut() {
            match listing.next() {
                Some(path) => {
                    if let Some(directory) = self.item(&path) {
                        open.push(self.directory(&path, &directory));
                    }
                }
                None => drop(open.pop()),
            }
        }
    }

    /// What is in a directory; nothing when it was walked before.
    fn directory(&mut self, dir: &Path, metadata: &Metadata) -> vec::IntoIter<PathBuf> {
        if !self.walked.insert(identity(metadata)) {
            return Vec::new().into_iter();
        }
        let listed = fs::read_dir(dir).and_then(|listing| {
            let paths = listing.map(|item| item.map(|item| item.path()));
            paths.collect::<io::Result<Vec<_>>>()
        });
        let mut paths = listed.unwrap_or_else(|cause| {
            self.unreadable(dir, "listed", cause);
            Vec::new()
        });
        // A directory that is reached by two paths must not depend on the file system's order.
        paths.sort();
        paths.into_iter()
    }

    /// Records what is no directory. A directory is left to the caller.
    fn item(&mut self, path: &Path) -> Option<Metadata> {
        let verdict = Verdict::on(path.file_name().unwrap_or_default());
        if verdict == Verdict::Passing {
            return None;
        }
        match (fs::metadata(path), verdict) {
            (Ok(metadata), _)
                if metadata.is_dir() && !self.above.contains(&identity(&metadata)) =>
            {
                return Some(metadata);
            }
            (Ok(metadata), Verdict::Entry(kind)) if metadata.is_file() => {
                self.scan.entries.push(Entry {
                    path: path.to_owned(),
                    kind,
                    identity: Identity::of(&metadata),
                });
            }
            // It went away since it was listed.
            (Err(_), _) if is_gone(path) => {}
            (Err(cause), Verdict::Entry(_)) => self.unreadable(path, "read", cause),
            _ => self.scan.others.push(path.to_owned()),
        }
        None
    }

    fn unreadable(&mut self, path: &Path, tried: &'static str, cause: io::Error) {
        let path = path.to_owned();
        self.scan.unreadable.push(Unreadable { path, tried, cause });
    }
}

/// Whether there is nothing at the path, not even a link that leads nowhere. A file system that fails
/// to answer is no proof of that: what it may have keeps its images.
pub fn is_gone(path: &Path) -> bool {
    let there = fs::symlink_metadata(path).map_err(|error| error.kind());
    matches!(
        there,
        Err(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    )
}
