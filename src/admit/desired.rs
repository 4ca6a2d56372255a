//! What an image is to be in the store.

use crate::image_store::{Descriptor, Image, Labels};
use crate::ledger::ImportedImage;
use crate::naming::{Names, Reference};
use crate::pin::PinOwner;
use crate::source_labels;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredImage {
    /// The manifest or index that its names point to.
    pub(crate) target: Descriptor,
    pub(crate) names: Names,
    /// Whether it has what the host would run of it: only then the runtime sees it.
    pub(crate) runs_on_host: bool,
}

impl DesiredImage {
    /// The image records, pinned: one a name, the own names first.
    pub(super) fn records(&self, owner: &PinOwner) -> impl Iterator<Item = Image> {
        self.names.iter().map(|name| self.record(name, owner))
    }

    pub(super) fn record(&self, name: &Reference, owner: &PinOwner) -> Image {
        Image {
            name: name.to_string(),
            target: self.target.clone(),
            labels: owner.labels(),
        }
    }

    /// The labels of all its blobs: which registries they can be had from.
    pub(super) fn source_labels(&self) -> Labels {
        source_labels::of(self.names.iter())
    }

    /// What the ledger keeps of it, but for its blobs.
    pub(super) fn imported(&self) -> ImportedImage {
        ImportedImage {
            names: self.names.iter().map(Reference::to_string).collect(),
            digest: self.target.digest.clone(),
            blobs: Vec::new(),
        }
    }
}
