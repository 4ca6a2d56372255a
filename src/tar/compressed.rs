//! A compressed archive: read in one pass, in which every body is handed on.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use super::archive_file::ArchiveFile;
use super::catalogue_builder::{CatalogueBuilder, HEAD, check_document_size, stored};
use super::decode_error::DecodeError;
use super::decoder::Decoder;
use super::diff_id::DiffId;
use super::drop_behind::WholeFile;
use super::error::{ArchiveError, InputError};
use super::expansion::Expansion;
use super::read_ahead::{ReadAhead, read_ahead};
use super::reader::{MemberKind, TarMember, TarReader};
use super::source::TarSource;
use crate::compression::Compression;
use crate::digest::{Digest, Hasher};
use crate::layout::{Catalogue, FileMember, claimed_digest};

/// Takes the bodies of an archive that is read in one pass. They come one after the other, each as
/// `begin`, `take` once or more, `end`. The sink hashes them, so that this is done once.
pub trait BodySink {
    /// A body begins: the normalised path of its member, the digest that the path claims, for a blob
    /// of an OCI layout, and its length in bytes. The claim may be wrong.
    fn begin(&mut self, path: &str, claimed: Option<Digest>, size: u64) -> ControlFlow<()>;

    /// The next bytes of it, at most [`super::limits::CHUNK`], never none.
    fn take(&mut self, bytes: &[u8]) -> ControlFlow<()>;

    /// It is whole. Answers the digest of its bytes.
    fn end(&mut self) -> ControlFlow<(), Digest>;
}

/// An archive that is compressed. Clones are one open file.
#[derive(Debug, Clone)]
pub struct CompressedArchive {
    file: Arc<ArchiveFile>,
    compression: Compression,
}

impl CompressedArchive {
    pub(super) fn new(file: ArchiveFile, compression: Compression) -> Self {
        Self {
            file: Arc::new(file),
            compression,
        }
    }

    pub fn compression(&self) -> Compression {
        self.compression
    }

    /// The length of the file in bytes, as it was opened.
    pub fn size(&self) -> u64 {
        self.file.size
    }

    pub fn file(&self) -> &File {
        &self.file.file
    }

    /// Reads the archive in one pass: a thread of its own decodes, and this one walks through the
    /// decoded bytes. Documents are kept in the catalogue; all other bodies go to `sink`, which hashes
    /// them, except empty ones, the files `VERSION` of old docker-archives, and one that says to be longer
    /// than the archive may be: room would be asked for it, and reading it fails.
    ///
    /// When the sink breaks, this ends with [`ArchiveError::Stopped`]. The meter counts the bytes of
    /// the file as they are read. What the sink was given counts only when this returns `Ok`: damage
    /// that only the last checksum shows is found after the last body.
    pub fn stream(&self, sink: &mut impl BodySink) -> Result<Catalogue, ArchiveError> {
        let compression = self.compression;
        let decoder = Decoder::new(compression, WholeFile::new(&self.file))?;
        let expansion = Expansion::new(self.file.size, Arc::clone(&self.file.stop));
        let read = read_ahead(decoder, |ahead| {
            let source = StreamSource {
                ahead,
                expansion: &expansion,
            };
            read_members(source, &expansion, sink)
        });
        let read = read.map_err(ArchiveError::Open)?;
        read.map_err(|error| error.inside(compression))
    }
}

fn read_members(
    source: impl TarSource,
    expansion: &Expansion,
    sink: &mut impl BodySink,
) -> Result<Catalogue, ArchiveError> {
    let mut reader = TarReader::new(source);
    let mut catalogue = CatalogueBuilder::default();
    while let Some(member) = reader.next()? {
        match &member.kind {
            MemberKind::File(path) => {
                check_document_size(&member, path)?;
                catalogue.count_holes(&member, expansion)?;
                let (reader, catalogue) = (&mut reader, &mut catalogue);
                let file = read_file(reader, catalogue, &member, path, expansion, sink)?;
                catalogue.file(path, file)?;
            }
            other => catalogue.other(other)?,
        }
    }
    let unmarked_end = reader.finish()?;
    Ok(catalogue.finish(unmarked_end))
}

fn read_file(
    reader: &mut TarReader<impl TarSource>,
    catalogue: &mut CatalogueBuilder,
    member: &TarMember,
    path: &str,
    expansion: &Expansion,
    sink: &mut impl BodySink,
) -> Result<FileMember, ArchiveError> {
    let head = reader.chunk(HEAD)?;
    let mut file = FileMember {
        size: member.size,
        offset: None,
        runs: None,
        digest: None,
        compression: Compression::of_layer(&head),
        diff_id: None,
        document: None,
    };
    if catalogue.keeps(member, &head)? {
        let document = reader.rest(head)?;
        file.digest = Some(Digest::of(&document));
        file.document = Some(document.into());
        return Ok(file);
    }
    let mut diff_id = DiffId::new(&member.name, path, file.compression, expansion);
    let is_handed_on = member.size > 0 && !is_version(path) && expansion.fits(stored(member));
    let mut body = if is_handed_on {
        let claimed = claimed_digest(path);
        unless_broken(sink.begin(path, claimed, member.size))?;
        BodyHasher::Sink(sink)
    } else {
        BodyHasher::Hash(Hasher::default())
    };
    if !head.is_empty() {
        body.take(&head)?;
        if let Some(diff_id) = &mut diff_id {
            diff_id.update(&head)?;
        }
    }
    loop {
        let piece = reader.piece()?;
        if piece.is_empty() {
            break;
        }
        body.take(piece)?;
        if let Some(diff_id) = &mut diff_id {
            diff_id.update(piece)?;
        }
    }
    file.digest = Some(body.end()?);
    file.diff_id = diff_id.map_or(Ok(None), DiffId::finish)?;
    Ok(file)
}

/// What hashes a body: the sink that it goes to, or, for a body that goes nowhere, a hasher.
enum BodyHasher<'a, S> {
    Sink(&'a mut S),
    Hash(Hasher),
}

impl<S: BodySink> BodyHasher<'_, S> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        match self {
            Self::Sink(sink) => unless_broken(sink.take(bytes)),
            Self::Hash(hasher) => {
                hasher.update(bytes);
                Ok(())
            }
        }
    }

    fn end(self) -> Result<Digest, ArchiveError> {
        match self {
            Self::Sink(sink) => unless_broken(sink.end()),
            Self::Hash(hasher) => Ok(hasher.finish()),
        }
    }
}

/// The answer of the sink; an error where it takes no more.
fn unless_broken<T>(answer: ControlFlow<(), T>) -> Result<T, ArchiveError> {
    match answer {
        ControlFlow::Continue(value) => Ok(value),
        ControlFlow::Break(()) => Err(ArchiveError::Stopped),
    }
}

/// Whether it is the file beside each layer of a docker-archive v1.0 that says "1.0".
fn is_version(path: &str) -> bool {
    path.rsplit('/').next() == Some("VERSION")
}

struct StreamSource<'a> {
    ahead: ReadAhead,
    expansion: &'a Expansion,
}

impl TarSource for StreamSource<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ArchiveError> {
        let bytes = self.next(buf.len())?;
        buf[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn next(&mut self, most: usize) -> Result<&[u8], ArchiveError> {
        let counted = |length| {
            let counted = self.expansion.count(length as u64);
            counted.map_err(|halt| halt.error(None))
        };
        if self.ahead.is_spent() {
            counted(self.ahead.refill().map_err(read_error)?)?;
        }
        Ok(self.ahead.take(most))
    }

    fn skip(&mut self, bytes: u64) -> Result<u64, ArchiveError> {
        let mut left = bytes;
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX);
            match self.next(wanted)?.len() {
                0 => break,
                passed => left -= passed as u64,
            }
        }
        Ok(bytes - left)
    }
}

/// The decoder's error, or that of the file beneath it.
fn read_error(error: io::Error) -> ArchiveError {
    let error = match error.downcast::<InputError>() {
        Ok(input) => return input.into(),
        Err(error) => error,
    };
    match error.downcast::<DecodeError>() {
        Ok(fault) => fault.into(),
        Err(cause) => ArchiveError::Read { offset: 0, cause },
    }
}
