//! The files of a layout in its archive, and the proofs that they are what a descriptor says.

use std::cell::Cell;
use std::sync::Arc;

use super::archive_path::normalise;
use super::blob_path::blob_path;
use super::catalogue::{BrokenLink, Catalogue, FileMember};
use super::image::BlobSource;
use super::layout_error::LayoutError;
use super::limits::WORK_MAX;
use super::problem::Fault;
use crate::digest::Digest;
use crate::oci::{self, Descriptor};

/// The files of the layout of an archive.
pub(super) struct LayoutFiles<'a> {
    catalogue: &'a Catalogue,
    /// The directory of the layout, with a final slash, or empty.
    root: &'a str,
    work: Cell<usize>,
}

/// The bytes of a document, which have its digest.
#[derive(Clone)]
pub(super) struct FoundDocument {
    pub(super) bytes: Arc<[u8]>,
    pub(super) source: BlobSource,
    /// What an error calls it.
    pub(super) name: String,
}

impl<'a> LayoutFiles<'a> {
    pub(super) fn new(catalogue: &'a Catalogue, root: &'a str) -> Self {
        Self {
            catalogue,
            root,
            work: Cell::new(0),
        }
    }

    /// Counts `items` towards [`WORK_MAX`].
    pub(super) fn spend(&self, items: usize) -> Result<(), Fault> {
        self.work.set(self.work.get().saturating_add(items));
        if self.work.get() > WORK_MAX {
            Err(Fault::TooMuch)
        } else {
            Ok(())
        }
    }

    /// A file by its path in the layout, through links, with its path in the archive.
    ///
    /// An absolute path is one from the directory of the layout, or from the root of the archive.
    pub(super) fn file(&self, path: &str) -> Option<(&'a str, &'a FileMember)> {
        let mut paths = self.paths(path);
        paths.find_map(|path| self.catalogue.file(&path))
    }

    /// The link because of which there is no file at this path of the layout.
    pub(super) fn broken_link(&self, path: &str) -> Option<BrokenLink> {
        let mut paths = self.paths(path);
        paths.find_map(|path| self.catalogue.broken_link(&path))
    }

    /// The link because of which the archive has not the blob.
    pub(super) fn broken_blob(&self, digest: &Digest) -> Option<BrokenLink> {
        self.broken_link(&blob_path(digest))
    }

    /// What a path of the layout may be in the archive.
    fn paths(&self, path: &str) -> impl Iterator<Item = String> {
        let path = normalise(path);
        let below = path.as_ref().map(|path| format!("{}{path}", self.root));
        let itself = path.filter(|_| !self.root.is_empty());
        below.into_iter().chain(itself)
    }

    /// Whether the layout is the one in a package of Zarf.
    pub(super) fn is_of_zarf(&self) -> bool {
        self.root == "images/" && self.catalogue.file("zarf.yaml").is_some()
    }

    /// The file of a blob, with its path in the archive.
    pub(super) fn blob(&self, digest: &Digest) -> Option<(&'a str, &'a FileMember)> {
        self.file(&blob_path(digest))
    }

    /// Whether the archive itself has a blob.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.blob(digest).is_some()
    }

    /// Reads a document that is found by its path, if it is there. The path in the archive comes with
    /// it, for errors.
    pub(super) fn read<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<(String, T)>, LayoutError> {
        let Some((member, file)) = self.file(path) else {
            return Ok(None);
        };
        let Some(bytes) = &file.document else {
            let (link, member) = (format!("{}{path}", self.root), member.to_owned());
            return Err(match link == member {
                true => LayoutError::NoDocument { member },
                false => LayoutError::LinkToNoDocument { link, member },
            });
        };
        let member = member.to_owned();
        match oci::parse(bytes) {
            Ok(document) => Ok(Some((member, document))),
            Err(cause) => Err(LayoutError::Json { member, cause }),
        }
    }
}

/// The document in a file of the archive, which must have this digest.
pub(super) fn in_archive(
    member: &str,
    file: &FileMember,
    digest: &Digest,
) -> Result<FoundDocument, Fault> {
    check_digest(member, digest, file.digest.as_ref())?;
    let Some(bytes) = &file.document else {
        return Err(Fault::NoDocument {
            member: member.to_owned(),
        });
    };
    check_digest(member, digest, Some(&Digest::of(bytes)))?;
    // Shared: an archive's documents are in memory once.
    Ok(FoundDocument {
        source: BlobSource::Document(Arc::clone(bytes)),
        bytes: Arc::clone(bytes),
        name: member.to_owned(),
    })
}

/// Fails where `found` is another digest. `None` is a file that was not hashed.
pub(super) fn check_digest(
    member: &str,
    expected: &Digest,
    found: Option<&Digest>,
) -> Result<(), Fault> {
    match found {
        Some(found) if found != expected => Err(Fault::WrongDigest {
            member: member.to_owned(),
            expected: expected.clone(),
            found: found.clone(),
        }),
        _ => Ok(()),
    }
}

/// Fails where a blob has another length than its descriptor says.
pub(super) fn check_size(member: &str, descriptor: &Descriptor, found: u64) -> Result<(), Fault> {
    if descriptor.size == found {
        return Ok(());
    }
    Err(Fault::WrongSize {
        member: member.to_owned(),
        digest: descriptor.digest.clone(),
        expected: descriptor.size,
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::Compression;

    #[test]
    fn a_document_of_the_archive_is_in_memory_once() {
        let bytes: Arc<[u8]> = b"{}".as_slice().into();
        let digest = Digest::of(&bytes);
        let file = FileMember {
            size: 2,
            offset: None,
            runs: None,
            digest: Some(digest.clone()),
            compression: Compression::Plain,
            diff_id: None,
            document: Some(Arc::clone(&bytes)),
        };
        let document = in_archive("a", &file, &digest).unwrap();
        assert!(Arc::ptr_eq(&document.bytes, &bytes));
        assert!(
            matches!(document.source, BlobSource::Document(source) if Arc::ptr_eq(&source, &bytes))
        );
    }
}
