//! An archive that was found broken is read once more, without a byte being written: what is wrong with
//! the file cannot mend by itself, and what wears out is the disk. Where this reading finds nothing wrong,
//! the first one was wrong (a cable, the memory), and the archive is to be imported.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::credentials::Login;
use crate::digest::{Digest, Hasher};
use crate::entry::Entry;
use crate::image_store::{
    BlobTally, BlobWriter, Image, ImageStore, Labels, NewBlob, Opened, PullError, StoreError,
    StoredLayer, UnpackError,
};
use crate::needed_blob::{BlobFaults, NeededBlob};
use crate::pin::PinOwner;
use crate::progress::Meter;
use crate::unpack::RootFileSystem;

use super::report::{ImportError, ImportReport, ImportRules};

/// Reads an archive as [`import`](super::import) does, and writes nothing. The report has no images.
pub async fn verify<S: ImageStore>(
    store: &S,
    entry: &Entry,
    rules: ImportRules<'_>,
    meter: Meter,
    given_up: &CancellationToken,
) -> Result<ImportReport, ImportError> {
    let store = UnwrittenStore {
        store: store.clone(),
        verified: Arc::default(),
        tally: BlobTally::default(),
    };
    let mut report = super::import(&store, entry, rules, meter, given_up).await?;
    report.images.clear();
    Ok(report)
}

/// A store that is asked and not written to: blobs are hashed.
#[derive(Clone)]
struct UnwrittenStore<S> {
    store: S,
    /// Blobs that would be there.
    verified: Arc<Mutex<HashSet<Digest>>>,
    /// Never read: nothing comes into the store.
    tally: BlobTally,
}

impl<S> UnwrittenStore<S> {
    fn verified<T>(&self, look: impl FnOnce(&mut HashSet<Digest>) -> T) -> T {
        look(&mut self.verified.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A blob that is hashed.
struct UnwrittenBlob<S> {
    store: UnwrittenStore<S>,
    hasher: Hasher,
}

impl<S: ImageStore> BlobWriter for UnwrittenBlob<S> {
    fn offset(&self) -> u64 {
        0
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.hasher.update(bytes);
        Ok(())
    }

    fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    async fn commit(self, digest: &Digest, _labels: Labels) -> Result<(), StoreError> {
        let actual = self.digest();
        if actual != *digest {
            return Err(StoreError::Mismatch {
                expected: digest.clone(),
                cause: format!("its bytes have the digest {actual}"),
            });
        }
        self.store.verified(|verified| verified.insert(actual));
        Ok(())
    }

    async fn abort(self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl<S: ImageStore> ImageStore for UnwrittenStore<S> {
    type Lease = ();
    type Writer = UnwrittenBlob<S>;

    fn owner(&self) -> &PinOwner {
        self.store.owner()
    }

    fn tally(&self) -> BlobTally {
        self.tally.clone()
    }

    async fn begin_lease(&self, _purpose: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn release(&self, (): ()) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn release_and_collect(&self, (): ()) -> Result<bool, StoreError> {
        Ok(true)
    }

    async fn has_image(&self, image: &Image) -> Result<bool, StoreError> {
        self.store.has_image(image).await
    }

    async fn has_labelled(
        &self,
        digest: &Digest,
        size: u64,
        labels: &Labels,
    ) -> Result<bool, StoreError> {
        let is_verified = self.verified(|verified| verified.contains(digest));
        Ok(is_verified || self.store.has_labelled(digest, size, labels).await?)
    }

    /// What the store itself has is found when the blob is opened, with its length.
    async fn has_blob(&self, (): &(), digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.verified(|verified| verified.contains(digest)))
    }

    async fn half_written(&self, _digest: &Digest) -> Result<u64, StoreError> {
        Ok(0)
    }

    async fn free_space(&self) -> Option<u64> {
        None
    }

    /// Nothing was named that could be lost.
    async fn faults(&self, _blobs: Vec<NeededBlob>) -> Result<BlobFaults, StoreError> {
        Ok(BlobFaults::new())
    }

    async fn hash_blobs(
        &self,
        blobs: Vec<NeededBlob>,
        rate: u64,
    ) -> Result<BlobFaults, StoreError> {
        self.store.hash_blobs(blobs, rate).await
    }

    async fn discard_if_damaged(&self, (): &(), _digest: &Digest) -> Result<(), StoreError> {
        Ok(())
    }

    async fn open_blob(
        &self,
        (): &(),
        blob: NewBlob,
    ) -> Result<Opened<UnwrittenBlob<S>>, StoreError> {
        if let NewBlob::Known { digest, size } = &blob
            && self
                .store
                .has_labelled(digest, *size, &Labels::new())
                .await?
        {
            return Ok(Opened::Exists(Some(*size)));
        }
        Ok(Opened::Writer(UnwrittenBlob {
            store: self.clone(),
            hasher: Hasher::default(),
        }))
    }

    async fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.read_blob(digest, limit).await
    }

    async fn layer(&self, diff_id: &Digest) -> Result<Option<StoredLayer>, StoreError> {
        self.store.layer(diff_id).await
    }

    async fn label_blob(&self, _digest: &Digest, _labels: Labels) -> Result<(), StoreError> {
        Ok(())
    }

    async fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn unpack(&self, (): &(), _image: &RootFileSystem) -> Result<usize, UnpackError> {
        Ok(0)
    }

    async fn unpacked(&self) -> Result<BTreeSet<Digest>, UnpackError> {
        self.store.unpacked().await
    }

    async fn put_image(&self, (): &(), _image: &Image) -> Result<(), StoreError> {
        Ok(())
    }

    async fn unpin(&self, _name: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn take_over(&self, _name: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, StoreError> {
        self.store.image(name).await
    }

    async fn images(&self) -> Result<Vec<Image>, StoreError> {
        self.store.images().await
    }

    async fn seen_by_runtime(&self, _image: &Image) -> Result<(), StoreError> {
        Ok(())
    }

    async fn runtime_has(&self, name: &str) -> Result<bool, StoreError> {
        self.store.runtime_has(name).await
    }

    async fn sandbox_image(&self) -> Option<String> {
        self.store.sandbox_image().await
    }

    async fn pull(&self, name: &str, login: Option<&Login>) -> Result<(), PullError> {
        self.store.pull(name, login).await
    }

    async fn pull_blob(
        &self,
        (): &(),
        name: &str,
        digest: &Digest,
        login: Option<&Login>,
    ) -> Result<(), PullError> {
        let lease = self.store.begin_lease(name).await?;
        let pulled = self.store.pull_blob(&lease, name, digest, login).await;
        self.store.release(lease).await?;
        pulled
    }
}
