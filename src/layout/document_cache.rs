//! The documents of an archive's images, from the archive or from the store behind it. Each is asked
//! for, verified and parsed once.

use std::collections::HashMap;
use std::rc::Rc;

use super::document_source::DocumentSource;
use super::image::BlobSource;
use super::layout_files::{FoundDocument, LayoutFiles, check_digest, check_size, in_archive};
use super::limits::DOCUMENTS_MAX;
use super::problem::Fault;
use crate::digest::Digest;
use crate::oci::media_type::{self, MediaKind};
use crate::oci::{self, Descriptor, ImageConfig, Index, Manifest, Outline};
use crate::platform::Platform;

/// Indexes, manifests and configurations, by their digests.
pub(super) struct DocumentCache<'a, D> {
    pub(super) files: &'a LayoutFiles<'a>,
    source: &'a D,
    /// `None` is a document that is neither in the archive nor in the store.
    documents: HashMap<Digest, Result<Option<FoundDocument>, Fault>>,
    /// The bytes of the documents that the source handed out.
    stored: u64,
    manifests: HashMap<Digest, Result<Rc<Manifest>, Fault>>,
    indexes: HashMap<Digest, Result<Rc<Index>, Fault>>,
    platforms: HashMap<Digest, Result<Option<Platform>, Fault>>,
}

/// Why a walk ends early.
pub(super) enum Stop<E> {
    /// The image is bad. Others of the archive may be good.
    Fault(Fault),
    /// The source of documents did not answer.
    Source(E),
}

impl<E> From<Fault> for Stop<E> {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<'a, D: DocumentSource> DocumentCache<'a, D> {
    pub(super) fn new(files: &'a LayoutFiles<'a>, source: &'a D) -> Self {
        Self {
            files,
            source,
            documents: HashMap::new(),
            stored: 0,
            manifests: HashMap::new(),
            indexes: HashMap::new(),
            platforms: HashMap::new(),
        }
    }

    /// The media type of a document whose descriptor does not tell it.
    pub(super) fn own_media_type(
        &mut self,
        descriptor: &Descriptor,
    ) -> Result<String, Stop<D::Error>> {
        let outline: Outline = parsed(&self.document(descriptor)?)?;
        Ok(outline.media_type().unwrap_or_default().to_owned())
    }

    pub(super) fn manifest(
        &mut self,
        descriptor: &Descriptor,
    ) -> Result<Rc<Manifest>, Stop<D::Error>> {
        let found = self.document(descriptor)?;
        let digest = &descriptor.digest;
        let parse = || parsed_manifest(&found, digest).map(Rc::new);
        let manifest = self.manifests.entry(digest.clone()).or_insert_with(parse);
        Ok(manifest.clone()?)
    }

    pub(super) fn index(&mut self, descriptor: &Descriptor) -> Result<Rc<Index>, Stop<D::Error>> {
        let found = self.document(descriptor)?;
        let digest = &descriptor.digest;
        let parse = || parsed_index(&found, digest).map(Rc::new);
        let index = self.indexes.entry(digest.clone()).or_insert_with(parse);
        Ok(index.clone()?)
    }

    /// The platform in the configuration of a manifest.
    pub(super) fn configured_platform(
        &mut self,
        descriptor: &Descriptor,
    ) -> Result<Option<Platform>, Stop<D::Error>> {
        let manifest = self.manifest(descriptor)?;
        if !media_type::is_image_config(&manifest.config.media_type) {
            return Ok(None);
        }
        let config = manifest.config.descriptor().map_err(Fault::from)?;
        let found = self.document(&config)?;
        let parse = || parsed::<ImageConfig>(&found).map(|config| config.platform());
        let platform = self.platforms.entry(config.digest).or_insert_with(parse);
        Ok(platform.clone()?)
    }

    /// Where a blob is that need not be read. One that the archive does not have must be in the
    /// store, which the importer finds out.
    pub(super) fn blob(&mut self, descriptor: &Descriptor) -> Result<BlobSource, Stop<D::Error>> {
        let digest = &descriptor.digest;
        let Some((member, file)) = self.files.blob(digest) else {
            return match self.documents.get(digest) {
                Some(Ok(None)) => Err(self.missing(descriptor).into()),
                _ => Ok(BlobSource::Store(self.files.broken_blob(digest))),
            };
        };
        check_size(member, descriptor, file.size)?;
        if file.document.is_some() {
            return Ok(self.document(descriptor)?.source);
        }
        check_digest(member, digest, file.digest.as_ref())?;
        Ok(BlobSource::Member(member.to_owned()))
    }

    fn missing(&self, descriptor: &Descriptor) -> Fault {
        Fault::MissingBlob {
            digest: descriptor.digest.clone(),
            media_type: descriptor.media_type.clone(),
            link: self.files.broken_blob(&descriptor.digest),
        }
    }

    /// A manifest, an index or a configuration, wherever it is.
    fn document(&mut self, descriptor: &Descriptor) -> Result<FoundDocument, Stop<D::Error>> {
        let digest = &descriptor.digest;
        let known = self.documents.get(digest).cloned();
        let found = match known {
            Some(found) => found,
            None => {
                let found = match self.files.blob(digest) {
                    Some((member, file)) => in_archive(member, file, digest).map(Some),
                    None => self.in_store(digest).map_err(Stop::Source)?,
                };
                self.documents.insert(digest.clone(), found.clone());
                found
            }
        };
        let document = found?.ok_or_else(|| self.missing(descriptor))?;
        check_size(&document.name, descriptor, document.bytes.len() as u64)?;
        Ok(document)
    }

    /// Asks the source. The answers together may not fill the memory.
    fn in_store(
        &mut self,
        digest: &Digest,
    ) -> Result<Result<Option<FoundDocument>, Fault>, D::Error> {
        let too_much = || Fault::StoredDocuments {
            digest: digest.clone(),
        };
        if self.stored > DOCUMENTS_MAX {
            return Ok(Err(too_much()));
        }
        let Some(bytes) = self.source.document(digest)? else {
            return Ok(Ok(None));
        };
        self.stored += bytes.len() as u64;
        if self.stored > DOCUMENTS_MAX {
            return Ok(Err(too_much()));
        }
        let name = digest.to_string();
        let checked = check_digest(&name, digest, Some(&Digest::of(&bytes)));
        Ok(checked.map(|()| {
            Some(FoundDocument {
                bytes: bytes.into(),
                source: BlobSource::Store(None),
                name,
            })
        }))
    }
}

fn parsed<T: serde::de::DeserializeOwned>(document: &FoundDocument) -> Result<T, Fault> {
    oci::parse(&document.bytes).map_err(|cause| Fault::Json {
        member: document.name.clone(),
        cause,
    })
}

fn parsed_manifest(document: &FoundDocument, digest: &Digest) -> Result<Manifest, Fault> {
    let manifest: Manifest =
        parsed(document).map_err(|fault| schema1(document, digest).unwrap_or(fault))?;
    if manifest.is_ambiguous() {
        return Err(Fault::Contradiction {
            digest: digest.clone(),
            called: "a manifest",
            other: "an index",
        });
    }
    Ok(manifest)
}

fn parsed_index(document: &FoundDocument, digest: &Digest) -> Result<Index, Fault> {
    let index: Index = parsed(document)?;
    if index.is_ambiguous() {
        return Err(Fault::Contradiction {
            digest: digest.clone(),
            called: "an index",
            other: "a manifest",
        });
    }
    Ok(index)
}

/// A manifest of schema 1 reads as one that lacks its configuration.
fn schema1(document: &FoundDocument, digest: &Digest) -> Option<Fault> {
    let outline: Outline = oci::parse(&document.bytes).ok()?;
    let media_type = outline.media_type()?;
    (media_type::kind(media_type) == MediaKind::Schema1).then(|| Fault::Schema1 {
        digest: digest.clone(),
    })
}
