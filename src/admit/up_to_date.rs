//! Finds that the store has all images of an archive as they are to be: then nothing of them is read,
//! sent or written.
//!
//! Adding a blob to a lease costs containerd a write that is synced to the disk. An image that is
//! complete needs no lease: its record protects its blobs from collection, through the labels of the
//! documents. So the records are asked for first, and the blobs after that. What another client removes
//! later is found by the runtime, or by the next audit of the ledger. Where anything is missing or
//! differs, all images of the archive are admitted under the lease: two of them may claim one name, and
//! the last one gets it.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use super::archive_labels::ArchiveLabels;
use super::desired::DesiredImage;
use crate::blocking::joined;
use crate::concurrency::QUESTIONS_OF_ARCHIVE;
use crate::digest::Digest;
use crate::image_store::{Image, ImageStore, StoreError};
use crate::layout::ArchiveImage;

/// Whether the store has all the images as they are `desired`, in their order, and their blobs with the
/// labels.
pub(crate) async fn is_up_to_date<S: ImageStore>(
    store: &S,
    images: &[ArchiveImage],
    desired: &[DesiredImage],
    labels: &ArchiveLabels<'_>,
) -> Result<bool, StoreError> {
    let has_image = |record: Image| {
        let store = store.clone();
        async move { store.has_image(&record).await }
    };
    let records = desired.iter();
    let records = records.flat_map(|image| image.records(store.owner()));
    if !all(records.collect::<Vec<_>>(), has_image).await? {
        return Ok(false);
    }
    let blobs = images.iter().flat_map(|image| &image.blobs);
    // Images share blobs.
    let blobs = blobs.map(|blob| (blob.descriptor.digest.clone(), blob.descriptor.size));
    let blobs = blobs.collect::<BTreeMap<_, _>>();
    let has_blob = |(digest, size): (Digest, u64)| {
        let (store, labels) = (store.clone(), labels.of(&digest));
        async move { store.has_labelled(&digest, size, &labels).await }
    };
    all(blobs, has_blob).await
}

/// Whether the answer to all questions is yes; some are asked at once.
async fn all<Q, F>(
    questions: impl IntoIterator<Item = Q>,
    ask: impl Fn(Q) -> F,
) -> Result<bool, StoreError>
where
    F: Future<Output = Result<bool, StoreError>> + Send + 'static,
{
    let mut questions = questions.into_iter();
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < QUESTIONS_OF_ARCHIVE
            && let Some(question) = questions.next()
        {
            asked.spawn(ask(question));
        }
        match asked.join_next().await {
            None => return Ok(true),
            Some(answer) => {
                // The questions that are still open end with the set.
                if !joined(answer).unwrap_or(Ok(false))? {
                    return Ok(false);
                }
            }
        }
    }
}
