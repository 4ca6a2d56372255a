//! Blobs in containerd's content store: asking for them, reading and labelling them.

use std::ops::Range;

use containerd_client::services::v1::{
    Info, InfoRequest, ListContentRequest, ReadContentRequest, UpdateRequest,
};
use prost_types::FieldMask;

use super::blocking::blocking;
use super::client::{Containerd, answered, from_wire, next_message, to_wire};
use super::failure::FailureKind;
use super::lease::Lease;
use crate::digest::{Digest, Hasher};
use crate::image_store::{Labels, StoreError, StoredLayer};
use crate::source_labels;

/// The label of a compressed layer that was unpacked: the digest of what it decompresses to (containerd,
/// `labels.LabelUncompressed`).
pub(super) const UNCOMPRESSED: &str = "containerd.io/uncompressed";

const READ: &str = "Content.Read";

/// What containerd's record of a blob says.
pub(super) struct BlobRecord {
    pub(super) size: u64,
    pub(super) labels: Labels,
}

impl Containerd {
    /// Whether a blob is there, whole; if so, the lease keeps it. It is put under the lease before it is
    /// looked for: in the other order it could be collected in between. A lease may name a missing
    /// blob.
    pub(super) async fn has_content(
        &self,
        lease: &Lease,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        self.keep_content(lease, digest).await?;
        let Some(BlobRecord { size, .. }) = self.blob_record(digest).await? else {
            return Ok(false);
        };
        Ok(!self.file_state(digest).await.is_not_of(size))
    }

    /// Whether a blob is there, whole, of this length and with these labels.
    pub(super) async fn has_content_labelled(
        &self,
        digest: &Digest,
        size: u64,
        labels: &Labels,
    ) -> Result<bool, StoreError> {
        let Some(record) = self.blob_record(digest).await? else {
            return Ok(false);
        };
        let has_all = source_labels::missing(&record.labels, labels).is_empty();
        let is_right = record.size == size && has_all;
        Ok(is_right && !self.file_state(digest).await.is_not_of(size))
    }

    /// Whether there is a record of a blob now.
    pub(super) async fn has_content_of(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.blob_record(digest).await?.is_some())
    }

    /// `None` where there is none.
    pub(super) async fn blob_record(
        &self,
        digest: &Digest,
    ) -> Result<Option<BlobRecord>, StoreError> {
        let request = InfoRequest {
            digest: digest.as_str().to_owned(),
        };
        let mut content = self.content(None);
        let info = content.info(request);
        match answered("Content.Info", self.deadlines().answer, info).await {
            Ok(answer) => {
                let info = answer.info.unwrap_or_default();
                Ok(Some(BlobRecord {
                    size: from_wire(info.size),
                    labels: info.labels.into_iter().collect(),
                }))
            }
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// A layer by what it decompresses to: one that is not compressed has that digest itself, and
    /// containerd labels those that it has unpacked.
    pub(super) async fn stored_layer(
        &self,
        diff_id: &Digest,
    ) -> Result<Option<StoredLayer>, StoreError> {
        if let Some(BlobRecord { size, .. }) = self.blob_record(diff_id).await? {
            let digest = diff_id.clone();
            return Ok(Some(StoredLayer { digest, size }));
        }
        const LIST: &str = "Content.List";
        let deadline = self.deadlines().answer;
        let request = ListContentRequest {
            filters: vec![format!("labels.\"{UNCOMPRESSED}\"=={diff_id}")],
        };
        let mut content = self.content(None);
        let mut listed = answered(LIST, deadline, content.list(request)).await?;
        let some = next_message(LIST, deadline, &mut listed).await?;
        Ok(some.and_then(|some| some.info.iter().find_map(layer_of)))
    }

    pub(super) async fn read_content(
        &self,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(BlobRecord { size, .. }) = self.blob_record(digest).await? else {
            return Ok(None);
        };
        if size > limit {
            return Err(StoreError::Refused {
                call: READ,
                cause: format!("blob {digest} has {size} bytes, more than the {limit} expected"),
            });
        }
        let mut bytes = Vec::new();
        let take = |chunk: &[u8]| bytes.extend_from_slice(chunk);
        if !self.read_into(digest, size, take).await? {
            return Ok(None);
        }
        // containerd verifies digests when it writes, not when it reads.
        if Digest::of(&bytes) == *digest {
            Ok(Some(bytes))
        } else {
            let digest = digest.clone();
            Err(StoreError::Damaged { digest })
        }
    }

    /// containerd syncs the bytes of a blob that it commits, and then its record, but not the name that the
    /// blob's file gets in between.
    pub(super) async fn sync_content(&self) -> Result<(), StoreError> {
        let Some(files) = self.files.get() else {
            return Ok(());
        };
        let synced = blocking(move || files.sync()).await;
        synced.map_err(|error| StoreError::Refused {
            call: "syncfs of the content store",
            cause: error.to_string(),
        })
    }

    /// Whether containerd sends the bytes of a blob, and they have its digest. Calls `got_on` with each
    /// chunk.
    pub(super) async fn sends_right_bytes(
        &self,
        digest: &Digest,
        mut got_on: impl FnMut() + Send,
    ) -> Result<bool, StoreError> {
        let mut hasher = Hasher::default();
        let take = |chunk: &[u8]| {
            hasher.update(chunk);
            got_on();
        };
        let is_sent = self.read_into(digest, 0, take).await?;
        Ok(is_sent && hasher.finish() == *digest)
    }

    /// Hands over the first `size` bytes of a blob, or all of them with 0. Returns whether there is such a
    /// blob.
    pub(super) async fn read_into(
        &self,
        digest: &Digest,
        size: u64,
        take: impl FnMut(&[u8]) + Send,
    ) -> Result<bool, StoreError> {
        self.read_part(digest, 0..size, take).await
    }

    /// The same of a part of it; an empty one at 0 is all of it.
    pub(super) async fn read_part(
        &self,
        digest: &Digest,
        part: Range<u64>,
        mut take: impl FnMut(&[u8]) + Send,
    ) -> Result<bool, StoreError> {
        let deadline = self.deadlines().answer;
        let request = ReadContentRequest {
            digest: digest.as_str().to_owned(),
            offset: to_wire(part.start),
            size: to_wire(part.end - part.start),
        };
        let mut content = self.content(None);
        let mut chunks = match answered(READ, deadline, content.read(request)).await {
            Ok(chunks) => chunks,
            Err(failure) if failure.kind == FailureKind::NotFound => return Ok(false),
            Err(failure) => return Err(failure.into()),
        };
        while let Some(chunk) = next_message(READ, deadline, &mut chunks).await? {
            take(&chunk.data);
        }
        Ok(true)
    }

    /// Adds to the labels of a blob, and writes only what that changes. Reading and writing happen
    /// under one lock, so that no import overwrites what another has added. An addition that another
    /// process makes at the same moment may still be lost: containerd changes labels without looking.
    pub(super) async fn label_content(
        &self,
        digest: &Digest,
        wanted: Labels,
    ) -> Result<(), StoreError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let _guard = self.locks.lock(&format!("labels of {digest}")).await;
        let Some(record) = self.blob_record(digest).await? else {
            return Err(StoreError::Collected {
                digest: digest.clone(),
            });
        };
        let labels = source_labels::missing(&record.labels, &wanted);
        if labels.is_empty() {
            return Ok(());
        }
        // Key by key: a mask of all labels would drop those that others set.
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let request = UpdateRequest {
            info: Some(Info {
                digest: digest.as_str().to_owned(),
                labels: labels.into_iter().collect(),
                ..Default::default()
            }),
            update_mask: Some(FieldMask { paths }),
        };
        let mut content = self.content(None);
        let updated = content.update(request);
        answered("Content.Update", self.deadlines().change, updated).await?;
        Ok(())
    }
}

fn layer_of(info: &Info) -> Option<StoredLayer> {
    Some(StoredLayer {
        digest: Digest::parse(&info.digest).ok()?,
        size: from_wire(info.size),
    })
}
