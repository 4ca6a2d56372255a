//! Where the bodies in a plain tar are.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// The body of a member: the blob that a store gets.
#[derive(Debug, Clone)]
pub(crate) struct Body {
    pub(crate) file: Arc<File>,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

/// The bodies of all files in it.
pub(crate) fn bodies(path: &Path) -> Vec<Body> {
    let open = || File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = Arc::new(open());
    let mut archive = tar::Archive::new(open());
    let entries = archive.entries_with_seek().expect("a tar");
    let entries = entries.map(|entry| entry.expect("a member"));
    let files = entries.filter(|entry| entry.header().entry_type().is_file());
    let body = |entry: tar::Entry<'_, _>| Body {
        file: Arc::clone(&file),
        offset: entry.raw_file_position(),
        length: entry.size(),
    };
    files.map(body).collect()
}
