//! Work that waits for a disk, on threads that may wait.

use tokio::task::{JoinHandle, spawn_blocking};

use super::blobs_dir::PLACE;
use crate::image_store::StoreError;

/// Runs what waits for a disk where it may.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StoreError> {
    joined(spawn_blocking(work)).await
}

/// What has come of work that was begun where it may wait.
pub(super) async fn joined<T>(work: JoinHandle<T>) -> Result<T, StoreError> {
    match work.await {
        Ok(value) => Ok(value),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(StoreError::Unreachable {
                call: PLACE,
                cause: "stowd is ending".to_owned(),
            }),
        },
    }
}
