//! An image that the store has: the blobs that it consists of there, and what is wrong with them.
//!
//! Of an index only the platforms of this node are there. And a layer may have been thrown away when it
//! was unpacked (CRI's `discard_unpacked_layers`), or not have been pulled because it is unpacked: it
//! counts only where an earlier look has found it. A configuration always counts: without one there is
//! nothing to run, although CRI shows an image that it has read before.

use crate::digest::Digest;
use crate::image_store::{Descriptor, ImageStore, StoreError};
use crate::needed_blob::{BlobFault, BlobFaults, NeededBlob};
use crate::oci::Descent;
use crate::oci::limits::DOCUMENT_MAX;

/// The most blobs of an image that are looked at.
const BLOBS_MAX: usize = 10_000;

/// The blobs of an image that the store has, also those that are damaged. What is below a document that
/// cannot be read is not known.
pub(crate) async fn stored_blobs<S: ImageStore>(
    store: &S,
    target: &Descriptor,
) -> Result<Vec<NeededBlob>, StoreError> {
    let mut image = StoredImage::default();
    match image.take_in(store, target).await {
        // It concerns this image alone.
        Err(error) if error.is_refusal() => {}
        taken_in => taken_in?,
    }
    Ok(image.blobs)
}

#[derive(Debug, Default)]
pub(super) struct StoredImage {
    /// All that are there. The last one is a document that is damaged, or cannot be read, where there is one.
    pub(super) blobs: Vec<NeededBlob>,
    /// What is wrong with it. The image is whole where nothing is.
    pub(super) faults: BlobFaults,
}

impl StoredImage {
    /// Looks at the image. `known` are the blobs that an earlier look has found.
    pub(super) async fn look<S: ImageStore>(
        store: &S,
        target: &Descriptor,
        known: Vec<NeededBlob>,
    ) -> Result<Self, StoreError> {
        let before = Self::without_record(store, known).await?;
        if !before.faults.is_empty() {
            return Ok(before);
        }
        let mut image = Self::default();
        image.take_in(store, target).await?;
        Ok(image)
    }

    async fn take_in<S: ImageStore>(
        &mut self,
        store: &S,
        target: &Descriptor,
    ) -> Result<(), StoreError> {
        let (leaves, configs) = self.follow(store, target.needed()).await?;
        if !self.faults.is_empty() {
            return Ok(());
        }
        let mut faults = store.faults(leaves.clone()).await?;
        let is_there = |digest: &Digest| faults.get(digest) != Some(&BlobFault::NoRecord);
        // Manifests of other platforms may be there without what they refer to.
        let lacks_config = !configs.is_empty() && !configs.iter().any(is_there);
        let are_there = leaves.into_iter().filter(|leaf| is_there(&leaf.digest));
        self.blobs.extend(are_there);
        faults.retain(|digest, fault| {
            *fault != BlobFault::NoRecord || (lacks_config && configs.contains(digest))
        });
        self.faults = faults;
        Ok(())
    }

    /// Looks at what is left of an image that has no record any more.
    pub(super) async fn without_record<S: ImageStore>(
        store: &S,
        known: Vec<NeededBlob>,
    ) -> Result<Self, StoreError> {
        let faults = store.faults(known).await?;
        let blobs = Vec::new();
        Ok(Self { blobs, faults })
    }

    /// Takes in the documents from `target` on, and returns the blobs that they refer to and that are none
    /// themselves, and which of these are configurations.
    async fn follow<S: ImageStore>(
        &mut self,
        store: &S,
        target: NeededBlob,
    ) -> Result<(Vec<NeededBlob>, Vec<Digest>), StoreError> {
        let mut leaves = Vec::new();
        let mut descent = Descent::from(target, BLOBS_MAX);
        while let Some((level, blob)) = descent.next() {
            if blob.size > DOCUMENT_MAX {
                leaves.push(blob);
                continue;
            }
            let digest = blob.digest.clone();
            self.blobs.push(blob);
            let document = match store.read_blob(&digest, DOCUMENT_MAX).await {
                Ok(None) if level > 0 => {
                    self.blobs.pop();
                    continue;
                }
                Ok(Some(document)) => document,
                Ok(None) => return Ok(self.is_damaged(digest, BlobFault::NoRecord)),
                Err(StoreError::Damaged { .. }) => {
                    return Ok(self.is_damaged(digest, BlobFault::Bytes));
                }
                Err(error) => return Err(error),
            };
            leaves.extend(descent.take_in(level, &document));
        }
        Ok((leaves, descent.into_configs()))
    }

    fn is_damaged<T: Default>(&mut self, document: Digest, fault: BlobFault) -> T {
        self.faults.insert(document, fault);
        T::default()
    }
}
