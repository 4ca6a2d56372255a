//! The body of one member of a plain archive.

use std::io::{self, Read};

use super::archive_file::ArchiveFile;
use super::drop_behind::DropBehindReader;
use crate::layout::FileMember;

/// How much of the first `bytes` bytes of a body counts when the index hashes it; what
/// is left counts when it is read as a [`MemberBody`]. So the bytes move at both times, and their sum is
/// the file's.
pub(super) fn counted_when_hashed(bytes: u64) -> u64 {
    bytes / 2
}

/// The bytes of one member of a plain archive.
#[derive(Debug)]
pub struct MemberBody<'a> {
    archive: &'a ArchiveFile,
    /// Where the file is read; `None` for a member without a place in it.
    reader: Option<DropBehindReader<'a>>,
    position: u64,
    size: u64,
    was_hashed: bool,
}

impl<'a> MemberBody<'a> {
    pub(super) fn new(archive: &'a ArchiveFile, file: &FileMember, from: u64) -> Self {
        let from = from.min(file.size);
        let mut body = Self {
            archive,
            reader: file
                .offset
                .map(|offset| DropBehindReader::new(archive, offset + from)),
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

impl Read for MemberBody<'_> {
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
