//! Walks a tar archive, member by member.
//!
//! The `tar` crate's own walk takes the end of the file for the end of the archive, and reads long
//! names and pax headers of any size into memory. So the walk is done here, and whatever a header asks
//! for is held against a limit first. The archive ends with two blocks of zeros. One that ends behind a
//! member without them may have been cut, or be of a tool that writes none: that is told.
//!
//! What may follow the end is zeros. Anything else is refused: it would be a second archive, whose
//! images would silently be missing.

use std::sync::Arc;

use super::error::ArchiveError;
use super::file_bytes::{FileBytes, FilePart};
use super::header::{self, BLOCK, Header, HeaderError, HeaderKind, PaxRecords};
use super::limits;
use super::member_name::MemberName;
use super::source::TarSource;
use super::sparse::{BadMap, SparseMap};
use crate::compression::is_ustar;
use crate::layout::{DataRun, normalise, symlink_target};

/// A member of the archive, with what extension headers before it say.
#[derive(Debug)]
pub(super) struct TarMember {
    pub(super) name: MemberName,
    pub(super) kind: MemberKind,
    /// The length of the body in bytes, with its holes.
    pub(super) size: u64,
    /// Where the body begins in the archive.
    pub(super) offset: u64,
    /// Of a sparse file, what of it is no hole.
    pub(super) runs: Option<Arc<[DataRun]>>,
}

/// What a member is; its paths are normalised.
#[derive(Debug)]
pub(super) enum MemberKind {
    File(String),
    Link {
        path: String,
        target: String,
    },
    /// A link that leads out of the archive; its target is as it is written.
    LinkOut {
        path: String,
        target: String,
    },
    /// Directories, devices, and what lies outside of the archive.
    Ignored,
}

/// What extension headers say of the member after them.
#[derive(Default)]
struct Extensions {
    long_name: Option<Vec<u8>>,
    long_target: Option<Vec<u8>>,
    records: Option<PaxRecords>,
}

pub(super) struct TarReader<T> {
    source: T,
    position: u64,
    /// The body at hand: what is left of it, how much of that is in the archive, and its padding
    /// there.
    body: FileBytes,
    stored: u64,
    padding: u64,
    name: Option<MemberName>,
    members: usize,
    unmarked_end: Option<u64>,
}

/// What a read in a hole yields.
static ZEROS: [u8; limits::CHUNK] = [0; limits::CHUNK];

impl<T: TarSource> TarReader<T> {
    pub(super) fn new(source: T) -> Self {
        Self {
            source,
            position: 0,
            body: FileBytes::default(),
            stored: 0,
            padding: 0,
            name: None,
            members: 0,
            unmarked_end: None,
        }
    }

    /// The next member; `None` after the end marker, and where it should be.
    pub(super) fn next(&mut self) -> Result<Option<TarMember>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_body()?;
            let offset = self.position;
            let Some(block) = self.block()? else {
                if offset == 0 || !extensions.is_empty() {
                    return Err(self.truncated());
                }
                self.unmarked_end = Some(offset);
                return Ok(None);
            };
            if is_zero(&block) {
                if !extensions.is_empty() {
                    return Err(ArchiveError::Dangling { offset });
                }
                self.end(offset)?;
                return Ok(None);
            }
            let refused = |cause| ArchiveError::Header { offset, cause };
            let header = match Header::parse(&block) {
                Err(_) if offset == 0 && !is_ustar(&block) => {
                    return Err(ArchiveError::not_tar(&block));
                }
                parsed => parsed.map_err(refused)?,
            };
            self.name = Some(MemberName::new(&header.path));
            let slot = match header.kind {
                HeaderKind::LongName => &mut extensions.long_name,
                HeaderKind::LongTarget => &mut extensions.long_target,
                HeaderKind::Records | HeaderKind::GlobalRecords => {
                    let is_global = header.kind == HeaderKind::GlobalRecords;
                    let body = self.extension(offset, &header)?;
                    let records = PaxRecords::parse(&body).map_err(refused)?;
                    if is_global {
                        records.check_global().map_err(refused)?;
                        self.count_member()?;
                    } else if extensions.records.replace(records).is_some() {
                        return Err(ArchiveError::Repeated { offset });
                    }
                    continue;
                }
                _ => return self.member(header, extensions, offset).map(Some),
            };
            if slot.is_some() {
                return Err(ArchiveError::Repeated { offset });
            }
            *slot = Some(self.extension(offset, &header)?);
        }
    }

    /// Reads on in the body of the member at hand; 0 at its end.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> Result<usize, ArchiveError> {
        let piece = self.piece_of(buf.len())?;
        buf[..piece.len()].copy_from_slice(piece);
        Ok(piece.len())
    }

    /// The next bytes of the body at hand, where they lie: at most [`limits::CHUNK`], and none only
    /// at its end.
    pub(super) fn piece(&mut self) -> Result<&[u8], ArchiveError> {
        self.piece_of(limits::CHUNK)
    }

    fn piece_of(&mut self, most: usize) -> Result<&[u8], ArchiveError> {
        let most = most.min(limits::CHUNK);
        let wanted = |left| usize::try_from(left).unwrap_or(usize::MAX).min(most);
        match self.body.next() {
            Some(FilePart::Hole(left)) => {
                let zeros = &ZEROS[..wanted(left)];
                self.body.advance(zeros.len() as u64);
                Ok(zeros)
            }
            Some(FilePart::Stored(left)) if most > 0 => match self.source.next(wanted(left))? {
                [] => Err(ArchiveError::Truncated {
                    offset: self.position,
                    member: self.name.clone(),
                }),
                piece => {
                    let read = piece.len() as u64;
                    self.position += read;
                    self.stored -= read;
                    self.body.advance(read);
                    Ok(piece)
                }
            },
            _ => Ok(&[]),
        }
    }

    /// The next bytes of the body at hand: as many as asked for, fewer only at its end.
    pub(super) fn chunk(&mut self, length: usize) -> Result<Vec<u8>, ArchiveError> {
        let length = length.min(usize::try_from(self.body.left()).unwrap_or(usize::MAX));
        let mut chunk = vec![0; length];
        let mut filled = 0;
        while filled < length {
            filled += self.read(&mut chunk[filled..])?;
        }
        Ok(chunk)
    }

    /// `bytes`, and after them the rest of the body at hand. The caller has held its length against a
    /// limit.
    pub(super) fn rest(&mut self, mut bytes: Vec<u8>) -> Result<Vec<u8>, ArchiveError> {
        bytes.reserve_exact(usize::try_from(self.body.left()).unwrap_or(0));
        loop {
            let chunk = self.chunk(limits::CHUNK)?;
            if chunk.is_empty() {
                return Ok(bytes);
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    /// Reads what follows the end marker: to the end of the source, so that the checksum of a
    /// compressed one has been verified, and nothing but zeros, which are not many. Returns where the
    /// archive ends, if its end marker is missing.
    pub(super) fn finish(mut self) -> Result<Option<u64>, ArchiveError> {
        let mut buf = vec![0; 64 << 10];
        let end = self.position;
        loop {
            if self.position - end > limits::PADDING_MAX {
                return Err(ArchiveError::Padding);
            }
            match self.source.read(&mut buf)? {
                0 => return Ok(self.unmarked_end),
                read if buf[..read].iter().all(|byte| *byte == 0) => self.position += read as u64,
                _ => {
                    return Err(ArchiveError::Trailing {
                        offset: self.position,
                    });
                }
            }
        }
    }

    fn member(
        &mut self,
        header: Header,
        extensions: Extensions,
        offset: u64,
    ) -> Result<TarMember, ArchiveError> {
        self.count_member()?;
        // Where both are there, GNU's extension counts, as in Go's reader.
        let records = extensions.records.unwrap_or_default();
        let path = extensions.long_name.or(records.path).unwrap_or(header.path);
        let target = extensions
            .long_target
            .or(records.target)
            .unwrap_or(header.target);
        let name = MemberName::new(&path);
        self.name = Some(name.clone());
        let sparse = match (header.kind, &records.sparse) {
            (HeaderKind::Sparse, _) => return Err(ArchiveError::Sparse { member: name }),
            (HeaderKind::File, Some(sparse)) => Some(sparse.length().ok_or_else(|| {
                let member = name.clone();
                ArchiveError::Sparse { member }
            })?),
            _ => None,
        };
        let too_long = || ArchiveError::PathTooLong {
            member: name.clone(),
        };
        let path = normalise(&header::text(&path).ok_or_else(too_long)?);
        let target = header::text(&target).ok_or_else(too_long)?;
        let size = match header.kind {
            HeaderKind::File => records.size.unwrap_or(header.size),
            _ => header.size,
        };
        self.begin_body(size, offset)?;
        let runs = sparse.map(|length| self.sparse_body(length, &name));
        let kind = match (header.kind, path) {
            (HeaderKind::File, Some(path)) => MemberKind::File(path),
            // From the root of the archive (POSIX pax, "linkname").
            (HeaderKind::HardLink, Some(path)) => link(path, normalise(&target), target),
            (HeaderKind::Symlink, Some(path)) => {
                let inside = symlink_target(&path, &target);
                link(path, inside, target)
            }
            _ => MemberKind::Ignored,
        };
        Ok(TarMember {
            name,
            kind,
            runs: runs.transpose()?,
            size: self.body.left(),
            offset: self.position,
        })
    }

    /// Reads the map at the beginning of a sparse member of `size` bytes.
    fn sparse_body(
        &mut self,
        size: u64,
        name: &MemberName,
    ) -> Result<Arc<[DataRun]>, ArchiveError> {
        let bad = |_| ArchiveError::SparseMap {
            member: name.clone(),
        };
        let mut map = SparseMap::default();
        loop {
            let block = self.chunk(BLOCK)?;
            if block.len() < BLOCK {
                return Err(bad(BadMap));
            }
            if map.take(&block).map_err(bad)? {
                break;
            }
        }
        let runs = map.runs(size, self.stored).map_err(bad)?;
        self.body = FileBytes::sparse(size, &runs);
        Ok(runs.into())
    }

    fn extension(&mut self, offset: u64, header: &Header) -> Result<Vec<u8>, ArchiveError> {
        let size = header.size;
        if size > limits::EXTENSION_MAX {
            return Err(ArchiveError::ExtensionTooLong { offset, size });
        }
        self.begin_body(size, offset)?;
        self.chunk(limits::EXTENSION_MAX as usize)
    }

    fn begin_body(&mut self, size: u64, offset: u64) -> Result<(), ArchiveError> {
        let padded = size.next_multiple_of(BLOCK as u64);
        if self.position.checked_add(padded).is_none() {
            let cause = HeaderError::HugeSize;
            return Err(ArchiveError::Header { offset, cause });
        }
        self.body = FileBytes::stored(size);
        self.stored = size;
        self.padding = padded - size;
        Ok(())
    }

    fn skip_body(&mut self) -> Result<(), ArchiveError> {
        let skipped = self.source.skip(self.stored + self.padding)?;
        self.position += skipped;
        // Some tools do not pad what comes last.
        if skipped < self.stored {
            return Err(self.truncated());
        }
        (self.body, self.stored, self.padding) = (FileBytes::default(), 0, 0);
        Ok(())
    }

    fn count_member(&mut self) -> Result<(), ArchiveError> {
        self.members += 1;
        if self.members > limits::MEMBERS_MAX {
            return Err(ArchiveError::TooManyMembers);
        }
        Ok(())
    }

    /// The next block; `None` where the archive ends before it.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(self.truncated()),
                read => filled += read,
            }
        }
        self.position += BLOCK as u64;
        Ok(Some(block))
    }

    /// The second block of the end marker.
    fn end(&mut self, offset: u64) -> Result<(), ArchiveError> {
        self.name = None;
        match self.block()? {
            None => self.unmarked_end = Some(self.position),
            Some(block) if is_zero(&block) => {}
            Some(_) => return Err(ArchiveError::LoneZeroBlock { offset }),
        }
        Ok(())
    }

    fn truncated(&self) -> ArchiveError {
        ArchiveError::Truncated {
            offset: self.position,
            member: self.name.clone(),
        }
    }
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.long_name.is_none() && self.long_target.is_none() && self.records.is_none()
    }
}

/// A link to `inside`, if that is in the archive; its target is written as `target`.
fn link(path: String, inside: Option<String>, target: String) -> MemberKind {
    match inside {
        Some(target) => MemberKind::Link { path, target },
        None => MemberKind::LinkOut { path, target },
    }
}

fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|byte| *byte == 0)
}
