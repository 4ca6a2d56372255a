//! Documents and layers that only the store has, for the thread that resolves an archive's images.

use crate::digest::Digest;
use crate::image_store::{ImageStore, StoredLayer};
use crate::layout::DocumentSource;
use crate::oci::limits::DOCUMENT_MAX;

use super::blocking_bridge::{WaitError, Waiter};

/// What a store has. The thread that asks waits for the answer.
pub(super) struct StoreDocuments<S> {
    pub(super) store: S,
    pub(super) waiter: Waiter,
}

impl<S: ImageStore> DocumentSource for StoreDocuments<S> {
    type Error = WaitError;

    fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, WaitError> {
        self.waiter.wait(self.store.read_blob(digest, DOCUMENT_MAX))
    }

    fn layer(&self, diff_id: &Digest) -> Result<Option<StoredLayer>, WaitError> {
        self.waiter.wait(self.store.layer(diff_id))
    }
}
