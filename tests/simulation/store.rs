//! A simulated store, and a simulated registry.

use std::collections::{BTreeMap, BTreeSet};

use stowd::digest::Digest;
use stowd::image_store::{Descriptor, Image, Labels, StoreState};
use stowd::ledger::ImportedImage;
use stowd::needed_blob::{BlobFault, BlobFaults, NeededBlob};
use stowd::pin::{BEFORE_INSTANCES, DEFAULT_INSTANCE, OWNER_LABEL, RUNTIME_PIN};

use crate::content::SimImage;
use crate::process::StoreLook;

/// The instance of the second stowd, where a history has one.
pub(crate) const SECOND_INSTANCE: &str = "edge";

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) digest: Digest,
    /// What the label of the pin's owner says.
    pub(crate) owner: Option<&'static str>,
    /// CRI keeps it.
    pub(crate) pinned: bool,
}

impl Record {
    /// Whether the pin, if there is one, is that of this instance.
    pub(crate) fn is_of(&self, instance: &str) -> bool {
        self.owner.is_some_and(|owner| owns(instance, owner))
    }

    /// Whether another instance has pinned it, which keeps the name where it points to. Not as stowd asks.
    pub(crate) fn is_left_by(&self, instance: &str) -> bool {
        let is_of_it = |owner: &str| owns(instance, owner) || owner == BEFORE_INSTANCES;
        self.pinned && self.owner.is_some_and(|owner| !is_of_it(owner))
    }

    /// Whether the pin is that of a stowd of this history.
    pub(crate) fn is_of_stowd(&self) -> bool {
        self.is_of(DEFAULT_INSTANCE) || self.is_of(SECOND_INSTANCE)
    }
}

/// Whether an instance owns pins with this label. Not as stowd asks: that is what is tested.
pub(crate) fn owns(instance: &str, label: &str) -> bool {
    instance == label || (instance == DEFAULT_INSTANCE && label == BEFORE_INSTANCES)
}

/// What one store holds.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    pub(crate) images: BTreeMap<String, Record>,
    pub(crate) blobs: BTreeSet<Digest>,
    /// Those of them that have other bytes.
    pub(crate) wrong: BTreeSet<Digest>,
    /// The images that are unpacked.
    pub(crate) snapshots: BTreeSet<Digest>,
    /// Pins that another client has set.
    pub(crate) foreign: BTreeSet<String>,
}

/// The one blob of an image.
pub(crate) fn needed(digest: &Digest) -> NeededBlob {
    NeededBlob {
        digest: digest.clone(),
        size: 1,
    }
}

/// What is lost with the snapshots of an image.
pub(crate) fn snapshot(digest: &Digest) -> String {
    format!("snapshots of {digest}")
}

#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) now: Contents,
    /// Another store, that a containerd with another root has.
    other: Contents,
    /// How often one was replaced by another.
    pub(crate) generation: usize,
    pub(crate) is_down: bool,
    /// How often it answered again, and how many images were deleted: it tells so by itself.
    returns: u64,
    deletions: u64,
    pub(crate) is_full: bool,
    pub(crate) registry_is_down: bool,
    pub(crate) unpacking_fails: bool,
    /// A name of which the pin cannot be taken off.
    pub(crate) keeps_pin: Option<String>,
    /// A name that another client deletes as soon as it is there.
    pub(crate) deletes: Option<String>,
    /// There was such a name at some time.
    pub(crate) has_deleted: bool,
    /// Counts what is lost.
    pub(crate) losses: u64,
    /// When a name was last lost, unpinned or pointed to another image, or a blob or a snapshot was lost, by
    /// that count.
    lost: BTreeMap<String, u64>,
    /// Of names that were pointed to another image by an import: when, and for which instance.
    moved: BTreeMap<String, (u64, &'static str)>,
    all_lost: u64,
}

/// What an archive needs.
pub(crate) const SPACE: u64 = 1;

impl Store {
    pub(crate) fn set_down(&mut self, is_down: bool) {
        self.returns += u64::from(self.is_down && !is_down);
        self.is_down = is_down;
    }

    /// Whether a blob of it, or of the other store, has other bytes.
    pub(crate) fn is_any_wrong(&self) -> bool {
        !(self.now.wrong.is_empty() && self.other.wrong.is_empty())
    }

    /// What it tells by itself.
    pub(crate) fn state(&self) -> StoreState {
        StoreState {
            away: self.is_down.then(|| "down".to_owned()),
            returns: self.returns,
            losses: self.deletions,
        }
    }

    /// How much space it has, if it answers.
    pub(crate) fn free(&self) -> Option<u64> {
        let free = if self.is_full { 0 } else { SPACE };
        (!self.is_down).then_some(free)
    }

    /// Points a name to an image and pins it for an instance, unless the pin is another's.
    pub(crate) fn put(&mut self, name: String, digest: Digest, instance: &'static str) {
        let there = self.now.images.get(&name);
        let left = there.filter(|record| record.is_left_by(instance));
        let digest = left.map_or(digest, |record| record.digest.clone());
        let before = self.losses;
        let record = self.point(&name, digest);
        if !record.pinned && record.owner.is_none() {
            record.owner = Some(instance);
        }
        record.pinned = true;
        if self.losses > before {
            self.moved.insert(name.clone(), (self.losses, instance));
        }
        if self.deletes.as_ref() == Some(&name) {
            self.delete(&name);
        }
    }

    /// Points a name to an image; a new one has no pin.
    fn point(&mut self, name: &str, digest: Digest) -> &mut Record {
        let had = self.now.images.get(name);
        if had.is_some_and(|record| record.digest != digest) {
            self.lose(name);
        }
        let record = self.now.images.entry(name.to_owned()).or_insert(Record {
            digest: digest.clone(),
            owner: None,
            pinned: false,
        });
        record.digest = digest;
        record
    }

    pub(crate) fn delete(&mut self, name: &str) {
        self.deletions += u64::from(self.now.images.remove(name).is_some());
        self.now.foreign.remove(name);
        self.lose(name);
        // They are collected with the last image that needs them.
        let named = self.now.images.values().map(|record| &record.digest);
        let named = named.cloned().collect::<BTreeSet<_>>();
        let lost = self.now.snapshots.difference(&named).cloned();
        for digest in lost.collect::<Vec<_>>() {
            self.lose_snapshot_of(&digest);
        }
    }

    /// The name is not any more what it was.
    pub(crate) fn lose(&mut self, name: &str) {
        self.losses += 1;
        self.lost.insert(name.to_owned(), self.losses);
    }

    /// Another store is there, or an empty one.
    pub(crate) fn replace(&mut self, by_empty: bool) {
        std::mem::swap(&mut self.now, &mut self.other);
        if by_empty {
            self.now = Contents::default();
        }
        self.generation += 1;
        self.returns += u64::from(!self.is_down);
        self.losses += 1;
        self.all_lost = self.losses;
    }

    /// Whether the name was lost after so many losses.
    pub(crate) fn is_lost_since(&self, name: &str, losses: u64) -> bool {
        self.all_lost > losses || self.lost.get(name).is_some_and(|lost| *lost > losses)
    }

    /// The same, but for what an import of this instance has pointed to another image.
    pub(crate) fn is_lost_to_another(&self, name: &str, losses: u64, instance: &str) -> bool {
        let moved = self.moved.get(name);
        let is_own =
            moved.is_some_and(|(at, by)| self.lost.get(name) == Some(at) && *by == instance);
        self.all_lost > losses || (self.is_lost_since(name, losses) && !is_own)
    }

    /// The image of a name, if none of its blobs is lost, or is one of these.
    pub(crate) fn whole(&self, name: &str, damaged: &BTreeSet<Digest>) -> Option<&Record> {
        let record = self.now.images.get(name);
        record.filter(|Record { digest, .. }| {
            self.now.blobs.contains(digest) && !damaged.contains(digest)
        })
    }

    /// A blob is written, unless it is there and is not known to be one of these, the damaged ones.
    pub(crate) fn write(&mut self, digest: &Digest, damaged: &mut BTreeSet<Digest>) {
        if self.now.blobs.insert(digest.clone()) | damaged.remove(digest) {
            self.now.wrong.remove(digest);
        }
    }

    /// Those of the blobs whose bytes are wrong.
    pub(crate) fn read(&mut self, blobs: &[NeededBlob]) -> BlobFaults {
        let there = blobs.iter().map(|blob| &blob.digest);
        let wrong = there.filter(|digest| self.now.wrong.contains(*digest));
        let wrong = wrong.map(|digest| (digest.clone(), BlobFault::Bytes));
        let faults = wrong.collect::<BlobFaults>();
        for digest in faults.keys() {
            self.lose(&digest.to_string());
        }
        faults
    }

    pub(crate) fn lose_blob(&mut self, digest: &Digest) {
        self.now.blobs.remove(digest);
        self.now.wrong.remove(digest);
        self.lose(&digest.to_string());
    }

    /// Another client removes the snapshot of an image.
    pub(crate) fn lose_snapshot(&mut self, number: u8) {
        let place = usize::from(number).checked_rem(self.now.snapshots.len());
        let lost = place.and_then(|place| self.now.snapshots.iter().nth(place).cloned());
        if let Some(digest) = lost {
            self.lose_snapshot_of(&digest);
        }
    }

    fn lose_snapshot_of(&mut self, digest: &Digest) {
        self.now.snapshots.remove(digest);
        self.lose(&snapshot(digest));
    }

    /// What a pull leaves: the name, and no pin.
    pub(crate) fn pull(&mut self, image: SimImage, damaged: &mut BTreeSet<Digest>) {
        self.write(&image.digest(), damaged);
        self.point(&image.tagged(), image.digest());
    }

    /// Takes an instance's pin off. Says whether there was one.
    pub(crate) fn unpin(&mut self, name: &str, instance: &str) -> bool {
        let record = self.now.images.get_mut(name);
        let Some(record) = record.filter(|record| record.is_of(instance)) else {
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
            if let Some(record) = self.now.images.get_mut(name)
                && record.owner == Some(BEFORE_INSTANCES)
            {
                record.owner = Some(DEFAULT_INSTANCE);
            }
        }
    }

    /// What is wrong with these blobs, where it is known which are damaged.
    pub(crate) fn faults(&self, blobs: &[NeededBlob], damaged: &BTreeSet<Digest>) -> BlobFaults {
        let blobs = blobs.iter().map(|blob| &blob.digest);
        let faults = blobs.filter_map(|digest| {
            let fault = match self.now.blobs.contains(digest) {
                false => BlobFault::NoFile,
                true if damaged.contains(digest) => BlobFault::Bytes,
                true => return None,
            };
            Some((digest.clone(), fault))
        });
        faults.collect()
    }

    /// The images of an instance that are none of these.
    pub(crate) fn unrecorded(
        &self,
        known: &BTreeSet<Digest>,
        instance: &str,
    ) -> Vec<ImportedImage> {
        let images = self.now.images.iter();
        let own = images.filter(|(_, record)| record.is_of(instance));
        let unknown = own.filter(|(_, record)| !known.contains(&record.digest));
        let images = unknown.map(|(name, Record { digest, .. })| ImportedImage {
            names: vec![name.clone()],
            digest: digest.clone(),
            blobs: vec![needed(digest)],
        });
        images.collect()
    }

    pub(crate) fn look(&self) -> StoreLook {
        StoreLook {
            images: self.list(),
            losses: self.losses,
        }
    }

    fn list(&self) -> Vec<Image> {
        let images = self.now.images.iter().map(|(name, record)| {
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
