//! What a stowd leaves that has come to rest.

use std::collections::BTreeSet;

use super::fixtures::fixture;
use super::stowd::Stowd;

/// Names that are pinned by stowd.
fn pinned(stowd: &Stowd) -> BTreeSet<String> {
    let list = stowd.ctr(&["images", "list"]);
    let pinned = list
        .lines()
        .filter(|line| line.contains("io.stowd.pinned=pinned"));
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
    assert_eq!(stowd.ctr(&["leases", "list", "--quiet"]).trim(), "");
    let active = stowd.ctr(&["content", "active"]);
    assert_eq!(
        active.lines().count(),
        1,
        "only the heading is left: {active}"
    );
}
