//! Imports archives that are in no images directory, and unpacks their images.

use std::path::Path;

use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::entry::{Entry, Identity, Kind};
use crate::image_store::{Image, ImageStore, StoreError};
use crate::importer::{ImportError, ImportReport, ImportRules, Reservations, import};
use crate::ledger::{ImportedImage, NamesOfLater};
use crate::platform::Wanted;
use crate::progress::Meter;
use crate::told::Told;

use super::unpacking::unpack;

/// Imports one archive after the other into a store whose owner is the operator.
pub struct OperatorImport<S> {
    store: S,
    wanted: Wanted,
    extra_registries: Vec<String>,
    reservations: Reservations,
    told: Told,
}

/// What came of one archive.
#[derive(Debug, Default)]
pub struct ImportedFile {
    /// The images that are in the store under their names.
    pub images: Vec<ImportedImage>,
    /// How many of them are unpacked.
    pub unpacked: usize,
    /// Why something of it is not as it should be, a line each.
    pub problems: Vec<String>,
    /// What is worth knowing although nothing failed.
    pub notes: Vec<String>,
}

impl<S: ImageStore> OperatorImport<S> {
    /// Imports into `store` what is wanted, with these further registries in its names.
    pub fn new(store: S, wanted: Wanted, extra_registries: Vec<String>) -> Self {
        Self {
            store,
            wanted,
            extra_registries,
            reservations: Reservations::default(),
            told: Told::default(),
        }
    }

    /// Imports the archive. `meter` counts its bytes, up to the length of the file. Cancelling `stop` ends
    /// it soon, as [`ImportError::Changed`].
    pub async fn archive(
        &self,
        path: &Path,
        meter: &Meter,
        stop: &CancellationToken,
    ) -> Result<ImportedFile, ImportError> {
        let looked = path.to_owned();
        let metadata = blocking(move || std::fs::metadata(looked)).await?;
        let entry = Entry {
            path: path.to_owned(),
            kind: Kind::Archive,
            identity: Identity::of(&metadata),
        };
        let rules = ImportRules {
            reservations: &self.reservations,
            told: &self.told,
            wanted: &self.wanted,
            extra_registries: &self.extra_registries,
            later: &NamesOfLater::new(),
        };
        let ImportReport {
            images, problems, ..
        } = import(&self.store, &entry, rules, meter.clone(), stop).await?;
        let mut imported = ImportedFile {
            images,
            problems,
            ..ImportedFile::default()
        };
        self.check_names(&mut imported).await?;
        Ok(imported)
    }

    /// An instance that brings another image under a name keeps it: that is a problem here, and the name is
    /// none of the image's. Of one that brings the same image the pin is the instance's.
    async fn check_names(&self, imported: &mut ImportedFile) -> Result<(), StoreError> {
        let (problems, notes) = (&mut imported.problems, &mut imported.notes);
        for image in &mut imported.images {
            for name in std::mem::take(&mut image.names) {
                let Some(Image { target, labels, .. }) = self.store.image(&name).await? else {
                    problems.push(format!("{name}: another client has deleted it meanwhile"));
                    continue;
                };
                let other = self.store.owner().another(|label| labels.get(label));
                if target.digest == image.digest {
                    notes.extend(other.filter(|_| !name.contains('@')).map(|owner| {
                        format!(
                            "{name} is pinned by the instance {owner}: it stays as long as there"
                        )
                    }));
                    image.names.push(name);
                } else {
                    let holder = other.map_or("another client has moved it".to_owned(), |owner| {
                        format!("the instance {owner} has pinned it")
                    });
                    let is = &target.digest;
                    problems.push(format!("{name}: left as it is ({is}): {holder}"));
                }
            }
        }
        imported.images.retain(|image| !image.names.is_empty());
        Ok(())
    }

    /// Unpacks an image of an archive that is imported.
    pub async fn unpack(&self, image: &ImportedImage, imported: &mut ImportedFile) {
        match unpack(&self.store, image).await {
            Ok(is_unpacked) => imported.unpacked += usize::from(is_unpacked),
            Err(problem) => imported.problems.push(problem),
        }
    }
}
