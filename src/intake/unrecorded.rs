//! The images that are pinned for stowd, and that no record tells of: what is not unpinned, or not yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::image_store::{Image, ImageStore, StoreError};
use crate::ledger::ImportedImage;
use crate::pin::OWNER_LABEL;
use crate::puller::stored_blobs;

/// Those of the owner that are none of these, each with its blobs.
pub(super) async fn unrecorded<S: ImageStore>(
    store: &S,
    known: &BTreeSet<Digest>,
) -> Result<Vec<ImportedImage>, StoreError> {
    let mut pinned = BTreeMap::new();
    for Image {
        name,
        target,
        labels,
    } in store.images().await?
    {
        let is_own = store.owner().owns(labels.get(OWNER_LABEL));
        if is_own && !known.contains(&target.digest) {
            let (_, names) = pinned
                .entry(target.digest.clone())
                .or_insert((target, Vec::new()));
            names.push(name);
        }
    }
    let mut images = Vec::new();
    for (digest, (target, names)) in pinned {
        images.push(ImportedImage {
            names,
            digest,
            blobs: stored_blobs(store, &target).await?,
        });
    }
    Ok(images)
}
