//! Opens an archive, and tells by its first bytes how it is to be read.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::archive_file::ArchiveFile;
use super::compressed::CompressedArchive;
use super::error::ArchiveError;
use super::header::{BLOCK, Header};
use super::plain::PlainArchive;
use crate::compression::{Compression, is_ustar};
use crate::progress::Meter;

/// An archive file that is open.
#[derive(Debug, Clone)]
pub enum OpenArchive {
    /// It is listed first, and its bodies are read at their places.
    Plain(PlainArchive),
    /// It is read in one pass.
    Compressed(CompressedArchive),
}

impl OpenArchive {
    /// The open file, to see by `fstat` whether it has changed while it was read.
    pub fn file(&self) -> &File {
        match self {
            Self::Plain(archive) => archive.file(),
            Self::Compressed(archive) => archive.file(),
        }
    }
}

/// Opens a file and tells its compression by its first bytes, whatever its name says.
///
/// All reading ends with [`ArchiveError::Stopped`] soon after `stop` is set. When all of the archive
/// has been read, or skipped and added by the caller who skips, `meter` has counted the length of the
/// file.
pub fn open(path: &Path, meter: Meter, stop: Arc<AtomicBool>) -> Result<OpenArchive, ArchiveError> {
    let file = ArchiveFile::open(path, meter, stop)?;
    Ok(match compression_of(&file)? {
        Compression::Plain => OpenArchive::Plain(PlainArchive::new(file)),
        compression => OpenArchive::Compressed(CompressedArchive::new(file, compression)),
    })
}

fn compression_of(file: &ArchiveFile) -> Result<Compression, ArchiveError> {
    let head = file.bytes_at(BLOCK, 0)?;
    if head.is_empty() {
        return Err(ArchiveError::Empty);
    }
    // A header's checksum is better proof than a magic number: a member may be named "BZh1".
    let is_header = head.first_chunk().is_some_and(Header::is_header);
    if is_header || head.iter().all(|byte| *byte == 0) {
        return Ok(Compression::Plain);
    }
    match Compression::of_stream(|offset| file.bytes_at(8, offset))? {
        Some(compression) => Ok(compression),
        None if is_ustar(&head) => Ok(Compression::Plain),
        None => Err(ArchiveError::not_tar(&head)),
    }
}
