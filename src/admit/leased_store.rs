//! The store under a lease. It remembers whether anything was written: only then does a failed import
//! leave something to collect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::digest::Digest;
use crate::happened::StoreEvent;
use crate::image_store::{BlobWay, BlobWriter, ImageStore, Labels, NewBlob, Opened, StoreError};
use crate::reporter::report;

/// Clones share the lease, and whether anything was written.
#[derive(Clone)]
pub(crate) struct LeasedStore<S: ImageStore> {
    pub(crate) store: S,
    pub(crate) lease: S::Lease,
    has_written: Arc<AtomicBool>,
}

impl<S: ImageStore> LeasedStore<S> {
    /// Begins a lease; `purpose` is for people who list leases.
    pub(crate) async fn begin(store: &S, purpose: &str) -> Result<Self, StoreError> {
        Ok(Self {
            lease: store.begin_lease(purpose).await?,
            store: store.clone(),
            has_written: Arc::default(),
        })
    }

    /// Ends the lease: what no image refers to is free to be collected. Returns whether it is certain that
    /// the store has kept what was under it until now.
    pub(crate) async fn release(self) -> bool {
        told(self.store.release(self.lease).await)
    }

    /// The same, and returns when what only it kept is gone.
    pub(crate) async fn release_and_collect(self) -> bool {
        told(self.store.release_and_collect(self.lease).await)
    }

    /// Whether blobs, or parts of blobs, were written under the lease.
    pub(crate) fn has_written(&self) -> bool {
        self.has_written.load(Ordering::Relaxed)
    }

    /// Asks for a blob that is written where the store lacks it.
    pub(crate) async fn open(&self, blob: NewBlob) -> Result<Opened<S::Writer>, StoreError> {
        let size = blob.size();
        let opened = self.store.open_blob(&self.lease, blob).await?;
        match opened {
            Opened::Writer(_) => self.mark_written(),
            Opened::Exists(_) => self.store.tally().count(BlobWay::Present, size),
        }
        Ok(opened)
    }

    /// Puts a blob under the lease that must be in the store already, and labels it where that is
    /// part of the same call. Returns whether the store has it, with this length.
    pub(crate) async fn adopt(
        &self,
        digest: &Digest,
        size: u64,
        labels: Labels,
    ) -> Result<bool, StoreError> {
        let counted = |is_there: bool| {
            if is_there {
                self.store.tally().count(BlobWay::Present, size);
            }
            is_there
        };
        if self.store.has_blob(&self.lease, digest).await? {
            let none = Labels::new();
            let is_there = self.store.has_labelled(digest, size, &none);
            return is_there.await.map(counted);
        }
        let blob = NewBlob::Known {
            digest: digest.clone(),
            size,
        };
        match self.store.open_blob(&self.lease, blob).await? {
            // Another import has written it since it was asked for.
            Opened::Exists(length) => self.is_of(digest, size, length).await.map(counted),
            // Another namespace has it. Only opening a writer shows that: it has all bytes already.
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

    /// Writes a document with its labels; where it is there already, it gets the labels.
    pub(super) async fn put_document(
        &self,
        digest: &Digest,
        labels: Labels,
        document: &[u8],
    ) -> Result<(), StoreError> {
        let new = NewBlob::Known {
            digest: digest.clone(),
            size: document.len() as u64,
        };
        match self.open(new).await? {
            Opened::Exists(_) => self.store.label_blob(digest, labels).await,
            Opened::Writer(mut writer) => {
                if let Err(error) = writer.write(document).await {
                    writer.give_up(&error).await;
                    return Err(error);
                }
                writer.commit(digest, labels).await
            }
        }
    }

    /// Whether a blob that is there has `size` bytes; where it was found, its length may have been told.
    pub(crate) async fn is_of(
        &self,
        digest: &Digest,
        size: u64,
        length: Option<u64>,
    ) -> Result<bool, StoreError> {
        match length {
            Some(length) => Ok(length == size),
            None => self.store.has_labelled(digest, size, &Labels::new()).await,
        }
    }

    fn mark_written(&self) {
        self.has_written.store(true, Ordering::Relaxed);
    }
}

/// A lease that is not released costs room until it expires, and nothing else.
fn told(released: Result<bool, StoreError>) -> bool {
    released.unwrap_or_else(|error| {
        report(StoreEvent::LeaseNotReleased(error.to_string()));
        false
    })
}
