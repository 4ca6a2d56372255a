//! What an image is to be in the store.

use crate::image_store::{Descriptor, Image, Labels, OWN_PIN, RUNTIME_PIN};
use crate::ledger::ImportedImage;
use crate::naming::{Names, Reference, sources};

/// An image as it is to be.
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
    pub(super) fn records(&self) -> impl Iterator<Item = Image> {
        self.names.iter().map(|name| self.record(name))
    }

    pub(super) fn record(&self, name: &Reference) -> Image {
        let pins = [RUNTIME_PIN, OWN_PIN].map(|(key, value)| (key.to_owned(), value.to_owned()));
        Image {
            name: name.to_string(),
            target: self.target.clone(),
            labels: Labels::from(pins),
        }
    }

    /// The labels of all its blobs: which registries they can be had from.
    pub(super) fn source_labels(&self) -> Labels {
        sources::of(self.names.iter())
    }

    /// What the ledger keeps of it.
    pub(super) fn imported(&self) -> ImportedImage {
        ImportedImage {
            names: self.names.iter().map(Reference::to_string).collect(),
            digest: self.target.digest.clone(),
        }
    }
}
