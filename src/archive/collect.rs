//! The blobs of an image, each once, children before parents.

use std::collections::HashMap;

use super::document::{Index, Manifest, Pointer};
use super::media_type;
use super::problem::Fault;
use super::resolve::{Source, WantedBlob};
use super::survey::{Is, Leaf};
use super::trees::{Stop, Trees};
use crate::digest::Digest;
use crate::image_store::{Descriptor, Labels};

/// The blobs of an image so far.
#[derive(Default)]
pub(super) struct Collected {
    pub(super) blobs: Vec<WantedBlob>,
    sizes: HashMap<Digest, u64>,
}

impl Collected {
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
        source: Source,
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
    pub(super) fn manifest(
        &mut self,
        trees: &mut Trees<'_, '_>,
        descriptor: &Descriptor,
    ) -> Result<Option<Digest>, Stop> {
        let manifest = trees.manifest(descriptor)?;
        if self.has(&descriptor.digest) {
            return Ok(None);
        }
        trees.content.spend(1 + manifest.layers.0.len())?;
        let config = manifest.config.descriptor().map_err(Fault::from)?;
        let source = trees.content.blob(&config)?;
        let digest = config.digest.clone();
        self.push(config, source, Labels::new())?;
        for layer in &manifest.layers.0 {
            let layer = layer.descriptor().map_err(Fault::from)?;
            if media_type::is_foreign_layer(&layer.media_type) && !trees.content.has(&layer.digest)
            {
                continue;
            }
            let source = trees.content.blob(&layer)?;
            self.push(layer, source, Labels::new())?;
        }
        let source = trees.content.blob(descriptor)?;
        self.push(descriptor.clone(), source, manifest_labels(&manifest))?;
        Ok(Some(digest))
    }

    /// Collects what nobody misses, if the archive has all of it.
    pub(super) fn extra(&mut self, trees: &mut Trees<'_, '_>, leaf: &Leaf) {
        if !is_whole(trees, leaf).unwrap_or(false) {
            return;
        }
        let before = self.blobs.len();
        let done = match leaf.is {
            Is::Opaque => trees
                .content
                .blob(&leaf.descriptor)
                .and_then(|source| self.push(leaf.descriptor.clone(), source, Labels::new()))
                .is_ok(),
            _ => self.manifest(trees, &leaf.descriptor).is_ok(),
        };
        if !done {
            self.truncate(before);
        }
    }

    /// Collects an index after those of the indexes in it that lead to something collected, each of
    /// which is taken out of `nested`. Returns whether this one does.
    pub(super) fn indexes(
        &mut self,
        trees: &mut Trees<'_, '_>,
        descriptor: &Descriptor,
        nested: &mut HashMap<Digest, Descriptor>,
    ) -> Result<bool, Stop> {
        let index = trees.index(descriptor)?;
        let mut leads = false;
        for child in &index.manifests.0 {
            let Ok(digest) = child.digest() else {
                continue;
            };
            leads |= match nested.remove(&digest) {
                Some(child) => self.indexes(trees, &child, nested)?,
                None => self.has(&digest),
            };
        }
        if leads {
            let source = trees.content.blob(descriptor)?;
            self.push(descriptor.clone(), source, index_labels(&index))?;
        }
        Ok(leads)
    }
}

/// Whether the archive has all of an extra.
fn is_whole(trees: &mut Trees<'_, '_>, leaf: &Leaf) -> Result<bool, Stop> {
    if !trees.content.has(&leaf.descriptor.digest) {
        return Ok(false);
    }
    if leaf.is == Is::Opaque {
        return Ok(true);
    }
    let manifest = trees.manifest(&leaf.descriptor)?;
    let mut parts = manifest.layers.0.iter().chain([&manifest.config]);
    Ok(parts.all(|part| part.digest().is_ok_and(|digest| trees.content.has(&digest))))
}

fn manifest_labels(manifest: &Manifest) -> Labels {
    gc_labels([&manifest.config].into_iter().chain(&manifest.layers.0))
}

fn index_labels(index: &Index) -> Labels {
    gc_labels(index.manifests.0.iter())
}

fn gc_labels<'p>(children: impl Iterator<Item = &'p Pointer>) -> Labels {
    media_type::gc_labels(children.map(|child| (child.media_type.as_str(), child.digest().ok())))
}
