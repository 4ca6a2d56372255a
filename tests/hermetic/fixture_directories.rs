//! Directories of fixtures: a case each, which can be read, and added, without Rust.

use std::fs;
use std::path::{Path, PathBuf};

/// Fails where one of the directories in `tests/fixtures/KIND` differs from what happens, or where there
/// are fewer than `least`.
pub(crate) fn hold(kind: &str, least: usize, differs: fn(&Path) -> Option<String>) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut directories: Vec<PathBuf> = fs::read_dir(fixtures.join(kind))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    directories.sort();
    assert!(directories.len() >= least, "{} fixtures", directories.len());
    let wrong = directories
        .iter()
        .filter_map(|directory| differs(directory));
    let wrong = wrong.collect::<Vec<_>>();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
