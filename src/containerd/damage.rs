//! Makes way for a blob where something wrong lies in its place.
//!
//! containerd takes no blob that it has a record of, and keeps the file that lies in a blob's place,
//! whatever is in it: not even a commit replaces it (`Commit` of its local store). So of a damaged blob
//! both the record and the file are thrown away, and it is written anew.
//!
//! Only the store proves a blob damaged: its file is gone, or the bytes have another digest. The
//! length that an archive or a list claims proves nothing. A file without a record may be another
//! namespace's; it is hashed too, and containerd adopts it where it is right.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use containerd_client::services::v1::{DeleteContentRequest, Resource};

use super::blocking::blocking;
use super::client::{Containerd, answered};
use super::content::BlobRecord;
use super::failure::FailureKind;
use super::ingest::Ingest;
use super::lease::Lease;
use crate::digest::Digest;
use crate::image_store::{Labels, StoreError};
use crate::needed_blob::BlobFault;

/// What failures of work with the files are reported under.
const FILE: &str = "blob's file";

/// The labels by which a blob keeps others, and snapshots, from collection begin so (containerd,
/// `core/metadata/gc.go`).
const KEEPS_CONTENT: &str = "containerd.io/gc.ref.content";
const KEEPS_SNAPSHOT: &str = "containerd.io/gc.ref.snapshot.";

/// What lies in the place of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileState {
    /// It cannot be seen from here.
    Unseen,
    Missing,
    /// A file of this length.
    There(u64),
    /// It was read, and this was found.
    Wrong(BlobFault),
}

impl FileState {
    /// Whether it is known that no file of this length is there.
    pub(super) fn is_not_of(self, size: u64) -> bool {
        match self {
            Self::Unseen => false,
            Self::Missing | Self::Wrong(_) => true,
            Self::There(length) => length != size,
        }
    }
}

impl Containerd {
    pub(super) async fn file_state(&self, digest: &Digest) -> FileState {
        match self.wrong.fault(digest) {
            Some(fault) => FileState::Wrong(fault),
            None => self.seen_state(digest).await,
        }
    }

    /// The same, whatever was found by reading before.
    async fn seen_state(&self, digest: &Digest) -> FileState {
        let Some(files) = self.files.get() else {
            return FileState::Unseen;
        };
        let digest = digest.clone();
        match blocking(move || files.length(&digest)).await {
            Ok(None) => FileState::Missing,
            Ok(Some(length)) => FileState::There(length),
            Err(_) => FileState::Unseen,
        }
    }

    /// Throws away a file that is not the blob, and its record. That there is a record without a file,
    /// which is told by [`FileState::Missing`], is left to the caller: containerd says it when it is
    /// asked for the blob. `had` takes the labels of a record that is thrown away. To be called under
    /// the lock of the blob's ingest.
    pub(super) async fn discard_wrong_file(
        &self,
        lease: &Lease,
        digest: &Digest,
        had: &mut Labels,
    ) -> Result<FileState, StoreError> {
        let state = self.file_state(digest).await;
        match state {
            FileState::Unseen | FileState::Missing => return Ok(state),
            FileState::Wrong(_) => {}
            FileState::There(length) => {
                let record = self.blob_record(digest).await?;
                if record.is_some_and(|record| record.size == length) {
                    return Ok(state);
                }
            }
        }
        had.extend(self.discard_damaged(lease, digest).await?);
        Ok(self.file_state(digest).await)
    }

    /// The same, and throws away a record without a file. What is there after that is the blob.
    pub(super) async fn discard_wrong(
        &self,
        lease: &Lease,
        digest: &Digest,
    ) -> Result<Labels, StoreError> {
        let mut had = Labels::new();
        let state = self.discard_wrong_file(lease, digest, &mut had).await?;
        if state == FileState::Missing {
            had.extend(self.discard_damaged(lease, digest).await?);
        }
        Ok(had)
    }

    /// Throws away what the store itself proves to be wrong of a blob, as it is now: its file, its
    /// record, or both. Returns the labels of the record. What the blob keeps stays: it is put under the
    /// lease first. To be called under the lock of the blob's ingest, whose other waiters wait for as long
    /// as bytes are hashed.
    pub(super) async fn discard_damaged(
        &self,
        lease: &Lease,
        digest: &Digest,
    ) -> Result<Labels, StoreError> {
        let labels = self.discard_proven(lease, digest).await?;
        // What is there still has been read again, and is right.
        self.wrong.forget(digest);
        Ok(labels)
    }

    async fn discard_proven(&self, lease: &Lease, digest: &Digest) -> Result<Labels, StoreError> {
        // First the record: containerd gives a blob its file before its record.
        let record = self.blob_record(digest).await?;
        let is_wrong = match (self.seen_state(digest).await, &record) {
            (FileState::There(length), record) => {
                let is_removed = self.remove_wrong_file(digest).await?;
                is_removed || record.as_ref().is_some_and(|record| record.size != length)
            }
            (_, None) => false,
            (FileState::Missing, Some(_)) => !self.keeps_elsewhere(digest).await?,
            (FileState::Unseen | FileState::Wrong(_), Some(_)) => {
                let got_on = self.hash_progress(digest);
                !self.sends_right_bytes(digest, got_on).await?
            }
        };
        let Some(BlobRecord { labels, .. }) = record.filter(|_| is_wrong) else {
            return Ok(Labels::new());
        };
        for kept in labels.iter().filter_map(|(key, kept)| kept_by(key, kept)) {
            self.keep(lease, kept).await?;
        }
        self.delete_record(digest).await?;
        if self.files.get().is_none() {
            // containerd removes the file of what no namespace has a record of.
            self.collect().await?;
        }
        Ok(labels)
    }

    /// Removes a blob's file if its bytes have another digest. Returns whether they have.
    async fn remove_wrong_file(&self, digest: &Digest) -> Result<bool, StoreError> {
        let Some(files) = self.files.get() else {
            return Ok(false);
        };
        let (digest, got_on) = (digest.clone(), self.hash_progress(digest));
        let wanted = Arc::new(());
        let is_wanted = Arc::downgrade(&wanted);
        let goes_on = move || {
            got_on();
            // Dropped with the import.
            is_wanted.strong_count() > 0
        };
        let removed = blocking(move || files.remove_wrong(&digest, goes_on)).await;
        drop(wanted);
        removed.map_err(|error| StoreError::Refused {
            call: FILE,
            cause: error.to_string(),
        })
    }

    /// To be called while a blob is hashed: tells those that wait for it, and those that wait for the
    /// store.
    fn hash_progress(&self, digest: &Digest) -> impl Fn() + Send + 'static {
        let (locks, moved) = (self.locks.clone(), Arc::clone(&self.moved));
        let key = Ingest::known(digest.clone(), 0).reference;
        move || {
            locks.report_progress(&key);
            moved.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn delete_record(&self, digest: &Digest) -> Result<(), StoreError> {
        let request = DeleteContentRequest {
            digest: digest.as_str().to_owned(),
        };
        let mut content = self.content(None);
        let deleted = content.delete(request);
        match answered("Content.Delete", self.deadlines().change, deleted).await {
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Returns when containerd has collected garbage: that is what the end of a lease can be told to wait
    /// for.
    async fn collect(&self) -> Result<(), StoreError> {
        let lease = self.create_lease("collection").await?;
        self.delete_lease(&lease, true).await.map(drop)
    }
}

/// What this label of a blob keeps from collection, as a lease names it.
fn kept_by(key: &str, kept: &str) -> Option<Resource> {
    let kind = if key.starts_with(KEEPS_CONTENT) {
        Digest::parse(kept).ok()?;
        "content".to_owned()
    } else {
        // One blob may keep several snapshots of a snapshotter: then more follows its name.
        let snapshotter = key.strip_prefix(KEEPS_SNAPSHOT)?.split('/').next()?;
        format!("snapshots/{snapshotter}")
    };
    Some(Resource {
        id: kept.to_owned(),
        r#type: kind,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_label_keeps_is_named_as_leases_name_it() {
        let digest = Digest::of(b"abc").to_string();
        let kept = |key: &str, value: &str| {
            let kept = kept_by(key, value)?;
            assert_eq!(kept.id, value);
            Some(kept.r#type)
        };
        let of = |key: &str| kept(key, &digest);
        assert_eq!(
            of("containerd.io/gc.ref.content.l.0").as_deref(),
            Some("content")
        );
        assert_eq!(kept("containerd.io/gc.ref.content.l.0", "x"), None);
        for key in ["overlayfs", "overlayfs/1"] {
            let key = format!("containerd.io/gc.ref.snapshot.{key}");
            assert_eq!(of(&key).as_deref(), Some("snapshots/overlayfs"));
        }
        assert_eq!(of("containerd.io/distribution.source.docker.io"), None);
    }
}
