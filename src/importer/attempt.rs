//! One attempt at an import, from the open archive to the names of its images.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::admit::{Admission, ArchiveLabels, LeasedStore, archive_images, is_up_to_date};
use crate::blocking::blocking;
use crate::digest::Digest;
use crate::entry::Identity;
use crate::entry_file::is_version;
use crate::happened::Happened;
use crate::image_store::{BlobWay, ImageStore, StoreError};
use crate::layout::{
    ArchiveImage, BlobSource, Catalogue, Fault, ImageProblem, Note, Resolution, ResolveError,
    resolve,
};
use crate::ledger::FailureClass;
use crate::platform::Platform;
use crate::progress::Meter;
use crate::reporter::report;
use crate::tar::{ArchiveError, OpenArchive, PlainArchive};

use super::blocking_bridge::{WaitError, Waiter};
use super::bodies::{BodyError, BodyOrigin, BodySender};
use super::report::{ImportError, ImportReport, ImportRules};
use super::space::{BodyToWrite, Space};
use super::store_documents::StoreDocuments;
use super::{documents, streamed};

/// What one import works with.
pub(super) struct ArchiveImport<'a, S: ImageStore> {
    /// What messages call the archive.
    pub(super) name: &'a str,
    /// The version of the file that is to be imported.
    pub(super) identity: Identity,
    pub(super) rules: ImportRules<'a>,
    pub(super) archive: OpenArchive,
    pub(super) leased: LeasedStore<S>,
    pub(super) space: Space<S>,
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
        self.check_identity().await?;
        self.space.own().clear();
        let ListedArchive {
            catalogue,
            plain,
            sent,
        } = self.list().await?;
        let (catalogue, resolution) = self.resolve(catalogue).await?;
        check_end(&catalogue, || first_lacking(&resolution))?;
        let told = self.rules.told;
        let is_news = |note: &&Note| told.is_news(self.name, self.identity, note.to_string(), "");
        for note in resolution.notes.iter().filter(is_news) {
            report(Happened::Noted {
                entry: self.name.to_owned(),
                note: note.clone(),
            });
        }
        let mut desired = archive_images(self.name, &resolution, self.rules.extra_registries);
        for image in &mut desired {
            image.leave(&self.leased.store, self.rules.later).await?;
        }
        let Resolution {
            images, problems, ..
        } = resolution;
        let labels = ArchiveLabels::new(&images, &desired);
        let is_up_to_date = plain.is_some()
            && is_up_to_date(&self.leased.store, &images, &desired, &labels).await?;
        let failed = if is_up_to_date {
            self.count_unread(&catalogue, &images);
            HashMap::new()
        } else {
            let needed = needed_bodies(&catalogue, &images, plain.as_ref(), &sent);
            self.reserve(&needed).await?;
            let sender = BodySender {
                leased: self.leased.clone(),
                reservation: Arc::clone(self.space.own()),
                meter: self.meter.clone(),
                waiter: self.waiter.clone(),
            };
            sender.send_all(needed, &labels).await?
        };
        check_end(&catalogue, || {
            failed.values().next().map(ToString::to_string)
        })?;
        // Checked again before images get names: a file that has changed must give none, nor an import
        // that was given up half way.
        self.check_identity().await?;

        let mut report = ImportReport {
            images: Vec::new(),
            problems: problems.iter().map(ToString::to_string).collect(),
            class: problems.iter().map(class_of).max().unwrap_or_default(),
            identity: self.identity,
        };
        let admission = Admission {
            leased: &self.leased,
            meter: &self.meter,
        };
        let (mut placed, mut whole) = (HashSet::new(), Vec::new());
        for image in &images {
            let mut blobs = image.blobs.iter();
            let broken = blobs.find_map(|blob| failed.get(&blob.descriptor.digest));
            whole.push(match broken {
                Some(error) => Err(PlaceError::Body(error)),
                None if is_up_to_date => Ok(()),
                None => {
                    let blobs = image.blobs.iter();
                    let blobs = blobs
                        .map(|blob| (&blob.descriptor.digest, documents::of(&catalogue, blob)));
                    let put = admission.put_blobs(blobs, &labels, &mut placed).await;
                    put.map_err(PlaceError::Store)
                }
            });
        }
        // Also where this import wrote nothing: another one may have, and not have come here yet.
        if !is_up_to_date && whole.iter().any(Result::is_ok) {
            self.leased.store.sync().await?;
        }
        for ((image, desired), whole) in images.iter().zip(&desired).zip(whole) {
            let outcome = match whole {
                Err(error) => Err(error),
                Ok(()) if is_up_to_date => admission.see(desired).await.map_err(PlaceError::Store),
                Ok(()) => admission
                    .put_names(desired)
                    .await
                    .map_err(PlaceError::Store),
            };
            match outcome {
                Ok(placed) => report.add(placed, image.needed()),
                Err(PlaceError::Store(error @ StoreError::Collected { .. })) => {
                    return Err(error.into());
                }
                Err(PlaceError::Store(away)) if away.is_away() => return Err(away.into()),
                Err(error) => {
                    let needs = self.space.own().needs();
                    report.class = report.class.max(error.class(needs));
                    report.problems.push(format!("{}: {error}", image.names[0]));
                }
            }
        }
        Ok(report)
    }

    /// Reserves space for the bodies that are read from the archive.
    async fn reserve(
        &self,
        needed: &BTreeMap<Digest, (u64, BodyOrigin)>,
    ) -> Result<(), ImportError> {
        let read = needed.iter();
        let read = read.filter(|(_, (_, origin))| matches!(origin, BodyOrigin::Archive(..)));
        let read = read.map(|(digest, (size, _))| BodyToWrite::known(digest, *size));
        let reserved = self.space.reserve(read.collect(), &self.waiter);
        reserved.await.map_err(|error| match error {
            WaitError::Store(error) => error.into(),
            WaitError::Abandoned => ImportError::Changed,
        })
    }

    /// Lists the archive. Sends the bodies of a compressed one at the same time.
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
                let received = streamed::receive(&self.space, archive, &self.meter, waiter);
                let (catalogue, sent) = received.await?;
                Ok(ListedArchive {
                    catalogue,
                    plain: None,
                    sent,
                })
            }
        }
    }

    /// Fails where the import was given up, or the open file is not the version that is to be imported.
    async fn check_identity(&self) -> Result<(), ImportError> {
        if self.waiter.is_abandoned() {
            return Err(ImportError::Changed);
        }
        let archive = self.archive.clone();
        let look = move || archive.file().metadata();
        match is_version(self.identity, &self.meter, look).await? {
            true => Ok(()),
            false => Err(ImportError::Changed),
        }
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
            ResolveError::Layout(error) => {
                let ended = check_end(&catalogue, || Some(error.to_string()));
                ended.err().unwrap_or_else(|| error.into())
            }
            ResolveError::Source(WaitError::Store(error)) => error.into(),
            // No caller sees this: the import was given up, which is told instead, or dropped.
            ResolveError::Source(WaitError::Abandoned) => ArchiveError::Stopped.into(),
        })?;
        Ok((catalogue, resolution))
    }

    /// Counts the bodies that need not be read, and the blobs that are there.
    fn count_unread(&self, catalogue: &Catalogue, images: &[ArchiveImage]) {
        let blobs = images.iter().flat_map(|image| &image.blobs);
        let paths = blobs.filter_map(|blob| match &blob.source {
            BlobSource::Member(path) => catalogue.file(path),
            _ => None,
        });
        let bodies = paths.filter(|(_, file)| documents::in_memory(file).is_none());
        // Images share them.
        let bodies = bodies.map(|(path, file)| (path, file.size));
        for size in bodies.collect::<BTreeMap<_, _>>().into_values() {
            self.meter.add(size);
        }
        let blobs = images.iter().flat_map(|image| &image.blobs);
        let blobs = blobs.map(|blob| (&blob.descriptor.digest, blob.descriptor.size));
        let tally = self.leased.store.tally();
        for size in blobs.collect::<BTreeMap<_, _>>().into_values() {
            tally.count(BlobWay::Present, size);
        }
    }
}

/// An archive that ends behind a member, without its end marker, may have been cut there. It counts as
/// whole when it has all that it lists for the images that are wanted: fails where something is
/// `lacking`.
pub(super) fn check_end(
    catalogue: &Catalogue,
    lacking: impl FnOnce() -> Option<String>,
) -> Result<(), ImportError> {
    let lacking = catalogue.unmarked_end.map(|offset| (offset, lacking()));
    match lacking {
        Some((offset, Some(lacking))) => Err(ArchiveError::NoEndMarker { offset, lacking }.into()),
        _ => Ok(()),
    }
}

/// The first thing that the images need and the archive itself does not have as it must be.
pub(super) fn first_lacking(resolution: &Resolution) -> Option<String> {
    let blobs = resolution.images.iter().flat_map(|image| &image.blobs);
    let mut elsewhere = blobs.filter(|blob| matches!(blob.source, BlobSource::Store(_)));
    let problem = resolution.problems.first().map(ToString::to_string);
    problem.or_else(|| {
        let digest = &elsewhere.next()?.descriptor.digest;
        Some(format!("blob {digest} is not in the archive"))
    })
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
            BlobSource::Store(link) => BodyOrigin::Store(link.clone()),
            BlobSource::Member(path) => match (catalogue.file(path), plain) {
                (Some((_, file)), _) if documents::in_memory(file).is_some() => continue,
                (Some((path, file)), Some(archive)) => {
                    BodyOrigin::Archive(archive.clone(), path.to_owned(), file.clone())
                }
                _ => BodyOrigin::Store(None),
            },
        };
        needed.insert(digest, (blob.descriptor.size, origin));
    }
    needed
}

#[derive(Debug, thiserror::Error)]
enum PlaceError<'a> {
    #[error("{0}")]
    Body(&'a BodyError),
    #[error(transparent)]
    Store(StoreError),
}

impl PlaceError<'_> {
    /// When another try makes sense of an import that has so many bytes to write.
    fn class(&self, needs: u64) -> FailureClass {
        match self {
            Self::Store(StoreError::NoSpace { .. }) => FailureClass::NoSpace { needs },
            Self::Body(BodyError::Missing { .. }) => FailureClass::MissingBlob,
            Self::Body(BodyError::Corrupt { .. } | BodyError::OtherLength { .. }) => {
                FailureClass::Content
            }
            Self::Body(BodyError::Unreadable { .. }) | Self::Store(_) => FailureClass::Environment,
        }
    }
}

/// When another try makes sense after a problem of an image.
fn class_of(problem: &ImageProblem) -> FailureClass {
    match problem.fault {
        Fault::MissingBlob { .. } | Fault::MissingLayer { .. } | Fault::LayerLeftOut { .. } => {
            FailureClass::MissingBlob
        }
        _ => FailureClass::Content,
    }
}
