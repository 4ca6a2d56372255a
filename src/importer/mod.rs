//! THE verb: one archive goes into the store.
//!
//! ```text
//!   plain       archive.index ---> Catalogue -> resolve -> are they there? yes: nothing to do
//!                                                           no: bodies, several at once -----+
//!   compressed  archive.stream --> bodies, as they come -> Catalogue -> resolve -------------+
//!                                                                                            |
//!                 per image that is whole:  manifests and indexes, children first  <---------+
//!                                           labels of what was there
//!                                           names, pinned                seen by the runtime
//! ```
//!
//! One lease spans all of it, so that nothing is collected between the first blob and the last
//! name, and everything is when the import fails. Memory: the archive's catalogue (bounded by
//! [`crate::archive::limits`]) and, for each body on its way, a chunk.

mod bodies;
mod documents;
mod labels;
mod passage;
mod streamed;
mod there;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::sync::Arc;

use tracing::{info, warn};

use crate::archive::catalogue::Catalogue;
use crate::archive::problem::LayoutError;
use crate::archive::resolve::{ArchiveImage, Lookup, Resolution, Source, resolve};
use crate::archive::{Archive, ArchiveError, Compression, limits};
use crate::digest::Digest;
use crate::entry::{Entry, Identity, shown};
use crate::image_store::{ImageStore, StoreError};
use crate::ledger::ImportedImage;
use crate::naming::{Named, Names, Reference, Shared};
use crate::platform::{Platform, Wanted};
use crate::progress::Meter;
use crate::shown::first_few;
use crate::tagging::{self, tag};

use bodies::{Body, BodyError};
use labels::BlobLabels;
use passage::Waiter;

/// How many names that images of one archive do not get are told, each in a line.
const UNNAMED_MAX: usize = 20;

/// The settings that shape what an entry brings.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// Which platforms of an image are imported.
    pub wanted: &'a Wanted,
    /// Images are also named as if they came from these.
    pub extra_registries: &'a [String],
}

/// What came of an import that was carried through.
#[derive(Debug)]
pub struct ImportReport {
    /// The images that are in the store under their names now.
    pub images: Vec<ImportedImage>,
    /// Why others of the archive are not, a line each: the first few, and how many more there are.
    pub problems: Vec<String>,
    /// Which version of the file was read.
    pub identity: Identity,
}

/// Why an import was not carried through. Nothing of the archive has been named.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be opened or looked at.
    #[error("cannot be opened: {0}")]
    Open(#[from] io::Error),
    /// The archive cannot be read to its end.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The archive was read, but holds nothing to import.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file is not the one that was to be imported, or is it no longer.
    #[error("changed while it was read")]
    Changed,
}

impl ImportError {
    /// Whether it says nothing about the archive: the store is away, and the import is to be done
    /// when it is back.
    pub fn is_store_away(&self) -> bool {
        matches!(self, Self::Store(StoreError::Unreachable { .. }))
    }
}

/// Imports what the rules want of an archive. `meter` counts up to the length of the file.
///
/// A file that is not, or no longer, the version that `entry` tells is [`ImportError::Changed`]
/// before it is anything else: whatever was found wrong may be of two versions at once.
///
/// Where two archives have one name, the last writer has it: imports that run at the same time race
/// for it, and both succeed.
pub async fn import<S: ImageStore>(
    store: &S,
    entry: &Entry,
    rules: Rules<'_>,
    meter: Meter,
) -> Result<ImportReport, ImportError> {
    match attempt(store, entry, rules, meter).await {
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

async fn attempt<S: ImageStore>(
    store: &S,
    entry: &Entry,
    rules: Rules<'_>,
    meter: Meter,
) -> Result<ImportReport, ImportError> {
    let opened = entry.path.clone();
    let metered = meter.clone();
    let archive = blocking(move || Archive::open(&opened, metered)).await?;
    let still_wanted = passage::Wanted::default();
    let archive = Arc::new(archive.stopped_by(Arc::clone(&still_wanted.stop)));
    let name = shown(&entry.path);
    let lease = store.begin_lease(&name).await?;
    let import = Import {
        store,
        name: &name,
        lease: &lease,
        archive: &archive,
        meter: &meter,
        waiter: Waiter::new(&still_wanted),
        rules,
        identity: entry.identity,
    };
    let imported = match import.run().await {
        // What an earlier import had left of a blob was not what it should have been, and cost
        // this one the blob. It is gone now. Or it went because another import had no room for it.
        Err(ImportError::Store(StoreError::Mismatch { .. } | StoreError::Removed { .. })) => {
            meter.rewind();
            import.run().await
        }
        other => other,
    };
    let released = match &imported {
        Ok(report) if report.problems.is_empty() => store.release(lease).await,
        // There is nobody to collect anything.
        Err(error) if error.is_store_away() => store.release(lease).await,
        // What it has stored and not named could keep the next archive out of a full disk, and
        // containerd is in no hurry by itself.
        _ => store.release_and_collect(lease).await,
    };
    if let Err(error) = released {
        warn!(%error, "lease not released, it expires by itself: {error}");
    }
    imported
}

struct Import<'a, S: ImageStore> {
    store: &'a S,
    name: &'a str,
    lease: &'a S::Lease,
    archive: &'a Arc<Archive>,
    meter: &'a Meter,
    waiter: Waiter,
    rules: Rules<'a>,
    identity: Identity,
}

impl<S: ImageStore> Import<'_, S> {
    async fn run(&self) -> Result<ImportReport, ImportError> {
        self.check_identity()?;
        let streamed = self.archive.compression() != Compression::Plain;
        let archive = Arc::clone(self.archive);
        let (catalogue, there) = if streamed {
            streamed::receive(
                self.store,
                self.lease,
                archive,
                self.meter,
                self.waiter.clone(),
            )
            .await?
        } else {
            (blocking(move || archive.index()).await?, HashSet::new())
        };
        let Resolution {
            images,
            problems,
            claimed,
            notes,
            ..
        } = self.resolve(&catalogue).await?;
        for note in notes {
            self.note(&note);
        }
        let names = self.names(&images, &claimed);
        let mut placed = HashSet::new();
        let labels = BlobLabels::new(&images, &names);
        let are_there = !streamed && there::are_there(self.store, &images, &names, &labels).await?;
        let failed = if are_there {
            self.pass_over(&catalogue, &images);
            HashMap::new()
        } else {
            self.send_bodies(&catalogue, &images, streamed, &there, &labels)
                .await?
        };
        // From here on images get names: those of this version of the file, or none.
        self.check_identity()?;

        let mut report = ImportReport {
            images: Vec::new(),
            problems: problems.iter().map(ToString::to_string).collect(),
            identity: self.identity,
        };
        for (image, names) in images.iter().zip(&names) {
            let broken = image
                .blobs
                .iter()
                .find_map(|blob| failed.get(&blob.descriptor.digest));
            let outcome = match broken {
                Some(error) => Err(Unplaced::Body(error)),
                None if are_there => self.see(image, names).await.map_err(Unplaced::Store),
                None => self
                    .place(&catalogue, image, names, &labels, &mut placed)
                    .await
                    .map_err(Unplaced::Store),
            };
            match outcome {
                Ok(image) => report.images.push(image),
                Err(Unplaced::Store(away @ StoreError::Unreachable { .. })) => {
                    return Err(away.into());
                }
                Err(error) => report.problems.push(format!("{}: {error}", image.names[0])),
            }
        }
        first_few(&mut report.problems);
        Ok(report)
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

    /// Finds the images, with the help of manifests that only the store has.
    async fn resolve(&self, catalogue: &Catalogue) -> Result<Resolution, ImportError> {
        let mut lookup = Lookup::default();
        loop {
            let resolution = resolve(catalogue, &lookup, self.rules.wanted, Platform::host())?;
            // Each round asks for what no round has asked for: it ends.
            if resolution.missing_documents.is_empty() {
                return Ok(resolution);
            }
            for digest in resolution.missing_documents {
                match self.store.read_blob(&digest, limits::DOCUMENT_MAX).await? {
                    Some(document) => lookup.found.insert(digest, document).is_none(),
                    None => lookup.absent.insert(digest),
                };
            }
        }
    }

    /// Sees to it that the store has every body that the images need; says which it cannot have.
    async fn send_bodies(
        &self,
        catalogue: &Catalogue,
        images: &[ArchiveImage],
        streamed: bool,
        there: &HashSet<Digest>,
        labels: &BlobLabels<'_>,
    ) -> Result<HashMap<Digest, BodyError>, StoreError> {
        let mut needed = BTreeMap::new();
        for blob in images.iter().flat_map(|image| &image.blobs) {
            let digest = blob.descriptor.digest.clone();
            if there.contains(&digest) {
                continue;
            }
            let body = match &blob.source {
                Source::Document(_) => continue,
                Source::Store => Body::InStore,
                Source::Member(path) => match catalogue.file(path) {
                    Some((_, file)) if documents::at_hand(file).is_some() => continue,
                    Some((path, file)) if !streamed => {
                        Body::InArchive(path.to_owned(), file.clone())
                    }
                    _ => Body::InStore,
                },
            };
            needed.insert(digest, (blob.descriptor.size, body));
        }
        let Self {
            store,
            lease,
            archive,
            meter,
            waiter,
            ..
        } = self;
        bodies::send(*store, lease, archive, meter, waiter, needed, labels).await
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
                    documents::put(self.store, self.lease, digest, labels, document).await?;
                }
                // It may have been there, or have come before its labels were known.
                None => self.store.label_blob(digest, labels).await?,
            }
            placed.insert(digest);
            self.meter.step();
        }
        let (target, seen) = (&image.target, image.runs_on_host);
        let names = tag(self.store, self.lease, target, names, seen, self.meter).await?;
        Ok(ImportedImage {
            names,
            digest: target.digest.clone(),
        })
    }

    /// Waits until the runtime sees an image that has its names. None of them is written: should
    /// somebody have removed one since it was looked at, its blobs may be gone as well.
    async fn see(&self, image: &ArchiveImage, names: &Names) -> Result<ImportedImage, StoreError> {
        let records = tagging::records(&image.target, names).collect::<Vec<_>>();
        if image.runs_on_host {
            for record in &records {
                self.store.seen_by_runtime(record).await?;
                self.meter.step();
            }
        }
        Ok(ImportedImage {
            names: records.into_iter().map(|record| record.name).collect(),
            digest: image.target.digest.clone(),
        })
    }

    /// Counts the bodies that need not be read.
    fn pass_over(&self, catalogue: &Catalogue, images: &[ArchiveImage]) {
        let blobs = images.iter().flat_map(|image| &image.blobs);
        let paths = blobs.filter_map(|blob| match &blob.source {
            Source::Member(path) => catalogue.file(path),
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

/// Why an image was not placed.
#[derive(Debug, thiserror::Error)]
enum Unplaced<'a> {
    #[error("{0}")]
    Body(&'a BodyError),
    #[error(transparent)]
    Store(StoreError),
}

/// Runs what blocks where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down: nobody is left to hear an answer.
            Err(_) => std::future::pending().await,
        },
    }
}
