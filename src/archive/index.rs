//! The way through a plain archive: from header to header, past the bodies.

use super::catalogue::{Catalogue, File};
use super::collector::{self, Collector, HEAD};
use super::diff_id::DiffId;
use super::expansion::Expansion;
use super::positioned::counted_when_hashed;
use super::tar_reader::{Entry, EntryKind, Tape, TarReader};
use super::{Archive, ArchiveError, limits};
use crate::digest::Hasher;

pub(super) fn index(archive: &Archive) -> Result<Catalogue, ArchiveError> {
    let mut reader = TarReader::new(FileTape {
        archive,
        position: 0,
        buffer: Vec::new(),
    });
    let mut collector = Collector::default();
    let expansion = Expansion::new(archive);
    // The bytes that Body will count.
    let mut bodies = 0;
    while let Some(entry) = reader.next()? {
        match &entry.kind {
            EntryKind::File(path) => {
                collector::check_document_size(&entry, path)?;
                let file = file(
                    archive,
                    &mut reader,
                    &mut collector,
                    &entry,
                    path,
                    &expansion,
                )?;
                if file.document.is_none() {
                    bodies += file.size;
                }
                collector.file(path, file)?;
            }
            EntryKind::Link { path, target } => collector.link(path, target)?,
            EntryKind::Ignored => {}
        }
    }
    reader.finish()?;
    archive.meter.add(archive.size.saturating_sub(bodies));
    Ok(collector.finish())
}

fn file(
    archive: &Archive,
    reader: &mut TarReader<FileTape<'_>>,
    collector: &mut Collector,
    entry: &Entry,
    path: &str,
    expansion: &Expansion,
) -> Result<File, ArchiveError> {
    let head = reader.chunk(HEAD)?;
    let mut file = File {
        size: entry.size,
        offset: Some(entry.offset),
        digest: None,
        encoding: collector::encoding(&head),
        diff_id: None,
        document: None,
    };
    let diff_id = DiffId::new(&entry.name, path, file.encoding, expansion);
    if collector.keeps(entry, &head)? {
        file.document = Some(reader.rest(head)?.into());
    } else if let Some(mut diff_id) = diff_id {
        let mut hasher = Hasher::default();
        hasher.update(&head);
        diff_id.update(&head)?;
        let mut hashed = head.len() as u64;
        archive.meter.add(counted_when_hashed(hashed));
        loop {
            let piece = reader.piece()?;
            if piece.is_empty() {
                break;
            }
            hasher.update(piece);
            diff_id.update(piece)?;
            let before = counted_when_hashed(hashed);
            hashed += piece.len() as u64;
            archive.meter.add(counted_when_hashed(hashed) - before);
        }
        file.digest = Some(hasher.finish());
        file.diff_id = diff_id.finish()?;
    }
    Ok(file)
}

/// The file itself: passing over bytes costs nothing.
struct FileTape<'a> {
    archive: &'a Archive,
    position: u64,
    /// For bodies that are read.
    buffer: Vec<u8>,
}

impl Tape for FileTape<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ArchiveError> {
        let read = self.archive.read_at(buf, self.position)?;
        self.position += read as u64;
        Ok(read)
    }

    fn next(&mut self, most: usize) -> Result<&[u8], ArchiveError> {
        self.buffer.resize(limits::CHUNK, 0);
        let wanted = most.min(self.buffer.len());
        let buffer = &mut self.buffer[..wanted];
        let read = self.archive.read_at(buffer, self.position)?;
        self.position += read as u64;
        Ok(&self.buffer[..read])
    }

    fn skip(&mut self, bytes: u64) -> Result<u64, ArchiveError> {
        let left = self.archive.size.saturating_sub(self.position);
        let skipped = bytes.min(left);
        self.position += skipped;
        Ok(skipped)
    }
}
