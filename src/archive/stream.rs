//! The way through a compressed archive: one pass, in which every body is hashed and handed on.

use std::io::{self, Read};
use std::ops::ControlFlow;

use super::body_digests::BodyDigests;
use super::catalogue::{Catalogue, File};
use super::collector::{self, Collector};
use super::compression::Decoder;
use super::expansion::Expansion;
use super::positioned::{InputError, Whole};
use super::tar_reader::{Entry, EntryKind, Tape, TarReader};
use super::{Archive, ArchiveError, DecodeError, limits, member_path};
use crate::digest::Digest;

/// A piece of an archive that is read in one pass: bodies come one after the other, each as
/// `Begin`, `Data` once or more, `End`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// A body begins.
    Begin {
        /// The normalised path of its member.
        path: String,
        /// The digest that the path claims, for a blob of an OCI layout. It may lie.
        claimed: Option<Digest>,
        /// Its length in bytes.
        size: u64,
    },
    /// The next bytes of it, at most [`limits::CHUNK`], never none.
    Data(Vec<u8>),
    /// It is whole.
    End {
        /// The digest of its bytes.
        digest: Digest,
    },
}

type Sink<'a> = &'a mut dyn FnMut(Part) -> ControlFlow<()>;

pub(super) fn stream(archive: &Archive, sink: Sink<'_>) -> Result<Catalogue, ArchiveError> {
    let compression = archive.compression;
    let decoder = Decoder::new(compression, Whole::new(archive))?;
    let expansion = Expansion::new(archive);
    let tape = StreamTape {
        decoder,
        expansion: &expansion,
        scratch: vec![0; SCRATCH],
    };
    members(tape, &expansion, sink).map_err(|error| error.inside(compression))
}

fn members(
    tape: impl Tape,
    expansion: &Expansion,
    sink: Sink<'_>,
) -> Result<Catalogue, ArchiveError> {
    let mut reader = TarReader::new(tape);
    let mut collector = Collector::default();
    while let Some(entry) = reader.next()? {
        match &entry.kind {
            EntryKind::File(path) => {
                collector::check_document_size(&entry, path)?;
                let file = file(&mut reader, &mut collector, &entry, path, expansion, sink)?;
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
    sink: Sink<'_>,
) -> Result<File, ArchiveError> {
    let first = reader.chunk(limits::CHUNK)?;
    let mut file = File {
        size: entry.size,
        offset: None,
        digest: None,
        encoding: collector::encoding(&first),
        diff_id: None,
        document: None,
    };
    if collector.keeps(entry, &first)? {
        let document = reader.rest(first)?;
        file.digest = Some(Digest::of(&document));
        file.document = Some(document.into());
        return Ok(file);
    }
    let is_offered = entry.size > 0 && !is_version(path);
    let mut offer = |part| match is_offered.then(|| sink(part)) {
        Some(ControlFlow::Break(())) => Err(ArchiveError::Stopped),
        _ => Ok(()),
    };
    offer(Part::Begin {
        path: path.to_owned(),
        claimed: member_path::claimed_digest(path),
        size: entry.size,
    })?;
    let mut digests = BodyDigests::new(&entry.name, path, file.encoding, expansion);
    let mut chunk = first;
    while !chunk.is_empty() {
        digests.update(&chunk)?;
        offer(Part::Data(chunk))?;
        chunk = reader.chunk(limits::CHUNK)?;
    }
    let (digest, diff_id) = digests.finish()?;
    offer(Part::End {
        digest: digest.clone(),
    })?;
    file.digest = Some(digest);
    file.diff_id = diff_id;
    Ok(file)
}

/// The file beside each layer of a docker-archive v1.0, which says that.
fn is_version(path: &str) -> bool {
    path.rsplit('/').next() == Some("VERSION")
}

/// The bytes that are passed over at a time.
const SCRATCH: usize = 64 << 10;

struct StreamTape<'a> {
    decoder: Decoder<Whole<'a>>,
    expansion: &'a Expansion,
    scratch: Vec<u8>,
}

impl Tape for StreamTape<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ArchiveError> {
        loop {
            match self.decoder.read(buf) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(told_apart(error)),
                Ok(read) => {
                    let counted = self.expansion.count(read);
                    counted.map_err(|halt| halt.error(None))?;
                    return Ok(read);
                }
            }
        }
    }

    fn skip(&mut self, bytes: u64) -> Result<u64, ArchiveError> {
        let mut left = bytes;
        let mut scratch = std::mem::take(&mut self.scratch);
        while left > 0 {
            let wanted = usize::try_from(left).map_or(scratch.len(), |n| n.min(scratch.len()));
            match self.read(&mut scratch[..wanted])? {
                0 => break,
                read => left -= read as u64,
            }
        }
        self.scratch = scratch;
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
