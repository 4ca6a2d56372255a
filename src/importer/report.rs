//! What an import is asked for, and what it answers.

use std::collections::HashSet;
use std::io;

use crate::entry::Identity;
use crate::image_store::StoreError;
use crate::layout::LayoutError;
use crate::ledger::{FailureClass, ImportedImage};
use crate::needed_blob::{BlobDamage, BlobFaults, NeededBlob};
use crate::platform::Wanted;
use crate::tar::ArchiveError;
use crate::told::Told;

use super::reservations::Reservations;

/// The settings that shape what an entry brings.
#[derive(Debug, Clone, Copy)]
pub struct ImportRules<'a> {
    /// What imports at the same time reserve of the store's space.
    pub reservations: &'a Reservations,
    /// What was said of archives.
    pub told: &'a Told,
    /// Which platforms of an image are imported.
    pub wanted: &'a Wanted,
    /// Images are also named as if they came from these.
    pub extra_registries: &'a [String],
}

/// The result of an import that read the whole archive.
#[derive(Debug)]
pub struct ImportReport {
    /// The images that are in the store under their names now.
    pub images: Vec<ImportedImage>,
    /// Why others of the archive are not, a line each: of an import that is through the first few, and how
    /// many more there are.
    pub problems: Vec<String>,
    /// The class of the problem that is tried again the soonest.
    pub class: FailureClass,
    /// Which version of the file was read.
    pub identity: Identity,
}

impl ImportReport {
    /// The blobs of the images, each once.
    pub(super) fn needed_blobs(&self) -> Vec<NeededBlob> {
        let blobs = self.images.iter().flat_map(|image| &image.blobs);
        let blobs = blobs.collect::<HashSet<_>>();
        blobs.into_iter().cloned().collect()
    }

    /// Takes out the images whose blobs the store has lost since they were named.
    pub(super) fn leave_out(&mut self, lost: &BlobFaults) {
        let fault = |blob: &NeededBlob| lost.get(&blob.digest).copied();
        let damage = |image: &ImportedImage| {
            let (blob, fault) = image
                .blobs
                .iter()
                .find_map(|blob| Some((blob, fault(blob)?)))?;
            Some(BlobDamage {
                image: image.names.first().cloned().unwrap_or_default(),
                blob: blob.clone(),
                fault,
            })
        };
        self.images.retain(|image| match damage(image) {
            Some(damage) => {
                self.class = self.class.max(FailureClass::Environment);
                self.problems.push(format!(
                    "{damage}, which was there when the image was named"
                ));
                false
            }
            None => true,
        });
    }
}

/// Why an import failed as a whole. No image of the archive was named.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file cannot be looked at: which version of it was read is not known.
    #[error("cannot be looked at: {0}")]
    Look(#[from] io::Error),
    /// The archive cannot be read to its end.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The archive was read, but holds nothing to import.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has no room for what the import has to write.
    #[error("{error}")]
    NoSpace {
        /// How many bytes it has to write, as far as is known.
        needs: u64,
        error: StoreError,
    },
    /// The file is another version than the one that was to be imported, or the import was given up.
    #[error("changed while it was read")]
    Changed,
}

impl ImportError {
    /// Whether the store is away: the error says nothing about the archive, and the import is to be done
    /// when the store is back.
    pub fn is_store_away(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_away())
    }

    /// When another try makes sense.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Archive(error) if !error.is_of_system() => FailureClass::Content,
            Self::Layout(_) => FailureClass::Content,
            Self::NoSpace { needs, .. } => FailureClass::NoSpace { needs: *needs },
            _ => FailureClass::Environment,
        }
    }
}
