//! What a stowd leaves that has come to rest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::eventually::eventually_in_turn;
use super::fixtures::fixture;
use super::stowd::Stowd;

/// Names that are pinned by stowd.
fn pinned(stowd: &Stowd) -> BTreeSet<String> {
    let list = stowd.ctr(&["images", "list"]);
    let pinned = list
        .lines()
        .filter(|line| line.contains("io.stowd.pinned=default"));
    pinned
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Tags that are pinned by stowd.
pub fn pinned_tags(stowd: &Stowd) -> BTreeSet<String> {
    pinned(stowd)
        .into_iter()
        .filter(|name| !name.contains('@'))
        .collect()
}

/// The names of all images of these fixtures.
pub fn names(files: &[&str]) -> BTreeSet<String> {
    files.iter().flat_map(|file| fixture(file).names).collect()
}

/// Everything that is named is whole, and nothing of stowd's is left half done.
pub fn assert_clean(stowd: &Stowd) {
    let check = stowd.ctr(&["images", "check"]);
    for line in check
        .lines()
        .skip(1)
        .filter(|line| !line.starts_with("sha256:"))
    {
        assert!(line.contains("complete"), "{check}");
    }
    let store = stowd.store();
    // The last import may have a moment left: its blobs are there before it ends.
    eventually_in_turn(Duration::from_secs(60), "nothing is left", || {
        let left = [store.leases(), store.ingests()].concat();
        match left.is_empty() {
            true => Ok(()),
            false => Err(format!("{left:?}")),
        }
    });
}

/// Where a containerd with this root keeps its blobs.
pub fn blobs_dir(root: &Path) -> PathBuf {
    root.join("io.containerd.content.v1.content/blobs/sha256")
}

/// The names of what is in a directory; none where there is none.
pub fn file_names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("UTF-8");
    entries.map(name).collect()
}
