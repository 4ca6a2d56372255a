//! Images that the store has already, just as they are to be: nothing of them is read, sent or
//! written.
//!
//! Every blob that is put under a lease is a write of containerd's, synced to the disk. An image that
//! is there needs no lease: its record keeps its blobs from collection, through the labels of the
//! documents. So the records are looked at first, and the blobs after that: where all are as they are
//! to be, an import that ended between the two looks would have left just what was seen. What another
//! client removes after that is missed by the runtime, or by the next look at the ledger. Where
//! anything is missing or differs, all images of the archive take the ordinary way, under the lease:
//! two of them may want one name, and the last one gets it.

use std::collections::BTreeMap;

use tokio::task::JoinSet;

use crate::blocking::joined;
use crate::digest::Digest;
use crate::image_store::{Image, ImageStore, StoreError};
use crate::layout::ArchiveImage;
use crate::naming::Names;
use crate::tagging;

use super::labels::BlobLabels;

/// Questions that are asked at once.
const QUESTIONS: usize = 16;

/// Whether the store has all the images, under their names and with the labels of their blobs.
pub(super) async fn is_up_to_date<S: ImageStore>(
    store: &S,
    images: &[ArchiveImage],
    names: &[Names],
    labels: &BlobLabels<'_>,
) -> Result<bool, StoreError> {
    let has_image = |record: Image| {
        let store = store.clone();
        async move { store.has_image(&record).await }
    };
    let named = images.iter().zip(names);
    let records = named.flat_map(|(image, names)| tagging::records(&image.target, names));
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
        while asked.len() < QUESTIONS
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
