//! What an import is asked for, and what it answers.

use std::collections::HashSet;
use std::io;

use crate::entry::Identity;
use crate::image_store::StoreError;
use crate::layout::LayoutError;
use crate::ledger::{FailureClass, ImportedImage, NamesOfLater};
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
    /// Names that are left to entries later in name order, where the store has them pinned for an image of
    /// such an entry.
    pub later: &'a NamesOfLater,
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

/// So many blobs are recorded of the images of one archive. A record of each takes 75 bytes, and is looked
/// up at each look at blobs: of what a hostile archive lists beyond that nothing is recorded.
const BLOBS_MAX: usize = 20_000;

impl ImportReport {
    /// Adds an image that needs these blobs.
    pub(super) fn add(&mut self, image: ImportedImage, blobs: Vec<NeededBlob>) {
        let recorded = self.images.iter().map(|image| image.blobs.len());
        let blobs = match recorded.sum::<usize>() + blobs.len() {
            0..=BLOBS_MAX => blobs,
            _ => Vec::new(),
        };
        self.images.push(ImportedImage { blobs, ..image });
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    #[test]
    fn recorded_blobs_of_an_archive_are_bounded() {
        let mut report = ImportReport {
            images: Vec::new(),
            problems: Vec::new(),
            class: FailureClass::default(),
            identity: Identity {
                device: 1,
                inode: 1,
                size: 1,
                mtime: 1,
                ctime: 1,
            },
        };
        let digest = Digest::of(b"x");
        let blob = NeededBlob {
            digest: digest.clone(),
            size: 1,
        };
        for blobs in [BLOBS_MAX - 2, 3, 2, 1] {
            let image = ImportedImage {
                names: Vec::new(),
                digest: digest.clone(),
                blobs: Vec::new(),
            };
            report.add(image, vec![blob.clone(); blobs]);
        }
        let recorded = report.images.iter().map(|image| image.blobs.len());
        assert_eq!(recorded.collect::<Vec<_>>(), [BLOBS_MAX - 2, 0, 2, 0]);
    }
}
