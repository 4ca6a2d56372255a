//! Reads an archive file from front to back, and drops what was read from the page cache.
//!
//! What has been read so is not read again. In the page cache it would push out pages that a booting
//! node needs more.

use std::io::{self, Read};
use std::num::NonZeroU64;

use rustix::fs::{Advice, fadvise};

use super::archive_file::ArchiveFile;
use super::error::InputError;
use super::limits;

/// The page cache lets go of whole folios only, which the kernel makes as long as this.
const FOLIO: u64 = 2 << 20;

/// Reads on from a position, and drops what it has read from the page cache.
#[derive(Debug)]
pub(super) struct DropBehindReader<'a> {
    archive: &'a ArchiveFile,
    position: u64,
    /// The page cache may still have the bytes from here to the position.
    kept_from: u64,
}

impl<'a> DropBehindReader<'a> {
    pub(super) fn new(archive: &'a ArchiveFile, position: u64) -> Self {
        Self {
            archive,
            position,
            kept_from: position,
        }
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, InputError> {
        let read = self.archive.read_at(buf, self.position)?;
        self.position += read as u64;
        if self.position - self.kept_from >= limits::KEPT_BEHIND {
            self.drop_behind();
        }
        Ok(read)
    }

    fn drop_behind(&mut self) {
        if self.position > self.kept_from {
            // With the folio that was read to its middle the last time.
            let from = self.kept_from / FOLIO * FOLIO;
            let length = NonZeroU64::new(self.position - from);
            // A file system that has no page cache, or keeps it, may refuse: nothing is lost by it.
            let _ = fadvise(&self.archive.file, from, length, Advice::DontNeed);
        }
        self.kept_from = self.position;
    }
}

impl Drop for DropBehindReader<'_> {
    fn drop(&mut self) {
        self.drop_behind();
    }
}

/// The archive file from its beginning to its end. Counts what it reads.
pub(super) struct WholeFile<'a>(DropBehindReader<'a>);

impl<'a> WholeFile<'a> {
    pub(super) fn new(archive: &'a ArchiveFile) -> Self {
        Self(DropBehindReader::new(archive, 0))
    }
}

impl Read for WholeFile<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buf)?;
        self.0.archive.meter.add(read as u64);
        Ok(read)
    }
}
