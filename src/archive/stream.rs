//! The way through a compressed archive: one pass, in which every body is handed on.

use std::io;
use std::ops::ControlFlow;

use super::catalogue::{Catalogue, File};
use super::collector::{self, Collector, HEAD};
use super::compression::Decoder;
use super::diff_id::DiffId;
use super::expansion::Expansion;
use super::positioned::{InputError, Whole};
use super::read_ahead::{ReadAhead, read_ahead};
use super::tar_reader::{Entry, EntryKind, Tape, TarReader};
use super::{Archive, ArchiveError, DecodeError, member_path};
use crate::digest::{Digest, Hasher};

/// Takes the bodies of an archive that is read in one pass. They come one after the other, each as
/// `begin`, `take` once or more, `end`. Whoever has the bytes at hand hashes them: that is done once.
pub trait Receiver {
    /// A body begins: the normalised path of its member, the digest that the path claims, for a blob
    /// of an OCI layout, and its length in bytes. The claim may be wrong.
    fn begin(&mut self, path: &str, claimed: Option<Digest>, size: u64) -> ControlFlow<()>;

    /// The next bytes of it, at most [`super::limits::CHUNK`], never none.
    fn take(&mut self, bytes: &[u8]) -> ControlFlow<()>;

    /// It is whole. Answers the digest of its bytes.
    fn end(&mut self) -> ControlFlow<(), Digest>;
}

pub(super) fn stream(
    archive: &Archive,
    receiver: &mut impl Receiver,
) -> Result<Catalogue, ArchiveError> {
    let compression = archive.compression;
    let decoder = Decoder::new(compression, Whole::new(archive))?;
    let expansion = Expansion::new(archive);
    let read = read_ahead(decoder, |ahead| {
        let tape = StreamTape {
            ahead,
            expansion: &expansion,
        };
        members(tape, &expansion, receiver)
    });
    let read = read.map_err(ArchiveError::Open)?;
    read.map_err(|error| error.inside(compression))
}

fn members(
    tape: impl Tape,
    expansion: &Expansion,
    receiver: &mut impl Receiver,
) -> Result<Catalogue, ArchiveError> {
    let mut reader = TarReader::new(tape);
    let mut collector = Collector::default();
    while let Some(entry) = reader.next()? {
        match &entry.kind {
            EntryKind::File(path) => {
                collector::check_document_size(&entry, path)?;
                let file = file(
                    &mut reader,
                    &mut collector,
                    &entry,
                    path,
                    expansion,
                    receiver,
                )?;
                collector.file(path, file)?;
            }
            EntryKind::Link { path, target } => collector.link(path, target)?,
            EntryKind::Ignored => {}
        }
    }
    reader.finish()?;
    Ok(collector.finish())
}

fn file(
    reader: &mut TarReader<impl Tape>,
    collector: &mut Collector,
    entry: &Entry,
    path: &str,
    expansion: &Expansion,
    receiver: &mut impl Receiver,
) -> Result<File, ArchiveError> {
    let head = reader.chunk(HEAD)?;
    let mut file = File {
        size: entry.size,
        offset: None,
        digest: None,
        encoding: collector::encoding(&head),
        diff_id: None,
        document: None,
    };
    if collector.keeps(entry, &head)? {
        let document = reader.rest(head)?;
        file.digest = Some(Digest::of(&document));
        file.document = Some(document.into());
        return Ok(file);
    }
    let mut diff_id = DiffId::new(&entry.name, path, file.encoding, expansion);
    let mut body = if entry.size > 0 && !is_version(path) {
        let claimed = member_path::claimed_digest(path);
        heard(receiver.begin(path, claimed, entry.size))?;
        Taker::Receiver(receiver)
    } else {
        Taker::Hasher(Hasher::default())
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

/// Who hashes a body: who wants it, or nobody else.
enum Taker<'a, R> {
    Receiver(&'a mut R),
    Hasher(Hasher),
}

impl<R: Receiver> Taker<'_, R> {
    fn take(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        match self {
            Self::Receiver(receiver) => heard(receiver.take(bytes)),
            Self::Hasher(hasher) => {
                hasher.update(bytes);
                Ok(())
            }
        }
    }

    fn end(self) -> Result<Digest, ArchiveError> {
        match self {
            Self::Receiver(receiver) => heard(receiver.end()),
            Self::Hasher(hasher) => Ok(hasher.finish()),
        }
    }
}

/// What the receiver answered, if it wants more.
fn heard<T>(answer: ControlFlow<(), T>) -> Result<T, ArchiveError> {
    match answer {
        ControlFlow::Continue(value) => Ok(value),
        ControlFlow::Break(()) => Err(ArchiveError::Stopped),
    }
}

/// The file beside each layer of a docker-archive v1.0, which says that.
fn is_version(path: &str) -> bool {
    path.rsplit('/').next() == Some("VERSION")
}

struct StreamTape<'a> {
    ahead: ReadAhead,
    expansion: &'a Expansion,
}

impl Tape for StreamTape<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ArchiveError> {
        let bytes = self.next(buf.len())?;
        buf[..bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len())
    }

    fn next(&mut self, most: usize) -> Result<&[u8], ArchiveError> {
        let counted = |length| {
            let counted = self.expansion.count(length);
            counted.map_err(|halt| halt.error(None))
        };
        if self.ahead.is_spent() {
            counted(self.ahead.refill().map_err(told_apart)?)?;
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
fn told_apart(error: io::Error) -> ArchiveError {
    let error = match error.downcast::<InputError>() {
        Ok(input) => return input.into(),
        Err(error) => error,
    };
    match error.downcast::<DecodeError>() {
        Ok(fault) => fault.into(),
        Err(cause) => ArchiveError::Read { offset: 0, cause },
    }
}
