//! The body of one member of a plain archive.

use std::io::{self, Read};

use super::archive_file::ArchiveFile;
use super::drop_behind::DropBehindReader;
use super::file_bytes::{FileBytes, FilePart};
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
    /// What is still to be read.
    bytes: FileBytes,
    position: u64,
    was_hashed: bool,
}

impl<'a> MemberBody<'a> {
    pub(super) fn new(archive: &'a ArchiveFile, file: &FileMember, from: u64) -> Self {
        let from = from.min(file.size);
        let mut bytes = match &file.runs {
            None => FileBytes::stored(file.size),
            Some(runs) => FileBytes::sparse(file.size, runs),
        };
        let passed = bytes.skip(from);
        let mut body = Self {
            archive,
            reader: file
                .offset
                .map(|offset| DropBehindReader::new(archive, offset + passed)),
            bytes,
            position: 0,
            was_hashed: file.digest.is_some(),
        };
        body.meter(from);
        body
    }

    fn meter(&mut self, bytes: u64) {
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
        let wanted = |left| usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let read = match self.bytes.next() {
            Some(FilePart::Hole(left)) => {
                let length = wanted(left);
                buf[..length].fill(0);
                length
            }
            Some(FilePart::Stored(left)) if !buf.is_empty() => {
                let length = wanted(left);
                match reader.read(&mut buf[..length])? {
                    0 => {
                        let why = "the archive has become shorter while it was read";
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why));
                    }
                    read => read,
                }
            }
            _ => return Ok(0),
        };
        self.bytes.advance(read as u64);
        self.meter(read as u64);
        Ok(read)
    }
}
