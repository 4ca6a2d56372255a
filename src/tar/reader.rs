//! Walks a tar archive, member by member.
//!
//! The `tar` crate's own walk takes the end of the file for the end of the archive, and reads long
//! names and pax headers of any size into memory. So the walk is done here: the archive ends with
//! two blocks of zeros or it was cut, and whatever a header asks for is held against a limit first.
//!
//! What may follow the end is zeros. Anything else is refused: it would be a second archive, whose
//! images would silently be missing.

use super::error::ArchiveError;
use super::header::{self, BLOCK, Header, HeaderError, HeaderKind, PaxRecords};
use super::limits;
use super::member_path::{self, MemberName};
use super::source::TarSource;
use crate::compression::is_ustar;

/// A member of the archive, with what extension headers before it say.
#[derive(Debug)]
pub(super) struct TarMember {
    pub(super) name: MemberName,
    pub(super) kind: MemberKind,
    /// The length of the body in bytes.
    pub(super) size: u64,
    /// Where the body begins in the archive.
    pub(super) offset: u64,
}

/// What a member is; its paths are normalised.
#[derive(Debug)]
pub(super) enum MemberKind {
    File(String),
    Link {
        path: String,
        target: String,
    },
    /// Directories, devices, and what lies or points outside of the archive.
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
    /// The body at hand: what is left of it, and its padding.
    left: u64,
    padding: u64,
    name: Option<MemberName>,
    members: usize,
}

impl<T: TarSource> TarReader<T> {
    pub(super) fn new(source: T) -> Self {
        Self {
            source,
            position: 0,
            left: 0,
            padding: 0,
            name: None,
            members: 0,
        }
    }

    /// The next member; `None` after the end marker.
    pub(super) fn next(&mut self) -> Result<Option<TarMember>, ArchiveError> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_body()?;
            let offset = self.position;
            let block = self.block()?;
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
        let wanted = buf
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut buf[..wanted])?;
        if read == 0 {
            return Err(self.truncated());
        }
        self.position += read as u64;
        self.left -= read as u64;
        Ok(read)
    }

    /// The next bytes of the body at hand, where they lie: at most [`limits::CHUNK`], and none only
    /// at its end.
    pub(super) fn piece(&mut self) -> Result<&[u8], ArchiveError> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(&[]);
        }
        match self.source.next(left.min(limits::CHUNK))? {
            [] => Err(ArchiveError::Truncated {
                offset: self.position,
                member: self.name.clone(),
            }),
            piece => {
                self.position += piece.len() as u64;
                self.left -= piece.len() as u64;
                Ok(piece)
            }
        }
    }

    /// The next bytes of the body at hand: as many as asked for, fewer only at its end.
    pub(super) fn chunk(&mut self, length: usize) -> Result<Vec<u8>, ArchiveError> {
        let length = length.min(usize::try_from(self.left).unwrap_or(usize::MAX));
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
        bytes.reserve_exact(usize::try_from(self.left).unwrap_or(0));
        loop {
            let chunk = self.chunk(limits::CHUNK)?;
            if chunk.is_empty() {
                return Ok(bytes);
            }
            bytes.extend_from_slice(&chunk);
        }
    }

    /// Reads what follows the end marker: to the end of the source, so that the checksum of a
    /// compressed one has been verified, and nothing but zeros, which are not many.
    pub(super) fn finish(mut self) -> Result<(), ArchiveError> {
        let mut buf = vec![0; 64 << 10];
        let end = self.position;
        loop {
            if self.position - end > limits::PADDING_MAX {
                return Err(ArchiveError::Padding);
            }
            match self.source.read(&mut buf)? {
                0 => return Ok(()),
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
        if header.kind == HeaderKind::Sparse || records.sparse {
            return Err(ArchiveError::Sparse { member: name });
        }
        let too_long = || ArchiveError::PathTooLong {
            member: name.clone(),
        };
        let path = member_path::normalise(&header::text(&path).ok_or_else(too_long)?);
        let target = header::text(&target).ok_or_else(too_long)?;
        let size = match header.kind {
            HeaderKind::File => records.size.unwrap_or(header.size),
            _ => header.size,
        };
        self.begin_body(size, offset)?;
        let kind = match (header.kind, path) {
            (HeaderKind::File, Some(path)) => MemberKind::File(path),
            (HeaderKind::HardLink, Some(path)) => {
                link(path, member_path::hard_link_target(&target))
            }
            (HeaderKind::Symlink, Some(path)) => {
                let target = member_path::symlink_target(&path, &target);
                link(path, target)
            }
            _ => MemberKind::Ignored,
        };
        Ok(TarMember {
            name,
            kind,
            size,
            offset: self.position,
        })
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
        self.left = size;
        self.padding = padded - size;
        Ok(())
    }

    fn skip_body(&mut self) -> Result<(), ArchiveError> {
        let rest = self.left + self.padding;
        let skipped = self.source.skip(rest)?;
        self.position += skipped;
        if skipped < rest {
            return Err(self.truncated());
        }
        (self.left, self.padding) = (0, 0);
        Ok(())
    }

    fn count_member(&mut self) -> Result<(), ArchiveError> {
        self.members += 1;
        if self.members > limits::MEMBERS_MAX {
            return Err(ArchiveError::TooManyMembers);
        }
        Ok(())
    }

    fn block(&mut self) -> Result<[u8; BLOCK], ArchiveError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..])? {
                0 => return Err(self.truncated()),
                read => filled += read,
            }
        }
        self.position += BLOCK as u64;
        Ok(block)
    }

    /// The second block of the end marker. GNU tar accepts a file that has only one, with a
    /// warning; no tool that makes images writes that, but a file that was cut may end so.
    fn end(&mut self, offset: u64) -> Result<(), ArchiveError> {
        self.name = None;
        match is_zero(&self.block()?) {
            true => Ok(()),
            false => Err(ArchiveError::LoneZeroBlock { offset }),
        }
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

fn link(path: String, target: Option<String>) -> MemberKind {
    target.map_or(MemberKind::Ignored, |target| MemberKind::Link {
        path,
        target,
    })
}

fn is_zero(block: &[u8; BLOCK]) -> bool {
    block.iter().all(|byte| *byte == 0)
}
