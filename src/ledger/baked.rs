//! The baked set: what a run with `--keep` has loaded, and is kept where its files are deleted afterwards.
//!
//! Each entry of it has its record, in a file of its own: a ledger that was lost, or that another version of
//! stowd has written, takes nothing away. An entry whose file is there is as any other. One whose file is not
//! has the record that was baked, and gives way where an entry with a file brings the same names.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::record::{ImportedImage, Record};
use super::records::Ledger;
use super::snapshot::Snapshot;
use crate::digest::Digest;

impl Ledger {
    /// The baked set is this. Of its entries that this ledger has no record of, it has that of the set.
    pub fn bake(&mut self, baked: Self) {
        self.baked = baked.records;
        for (path, record) in self.baked.clone() {
            if self.get(Path::new(&path)).is_none() {
                self.adopt(Path::new(&path), record);
            }
        }
    }

    /// Whether an entry is of the baked set.
    pub fn is_baked(&self, path: &Path) -> bool {
        self.baked.contains_key(path.as_os_str())
    }

    /// Whether anything is baked.
    pub(crate) fn has_baked(&self) -> bool {
        !self.baked.is_empty()
    }

    /// The file of an entry of the baked set is gone: it has the record that was baked. Says whether that
    /// brings any image; if not, nothing of the entry is kept.
    pub fn keep_baked(&mut self, path: &Path) -> bool {
        let Some(baked) = self.baked.get(path.as_os_str()).cloned() else {
            return false;
        };
        if baked.images().next().is_none() {
            return false;
        }
        let is_same = self.get(path).is_some_and(|record| {
            record.outcome.error().is_none() && brought(record) == brought(&baked)
        });
        if !is_same {
            self.remove(path);
            self.adopt(path, baked);
        }
        self.without_file.insert(path.as_os_str().to_owned());
        true
    }

    /// The file of an entry is there, or may be.
    pub(crate) fn has_file_again(&mut self, path: &Path) {
        self.without_file.remove(path.as_os_str());
    }

    /// Whether an entry may have a file.
    pub fn has_file(&self, path: &Path) -> bool {
        !self.without_file.contains(path.as_os_str())
    }

    /// How many entries of the baked set are without their files.
    pub(crate) fn baked_entries(&self) -> usize {
        self.without_file.len()
    }

    /// How many different images those bring, counted as [`summary`](Self::summary) does.
    pub(crate) fn baked_images(&self) -> usize {
        let records = self.without_file.iter();
        let records = records.filter_map(|path| self.get(Path::new(path)));
        let images = records.flat_map(|record| &record.outcome.imported().images);
        let images = images.map(|image| (image.names.first(), &image.digest));
        images.collect::<BTreeSet<_>>().len()
    }

    /// Whether an entry that was imported brings other images than those that were baked: then it is not of the
    /// baked set any more.
    pub(crate) fn brings_other_than_baked(&self, path: &Path) -> bool {
        let baked = self.baked.get(path.as_os_str());
        let digests = |record: &Record| {
            let images = record.outcome.imported().images.iter();
            images
                .map(|image| image.digest.clone())
                .collect::<BTreeSet<Digest>>()
        };
        baked.is_some_and(|baked| self.get(path).map(digests) != Some(digests(baked)))
    }

    /// These names of images are not baked any more. An image without a name by digest is none.
    pub fn release(&mut self, names: &BTreeSet<String>) {
        for record in self.baked.values_mut() {
            let images = &record.outcome.imported().images;
            if images.iter().any(|image| has_one_of(image, names)) {
                let images = &mut Arc::make_mut(record).outcome.imported_mut().images;
                for image in &mut *images {
                    image.names.retain(|name| !names.contains(name));
                }
                images.retain(|image| image.names.iter().any(|name| name.contains('@')));
            }
        }
    }

    /// An entry is not of the baked set any more.
    pub fn unbake(&mut self, path: &Path) {
        self.baked.remove(path.as_os_str());
    }

    /// Whether an entry of the baked set has this name.
    pub fn has_baked_name(&self, name: &str) -> bool {
        let mut images = self.baked.values().flat_map(|record| record.images());
        images.any(|image| image.names.iter().any(|own| own == name))
    }

    /// The baked set, to be written.
    pub fn baked(&self) -> Snapshot {
        Snapshot::new(self.baked.clone())
    }

    /// A baked set of what was baked before and of all entries that were imported, to be written. How many
    /// entries have images in it, and how many different images, counted as [`summary`](Self::summary) does.
    pub fn to_bake(&self) -> (Snapshot, usize, usize) {
        let mut records = self.baked.clone();
        for (path, record) in self.iter() {
            if record.outcome.error().is_none() && record.images().next().is_some() {
                records.insert(path.as_os_str().to_owned(), Arc::new(record.clone()));
            }
        }
        let images = records.values().flat_map(|record| record.images());
        let images = images.map(|image| (image.names.first(), &image.digest));
        let images = images.collect::<BTreeSet<_>>().len();
        let entries = records.len();
        (Snapshot::new(records), entries, images)
    }
}

/// The names that a record has, and the image of each.
fn brought(record: &Record) -> BTreeSet<(&str, &Digest)> {
    let names = record.images().flat_map(|image| {
        let names = image.names.iter();
        names.map(move |name| (name.as_str(), &image.digest))
    });
    names.collect()
}

fn has_one_of(image: &ImportedImage, names: &BTreeSet<String>) -> bool {
    image.names.iter().any(|name| names.contains(name))
}
