//! A simulated store, and a simulated registry.

use std::collections::{BTreeMap, BTreeSet};

use stowd::digest::Digest;
use stowd::image_store::{Descriptor, Image, Labels};
use stowd::needed_blob::{BlobFault, BlobFaults, NeededBlob};
use stowd::pin::{BEFORE_INSTANCES, DEFAULT_INSTANCE, OWNER_LABEL, RUNTIME_PIN};

use crate::content::SimImage;

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) digest: Digest,
    /// What the label of the pin's owner says.
    pub(crate) owner: Option<&'static str>,
    /// CRI keeps it.
    pub(crate) pinned: bool,
}

impl Record {
    /// Whether the pin is stowd's own, if there is one.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.owner, Some(DEFAULT_INSTANCE | BEFORE_INSTANCES))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) images: BTreeMap<String, Record>,
    pub(crate) blobs: BTreeSet<Digest>,
    pub(crate) is_down: bool,
    pub(crate) is_full: bool,
    pub(crate) registry_is_down: bool,
    /// Counts what is lost.
    pub(crate) losses: u64,
    /// When a name was last lost, unpinned or pointed to another image, by that count.
    lost: BTreeMap<String, u64>,
}

/// What an archive needs.
pub(crate) const SPACE: u64 = 1;

impl Store {
    /// How much space it has, if it answers.
    pub(crate) fn free(&self) -> Option<u64> {
        let free = if self.is_full { 0 } else { SPACE };
        (!self.is_down).then_some(free)
    }

    /// Points a name to an image and pins it, unless the pin is somebody else's.
    pub(crate) fn put(&mut self, name: String, digest: Digest) {
        let record = self.point(&name, digest);
        if !record.pinned && record.owner.is_none() {
            record.owner = Some(DEFAULT_INSTANCE);
        }
        record.pinned = true;
    }

    /// Points a name to an image; a new one has no pin.
    fn point(&mut self, name: &str, digest: Digest) -> &mut Record {
        let had = self.images.get(name);
        if had.is_some_and(|record| record.digest != digest) {
            self.lose(name);
        }
        let record = self.images.entry(name.to_owned()).or_insert(Record {
            digest: digest.clone(),
            owner: None,
            pinned: false,
        });
        record.digest = digest;
        record
    }

    /// The name is not any more what it was.
    pub(crate) fn lose(&mut self, name: &str) {
        self.losses += 1;
        self.lost.insert(name.to_owned(), self.losses);
    }

    /// Whether the name was lost after so many losses.
    pub(crate) fn is_lost_since(&self, name: &str, losses: u64) -> bool {
        self.lost.get(name).is_some_and(|lost| *lost > losses)
    }

    /// What a pull leaves: the name, and no pin.
    pub(crate) fn pull(&mut self, image: SimImage) {
        self.blobs.insert(image.digest());
        self.point(&image.tagged(), image.digest());
    }

    /// Takes stowd's pin off. Says whether there was one.
    pub(crate) fn unpin(&mut self, name: &str) -> bool {
        let Some(record) = self.images.get_mut(name).filter(|record| record.is_own()) else {
            return false;
        };
        record.owner = None;
        record.pinned = false;
        self.lose(name);
        true
    }

    /// Puts the default instance's name on the pins from before there were instances.
    pub(crate) fn take_over(&mut self, names: &[String]) {
        for name in names {
            if let Some(record) = self.images.get_mut(name)
                && record.owner == Some(BEFORE_INSTANCES)
            {
                record.owner = Some(DEFAULT_INSTANCE);
            }
        }
    }

    /// What is wrong with these blobs.
    pub(crate) fn faults(&self, blobs: &[NeededBlob]) -> BlobFaults {
        let lost = blobs.iter().map(|blob| &blob.digest);
        let lost = lost.filter(|digest| !self.blobs.contains(digest));
        lost.map(|digest| (digest.clone(), BlobFault::NoFile))
            .collect()
    }

    pub(crate) fn list(&self) -> Vec<Image> {
        let images = self.images.iter().map(|(name, record)| {
            let mut labels = Labels::new();
            let owner = record.owner.map(|owner| (OWNER_LABEL, owner));
            let pin = record.pinned.then_some(RUNTIME_PIN);
            for (key, value) in owner.into_iter().chain(pin) {
                labels.insert(key.to_owned(), value.to_owned());
            }
            Image {
                name: name.clone(),
                target: Descriptor {
                    media_type: String::new(),
                    digest: record.digest.clone(),
                    size: 1,
                },
                labels,
            }
        });
        images.collect()
    }
}
