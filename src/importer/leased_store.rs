//! The store under the lease of one import. It remembers whether the import has written anything,
//! for only then is there something to collect when the import fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::Digest;
use crate::image_store::{BlobWriter, ImageStore, Labels, NewBlob, Opened, StoreError};

/// Clones share the lease and the memory.
#[derive(Clone)]
pub(super) struct LeasedStore<S: ImageStore> {
    pub(super) store: S,
    pub(super) lease: S::Lease,
    has_written: Arc<AtomicBool>,
}

impl<S: ImageStore> LeasedStore<S> {
    pub(super) fn new(store: S, lease: S::Lease) -> Self {
        Self {
            store,
            lease,
            has_written: Arc::default(),
        }
    }

    /// Whether blobs, or parts of blobs, were written under the lease.
    pub(super) fn has_written(&self) -> bool {
        self.has_written.load(Ordering::Relaxed)
    }

    /// Asks for a blob that is written where the store lacks it.
    pub(super) async fn open(&self, blob: NewBlob) -> Result<Opened<S::Writer>, StoreError> {
        let opened = self.store.open_blob(&self.lease, blob).await?;
        if matches!(opened, Opened::Writer(_)) {
            self.mark_written();
        }
        Ok(opened)
    }

    /// Puts a blob under the lease that must be in the store already, and labels it where that is
    /// part of the same call. Returns whether the store has it.
    pub(super) async fn adopt(
        &self,
        digest: &Digest,
        size: u64,
        labels: Labels,
    ) -> Result<bool, StoreError> {
        if self.store.has_blob(&self.lease, digest).await? {
            return Ok(true);
        }
        let blob = NewBlob::Known {
            digest: digest.clone(),
            size,
        };
        match self.store.open_blob(&self.lease, blob).await? {
            // Another import has written it since it was asked for.
            Opened::Exists => Ok(true),
            // Another namespace has it: only a writer finds that, and has all bytes already.
            Opened::Writer(writer) if writer.offset() == size && size > 0 => {
                self.mark_written();
                writer.commit(digest, labels).await?;
                Ok(true)
            }
            Opened::Writer(writer) => {
                writer.abort().await?;
                Ok(false)
            }
        }
    }

    fn mark_written(&self) {
        self.has_written.store(true, Ordering::Relaxed);
    }
}
