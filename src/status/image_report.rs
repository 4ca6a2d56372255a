//! One image on board, against what the store says.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use crate::digest::Digest;
use crate::entry::InNameOrder;
use crate::image_store::Image;
use crate::naming::Owners;
use crate::needed_blob::BlobDamage;
use crate::pin::{OWNER_LABEL, PinOwner, RUNTIME_PIN};

use super::answer::StoreAnswer;
use super::on_board::{EntryStatus, ImageStatus, UnpackStage};
use super::style::Tone;

/// An image that an entry has brought.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ImageReport {
    pub(super) image: ImageStatus,
    /// Of all blobs that it needs.
    pub(super) bytes: u64,
    /// Of those that other images on board need as well.
    pub(super) shared: u64,
    /// Names that later entries give to other images.
    pub(super) shadowed: Vec<String>,
    /// What the store says; `None` where it was not asked.
    pub(super) stored: Option<Stored>,
}

/// What the store says of an image.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Stored {
    /// Names that it has not.
    pub(super) gone: Vec<String>,
    /// Names that point to another image, which no entry and no other instance gives them.
    pub(super) moved: Vec<String>,
    /// Names that another instance has pinned for other images, and which.
    pub(super) left: Vec<(String, String)>,
    pub(super) unpinned: Vec<String>,
    /// The owners of its pins.
    pub(super) pinned_by: Vec<String>,
    /// Of its blobs.
    pub(super) damage: Vec<BlobDamage>,
    /// `None` where that was not asked.
    pub(super) unpacked: Option<bool>,
}

/// What all images on board, and the store, are looked up by.
pub(super) struct Lookup<'a> {
    /// How many different images need each blob.
    pub(super) needed: HashMap<&'a Digest, usize>,
    owners: Owners<&'a str, (), InNameOrder<PathBuf>>,
    store: Option<(&'a StoreAnswer, HashMap<&'a str, &'a Image>)>,
    owner: PinOwner,
}

impl<'a> Lookup<'a> {
    pub(super) fn new(
        entries: &'a [EntryStatus],
        answer: Option<&'a StoreAnswer>,
        instance: &str,
    ) -> Self {
        let mut needed = HashMap::new();
        let mut seen = HashSet::new();
        for image in entries.iter().flat_map(|entry| &entry.images) {
            if seen.insert(&image.digest) {
                for blob in &image.blobs {
                    *needed.entry(&blob.digest).or_default() += 1;
                }
            }
        }
        let claims = entries.iter().flat_map(|entry| {
            let names = entry.images.iter().flat_map(|image| &image.names);
            names.map(|name| (name.as_str(), (), InNameOrder(PathBuf::from(&entry.path))))
        });
        let store = answer.map(|answer| {
            let images = answer.images.iter();
            (
                answer,
                images.map(|image| (image.name.as_str(), image)).collect(),
            )
        });
        Self {
            needed,
            owners: Owners::of(claims),
            store,
            owner: PinOwner::of_instance(instance),
        }
    }
}

impl ImageReport {
    pub(super) fn of(entry: &str, image: &ImageStatus, lookup: &Lookup<'_>) -> Self {
        let sizes = |is_counted: &dyn Fn(&Digest) -> bool| {
            let blobs = image.blobs.iter().filter(|blob| is_counted(&blob.digest));
            blobs.map(|blob| blob.size).sum()
        };
        let entry = InNameOrder(PathBuf::from(entry));
        let is_own = |name: &&String| lookup.owners.owner(&name.as_str()) == Some(&entry);
        let others = image.names.iter().filter(|name| !is_own(name));
        // By digest it is the same image.
        let others = others.filter(|name| !name.contains('@'));
        let mut report = Self {
            image: image.clone(),
            bytes: sizes(&|_| true),
            shared: sizes(&|blob| lookup.needed.get(blob).is_some_and(|needed| *needed > 1)),
            shadowed: Vec::new(),
            stored: None,
        };
        let others = others.cloned().collect::<Vec<_>>();
        report.stored = lookup.store.as_ref().map(|(answer, by_name)| {
            let names = image
                .names
                .iter()
                .map(|name| (name, by_name.get(name.as_str())));
            let mut stored = Stored::default();
            for (name, found) in names {
                stored.add(image, name, found.copied(), &others, &lookup.owner);
            }
            stored.look_at_blobs(image, answer);
            stored
        });
        let is_there = |name: &String| match &lookup.store {
            Some((_, by_name)) => by_name
                .get(name.as_str())
                .is_none_or(|found| found.target.digest == image.digest),
            None => false,
        };
        report.shadowed = others.into_iter().filter(|name| !is_there(name)).collect();
        report
    }

    /// The name for people: the first with a tag.
    pub(super) fn name(&self) -> &str {
        let names = &self.image.names;
        let tagged = names.iter().find(|name| !name.contains('@'));
        let name = tagged.or(names.first()).map(String::as_str);
        name.unwrap_or(self.image.digest.as_str())
    }

    /// The daemon has unpacked it, and the store has its snapshots no more.
    pub(super) fn has_lost_snapshots(&self) -> bool {
        let stored = self.stored.as_ref();
        self.stage() == Some(UnpackStage::Unpacked)
            && stored.is_some_and(|stored| stored.unpacked == Some(false))
    }

    /// Whether the store lacks something of it.
    pub(super) fn is_degraded(&self) -> bool {
        let lacks = self.stored.as_ref().is_some_and(|stored| {
            !stored.gone.is_empty()
                || !stored.moved.is_empty()
                || !stored.unpinned.is_empty()
                || !stored.damage.is_empty()
        });
        lacks || self.has_lost_snapshots()
    }

    pub(super) fn stage(&self) -> Option<UnpackStage> {
        self.image.unpack.as_ref().map(|unpack| unpack.stage)
    }

    /// Whether its snapshots are there, as the store says, or else the daemon. `None` where it is not to be
    /// unpacked, or that is not known.
    pub(super) fn is_unpacked(&self) -> Option<bool> {
        let said = self.stage().map(|stage| stage == UnpackStage::Unpacked);
        match (self.stage(), &self.stored) {
            (Some(UnpackStage::NothingToUnpack), _) => None,
            (_, Some(stored)) => stored.unpacked.or(said),
            (_, None) => said,
        }
    }

    /// What is the matter with it, in a word or two.
    pub(super) fn word(&self) -> (Tone, &'static str) {
        let Some(stored) = &self.stored else {
            return match self.stage() {
                Some(UnpackStage::Failed) => (Tone::Bad, "not unpacked"),
                Some(UnpackStage::Unpacking) => (Tone::Doubtful, "unpacking"),
                _ => (Tone::Plain, "recorded"),
            };
        };
        let has = |names: &Vec<String>| !names.is_empty();
        if stored.gone.len() == self.image.names.len() {
            (Tone::Bad, "gone")
        } else if !stored.damage.is_empty() {
            (Tone::Bad, "damaged")
        } else if has(&stored.gone) {
            (Tone::Bad, "name gone")
        } else if has(&stored.moved) {
            (Tone::Bad, "name moved")
        } else if has(&stored.unpinned) {
            (Tone::Bad, "not pinned")
        } else if has(&self.shadowed) {
            (Tone::Doubtful, "shadowed")
        } else if !stored.left.is_empty() {
            (Tone::Doubtful, "other instance")
        } else {
            match (self.stage(), self.is_unpacked()) {
                (Some(UnpackStage::Failed), _) => (Tone::Bad, "not unpacked"),
                (Some(UnpackStage::Unpacking), _) => (Tone::Doubtful, "unpacking"),
                (Some(UnpackStage::Waiting), _) => (Tone::Doubtful, "to be unpacked"),
                (Some(UnpackStage::Unpacked), Some(false)) => (Tone::Bad, "snapshots gone"),
                (_, Some(false)) => (Tone::Doubtful, "not unpacked"),
                _ if self.image.kept => (Tone::Good, "ok (kept)"),
                _ => (Tone::Good, "ok"),
            }
        }
    }
}

impl Stored {
    /// What the store has under a name. `others`: names that later entries are to have.
    fn add(
        &mut self,
        image: &ImageStatus,
        name: &String,
        found: Option<&Image>,
        others: &[String],
        owner: &PinOwner,
    ) {
        let Some(found) = found else {
            return self.gone.push(name.clone());
        };
        let label = |key: &str| found.labels.get(key);
        let (pin, value) = RUNTIME_PIN;
        let is_pinned = label(pin).is_some_and(|found| found == value);
        if found.target.digest != image.digest {
            match owner.another(label) {
                Some(other) => self.left.push((name.clone(), other.to_owned())),
                None if others.contains(name) => {}
                None => self.moved.push(name.clone()),
            }
        } else if !is_pinned {
            self.unpinned.push(name.clone());
        } else {
            let by = label(OWNER_LABEL).map_or("another client", String::as_str);
            if !self.pinned_by.iter().any(|known| known == by) {
                self.pinned_by.push(by.to_owned());
            }
        }
    }

    fn look_at_blobs(&mut self, image: &ImageStatus, answer: &StoreAnswer) {
        let damage = image.blobs.iter().filter_map(|blob| {
            let fault = *answer.faults.get(&blob.digest)?;
            Some(BlobDamage {
                image: image.names.first().cloned().unwrap_or_default(),
                blob: blob.clone(),
                fault,
            })
        });
        self.damage = damage.collect();
        // Without blobs it cannot be told.
        let unpacked = answer.unpacked.as_ref().filter(|_| !image.blobs.is_empty());
        self.unpacked = unpacked.map(|unpacked| {
            let mut blobs = image.blobs.iter();
            blobs.any(|blob| unpacked.contains(&blob.digest))
        });
    }
}
