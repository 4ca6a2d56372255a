//! Makes way for a blob where something wrong lies in its place.
//!
//! containerd takes no blob that it has a record of, and keeps the file that lies in a blob's place,
//! whatever is in it: not even a commit replaces it (`Commit` of its local store). So of a damaged blob
//! both the record and the file are thrown away, and it is written anew. A file without a record is
//! hashed before containerd adopts it: after a loss of power it may have the right length and the
//! wrong bytes.

use containerd_client::services::v1::DeleteContentRequest;

use super::blocking::blocking;
use super::client::{Containerd, answered};
use super::failure::FailureKind;
use super::lease::Lease;
use crate::digest::Digest;
use crate::image_store::{Labels, StoreError};

/// What failures of work with the files are reported under.
const FILE: &str = "blob's file";

/// The labels by which a document keeps its children from collection begin so.
const KEEPS: &str = "containerd.io/gc.ref.content";

/// What lies in the place of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FileState {
    /// It cannot be seen from here.
    Unseen,
    Missing,
    /// A file of the blob's length.
    Whole,
    /// A file of another length.
    Other(u64),
}

impl FileState {
    /// Whether it is known that the blob is not there.
    pub(super) fn is_damaged(self) -> bool {
        matches!(self, Self::Missing | Self::Other(_))
    }
}

impl Containerd {
    pub(super) async fn file_state(&self, digest: &Digest, size: u64) -> FileState {
        let Some(files) = self.files.get() else {
            return FileState::Unseen;
        };
        let digest = digest.clone();
        match blocking(move || files.length(&digest)).await {
            Ok(None) => FileState::Missing,
            Ok(Some(length)) if length == size => FileState::Whole,
            Ok(Some(length)) => FileState::Other(length),
            Err(_) => FileState::Unseen,
        }
    }

    /// Throws away what lies in the place of a blob and is not the blob. That there is a record without
    /// a file, which is told by [`FileState::Missing`], is left to the caller: containerd says it when
    /// it is asked for the blob. `had` takes the labels of a record that is thrown away.
    pub(super) async fn make_way(
        &self,
        lease: &Lease,
        digest: &Digest,
        size: u64,
        had: &mut Labels,
    ) -> Result<FileState, StoreError> {
        let state = self.file_state(digest, size).await;
        let is_in_place = match state {
            FileState::Unseen | FileState::Missing => true,
            FileState::Other(_) => false,
            FileState::Whole => match self.content_info(digest).await? {
                Some(info) => u64::try_from(info.size) == Ok(size),
                None => self.has_right_bytes(digest).await?,
            },
        };
        if is_in_place {
            return Ok(state);
        }
        had.extend(self.discard_content(lease, digest).await?);
        Ok(FileState::Missing)
    }

    /// The same, and throws away a record without a file. What is there after that is the blob.
    pub(super) async fn clear_way(
        &self,
        lease: &Lease,
        digest: &Digest,
        size: u64,
    ) -> Result<Labels, StoreError> {
        let mut had = Labels::new();
        let state = self.make_way(lease, digest, size, &mut had).await?;
        if state == FileState::Missing {
            had.extend(self.discard_content(lease, digest).await?);
        }
        Ok(had)
    }

    /// Throws away the record of a blob and its file; returns the labels that it had. Its children stay:
    /// they are put under the lease first.
    pub(super) async fn discard_content(
        &self,
        lease: &Lease,
        digest: &Digest,
    ) -> Result<Labels, StoreError> {
        let info = self.content_info(digest).await?;
        let is_recorded = info.is_some();
        let labels = info.map(|info| info.labels.into_iter().collect::<Labels>());
        let labels = labels.unwrap_or_default();
        let children = labels.iter().filter(|(key, _)| key.starts_with(KEEPS));
        for child in children.filter_map(|(_, child)| Digest::parse(child).ok()) {
            self.keep_content(lease, &child).await?;
        }
        if is_recorded {
            self.delete_record(digest).await?;
        }
        match self.files.get() {
            Some(files) => {
                let digest = digest.clone();
                let removed = blocking(move || files.remove(&digest)).await;
                removed.map_err(|error| refused(&error))?;
            }
            // containerd removes the file of what no namespace has a record of.
            None if is_recorded => self.collect().await?,
            None => {}
        }
        Ok(labels)
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
        self.delete_lease(&lease, true).await
    }

    async fn has_right_bytes(&self, digest: &Digest) -> Result<bool, StoreError> {
        let Some(files) = self.files.get() else {
            return Ok(true);
        };
        let expected = digest.clone();
        let hashed = blocking(move || files.hash(&expected).map(|actual| actual == expected)).await;
        hashed.map_err(|error| refused(&error))
    }
}

fn refused(error: &std::io::Error) -> StoreError {
    StoreError::Refused {
        call: FILE,
        cause: error.to_string(),
    }
}
