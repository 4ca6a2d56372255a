//! The labels of each blob of an archive: a blob may be part of several images.

use std::collections::HashMap;

use crate::digest::Digest;
use crate::image_store::Labels;
use crate::layout::{ArchiveImage, WantedBlob};
use crate::naming::{Names, sources};

/// What the blobs of an archive are to be labelled with. Labels are put together when they are asked
/// for: held for all blobs at once, those of a hostile archive would fill the memory.
pub(super) struct BlobLabels<'a> {
    /// Of each image: whose its blobs are.
    sources: Vec<Labels>,
    /// Of each blob: the images that need it, by number, and what each of them has it keep. What is
    /// a manifest to one may be no more than a file to another.
    blobs: HashMap<&'a Digest, Vec<(usize, &'a Labels)>>,
}

impl<'a> BlobLabels<'a> {
    /// `names` are those of the `images`, in their order.
    pub(super) fn new(images: &'a [ArchiveImage], names: &[Names]) -> Self {
        let mut blobs = HashMap::<_, Vec<_>>::new();
        for (number, image) in images.iter().enumerate() {
            for WantedBlob {
                descriptor, labels, ..
            } in &image.blobs
            {
                let blob = blobs.entry(&descriptor.digest).or_default();
                blob.push((number, labels));
            }
        }
        Self {
            sources: names
                .iter()
                .map(|names| sources::of(names.iter()))
                .collect(),
            blobs,
        }
    }

    /// The labels of a blob; none of one that no image needs.
    pub(super) fn of(&self, digest: &Digest) -> Labels {
        let mut all = Labels::new();
        for (image, labels) in self.blobs.get(digest).into_iter().flatten() {
            for more in [*labels, &self.sources[*image]] {
                all.extend(sources::missing(&all, more));
            }
        }
        all
    }
}
