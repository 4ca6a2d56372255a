//! The way through a plain archive: from header to header, past the bodies.

use super::body_digests::BodyDigests;
use super::catalogue::{Catalogue, File};
use super::collector::{self, Collector, HEAD};
use super::expansion::Expansion;
use super::positioned::counted_when_hashed;
use super::tar_reader::{Entry, EntryKind, Tape, TarReader};
use super::{Archive, ArchiveError, limits};

pub(super) fn index(archive: &Archive) -> Result<Catalogue, ArchiveError> {
    let mut reader = TarReader::new(FileTape {
        archive,
        position: 0,
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
    let mut digests = BodyDigests::new(&entry.name, path, file.encoding, expansion);
    if collector.keeps(entry, &head)? {
        file.document = Some(reader.rest(head)?.into());
    } else if digests.unpacks() {
        let mut chunk = head;
        let mut hashed = 0;
        while !chunk.is_empty() {
            digests.update(&chunk)?;
            let before = counted_when_hashed(hashed);
            hashed += chunk.len() as u64;
            archive.meter.add(counted_when_hashed(hashed) - before);
            chunk = reader.chunk(limits::CHUNK)?;
        }
        let (digest, diff_id) = digests.finish()?;
        file.digest = Some(digest);
        file.diff_id = diff_id;
    }
    Ok(file)
}

/// The file itself: passing over bytes costs nothing.
struct FileTape<'a> {
    archive: &'a Archive,
    position: u64,
}

impl Tape for FileTape<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ArchiveError> {
        let read = self.archive.read_at(buf, self.position)?;
        self.position += read as u64;
        Ok(read)
    }

    fn skip(&mut self, bytes: u64) -> Result<u64, ArchiveError> {
        let left = self.archive.size.saturating_sub(self.position);
        let skipped = bytes.min(left);
        self.position += skipped;
        Ok(skipped)
    }
}
