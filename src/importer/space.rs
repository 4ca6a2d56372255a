//! Whether what an import is about to write fits the store's file system. It is asked before the first
//! byte: what cannot fit is refused at once and takes no room from others.
//!
//! ```text
//!   plain        all bodies at once: their lengths are in the catalogue
//!   compressed   body by body, before the first byte of each: before the archive is read to its end it
//!                is not known which bodies there are, and its own length says nothing, because the
//!                store may have most of them
//! ```
//!
//! Documents are held in memory and are not counted: they are short. Where other imports have reserved
//! what is free, the import waits until one of them has released something, and asks anew what the store
//! lacks. It reserves nothing while it waits and has no blob open, so that none waits for it. It does not
//! wait for imports that do not get on.

use std::pin::{Pin, pin};
use std::sync::Arc;

use bytesize::ByteSize;
use futures_util::FutureExt as _;
use tokio::sync::futures::OwnedNotified;
use tokio::time::timeout;

use crate::admit::LeasedStore;
use crate::digest::Digest;
use crate::image_store::{ImageStore, StoreError};

use super::blocking_bridge::{WaitError, Waiter};
use super::reservations::{Reservation, Reservations};

/// A body that is to be written.
#[derive(Debug, Clone)]
pub(super) struct BodyToWrite {
    /// What its reservation goes by.
    pub(super) name: String,
    /// The store may have it, where its digest is known.
    pub(super) digest: Option<Digest>,
    pub(super) size: u64,
}

impl BodyToWrite {
    pub(super) fn known(digest: &Digest, size: u64) -> Self {
        Self {
            name: digest.to_string(),
            digest: Some(digest.clone()),
            size,
        }
    }
}

/// The space for one import. Clones share its reservation.
#[derive(Clone)]
pub(super) struct Space<S: ImageStore> {
    leased: LeasedStore<S>,
    all: Reservations,
    own: Arc<Reservation>,
}

impl<S: ImageStore> Space<S> {
    pub(super) fn new(leased: &LeasedStore<S>, all: &Reservations) -> Self {
        Self {
            leased: leased.clone(),
            all: all.clone(),
            own: Arc::new(Reservation::new(all)),
        }
    }

    pub(super) fn leased(&self) -> &LeasedStore<S> {
        &self.leased
    }

    /// A blob whose digest is not known yet; the key tells it from others of its import.
    pub(super) fn unnamed(&self, key: &str, size: u64) -> BodyToWrite {
        BodyToWrite {
            // The address tells the imports apart.
            name: format!("{key} of {:p}", self.own),
            digest: None,
            size,
        }
    }

    /// How many bytes the import has to write, when it has met a full disk. What it has not come to may
    /// be in the store.
    pub(super) async fn needs(&self) -> u64 {
        for (name, size) in self.own.open() {
            if let Ok(digest) = Digest::parse(&name)
                && let Ok(true) = self
                    .leased
                    .store
                    .has_blob(&self.leased.lease, &digest)
                    .await
            {
                self.own.is_there(&name, size);
            }
        }
        self.own.needs()
    }

    /// The reservation of the import.
    pub(super) fn own(&self) -> &Arc<Reservation> {
        &self.own
    }

    /// Reserves space for these bodies, as far as the store lacks them.
    pub(super) async fn reserve(
        &self,
        wanted: Vec<BodyToWrite>,
        waiter: &Waiter,
    ) -> Result<(), WaitError> {
        loop {
            // From now on, so that none is missed.
            let mut released = pin!(self.all.released());
            if self.add(&wanted, waiter).await?.is_none() {
                return Ok(());
            }
            // What the store has takes no room. It is asked only where that matters.
            let lacking = waiter.answered(self.lacking(&wanted)).await?;
            let Some(refusal) = self.add(&lacking, waiter).await? else {
                return Ok(());
            };
            if released.as_mut().now_or_never().is_some() {
                // The store may have more of it than when it was asked.
                continue;
            }
            let is_moving = refusal.size <= refusal.free
                && refusal.reserved > 0
                && waiter.answered(self.is_released(released)).await?;
            if !is_moving {
                self.own.need(refusal.size);
                return Err(WaitError::Store(refusal.into()));
            }
        }
    }

    /// Reserves space for these bodies, if they fit.
    async fn add(
        &self,
        wanted: &[BodyToWrite],
        waiter: &Waiter,
    ) -> Result<Option<Refusal>, WaitError> {
        let free = waiter.answered(async { Ok(self.leased.store.free_space().await) });
        let size = wanted.iter().map(|body| body.size).sum::<u64>();
        if let Some(free) = free.await? {
            let blobs = wanted.iter().map(|body| (body.name.clone(), body.size));
            if let Err(reserved) = self.own.add(&blobs.collect::<Vec<_>>(), free) {
                return Ok(Some(Refusal {
                    size,
                    free,
                    reserved,
                }));
            }
        }
        self.own.need(size);
        Ok(None)
    }

    /// Waits until less is reserved. Not for ever: an import may hang that has reserved what is free.
    async fn is_released(&self, mut released: Pin<&mut OwnedNotified>) -> Result<bool, StoreError> {
        loop {
            let left = self.all.left();
            let wait = timeout(self.all.deadline(), released.as_mut());
            match wait.await {
                Ok(()) => return Ok(true),
                Err(_) if self.all.left() == left => return Ok(false),
                Err(_) => {}
            }
        }
    }

    /// Those that the store does not have, and of them what it has not.
    async fn lacking(&self, wanted: &[BodyToWrite]) -> Result<Vec<BodyToWrite>, StoreError> {
        let LeasedStore { store, lease, .. } = &self.leased;
        let mut lacking = Vec::new();
        for body in wanted {
            let half = match &body.digest {
                Some(digest) if store.has_blob(lease, digest).await? => continue,
                Some(digest) => store.half_written(digest).await?,
                None => 0,
            };
            let size = body.size.saturating_sub(half);
            lacking.push(BodyToWrite {
                size,
                ..body.clone()
            });
        }
        Ok(lacking)
    }
}

/// Why bodies were not reserved space for, in bytes.
struct Refusal {
    size: u64,
    free: u64,
    /// Of what is free, by other imports.
    reserved: u64,
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        let Refusal {
            size,
            free,
            reserved,
        } = refusal;
        let iec = |bytes| ByteSize::b(bytes).display().iec();
        let by_others = match size <= free {
            true => format!(", {} of it for imports that do not get on", iec(reserved)),
            false => String::new(),
        };
        Self::NoSpace {
            call: "before writing",
            cause: format!(
                "{} are to be written, {} are free{by_others}",
                iec(size),
                iec(free)
            ),
        }
    }
}
