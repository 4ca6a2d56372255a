//! What an image is to be in the store.

use std::mem;

use crate::image_store::{Descriptor, Image, ImageStore, Labels, StoreError};
use crate::ledger::{ImportedImage, NamesOfLater};
use crate::naming::{Names, Reference};
use crate::pin::PinOwner;
use crate::source_labels;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DesiredImage {
    /// The manifest or index that its names point to.
    pub(crate) target: Descriptor,
    pub(crate) names: Names,
    /// Names that it would have, and that are left to another entry.
    pub(crate) left: Vec<Reference>,
    /// Whether it has what the host would run of it: only then the runtime sees it.
    pub(crate) runs_on_host: bool,
}

impl DesiredImage {
    /// Leaves those of its names alone that the store has pinned for the images that are to have them.
    pub(crate) async fn leave<S: ImageStore>(
        &mut self,
        store: &S,
        later: &NamesOfLater,
    ) -> Result<(), StoreError> {
        for names in [&mut self.names.own, &mut self.names.extra] {
            for name in mem::take(names) {
                let text = name.to_string();
                let is_left = match later.get(&text) {
                    Some(targets) => store.image(&text).await?.is_some_and(|image| {
                        image.is_pinned() && targets.contains(&image.target.digest)
                    }),
                    None => false,
                };
                match is_left {
                    true => self.left.push(name),
                    false => names.push(name),
                }
            }
        }
        Ok(())
    }

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
        // All that are left have a tag, and it has one by digest: what has a tag comes first.
        let names = self.left.iter().chain(self.names.iter());
        ImportedImage {
            names: names.map(Reference::to_string).collect(),
            digest: self.target.digest.clone(),
            blobs: Vec::new(),
        }
    }
}
