//! Reads of an archive file at a position of their own: the whole of it, for a decoder, and the
//! body of one member.
//!
//! What has been read so is not read again, and does not stay in the page cache: there it would push
//! out what a node that boots has better use for, and cost it memory that it has not touched yet.

use std::io::{self, Read};
use std::num::NonZeroU64;

use rustix::fs::{Advice, fadvise};

use super::{Archive, catalogue, limits};

/// Why bytes of the archive file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// The stop flag is set.
    #[error("stopped before the archive was read")]
    Stopped,
    /// The system's own error.
    #[error("cannot read the archive at byte {offset}: {cause}")]
    Failed {
        /// Where in the file.
        offset: u64,
        /// The system's own words.
        cause: io::Error,
    },
}

impl From<InputError> for io::Error {
    fn from(error: InputError) -> Self {
        let kind = match &error {
            InputError::Stopped => io::ErrorKind::Other,
            InputError::Failed { cause, .. } => cause.kind(),
        };
        io::Error::new(kind, error)
    }
}

/// The page cache lets go of whole folios only, which the kernel makes as long as this.
const FOLIO: u64 = 2 << 20;

/// Reads on and on, and lets go of what it has read.
#[derive(Debug)]
struct Onward<'a> {
    archive: &'a Archive,
    position: u64,
    /// From here to the position the page cache may still have it.
    kept_from: u64,
}

impl<'a> Onward<'a> {
    fn new(archive: &'a Archive, position: u64) -> Self {
        Self {
            archive,
            position,
            kept_from: position,
        }
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, InputError> {
        let read = self.archive.read_at(buf, self.position)?;
        self.position += read as u64;
        if self.position - self.kept_from >= limits::KEPT_BEHIND {
            self.let_go();
        }
        Ok(read)
    }

    fn let_go(&mut self) {
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

impl Drop for Onward<'_> {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// The archive file from its beginning to its end. Counts what it reads.
pub(super) struct Whole<'a>(Onward<'a>);

impl<'a> Whole<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        Self(Onward::new(archive, 0))
    }
}

impl Read for Whole<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buf)?;
        self.0.archive.meter.add(read as u64);
        Ok(read)
    }
}

/// How much of the first `bytes` bytes of a body counts when [`Archive::index`] hashes it; what
/// is left counts when it is read as a [`Body`]. So the bytes move at both times, and their sum is
/// the file's.
pub(super) fn counted_when_hashed(bytes: u64) -> u64 {
    bytes / 2
}

/// The bytes of one member of a plain archive.
#[derive(Debug)]
pub struct Body<'a> {
    archive: &'a Archive,
    /// Where the file is read; `None` for a member without a place in it.
    reader: Option<Onward<'a>>,
    position: u64,
    size: u64,
    was_hashed: bool,
}

impl<'a> Body<'a> {
    pub(super) fn new(archive: &'a Archive, file: &catalogue::File, from: u64) -> Self {
        let from = from.min(file.size);
        let mut body = Self {
            archive,
            reader: file
                .offset
                .map(|offset| Onward::new(archive, offset + from)),
            position: 0,
            size: file.size,
            was_hashed: file.digest.is_some(),
        };
        body.advance(from);
        body
    }

    fn advance(&mut self, bytes: u64) {
        let counted = |position| match self.was_hashed {
            true => position - counted_when_hashed(position),
            false => position,
        };
        let after = self.position + bytes;
        self.archive
            .meter
            .add(counted(after) - counted(self.position));
        self.position = after;
    }
}

impl Read for Body<'_> {
    /// Ends after the last byte of the member. That the file has become shorter is an error of the
    /// kind `UnexpectedEof`.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let Some(reader) = &mut self.reader else {
            let why = "a member of a compressed archive cannot be read by its position";
            return Err(io::Error::new(io::ErrorKind::Unsupported, why));
        };
        let left = usize::try_from(self.size - self.position).unwrap_or(usize::MAX);
        let wanted = buf.len().min(left);
        if wanted == 0 {
            return Ok(0);
        }
        let read = reader.read(&mut buf[..wanted])?;
        if read == 0 {
            let why = "the archive has become shorter while it was read";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
        }
        self.advance(read as u64);
        Ok(read)
    }
}
