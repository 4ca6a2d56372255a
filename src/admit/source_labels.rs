//! Which registries the blobs of a pulled image can be had from. containerd labels them with the one
//! that it pulled from; these are the extra ones.

use crate::image_store::{Descriptor, ImageStore, Labels, StoreError};
use crate::oci::Descent;
use crate::oci::limits::DOCUMENT_MAX;

/// Labels all blobs of an image that the store has.
pub(super) async fn label<S: ImageStore>(
    store: &S,
    lease: &S::Lease,
    target: &Descriptor,
    labels: &Labels,
) -> Result<(), StoreError> {
    let mut descent = Descent::from(target.needed(), usize::MAX);
    while let Some((level, blob)) = descent.next() {
        // Of an index only the platforms of this node are there.
        let Some(document) = store.read_blob(&blob.digest, DOCUMENT_MAX).await? else {
            continue;
        };
        store.label_blob(&blob.digest, labels.clone()).await?;
        for leaf in descent.take_in(level, &document) {
            if store.has_blob(lease, &leaf.digest).await? {
                store.label_blob(&leaf.digest, labels.clone()).await?;
            }
        }
    }
    Ok(())
}
