//! Imports one archive into the store.
//!
//! ```text
//!   plain       tar: index ------> Catalogue -> resolve -> up to date? yes: nothing to do
//!                                                          no: bodies, several at once ------+
//!   compressed  tar: stream -----> bodies, as they come -> Catalogue -> resolve -------------+
//!                                                                                            |
//!                 per image that is whole:  manifests and indexes, children first  <---------+
//!                                           labels of what was there
//!                                           names, pinned                seen by the runtime
//! ```
//!
//! One lease spans all of it: nothing is collected between the first blob and the last name, and
//! everything is when the import fails. Memory: the archive's catalogue (bounded by
//! [`crate::tar::limits`]) and, for each body on its way, a chunk.

mod attempt;
mod blob_sink;
mod blocking_bridge;
mod bodies;
mod documents;
mod labels;
mod leased_store;
mod report;
mod store_documents;
mod streamed;
mod up_to_date;

use std::sync::Arc;

use tracing::warn;

use crate::blocking::blocking;
use crate::entry::{Entry, Identity, shown};
use crate::image_store::{ImageStore, StoreError};
use crate::progress::Meter;
use crate::tar;

use attempt::ArchiveImport;
use blocking_bridge::{StopGuard, Waiter};
use leased_store::LeasedStore;

pub use report::{ImportError, ImportReport, Rules};

/// Imports what the rules want of an archive. `meter` counts up to the length of the file.
///
/// A file that is not, or no longer, the version that `entry` tells is [`ImportError::Changed`]
/// before it is anything else: whatever was found wrong may be of two versions at once.
///
/// Where two archives have one name, the last import that writes it wins: imports that run at the same
/// time race for it, and both succeed.
pub async fn import<S: ImageStore>(
    store: &S,
    entry: &Entry,
    rules: Rules<'_>,
    meter: Meter,
) -> Result<ImportReport, ImportError> {
    match under_lease(store, entry, rules, meter).await {
        Ok(report) if report.problems.is_empty() => Ok(report),
        Err(away) if away.is_store_away() => Err(away),
        _ if !is_still(entry).await => Err(ImportError::Changed),
        other => other,
    }
}

/// Whether the path leads to the version of the file that it led to.
pub(crate) async fn is_still(entry: &Entry) -> bool {
    let metadata = tokio::fs::metadata(&entry.path).await;
    metadata.is_ok_and(|metadata| Identity::of(&metadata) == entry.identity)
}

/// Imports under a lease of its own, and releases it.
async fn under_lease<S: ImageStore>(
    store: &S,
    entry: &Entry,
    rules: Rules<'_>,
    meter: Meter,
) -> Result<ImportReport, ImportError> {
    let guard = StopGuard::default();
    let (path, metered, stop) = (entry.path.clone(), meter.clone(), Arc::clone(&guard.stop));
    let archive = blocking(move || tar::open(&path, metered, stop)).await?;
    let name = shown(&entry.path);
    let lease = store.begin_lease(&name).await?;
    let attempt = ArchiveImport {
        name: &name,
        identity: entry.identity,
        rules,
        archive,
        leased: LeasedStore::new(store.clone(), lease.clone()),
        meter: meter.clone(),
        waiter: Waiter::new(&guard),
    };
    let imported = match attempt.run().await {
        // What an earlier import had left of a blob was not what it should have been, and cost
        // this one the blob. It is gone now. Or it went because another import had no room for it.
        Err(ImportError::Store(StoreError::Mismatch { .. } | StoreError::Removed { .. })) => {
            meter.rewind();
            attempt.run().await
        }
        other => other,
    };
    let is_complete = matches!(&imported, Ok(report) if report.problems.is_empty());
    let is_away = matches!(&imported, Err(error) if error.is_store_away());
    let released = if is_complete || is_away || !attempt.leased.has_written() {
        store.release(lease).await
    } else {
        // Blobs that were stored and not named could keep the next archive out of a full disk, and
        // containerd does not collect soon by itself. Collecting stops the whole store, so that it is
        // not asked for where nothing was stored.
        store.release_and_collect(lease).await
    };
    if let Err(error) = released {
        warn!(%error, "lease not released, it expires by itself: {error}");
    }
    imported
}
