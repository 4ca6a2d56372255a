//! The blobs of an image, each once, children before parents.

use std::collections::HashMap;

use super::document_cache::{DocumentCache, Stop};
use super::document_source::DocumentSource;
use super::gc_labels;
use super::image::{BlobSource, WantedBlob};
use super::index_walk::{ManifestKind, ManifestRef};
use super::layer_check::{MislabelledLayer, check};
use super::problem::Fault;
use crate::digest::Digest;
use crate::image_store::Labels;
use crate::oci::{Descriptor, Index, Manifest, RawDescriptor, media_type};

/// All blobs that an image needs, as far as they are collected.
#[derive(Default)]
pub(super) struct Closure {
    pub(super) blobs: Vec<WantedBlob>,
    /// Layers that containerd unpacks all the same.
    pub(super) mislabelled: Vec<MislabelledLayer>,
    sizes: HashMap<Digest, u64>,
}

impl Closure {
    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.sizes.contains_key(digest)
    }

    /// Takes back what was added last.
    fn truncate(&mut self, len: usize) {
        for blob in self.blobs.drain(len..) {
            self.sizes.remove(&blob.descriptor.digest);
        }
    }

    /// Adds a blob, unless it is there. One digest cannot have two lengths.
    pub(super) fn push(
        &mut self,
        descriptor: Descriptor,
        source: BlobSource,
        labels: Labels,
    ) -> Result<(), Fault> {
        match self.sizes.get(&descriptor.digest) {
            Some(size) if *size == descriptor.size => Ok(()),
            Some(size) => Err(Fault::WrongSize {
                member: descriptor.digest.to_string(),
                digest: descriptor.digest,
                expected: descriptor.size,
                found: *size,
            }),
            None => {
                self.sizes
                    .insert(descriptor.digest.clone(), descriptor.size);
                self.blobs.push(WantedBlob {
                    descriptor,
                    source,
                    labels,
                });
                Ok(())
            }
        }
    }

    /// Collects a manifest that is needed, and returns its configuration.
    pub(super) fn manifest<D: DocumentSource>(
        &mut self,
        documents: &mut DocumentCache<'_, D>,
        descriptor: &Descriptor,
    ) -> Result<Option<Digest>, Stop<D::Error>> {
        let manifest = documents.manifest(descriptor)?;
        if self.has(&descriptor.digest) {
            return Ok(None);
        }
        documents.files.spend(1 + manifest.layers.0.len())?;
        let config = manifest.config.descriptor().map_err(Fault::from)?;
        let source = documents.blob(&config)?;
        let digest = config.digest.clone();
        let is_image = media_type::is_image_config(&config.media_type);
        self.push(config, source, Labels::new())?;
        for layer in &manifest.layers.0 {
            let layer = layer.descriptor().map_err(Fault::from)?;
            if media_type::is_foreign_layer(&layer.media_type)
                && !documents.files.has(&layer.digest)
            {
                continue;
            }
            let source = documents.blob(&layer)?;
            if is_image && let Some((_, file)) = documents.files.blob(&layer.digest) {
                let mislabelled = check(&layer, file.compression).map_err(Fault::from)?;
                self.mislabelled.extend(mislabelled);
            }
            self.push(layer, source, Labels::new())?;
        }
        let source = documents.blob(descriptor)?;
        self.push(descriptor.clone(), source, manifest_labels(&manifest))?;
        Ok(Some(digest))
    }

    /// Collects what an image can do without, if the archive has all of it.
    pub(super) fn extra<D: DocumentSource>(
        &mut self,
        documents: &mut DocumentCache<'_, D>,
        extra: &ManifestRef,
    ) -> Result<(), Stop<D::Error>> {
        if !without_fault(is_whole(documents, extra))?.unwrap_or(false) {
            return Ok(());
        }
        let before = self.blobs.len();
        let collected = match extra.kind {
            ManifestKind::Opaque => self.opaque(documents, &extra.descriptor),
            _ => self.manifest(documents, &extra.descriptor).map(drop),
        };
        if without_fault(collected)?.is_none() {
            self.truncate(before);
        }
        Ok(())
    }

    fn opaque<D: DocumentSource>(
        &mut self,
        documents: &mut DocumentCache<'_, D>,
        descriptor: &Descriptor,
    ) -> Result<(), Stop<D::Error>> {
        let source = documents.blob(descriptor)?;
        Ok(self.push(descriptor.clone(), source, Labels::new())?)
    }

    /// Collects an index after those of the indexes in it that lead to something collected, each of
    /// which is taken out of `nested`. Returns whether this one does.
    pub(super) fn indexes<D: DocumentSource>(
        &mut self,
        documents: &mut DocumentCache<'_, D>,
        descriptor: &Descriptor,
        nested: &mut HashMap<Digest, Descriptor>,
    ) -> Result<bool, Stop<D::Error>> {
        let index = documents.index(descriptor)?;
        let mut leads = false;
        for child in &index.manifests.0 {
            let Ok(digest) = child.digest() else {
                continue;
            };
            leads |= match nested.remove(&digest) {
                Some(child) => self.indexes(documents, &child, nested)?,
                None => self.has(&digest),
            };
        }
        if leads {
            let source = documents.blob(descriptor)?;
            self.push(descriptor.clone(), source, index_labels(&index))?;
        }
        Ok(leads)
    }
}

/// Whether the archive has all of an extra.
fn is_whole<D: DocumentSource>(
    documents: &mut DocumentCache<'_, D>,
    extra: &ManifestRef,
) -> Result<bool, Stop<D::Error>> {
    if !documents.files.has(&extra.descriptor.digest) {
        return Ok(false);
    }
    if extra.kind == ManifestKind::Opaque {
        return Ok(true);
    }
    let manifest = documents.manifest(&extra.descriptor)?;
    let mut parts = manifest.layers.0.iter().chain([&manifest.config]);
    Ok(parts.all(|part| {
        let digest = part.digest();
        digest.is_ok_and(|digest| documents.files.has(&digest))
    }))
}

/// The value; `None` in place of a fault.
fn without_fault<T, E>(result: Result<T, Stop<E>>) -> Result<Option<T>, Stop<E>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Stop::Fault(_)) => Ok(None),
        Err(stop) => Err(stop),
    }
}

fn manifest_labels(manifest: &Manifest) -> Labels {
    labels_of([&manifest.config].into_iter().chain(&manifest.layers.0))
}

fn index_labels(index: &Index) -> Labels {
    labels_of(index.manifests.0.iter())
}

fn labels_of<'p>(children: impl Iterator<Item = &'p RawDescriptor>) -> Labels {
    gc_labels::of_children(children.map(|child| (child.media_type.as_str(), child.digest().ok())))
}
