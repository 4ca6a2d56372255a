//! Small blobs that are held in memory: manifests, indexes, configurations.

use crate::digest::Digest;
use crate::image_store::{BlobWriter, ImageStore, Labels, NewBlob, Opened, StoreError};
use crate::layout::{BlobSource, Catalogue, FileMember, WantedBlob};

use super::leased_store::LeasedStore;

/// The bytes of a file, if they are in memory.
pub(super) fn at_hand(file: &FileMember) -> Option<&[u8]> {
    match &file.document {
        Some(document) => Some(document),
        None if file.size == 0 => Some(&[]),
        None => None,
    }
}

/// The bytes of a blob, if they are in memory.
pub(super) fn of<'a>(catalogue: &'a Catalogue, blob: &'a WantedBlob) -> Option<&'a [u8]> {
    match &blob.source {
        BlobSource::Document(document) => Some(document),
        BlobSource::Member(path) => catalogue.file(path).and_then(|(_, file)| at_hand(file)),
        BlobSource::Store => None,
    }
}

/// Writes a document with its labels; where it is there already, it gets the labels.
pub(super) async fn put<S: ImageStore>(
    leased: &LeasedStore<S>,
    digest: &Digest,
    labels: Labels,
    document: &[u8],
) -> Result<(), StoreError> {
    let new = NewBlob::Known {
        digest: digest.clone(),
        size: document.len() as u64,
    };
    match leased.open(new).await? {
        Opened::Exists => leased.store.label_blob(digest, labels).await,
        Opened::Writer(mut writer) => {
            writer.write(document).await?;
            writer.commit(digest, labels).await
        }
    }
}
