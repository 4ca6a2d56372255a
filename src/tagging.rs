//! Gives an image its names, pinned.
//!
//! Its own names are what an import or a pull is for: each must be there. A name that it gets for the
//! sake of an extra registry is worth a warning, and what was put stays: it counts as one of the
//! image's names, so that the next listing finds it missing and brings it.

use tracing::warn;

use crate::image_store::{Descriptor, Image, ImageStore, Labels, OWN_PIN, RUNTIME_PIN, StoreError};
use crate::naming::{Names, Reference};
use crate::progress::Meter;

/// Points the names to `target`, whose blobs are in the store, and pins them. With `seen` it returns
/// when whoever starts containers sees the image under each. Returns all names, the own ones first.
pub async fn tag<S: ImageStore>(
    store: &S,
    lease: &S::Lease,
    target: &Descriptor,
    names: &Names,
    seen: bool,
    meter: &Meter,
) -> Result<Vec<String>, StoreError> {
    for name in &names.own {
        store.put_image(lease, &record(name, target)).await?;
        meter.step();
    }
    let mut extra = Vec::new();
    for name in &names.extra {
        let put = store.put_image(lease, &record(name, target)).await;
        if is_done(name, put)? {
            extra.push(name);
            meter.step();
        }
    }
    if seen {
        for name in &names.own {
            store.seen_by_runtime(&record(name, target)).await?;
            meter.step();
        }
        for name in extra {
            let seen = store.seen_by_runtime(&record(name, target)).await;
            if is_done(name, seen)? {
                meter.step();
            }
        }
    }
    Ok(names.iter().map(Reference::to_string).collect())
}

/// Whether something was done for an extra name. Fails where nothing else can be done either.
fn is_done(name: &Reference, done: Result<(), StoreError>) -> Result<bool, StoreError> {
    match done {
        Ok(()) => Ok(true),
        Err(error @ (StoreError::Unreachable { .. } | StoreError::NoSpace { .. })) => Err(error),
        Err(error) => {
            warn!(
                image = %name, %error,
                "not named {name}: {error}; tried again with the next rescan"
            );
            Ok(false)
        }
    }
}

/// The records that [`tag`] writes for an image that points to `target`.
pub fn records(target: &Descriptor, names: &Names) -> impl Iterator<Item = Image> {
    names.iter().map(|name| record(name, target))
}

fn record(name: &Reference, target: &Descriptor) -> Image {
    let pins = [RUNTIME_PIN, OWN_PIN].map(|(key, value)| (key.to_owned(), value.to_owned()));
    Image {
        name: name.to_string(),
        target: target.clone(),
        labels: Labels::from(pins),
    }
}
