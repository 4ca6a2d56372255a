//! The labels of each blob of an archive: a blob may be part of several images.

use std::collections::HashMap;

use super::desired::DesiredImage;
use crate::digest::Digest;
use crate::image_store::Labels;
use crate::layout::{ArchiveImage, WantedBlob};
use crate::source_labels;

/// What the blobs of an archive are to be labelled with. Labels are put together when they are asked
/// for: held for all blobs at once, those of a hostile archive would fill the memory.
pub(crate) struct ArchiveLabels<'a> {
    /// Of each image: which registries its blobs can be had from.
    sources: Vec<Labels>,
    /// Of each blob: the images that need it, by number, and what each of them has it keep. What is
    /// a manifest to one may be no more than a file to another.
    blobs: HashMap<&'a Digest, Vec<(usize, &'a Labels)>>,
}

impl<'a> ArchiveLabels<'a> {
    /// `desired` says what the `images` are to be, in their order.
    pub(crate) fn new(images: &'a [ArchiveImage], desired: &[DesiredImage]) -> Self {
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
            sources: desired.iter().map(DesiredImage::source_labels).collect(),
            blobs,
        }
    }

    /// The labels of a blob; none of one that no image needs.
    pub(crate) fn of(&self, digest: &Digest) -> Labels {
        let mut all = Labels::new();
        for (image, labels) in self.blobs.get(digest).into_iter().flatten() {
            for more in [*labels, &self.sources[*image]] {
                all.extend(source_labels::missing(&all, more));
            }
        }
        all
    }
}
