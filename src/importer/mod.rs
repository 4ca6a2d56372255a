//! Imports one archive into the store.
//!
//! ```text
//!   plain       tar: index ------> Catalogue -> resolve -> up to date? yes: nothing to do
//!                                                          no: bodies, several at once ------+
//!   compressed  tar: stream -----> bodies, as they come -> Catalogue -> resolve -------------+
//!                                                                                            |
//!                 per image that is whole:  manifests and indexes, children first  <---------+
//!                                           labels of what was there
//!                 all of it is on the disk
//!                 per image that is whole:  names, pinned                seen by the runtime
//! ```
//!
//! A blob that the store has thrown away on its way is sent once more, by a second attempt under the same
//! lease. That is a repair of the store's half-written blob, which says nothing of the archive: it would
//! gain nothing from waiting, and its outcome is that of the second attempt.
//!
//! What does not fit the store's file system is refused before it is written (see `space`).
//!
//! The names are written before the lease ends. If it is gone by then (another client ended it, or a step of
//! the clock did), the store is asked for the blobs of the named images once more. What it has lost is
//! imported again, once, and fails after that.
//!
//! An import that is given up ends at the next chunk that is read or written, and names nothing.
//!
//! One lease spans the whole import: no blob is collected before the last name is put, and all are when
//! the import fails. Memory: the archive's catalogue (bounded by
//! [`crate::tar::limits`]) and, for each body on its way, a chunk.

mod attempt;
mod blob_sink;
mod blocking_bridge;
mod bodies;
mod documents;
mod inspect;
mod job_end;
mod report;
mod reservations;
mod space;
mod store_documents;
mod streamed;
mod verify;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::admit::LeasedStore;
use crate::blocking::blocking;
use crate::entry::{Entry, shown};
use crate::entry_file::is_still;
use crate::image_store::{ImageStore, StoreError};
use crate::one_line::first_few;
use crate::progress::Meter;
use crate::tar;

use attempt::ArchiveImport;
use blocking_bridge::{StopGuard, Waiter};
use space::Space;

pub use inspect::{InspectedImage, Inspection, inspect};
pub use report::{ImportError, ImportReport, ImportRules};
pub use reservations::Reservations;
pub use verify::verify;

/// Imports what the rules want of an archive. `meter` counts up to the length of the file.
///
/// Where the file is not the version that `entry` names, or changes meanwhile, the result is
/// [`ImportError::Changed`] whatever else was found: that may come from two versions at once. Where that
/// cannot be told, it is [`ImportError::Look`].
///
/// Cancelling `given_up` ends it soon. The result is [`ImportError::Changed`] then too, if it was not
/// through.
///
/// Where two archives have one name, the last import that writes it wins, unless the rules say that it is a
/// later entry's: imports that run at the same time race for it, and both succeed.
pub async fn import<S: ImageStore>(
    store: &S,
    entry: &Entry,
    rules: ImportRules<'_>,
    meter: Meter,
    given_up: &CancellationToken,
) -> Result<ImportReport, ImportError> {
    let guard = StopGuard::new(given_up);
    let imported = guard.run(kept(store, entry, rules, meter.clone(), &guard));
    match imported.await {
        Ok(report) if report.problems.is_empty() => Ok(report),
        Err(away) if away.is_store_away() => Err(away),
        _ if given_up.is_cancelled() || !is_still(entry, &meter).await? => {
            Err(ImportError::Changed)
        }
        other => other,
    }
}

/// Imports what the store then keeps without a lease.
async fn kept<S: ImageStore>(
    store: &S,
    entry: &Entry,
    rules: ImportRules<'_>,
    meter: Meter,
    guard: &StopGuard,
) -> Result<ImportReport, ImportError> {
    let (mut report, mut is_kept) = under_lease(store, entry, rules, meter.clone(), guard).await?;
    if !is_kept && !store.faults(report.needed_blobs()).await?.is_empty() {
        meter.rewind();
        (report, is_kept) = under_lease(store, entry, rules, meter, guard).await?;
        if !is_kept {
            let lost = store.faults(report.needed_blobs()).await?;
            report.leave_out(&lost);
        }
    }
    first_few(&mut report.problems);
    Ok(report)
}

/// Imports under a lease of its own, and releases it. Tells as well whether it is certain that the lease was
/// there all the time.
async fn under_lease<S: ImageStore>(
    store: &S,
    entry: &Entry,
    rules: ImportRules<'_>,
    meter: Meter,
    guard: &StopGuard,
) -> Result<(ImportReport, bool), ImportError> {
    let (path, metered, stop) = (entry.path.clone(), meter.clone(), Arc::clone(&guard.stop));
    let archive = blocking(move || tar::open(&path, metered, stop)).await?;
    let name = shown(&entry.path);
    let leased = LeasedStore::begin(store, &name).await?;
    let attempt = ArchiveImport {
        name: &name,
        identity: entry.identity,
        rules,
        archive,
        space: Space::new(&leased, rules.reservations),
        leased,
        meter: meter.clone(),
        waiter: Waiter::new(guard),
    };
    let imported = match attempt.run().await {
        // An ingest that an earlier import left held wrong bytes, or another import removed it for lack
        // of space. It is gone now, so that a second attempt can succeed. So it can where a blob that was
        // there had been let go by a damaged one.
        Err(ImportError::Store(
            StoreError::Mismatch { .. } | StoreError::Removed { .. } | StoreError::Collected { .. },
        )) => {
            meter.rewind();
            attempt.run().await
        }
        other => other,
    };
    let imported = match imported {
        Err(ImportError::Store(error @ StoreError::NoSpace { .. })) => Err(ImportError::NoSpace {
            needs: attempt.space.needs().await,
            error,
        }),
        other => other,
    };
    let is_complete = matches!(&imported, Ok(report) if report.problems.is_empty());
    let is_away = matches!(&imported, Err(error) if error.is_store_away());
    let leased = attempt.leased;
    let is_kept = if is_complete || is_away || !leased.has_written() {
        leased.release().await
    } else {
        // Blobs that were stored and not named could leave the next archive no room, and containerd does
        // not collect soon by itself. A collection stops the whole store: none is asked for where
        // nothing was stored.
        leased.release_and_collect().await
    };
    Ok((imported?, is_kept))
}
