//! Unpacks one image that the store has, of an archive or of a list, under a lease of its own.
//!
//! ```text
//!   target -> documents in the store -> the image that the host runs -> its root file system
//!          -> the store unpacks it
//! ```

mod host_image;

use std::collections::BTreeSet;

use crate::admit::LeasedStore;
use crate::digest::Digest;
use crate::image_store::{ImageStore, StoreError, UnpackError};
use crate::ledger::FailureClass;
use crate::plan::UnpackEnd;
use crate::platform::Platform;

use host_image::HostImage;

/// So often it is begun anew, at most, where what was unpacked is removed meanwhile.
const TRIES: u32 = 3;

/// Unpacks the image of the host's platform of a manifest or an index, if there is one. `name` is for
/// people who list leases.
pub(crate) async fn unpack<S: ImageStore>(store: &S, name: &str, target: &Digest) -> UnpackEnd {
    let error = match under_lease(store, name, target).await {
        Ok(Some(made)) => return UnpackEnd::Unpacked { made },
        Ok(None) => return UnpackEnd::NothingToUnpack,
        Err(error) => error,
    };
    let words = error.to_string();
    match error {
        away if away.is_store_away() => UnpackEnd::StoreAway(words),
        UnpackError::Lacks { layer, .. } => UnpackEnd::Lacks(layer, words),
        failed => UnpackEnd::Failed(class(&failed), words),
    }
}

/// Whether the host makes containers of this target, and the store lacks snapshots for them. `unpacked` are
/// the configurations of the images that have all of theirs ([`ImageStore::unpacked`]).
pub(crate) async fn lacks_snapshots<S: ImageStore>(
    store: &S,
    target: &Digest,
    unpacked: &BTreeSet<Digest>,
) -> Result<bool, UnpackError> {
    let image = HostImage::find(store, target, Platform::host()).await?;
    Ok(image.is_some_and(|image| !unpacked.contains(&image.config)))
}

async fn under_lease<S: ImageStore>(
    store: &S,
    name: &str,
    target: &Digest,
) -> Result<Option<usize>, UnpackError> {
    let Some(image) = HostImage::find(store, target, Platform::host()).await? else {
        return Ok(None);
    };
    let mut tries = 1;
    loop {
        let leased = LeasedStore::begin(store, &format!("unpacking {name}")).await?;
        let made = store.unpack(&leased.lease, &image).await;
        let is_kept = leased.release().await;
        let made = match made {
            Ok(_) if !is_kept && !store.unpacked().await?.contains(&image.config) => {
                let cause = "its lease had ended before its snapshots had their label";
                Err(UnpackError::Removed(cause.to_owned()))
            }
            made => made,
        };
        match made {
            // Another client ends leases, or removes snapshots.
            Err(UnpackError::Removed(_)) if tries < TRIES => tries += 1,
            made => return made.map(Some),
        }
    }
}

/// When another try makes sense.
fn class(error: &UnpackError) -> FailureClass {
    match error {
        UnpackError::Documents(_) | UnpackError::Layer { .. } | UnpackError::OtherLayer { .. } => {
            FailureClass::Content
        }
        UnpackError::Lacks { .. } => FailureClass::MissingBlob,
        UnpackError::NoSpace { needs, .. } => FailureClass::NoSpace { needs: *needs },
        UnpackError::Store(StoreError::NoSpace { .. }) => FailureClass::NoSpace { needs: 0 },
        UnpackError::Removed(_) | UnpackError::Snapshotter { .. } | UnpackError::Store(_) => {
            FailureClass::Environment
        }
    }
}
