//! Whether an archive is read from the disk.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;

use rustix::fs::{Advice, fadvise, sync};

use crate::archives::Archive;
use crate::options::Input;

/// Has the next reader of the archives find them as wanted, and the disk idle.
pub(crate) fn prepare(archives: &[Archive], input: Input) {
    for archive in archives {
        match input {
            Input::Cold => drop_pages(&archive.path),
            Input::Warm => fill(&archive.path),
        }
    }
    settle();
}

/// What was removed or written before is not to be paid for by what comes next.
pub(crate) fn settle() {
    sync();
}

/// Only these pages: others' files stay where they are, which `drop_caches` would not leave them.
pub(crate) fn drop_pages(path: &Path) {
    let file = open(path);
    // Pages that are not on the disk yet cannot be dropped.
    file.sync_all().expect("fsync");
    fadvise(&file, 0, None, Advice::DontNeed).expect("posix_fadvise");
}

/// Reads it once.
pub(crate) fn fill(path: &Path) {
    let mut file = open(path);
    let mut part = vec![0; 1 << 20];
    let mut nowhere = std::io::sink();
    loop {
        let read = file.read(&mut part).expect("an archive");
        if read == 0 {
            return;
        }
        nowhere.write_all(&part[..read]).expect("nowhere");
    }
}

fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
