//! Where the blobs of an image are: in the archive, in the store, or nowhere.

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::catalogue::{Catalogue, File};
use super::problem::Fault;
use super::resolve::{Lookup, Source};
use crate::digest::Digest;
use crate::image_store::Descriptor;

/// How many manifests, layers and names the images of one archive may have together. A document
/// may be referred to from many others, so the size of the archive alone bounds nothing.
pub(super) const WORK_MAX: usize = 100_000;

/// The blobs of an archive, with the store behind it.
pub(super) struct Content<'a> {
    catalogue: &'a Catalogue,
    /// The directory of the layout, with a final slash, or empty.
    root: &'a str,
    store: &'a Lookup,
    /// Documents that were read, each once.
    documents: HashMap<Digest, Document>,
    /// Documents that are to be asked of the store.
    pub(super) missing: BTreeSet<Digest>,
    work: Cell<usize>,
}

/// The bytes of a document, which have its digest.
#[derive(Clone)]
pub(super) struct Document {
    pub(super) bytes: Arc<[u8]>,
    pub(super) source: Source,
    /// What an error calls it.
    pub(super) name: String,
}

/// The outcome of a search for a document.
pub(super) enum Found {
    Document(Document),
    /// It is to be asked of the store first.
    Pending,
}

impl<'a> Content<'a> {
    pub(super) fn new(catalogue: &'a Catalogue, root: &'a str, store: &'a Lookup) -> Self {
        Self {
            catalogue,
            root,
            store,
            documents: HashMap::new(),
            missing: BTreeSet::new(),
            work: Cell::new(0),
        }
    }

    /// Counts `items` towards [`WORK_MAX`].
    pub(super) fn spend(&self, items: usize) -> Result<(), Fault> {
        self.work.set(self.work.get().saturating_add(items));
        if self.work.get() > WORK_MAX {
            Err(Fault::TooMuch { max: WORK_MAX })
        } else {
            Ok(())
        }
    }

    /// A file by its path in the layout, through links, with its path in the archive.
    pub(super) fn file(&self, path: &str) -> Option<(&'a str, &'a File)> {
        let path = path.trim_start_matches("./");
        self.catalogue.file(&format!("{}{path}", self.root))
    }

    fn blob_file(&self, digest: &Digest) -> Option<(&'a str, &'a File)> {
        self.file(&format!("blobs/sha256/{}", digest.hex()))
    }

    /// Whether the archive itself has a blob.
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.blob_file(digest).is_some()
    }

    /// A manifest, an index or a configuration, wherever it is.
    pub(super) fn document(&mut self, descriptor: &Descriptor) -> Result<Found, Fault> {
        let digest = &descriptor.digest;
        let document = match self.documents.get(digest) {
            Some(document) => document.clone(),
            None => {
                let document = match self.blob_file(digest) {
                    Some((member, file)) => in_archive(member, file, digest)?,
                    None => match self.store.found.get(digest) {
                        Some(bytes) => in_store(bytes, digest)?,
                        None if self.store.absent.contains(digest) => {
                            return Err(missing(descriptor));
                        }
                        None => {
                            self.missing.insert(digest.clone());
                            return Ok(Found::Pending);
                        }
                    },
                };
                self.documents.insert(digest.clone(), document.clone());
                document
            }
        };
        check_size(&document.name, descriptor, document.bytes.len() as u64)?;
        Ok(Found::Document(document))
    }

    /// Where a blob is that need not be read. One that the archive does not have must be in the
    /// store, which its importer finds out.
    pub(super) fn blob(&mut self, descriptor: &Descriptor) -> Result<Source, Fault> {
        let digest = &descriptor.digest;
        let Some((member, file)) = self.blob_file(digest) else {
            if self.store.absent.contains(digest) {
                return Err(missing(descriptor));
            }
            return Ok(Source::Store);
        };
        check_size(member, descriptor, file.size)?;
        if file.document.is_some() {
            return match self.document(descriptor)? {
                Found::Document(document) => Ok(document.source),
                // Not reached: the archive has it.
                Found::Pending => Ok(Source::Store),
            };
        }
        check_digest(member, digest, file.digest.as_ref())?;
        Ok(Source::Member(member.to_owned()))
    }
}

/// The document in a file of the archive.
pub(super) fn in_archive(member: &str, file: &File, digest: &Digest) -> Result<Document, Fault> {
    check_digest(member, digest, file.digest.as_ref())?;
    let Some(bytes) = &file.document else {
        return Err(Fault::NoDocument {
            member: member.to_owned(),
        });
    };
    check_digest(member, digest, Some(&Digest::of(bytes)))?;
    // Shared: an archive's documents are in memory once.
    Ok(Document {
        source: Source::Document(Arc::clone(bytes)),
        bytes: Arc::clone(bytes),
        name: member.to_owned(),
    })
}

fn in_store(bytes: &[u8], digest: &Digest) -> Result<Document, Fault> {
    let name = digest.to_string();
    check_digest(&name, digest, Some(&Digest::of(bytes)))?;
    Ok(Document {
        bytes: bytes.into(),
        source: Source::Store,
        name,
    })
}

fn missing(descriptor: &Descriptor) -> Fault {
    Fault::MissingBlob {
        digest: descriptor.digest.clone(),
        media_type: descriptor.media_type.clone(),
    }
}

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

fn check_size(member: &str, descriptor: &Descriptor, found: u64) -> Result<(), Fault> {
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
    use super::super::catalogue::Encoding;
    use super::*;

    #[test]
    fn a_document_of_the_archive_is_in_memory_once() {
        let bytes: Arc<[u8]> = b"{}".as_slice().into();
        let digest = Digest::of(&bytes);
        let file = File {
            size: 2,
            offset: None,
            digest: Some(digest.clone()),
            encoding: Encoding::Plain,
            diff_id: None,
            document: Some(Arc::clone(&bytes)),
        };
        let document = in_archive("a", &file, &digest).unwrap();
        assert!(Arc::ptr_eq(&document.bytes, &bytes));
        assert!(
            matches!(document.source, Source::Document(source) if Arc::ptr_eq(&source, &bytes))
        );
    }
}
