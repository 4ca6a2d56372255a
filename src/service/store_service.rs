//! What the daemon needs of a store beside what an import needs.

use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use tokio::sync::watch;

use crate::containerd::{ClaimError, Containerd, InstanceClaim, InstanceInUse, NotServing};
use crate::image_store::{ImageStore, StoreError, StoreState};

/// A store that is served by a process of its own.
pub trait StoreService: ImageStore {
    /// What says that this process has the instance.
    type Claim: Claim;

    /// Takes the instance for this process, before anything is imported or unpinned. `state_dir` is
    /// told to a second one that is refused.
    fn claim(
        &self,
        state_dir: &Path,
    ) -> impl Future<Output = Result<Self::Claim, ClaimError>> + Send;

    /// Waits until it serves. `on_wait` is told now and then for how long it has been waited for, and
    /// what is missing.
    fn serving(
        &self,
        timeout: Duration,
        on_wait: impl Fn(Duration, &str),
    ) -> impl Future<Output = Result<(), NotServing>>;

    /// Keeps `state` up to date with what the store says by itself. With `is_asked` it is also asked now and
    /// then whether it answers.
    fn follow_state(
        &self,
        is_asked: bool,
        state: &watch::Sender<StoreState>,
    ) -> impl Future<Output = Infallible>;

    /// Looks from now on at the files in which it keeps its blobs, where they are to be seen. `direct`:
    /// blobs are written there as well, where that is safe.
    fn find_content(&self, direct: bool) -> impl Future<Output = ()> + Send;

    /// The leases that earlier runs left, and those that this one could not release.
    fn stale_leases(&self) -> impl Future<Output = Result<Vec<Self::Lease>, StoreError>> + Send;

    /// The leases of this run.
    fn own_leases(&self) -> impl Future<Output = Result<Vec<Self::Lease>, StoreError>> + Send;

    /// Ends leases.
    fn clear_leases(
        &self,
        leases: &[Self::Lease],
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// This process has the instance in the store, until this is released or dropped.
pub trait Claim: Send {
    /// Returns when another process has it.
    fn lost(&mut self) -> impl Future<Output = InstanceInUse> + Send;

    /// Lets another process have it.
    fn release(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl Claim for InstanceClaim {
    async fn lost(&mut self) -> InstanceInUse {
        Self::lost(self).await
    }

    async fn release(self) -> Result<(), StoreError> {
        Self::release(self).await
    }
}

impl StoreService for Containerd {
    type Claim = InstanceClaim;

    async fn claim(&self, state_dir: &Path) -> Result<InstanceClaim, ClaimError> {
        self.claim_instance(state_dir).await
    }

    async fn serving(
        &self,
        timeout: Duration,
        on_wait: impl Fn(Duration, &str),
    ) -> Result<(), NotServing> {
        self.wait_serving(timeout, on_wait).await
    }

    async fn follow_state(&self, is_asked: bool, state: &watch::Sender<StoreState>) -> Infallible {
        Self::follow_state(self, is_asked, state).await
    }

    async fn find_content(&self, direct: bool) {
        match direct {
            true => self.enable_direct_writes().await,
            false => self.see_content_store().await,
        }
    }

    async fn stale_leases(&self) -> Result<Vec<Self::Lease>, StoreError> {
        Self::stale_leases(self).await
    }

    async fn own_leases(&self) -> Result<Vec<Self::Lease>, StoreError> {
        Self::own_leases(self).await
    }

    async fn clear_leases(&self, leases: &[Self::Lease]) -> Result<(), StoreError> {
        Self::clear_leases(self, leases).await
    }
}
