//! The repairs of damaged images that are begun: what was thrown away, and the lease that keeps the rest.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::admit::LeasedStore;
use crate::digest::Digest;
use crate::image_store::{ImageStore, StoreError};

/// A lease that is older is replaced by a new one: the store ends it after a day.
const LEASE_AGE: Duration = Duration::from_secs(12 * 60 * 60);

/// The repairs that are begun, by the name of the image. Clones share them.
#[derive(Clone)]
pub(super) struct Repairs<S: ImageStore>(Arc<Mutex<HashMap<String, Repair<S>>>>);

#[derive(Clone)]
struct Repair<S: ImageStore> {
    leased: LeasedStore<S>,
    began: Instant,
    /// Blobs that were thrown away.
    discarded: BTreeSet<Digest>,
}

impl<S: ImageStore> Default for Repairs<S> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<S: ImageStore> std::fmt::Debug for Repairs<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.begun().keys()).finish()
    }
}

impl<S: ImageStore> Repairs<S> {
    /// The lease of a repair that is begun, or goes on.
    pub(super) async fn lease(
        &self,
        store: &S,
        image: &str,
        purpose: &str,
    ) -> Result<LeasedStore<S>, StoreError> {
        let (old, discarded) = match self.begun().get(image).cloned() {
            Some(repair) if repair.began.elapsed() < LEASE_AGE => return Ok(repair.leased),
            Some(repair) => (Some(repair.leased), repair.discarded),
            None => (None, BTreeSet::new()),
        };
        let leased = LeasedStore::begin(store, purpose).await?;
        let repair = Repair {
            leased: leased.clone(),
            began: Instant::now(),
            discarded,
        };
        self.begun().insert(image.to_owned(), repair);
        if let Some(old) = old {
            old.release().await;
        }
        Ok(leased)
    }

    /// The image is whole, or nothing was done to it.
    pub(super) async fn end(&self, image: &str) {
        let ended = self.begun().remove(image);
        if let Some(repair) = ended {
            repair.leased.release().await;
        }
    }

    pub(super) fn discarded(&self, image: &str) -> BTreeSet<Digest> {
        let begun = self.begun();
        let repair = begun.get(image);
        repair.map_or_else(BTreeSet::new, |repair| repair.discarded.clone())
    }

    pub(super) fn add_discarded(&self, image: &str, digest: &Digest) {
        if let Some(repair) = self.begun().get_mut(image) {
            repair.discarded.insert(digest.clone());
        }
    }

    // Nothing panics while it is locked.
    fn begun(&self) -> MutexGuard<'_, HashMap<String, Repair<S>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
