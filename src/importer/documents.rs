//! Small blobs that are held in memory: manifests, indexes, configurations.

use crate::layout::{BlobSource, Catalogue, FileMember, WantedBlob};

/// The bytes of a file, if they are in memory.
pub(super) fn in_memory(file: &FileMember) -> Option<&[u8]> {
    match &file.document {
        Some(document) => Some(document),
        None if file.size == 0 => Some(&[]),
        None => None,
    }
}

/// The bytes of a blob, if they are in memory.
pub(super) fn of<'a>(catalogue: &'a Catalogue, blob: &'a WantedBlob) -> Option<&'a [u8]> {
    match &blob.source {
        BlobSource::Document(document) => Some(document),
        BlobSource::Member(path) => catalogue.file(path).and_then(|(_, file)| in_memory(file)),
        BlobSource::Store(_) => None,
    }
}
