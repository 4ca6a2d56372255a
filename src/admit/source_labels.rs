//! Which registries the blobs of a pulled image can be had from. containerd labels them with the one
//! that it pulled from; these are the extra ones.

use std::collections::HashSet;

use crate::image_store::{Descriptor, ImageStore, Labels, StoreError};
use crate::needed_blob::NeededBlob;
use crate::oci::Children;
use crate::oci::limits::DOCUMENT_MAX;

/// The levels of documents of an image that are followed: indexes, and a manifest. Real images have no
/// more than three.
const LEVELS: usize = 4;

/// Labels all blobs of an image that the store has.
pub(super) async fn label<S: ImageStore>(
    store: &S,
    lease: &S::Lease,
    target: &Descriptor,
    labels: &Labels,
) -> Result<(), StoreError> {
    let mut documents = vec![target.digest.clone()];
    let mut seen = HashSet::new();
    for _ in 0..LEVELS {
        let mut below = Vec::new();
        for digest in documents {
            if !seen.insert(digest.clone()) {
                continue;
            }
            // Of an index only the platforms of this node are there.
            let Some(document) = store.read_blob(&digest, DOCUMENT_MAX).await? else {
                continue;
            };
            let children = Children::of(&document);
            store.label_blob(&digest, labels.clone()).await?;
            for NeededBlob { digest, .. } in children.leaves {
                if seen.insert(digest.clone()) && store.has_blob(lease, &digest).await? {
                    store.label_blob(&digest, labels.clone()).await?;
                }
            }
            below.extend(children.documents.into_iter().map(|blob| blob.digest));
        }
        documents = below;
    }
    Ok(())
}
