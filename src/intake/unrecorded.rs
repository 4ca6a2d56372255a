//! The images that are pinned for stowd, and that no record tells of: what is not unpinned, or not yet.

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::image_store::{Image, ImageStore, StoreError};
use crate::ledger::ImportedImage;
use crate::pin::OWNER_LABEL;
use crate::puller::stored_blobs;

/// Those whose pin is to be counted, by its label, and that are none of these, each with its blobs.
pub(crate) async fn unrecorded<S: ImageStore>(
    store: &S,
    is_counted: impl Fn(Option<&String>) -> bool,
    known: &BTreeSet<Digest>,
) -> Result<Vec<ImportedImage>, StoreError> {
    let mut pinned = BTreeMap::new();
    for Image {
        name,
        target,
        labels,
    } in store.images().await?
    {
        if is_counted(labels.get(OWNER_LABEL)) && !known.contains(&target.digest) {
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
