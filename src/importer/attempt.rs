//! One attempt at an import, from the open archive to the names of its images.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use tracing::{info, warn};

use crate::blocking::blocking;
use crate::digest::Digest;
use crate::entry::Identity;
use crate::image_store::{ImageStore, StoreError};
use crate::layout::{
    ArchiveImage, BlobSource, Catalogue, Fault, ImageProblem, Resolution, ResolveError, resolve,
};
use crate::ledger::{FailureClass, ImportedImage};
use crate::naming::{Named, Names, Reference, Shared};
use crate::platform::Platform;
use crate::progress::Meter;
use crate::shown::first_few;
use crate::tagging::{self, tag};
use crate::tar::{ArchiveError, OpenArchive, PlainArchive};

use super::blocking_bridge::{WaitError, Waiter};
use super::bodies::{BodyError, BodyOrigin, BodySender};
use super::labels::BlobLabels;
use super::leased_store::LeasedStore;
use super::report::{ImportError, ImportReport, Rules};
use super::store_documents::StoreDocuments;
use super::{documents, streamed, up_to_date};

/// How many names that images of one archive do not get are told, each in a line.
const UNNAMED_MAX: usize = 20;

/// What one import works with.
pub(super) struct ArchiveImport<'a, S: ImageStore> {
    /// What messages call the archive.
    pub(super) name: &'a str,
    /// The version of the file that is to be imported.
    pub(super) identity: Identity,
    pub(super) rules: Rules<'a>,
    pub(super) archive: OpenArchive,
    pub(super) leased: LeasedStore<S>,
    pub(super) meter: Meter,
    pub(super) waiter: Waiter,
}

/// What an archive holds, and what of it is sent already.
struct ListedArchive {
    catalogue: Catalogue,
    /// The plain archive that bodies can still be read from.
    plain: Option<PlainArchive>,
    /// Blobs that were sent while the archive was listed.
    sent: HashSet<Digest>,
}

impl<S: ImageStore> ArchiveImport<'_, S> {
    /// Imports what can be imported.
    pub(super) async fn run(&self) -> Result<ImportReport, ImportError> {
        self.check_identity()?;
        let ListedArchive {
            catalogue,
            plain,
            sent,
        } = self.list().await?;
        let (catalogue, resolution) = self.resolve(catalogue).await?;
        let Resolution {
            images,
            problems,
            claimed,
            notes,
        } = resolution;
        for note in notes {
            self.note(&note);
        }
        let names = self.names(&images, &claimed);
        let mut placed = HashSet::new();
        let labels = BlobLabels::new(&images, &names);
        let is_up_to_date = plain.is_some()
            && up_to_date::is_up_to_date(&self.leased.store, &images, &names, &labels).await?;
        let failed = if is_up_to_date {
            self.count_unread(&catalogue, &images);
            HashMap::new()
        } else {
            let needed = needed_bodies(&catalogue, &images, plain.as_ref(), &sent);
            let sender = BodySender {
                leased: self.leased.clone(),
                meter: self.meter.clone(),
                waiter: self.waiter.clone(),
            };
            sender.send_all(needed, &labels).await?
        };
        // From here on images get names: those of this version of the file, or none.
        self.check_identity()?;

        let mut report = ImportReport {
            images: Vec::new(),
            problems: problems.iter().map(ToString::to_string).collect(),
            class: problems.iter().map(class_of).max().unwrap_or_default(),
            identity: self.identity,
        };
        for (image, names) in images.iter().zip(&names) {
            let broken = image
                .blobs
                .iter()
                .find_map(|blob| failed.get(&blob.descriptor.digest));
            let outcome = match broken {
                Some(error) => Err(PlaceError::Body(error)),
                None if is_up_to_date => self.see(image, names).await.map_err(PlaceError::Store),
                None => self
                    .place(&catalogue, image, names, &labels, &mut placed)
                    .await
                    .map_err(PlaceError::Store),
            };
            match outcome {
                Ok(image) => report.images.push(image),
                Err(PlaceError::Store(away @ StoreError::Unreachable { .. })) => {
                    return Err(away.into());
                }
                Err(error) => {
                    report.class = report.class.max(error.class());
                    report.problems.push(format!("{}: {error}", image.names[0]));
                }
            }
        }
        first_few(&mut report.problems);
        Ok(report)
    }

    /// Lists the archive; of a compressed one, sends its bodies on the way.
    async fn list(&self) -> Result<ListedArchive, ImportError> {
        match &self.archive {
            OpenArchive::Plain(archive) => {
                let listed = archive.clone();
                Ok(ListedArchive {
                    catalogue: blocking(move || listed.index()).await?,
                    plain: Some(archive.clone()),
                    sent: HashSet::new(),
                })
            }
            OpenArchive::Compressed(archive) => {
                let (archive, waiter) = (archive.clone(), self.waiter.clone());
                let received = streamed::receive(&self.leased, archive, &self.meter, waiter);
                let (catalogue, sent) = received.await?;
                Ok(ListedArchive {
                    catalogue,
                    plain: None,
                    sent,
                })
            }
        }
    }

    /// Fails where the open file is not the version that is to be imported.
    fn check_identity(&self) -> Result<(), ImportError> {
        let metadata = self.archive.file().metadata()?;
        if Identity::of(&metadata) == self.identity {
            Ok(())
        } else {
            Err(ImportError::Changed)
        }
    }

    /// Which image gets which names.
    fn names(&self, images: &[ArchiveImage], claimed: &BTreeSet<Reference>) -> Vec<Names> {
        let named = images.iter().map(|image| Named {
            names: &image.names,
            digest: &image.target.digest,
            runs_on_host: image.runs_on_host,
        });
        let named = named.collect::<Vec<_>>();
        let Shared {
            images,
            refused,
            notes,
        } = Shared::among(&named, claimed, self.rules.extra_registries);
        for error in refused.iter().take(UNNAMED_MAX) {
            let (entry, image) = (self.name, error.text());
            warn!(entry, image, %error, "not named {image}: {}", error.rule());
        }
        for note in notes.iter().take(UNNAMED_MAX) {
            self.note(note);
        }
        images
    }

    fn note(&self, note: &str) {
        let name = self.name;
        info!(entry = name, "{name}: {note}");
    }

    /// Finds the images, with the help of documents that only the store has. There may be megabytes of
    /// JSON to hash and to parse, so that it is done on a thread that may block.
    async fn resolve(&self, catalogue: Catalogue) -> Result<(Catalogue, Resolution), ImportError> {
        let documents = StoreDocuments {
            store: self.leased.store.clone(),
            waiter: self.waiter.clone(),
        };
        let wanted = self.rules.wanted.clone();
        let (catalogue, resolution) = blocking(move || {
            let resolution = resolve(&catalogue, &documents, &wanted, Platform::host());
            (catalogue, resolution)
        })
        .await;
        let resolution = resolution.map_err(|error| match error {
            ResolveError::Layout(error) => ImportError::from(error),
            ResolveError::Source(WaitError::Store(error)) => error.into(),
            // The import was dropped: its result goes nowhere.
            ResolveError::Source(WaitError::Abandoned) => ArchiveError::Stopped.into(),
        })?;
        Ok((catalogue, resolution))
    }

    /// Writes an image's documents, labels what was there already, and gives the image its names.
    /// `placed` are the blobs that are done with.
    async fn place<'i>(
        &self,
        catalogue: &Catalogue,
        image: &'i ArchiveImage,
        names: &Names,
        labels: &BlobLabels<'_>,
        placed: &mut HashSet<&'i Digest>,
    ) -> Result<ImportedImage, StoreError> {
        for blob in &image.blobs {
            let digest = &blob.descriptor.digest;
            if placed.contains(digest) {
                continue;
            }
            let labels = labels.of(digest);
            match documents::of(catalogue, blob) {
                Some(document) => {
                    documents::put(&self.leased, digest, labels, document).await?;
                }
                // It may have been there, or have come before its labels were known.
                None => self.leased.store.label_blob(digest, labels).await?,
            }
            placed.insert(digest);
            self.meter.step();
        }
        let LeasedStore { store, lease, .. } = &self.leased;
        let (target, seen) = (&image.target, image.runs_on_host);
        let names = tag(store, lease, target, names, seen, &self.meter).await?;
        Ok(ImportedImage {
            names,
            digest: target.digest.clone(),
        })
    }

    /// Waits until the runtime sees an image that has its names. None of them is written: where a
    /// name was removed since it was looked at, its blobs may be gone as well.
    async fn see(&self, image: &ArchiveImage, names: &Names) -> Result<ImportedImage, StoreError> {
        let records = tagging::records(&image.target, names).collect::<Vec<_>>();
        if image.runs_on_host {
            for record in &records {
                self.leased.store.seen_by_runtime(record).await?;
                self.meter.step();
            }
        }
        Ok(ImportedImage {
            names: records.into_iter().map(|record| record.name).collect(),
            digest: image.target.digest.clone(),
        })
    }

    /// Counts the bodies that need not be read.
    fn count_unread(&self, catalogue: &Catalogue, images: &[ArchiveImage]) {
        let blobs = images.iter().flat_map(|image| &image.blobs);
        let paths = blobs.filter_map(|blob| match &blob.source {
            BlobSource::Member(path) => catalogue.file(path),
            _ => None,
        });
        let bodies = paths.filter(|(_, file)| documents::at_hand(file).is_none());
        // Images share them.
        let bodies = bodies.map(|(path, file)| (path, file.size));
        for size in bodies.collect::<BTreeMap<_, _>>().into_values() {
            self.meter.add(size);
        }
    }
}

/// The bodies that the store must get, or must have: those that are neither documents nor `sent`.
fn needed_bodies(
    catalogue: &Catalogue,
    images: &[ArchiveImage],
    plain: Option<&PlainArchive>,
    sent: &HashSet<Digest>,
) -> BTreeMap<Digest, (u64, BodyOrigin)> {
    let mut needed = BTreeMap::new();
    for blob in images.iter().flat_map(|image| &image.blobs) {
        let digest = blob.descriptor.digest.clone();
        if sent.contains(&digest) {
            continue;
        }
        let origin = match &blob.source {
            BlobSource::Document(_) => continue,
            BlobSource::Store => BodyOrigin::Store,
            BlobSource::Member(path) => match (catalogue.file(path), plain) {
                (Some((_, file)), _) if documents::at_hand(file).is_some() => continue,
                (Some((path, file)), Some(archive)) => {
                    BodyOrigin::Archive(archive.clone(), path.to_owned(), file.clone())
                }
                _ => BodyOrigin::Store,
            },
        };
        needed.insert(digest, (blob.descriptor.size, origin));
    }
    needed
}

/// Why an image was not placed.
#[derive(Debug, thiserror::Error)]
enum PlaceError<'a> {
    #[error("{0}")]
    Body(&'a BodyError),
    #[error(transparent)]
    Store(StoreError),
}

impl PlaceError<'_> {
    /// What it says about another try.
    fn class(&self) -> FailureClass {
        match self {
            Self::Body(BodyError::Missing { .. }) => FailureClass::MissingBlob,
            Self::Body(BodyError::Corrupt { .. }) => FailureClass::Content,
            Self::Body(BodyError::Unreadable { .. }) | Self::Store(_) => FailureClass::Environment,
        }
    }
}

/// What a problem of an image says about another try.
fn class_of(problem: &ImageProblem) -> FailureClass {
    match problem.fault {
        Fault::MissingBlob { .. } => FailureClass::MissingBlob,
        _ => FailureClass::Content,
    }
}
