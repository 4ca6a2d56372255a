//! The passage of bodies into the store, as the threads see it that have their bytes at hand.
//!
//! Such a thread hashes and writes, and where the store wants to be waited for, it waits: its core
//! has nothing better to do. It does not wait for a store whose import is not wanted any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::digest::{Digest, Hasher};
use crate::image_store::{BlobWriter, ImageStore, NewBlob, Opened, StoreError};

/// Ends what an import has begun when it is dropped: the threads that read, and those that wait.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) stop: Arc<AtomicBool>,
    abandoned: CancellationToken,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.abandoned.cancel();
    }
}

/// Why a thread has to end.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nobody waits for what it does.
    Abandoned,
    Store(StoreError),
}

/// How a thread waits.
#[derive(Clone)]
pub(super) struct Waiter {
    runtime: Handle,
    abandoned: CancellationToken,
}

impl Waiter {
    /// To be made inside of the runtime, and used outside.
    pub(super) fn new(wanted: &Wanted) -> Self {
        Self {
            runtime: Handle::current(),
            abandoned: wanted.abandoned.clone(),
        }
    }

    /// Waits for an answer of the store.
    pub(super) fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Ended> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                // First: when stowd ends there may be no clock any more for an answer to wait by.
                () = self.abandoned.cancelled() => Err(Ended::Abandoned),
                answer = answer => answer.map_err(Ended::Store),
            }
        })
    }

    /// The runtime that the store's answers come through.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

/// A blob on its way into the store, or one that the store has and whose bytes pass by.
pub(super) enum Incoming<W> {
    Written(W),
    Passing(Hasher),
}

impl<W: BlobWriter> Incoming<W> {
    pub(super) async fn open<S: ImageStore<Writer = W>>(
        store: &S,
        lease: &S::Lease,
        blob: NewBlob,
    ) -> Result<Self, StoreError> {
        Ok(match store.open_blob(lease, blob).await? {
            Opened::Exists => Self::Passing(Hasher::default()),
            Opened::Writer(writer) => Self::Written(writer),
        })
    }

    pub(super) async fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Written(writer) => writer.write(bytes).await,
            Self::Passing(hasher) => {
                hasher.update(bytes);
                Ok(())
            }
        }
    }

    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Written(writer) => writer.digest(),
            Self::Passing(hasher) => hasher.clone().finish(),
        }
    }
}
