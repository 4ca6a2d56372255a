//! Puts an image into the store, whether an archive or a list brings it.
//!
//! ```text
//!   archive_images | line_image   which names each image of the source gets
//!         -> DesiredImage         what the image is to be: its target, its names, seen by the runtime
//!         -> Admission            under the lease of a LeasedStore:
//!              blobs of an archive: documents are written, children first; the rest is labelled
//!              blobs of a pull:     labelled as far as the store has them
//!              names:               image records with pins, the own names first
//!              seen by the runtime, where it can run the image
//! ```
//!
//! An image's own names are what an import or a pull is for: each of them must be there. A name that an
//! image gets for the sake of an extra registry is worth a warning where it cannot be put. It counts as
//! one of the image's names all the same, so that the next listing finds it missing and brings it.

mod archive_labels;
mod desired;
mod leased_store;
mod names;
mod source_labels;
mod up_to_date;

use std::collections::HashSet;

use crate::digest::Digest;
use crate::happened::Happened;
use crate::image_store::{ImageStore, StoreError};
use crate::ledger::ImportedImage;
use crate::naming::Reference;
use crate::progress::Meter;
use crate::reporter::report;

pub(crate) use archive_labels::ArchiveLabels;
pub(crate) use desired::DesiredImage;
pub(crate) use leased_store::LeasedStore;
pub(crate) use names::{archive_images, line_image, line_names};
pub(crate) use up_to_date::is_up_to_date;

/// Makes images what they are to be, under one lease.
pub(crate) struct Admission<'a, S: ImageStore> {
    pub(crate) leased: &'a LeasedStore<S>,
    /// Counts a step for each blob, name and answer of the runtime.
    pub(crate) meter: &'a Meter,
}

impl<S: ImageStore> Admission<'_, S> {
    /// Writes the blobs of an image of an archive whose bytes are given, and labels the others, which
    /// the store has. `placed` are the blobs of other images that are done with.
    pub(crate) async fn put_blobs<'i>(
        &self,
        blobs: impl Iterator<Item = (&'i Digest, Option<&[u8]>)> + Send,
        labels: &ArchiveLabels<'_>,
        placed: &mut HashSet<&'i Digest>,
    ) -> Result<(), StoreError> {
        for (digest, document) in blobs {
            if placed.contains(digest) {
                continue;
            }
            let labels = labels.of(digest);
            match document {
                Some(document) => self.leased.put_document(digest, labels, document).await?,
                // It may have been there, or have come before its labels were known.
                None => self.leased.store.label_blob(digest, labels).await?,
            }
            placed.insert(digest);
            self.meter.step();
        }
        Ok(())
    }

    /// Labels the blobs of an image that the store has pulled with the extra registries they can be
    /// had from.
    pub(crate) async fn label_pulled(&self, image: &DesiredImage) -> Result<(), StoreError> {
        let LeasedStore { store, lease, .. } = self.leased;
        source_labels::label(store, lease, &image.target, &image.source_labels()).await
    }

    /// Points the names to the image, whose blobs are in the store, and pins them. Returns when the
    /// runtime sees the image under each, if it can run it.
    pub(crate) async fn put_names(
        &self,
        image: &DesiredImage,
    ) -> Result<ImportedImage, StoreError> {
        let LeasedStore { store, lease, .. } = self.leased;
        let record = |name| image.record(name, store.owner());
        for name in &image.names.own {
            store.put_image(lease, &record(name)).await?;
            self.meter.step();
        }
        let mut extra = Vec::new();
        for name in &image.names.extra {
            let put = store.put_image(lease, &record(name)).await;
            if is_done(name, put)? {
                extra.push(name);
                self.meter.step();
            }
        }
        if image.runs_on_host {
            // The last one first: the runtime hears of names in the order in which they are put.
            for name in image.names.own.iter().rev() {
                store.seen_by_runtime(&record(name)).await?;
                self.meter.step();
            }
            for name in extra {
                let seen = store.seen_by_runtime(&record(name)).await;
                if is_done(name, seen)? {
                    self.meter.step();
                }
            }
        }
        Ok(image.imported())
    }

    /// Waits until the runtime sees an image that has its names. None of them is written: where a
    /// name was removed since it was looked at, its blobs may be gone as well.
    pub(crate) async fn see(&self, image: &DesiredImage) -> Result<ImportedImage, StoreError> {
        let store = &self.leased.store;
        if image.runs_on_host {
            for record in image.records(store.owner()) {
                store.seen_by_runtime(&record).await?;
                self.meter.step();
            }
        }
        Ok(image.imported())
    }
}

/// Whether something was done for an extra name. Fails where nothing else can be done either.
fn is_done(name: &Reference, done: Result<(), StoreError>) -> Result<bool, StoreError> {
    match done {
        Ok(()) => Ok(true),
        Err(error @ (StoreError::Unreachable { .. } | StoreError::NoSpace { .. })) => Err(error),
        Err(error) => {
            report(Happened::NotNamed {
                image: name.to_string(),
                error: format!("{error}; tried again with the next rescan"),
            });
            Ok(false)
        }
    }
}
