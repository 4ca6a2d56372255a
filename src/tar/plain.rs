//! A plain archive: its headers and documents are read first, and bodies at their places after that.

use std::fs::File;
use std::sync::Arc;

use super::archive_file::ArchiveFile;
use super::body::{MemberBody, counted_when_hashed};
use super::catalogue_builder::{CatalogueBuilder, HEAD, check_document_size};
use super::diff_id::DiffId;
use super::error::ArchiveError;
use super::expansion::Expansion;
use super::limits;
use super::reader::{MemberKind, TarMember, TarReader};
use super::source::TarSource;
use crate::compression::Compression;
use crate::digest::Hasher;
use crate::layout::{Catalogue, FileMember};

/// An archive that is not compressed. Clones are one open file.
#[derive(Debug, Clone)]
pub struct PlainArchive(Arc<ArchiveFile>);

impl PlainArchive {
    pub(super) fn new(file: ArchiveFile) -> Self {
        Self(Arc::new(file))
    }

    /// The length of the file in bytes, as it was opened.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    pub fn file(&self) -> &File {
        &self.0.file
    }

    /// Lists the archive: reads its headers and its documents and passes over the bodies. Only
    /// compressed layers outside of `blobs/` are read, for their digests.
    ///
    /// Of the file's bytes the meter counts all but the bodies that [`body`](Self::body) can read; of
    /// a body that is read both here and there, each counts one half.
    pub fn index(&self) -> Result<Catalogue, ArchiveError> {
        let archive = &*self.0;
        let mut reader = TarReader::new(FileSource {
            archive,
            position: 0,
            buffer: Vec::new(),
        });
        let mut catalogue = CatalogueBuilder::default();
        let expansion = Expansion::new(archive.size, Arc::clone(&archive.stop));
        // The bytes that MemberBody will count.
        let mut bodies = 0;
        while let Some(member) = reader.next()? {
            match &member.kind {
                MemberKind::File(path) => {
                    check_document_size(&member, path)?;
                    catalogue.count_holes(&member, &expansion)?;
                    let (reader, catalogue) = (&mut reader, &mut catalogue);
                    let file = read_file(archive, reader, catalogue, &member, path, &expansion)?;
                    if file.document.is_none() {
                        bodies += file.size;
                    }
                    catalogue.file(path, file)?;
                }
                other => catalogue.other(other)?,
            }
        }
        let unmarked_end = reader.finish()?;
        archive.meter.add(archive.size.saturating_sub(bodies));
        Ok(catalogue.finish(unmarked_end))
    }

    /// The body of a file that [`index`](Self::index) has listed, from its byte `from` on; those
    /// before it count as read. Its digest is not verified. A file of the catalogue of a compressed
    /// archive has no place: its body is an error on the first read.
    pub fn body<'a>(&'a self, file: &FileMember, from: u64) -> MemberBody<'a> {
        MemberBody::new(&self.0, file, from)
    }
}

fn read_file(
    archive: &ArchiveFile,
    reader: &mut TarReader<FileSource<'_>>,
    catalogue: &mut CatalogueBuilder,
    member: &TarMember,
    path: &str,
    expansion: &Expansion,
) -> Result<FileMember, ArchiveError> {
    let head = reader.chunk(HEAD)?;
    let mut file = FileMember {
        size: member.size,
        offset: Some(member.offset),
        runs: member.runs.clone(),
        digest: None,
        compression: Compression::of_layer(&head),
        diff_id: None,
        document: None,
    };
    let diff_id = DiffId::new(&member.name, path, file.compression, expansion);
    if catalogue.keeps(member, &head)? {
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
struct FileSource<'a> {
    archive: &'a ArchiveFile,
    position: u64,
    /// For bodies that are read.
    buffer: Vec<u8>,
}

impl TarSource for FileSource<'_> {
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ArchiveError> {
        let read = self.archive.read_at(buf, self.position)?;
        if read == 0 && self.position < self.archive.size {
            // It has become shorter: that is no end.
            return Err(ArchiveError::Truncated {
                offset: self.position,
                member: None,
            });
        }
        self.position += read as u64;
        Ok(read)
    }

    fn next(&mut self, most: usize) -> Result<&[u8], ArchiveError> {
        let wanted = most.min(limits::CHUNK);
        // An archive that has only small members costs no large buffer.
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
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
