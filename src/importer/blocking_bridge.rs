//! Lets blocking threads drive the async store.
//!
//! A thread that reads an archive also hashes and writes what it reads, and blocks while the store is
//! not ready. It stops reading, and waiting, when its import is given up or dropped.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::image_store::StoreError;

/// Ends the threads of an import when the import is given up or dropped: those that read, and those
/// that wait.
pub(super) struct StopGuard {
    /// Ends those that read.
    pub(super) stop: Arc<AtomicBool>,
    /// Ends those that wait; it is cancelled with the import's own.
    abandoned: CancellationToken,
}

impl StopGuard {
    /// Of an import that `given_up` gives up.
    pub(super) fn new(given_up: &CancellationToken) -> Self {
        Self {
            stop: Arc::default(),
            abandoned: given_up.child_token(),
        }
    }

    /// Runs the import to its end, which comes soon once it is given up.
    pub(super) async fn run<T>(&self, import: impl Future<Output = T>) -> T {
        let mut import = pin!(import);
        tokio::select! {
            biased;
            ended = &mut import => return ended,
            () = self.abandoned.cancelled() => self.stop.store(true, Ordering::Relaxed),
        }
        import.await
    }
}

impl Drop for StopGuard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.abandoned.cancel();
    }
}

/// Why a thread has to end.
#[derive(Debug)]
pub(super) enum WaitError {
    /// The import was given up or dropped.
    Abandoned,
    Store(StoreError),
}

/// Blocks a thread until the store answers.
#[derive(Clone)]
pub(super) struct Waiter {
    runtime: Handle,
    abandoned: CancellationToken,
}

impl Waiter {
    /// To be made inside of the runtime, and used on threads outside of it.
    pub(super) fn new(guard: &StopGuard) -> Self {
        Self {
            runtime: Handle::current(),
            abandoned: guard.abandoned.clone(),
        }
    }

    /// Waits for an answer of the store.
    pub(super) fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, WaitError> {
        self.runtime.block_on(self.answered(answer))
    }

    /// The answer of the store, on a task.
    pub(super) async fn answered<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, WaitError> {
        tokio::select! {
            biased;
            // First: when stowd ends, the runtime's timer may be gone, and polling an answer that has a
            // deadline would panic.
            () = self.abandoned.cancelled() => Err(WaitError::Abandoned),
            answer = answer => answer.map_err(WaitError::Store),
        }
    }

    /// Whether the import was given up or dropped.
    pub(super) fn is_abandoned(&self) -> bool {
        self.abandoned.is_cancelled()
    }

    /// The runtime that the store's answers come through.
    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}
