//! Hash, write, fsync: what every store does with a blob that is to be there tomorrow.

use std::cmp::Reverse;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::processors;
use crate::archives::{Archive, Packing};
use crate::options::Input;
use crate::page_cache;
use crate::tar_bodies::{Body, bodies};

/// What is read and written at once.
const PART: usize = 1 << 20;

/// Hashes the blobs and writes them to a new directory where containerd's content would be.
pub(super) fn store(archives: &[Archive], input: Input) -> Duration {
    let dir = tempfile::Builder::new()
        .prefix("stowd-floor-")
        .tempdir_in("/var/tmp")
        .expect("a directory in /var/tmp");
    for archive in archives {
        match (archive.packing(), input) {
            (Packing::Plain, Input::Cold) => page_cache::drop_pages(&archive.path),
            // What comes out of a decoder is in memory.
            _ => page_cache::fill(&archive.plain),
        }
    }
    page_cache::settle();
    let began = Instant::now();
    let blobs = archives.iter().flat_map(|archive| bodies(&archive.plain));
    let mut blobs = blobs.collect::<Vec<_>>();
    // The longest first: the last to end should not be alone for long.
    blobs.sort_by_key(|blob| Reverse(blob.length));
    processors::on_all(&blobs, |number, blob| {
        let hash = store_one(blob, &dir.path().join(number.to_string()));
        std::hint::black_box(hash);
    });
    File::open(dir.path())
        .and_then(|dir| dir.sync_all())
        .expect("fsync of the directory");
    began.elapsed()
}

fn store_one(blob: &Body, path: &Path) -> [u8; 32] {
    let mut file = File::create(path).expect("a file of its own");
    let mut hash = Sha256::new();
    let mut part = vec![0; PART];
    let mut offset = 0;
    while offset < blob.length {
        let left = usize::try_from(blob.length - offset).unwrap_or(PART);
        let part = &mut part[..left.min(PART)];
        let at = blob.offset + offset;
        blob.file.read_exact_at(part, at).expect("an archive");
        hash.update(&*part);
        file.write_all(part).expect("room on the disk");
        offset += part.len() as u64;
    }
    file.sync_all().expect("fsync");
    hash.finalize().into()
}
