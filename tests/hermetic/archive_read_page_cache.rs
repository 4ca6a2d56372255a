//! What was read of an archive does not stay in the page cache.
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{IoSliceMut, Write};

use rustix::io::{Errno, ReadWriteFlags, preadv2};
use stowd::compression::Compression;
use stowd::progress::Meter;
use stowd::tar::OpenArchive;
use tempfile::NamedTempFile;

use crate::archive_read_support::{Recorder, compressed, in_one_pass, open_path, plain, tar_of};
use crate::importer::noise;

const MIB: usize = 1 << 20;

/// Whether the page of this offset is in memory (preadv2(2), `RWF_NOWAIT`).
fn is_cached(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    let parts = &mut [IoSliceMut::new(&mut byte)];
    match preadv2(file, parts, offset, ReadWriteFlags::NOWAIT) {
        Ok(read) => read == 1,
        Err(Errno::AGAIN) => false,
        Err(error) => panic!("{error}"),
    }
}

/// An archive on a disk, which a temporary directory need not be on; every byte of it is in the page
/// cache.
fn on_disk(bytes: &[u8]) -> (NamedTempFile, OpenArchive) {
    let mut file = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    file.write_all(bytes).unwrap();
    file.as_file().sync_all().unwrap();
    let archive = open_path(file.path(), Meter::default()).unwrap();
    for offset in (0..bytes.len()).step_by(MIB) {
        assert!(is_cached(archive.file(), offset as u64), "at {offset}");
    }
    (file, archive)
}

fn cached(file: &File) -> Vec<u64> {
    let offsets = (0..file.metadata().unwrap().len()).step_by(MIB);
    offsets.filter(|&offset| is_cached(file, offset)).collect()
}

#[test]
fn a_body_that_was_read_and_nothing_else_is_let_go() {
    let body = noise(20 * MIB, 1);
    let bytes = tar_of(&[("first", &body), ("second", &body)]);
    let (_file, archive) = on_disk(&bytes);
    let archive = plain(archive);
    let catalogue = archive.index().unwrap();
    let (_, first) = catalogue.file("first").unwrap();
    std::io::copy(&mut archive.body(first, 0), &mut std::io::sink()).unwrap();
    let left = cached(archive.file());
    let (first, second): (Vec<_>, Vec<_>) = left.into_iter().partition(|at| *at < 20 << 20);
    // Pages that the two share, and what the kernel keeps together with them.
    assert!(first.len() <= 3, "{first:?}");
    assert!(second.len() >= 17, "{second:?}");
}

#[test]
fn a_compressed_archive_that_was_read_is_let_go() {
    let bytes = tar_of(&[("body", &noise(20 * MIB, 1))]);
    let (_file, archive) = on_disk(&compressed(Compression::Gzip, &bytes));
    let archive = in_one_pass(archive);
    archive.stream(&mut Recorder::default()).unwrap();
    let left = cached(archive.file());
    assert!(left.len() <= 3, "{left:?}");
}
