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
//! what is free, the import waits until one of them has released something. It reserves nothing while it
//! waits and has no blob open, so that none waits for it.

use std::sync::Arc;

use bytesize::ByteSize;

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
        mut wanted: Vec<BodyToWrite>,
        waiter: &Waiter,
    ) -> Result<(), WaitError> {
        let mut is_narrowed = false;
        loop {
            let released = self.all.released();
            let free = waiter.answered(async { Ok(self.leased.store.free_space().await) });
            let size = wanted.iter().map(|body| body.size).sum::<u64>();
            let Some(free) = free.await? else {
                self.own.need(size);
                return Ok(());
            };
            let blobs = wanted.iter().map(|body| (body.name.clone(), body.size));
            let Err(reserved) = self.own.add(&blobs.collect::<Vec<_>>(), free) else {
                self.own.need(size);
                return Ok(());
            };
            if !is_narrowed {
                // What the store has takes no room. It is asked only where that matters.
                wanted = waiter.answered(self.lacking(wanted)).await?;
                is_narrowed = true;
            } else if size > free || reserved == 0 {
                self.own.need(size);
                return Err(WaitError::Store(does_not_fit(size, free)));
            } else {
                let released = async {
                    released.await;
                    Ok(())
                };
                waiter.answered(released).await?;
            }
        }
    }

    /// Those that the store does not have.
    async fn lacking(&self, wanted: Vec<BodyToWrite>) -> Result<Vec<BodyToWrite>, StoreError> {
        let LeasedStore { store, lease, .. } = &self.leased;
        let mut lacking = Vec::new();
        for body in wanted {
            let is_there = match &body.digest {
                Some(digest) => store.has_blob(lease, digest).await?,
                None => false,
            };
            if !is_there {
                lacking.push(body);
            }
        }
        Ok(lacking)
    }
}

fn does_not_fit(bytes: u64, free: u64) -> StoreError {
    let [bytes, free] = [bytes, free].map(|bytes| ByteSize::b(bytes).display().iec());
    StoreError::NoSpace {
        call: "before writing",
        cause: format!("{bytes} are to be written, {free} are free"),
    }
}
