//! The ledger against the store: which entries need nothing, and which pins no entry needs.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;

use super::fingerprint::Fingerprint;
use super::record::{ImportedImage, Record};
use super::records::Ledger;
use crate::digest::Digest;
use crate::entry::{Identity, InNameOrder};
use crate::image_store::Image;
use crate::naming::Owners;
use crate::needed_blob::{BlobDamage, BlobFaults};
use crate::pin::{OWNER_LABEL, PinOwner};

/// The ledger against all images of the store, each indexed once: a question about an entry costs
/// a lookup a name.
pub struct Audit<'a> {
    ledger: &'a Ledger,
    images: &'a [Image],
    owner: &'a PinOwner,
    by_name: HashMap<&'a str, &'a Image>,
    faults: Option<&'a BlobFaults>,
    /// Which entry is to have each name: of several that bring it, the last in name order; one of the baked set
    /// whose file is gone only where no other brings it.
    owners: Owners<&'a str, bool, InNameOrder<&'a Path>>,
    #[cfg(test)]
    lookups: std::cell::Cell<usize>,
}

/// What is to be done with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: all that it brings is in the store and pinned.
    Unchanged,
    /// The file is the one that was imported, but the store has not all of it as it is to be. It is to
    /// be brought back.
    Missing(Lack),
    /// The same version failed the last time; [`Record::next_try`] says when it is due. At a start
    /// it is due at once.
    Failed,
    /// It is to be imported, whatever the store has.
    Changed(Change),
}

/// What the store lacks of the images of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lack {
    /// The names that it has not, or has unpinned or under another digest, in the order in which they
    /// were brought.
    pub names: Vec<String>,
    /// Blobs that are not there or not whole, each once.
    pub damage: Vec<BlobDamage>,
}

impl Lack {
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.damage.is_empty()
    }

    /// Each thing that is lacking: names, and digests of blobs.
    pub(crate) fn items(&self) -> Vec<String> {
        let blobs = self.damage.iter().map(|damage| &damage.blob.digest);
        let blobs = blobs.map(ToString::to_string);
        self.names.iter().cloned().chain(blobs).collect()
    }

    /// The names that are not there, and those of images with blobs that are not.
    pub(crate) fn images(&self) -> Vec<String> {
        let damaged = self.damage.iter().map(|damage| &damage.image);
        let mut images = self
            .names
            .iter()
            .chain(damaged)
            .cloned()
            .collect::<Vec<_>>();
        images.dedup();
        images
    }
}

/// Why what the ledger knows does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing is known of the entry.
    New,
    /// The file is another one.
    File,
    /// It was imported under settings that bring something else.
    Settings,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::New => "new",
            Self::File => "changed",
            Self::Settings => "imported under other settings",
        })
    }
}

impl<'a> Audit<'a> {
    /// Compares. `images` are all of the namespace, `owner` is that of the pins. Records of entries that
    /// are gone have been removed from the ledger, or what they brought counts.
    pub fn new(ledger: &'a Ledger, images: &'a [Image], owner: &'a PinOwner) -> Self {
        // An entry that fails goes on having what it is to keep.
        let claims = ledger.iter().flat_map(|(path, record)| {
            let names = record.images().flat_map(|image| &image.names);
            let has_file = ledger.has_file(path);
            names.map(move |name| (name.as_str(), has_file, InNameOrder(path)))
        });
        Self {
            ledger,
            images,
            owner,
            by_name: images.iter().map(|i| (i.name.as_str(), i)).collect(),
            faults: None,
            owners: Owners::of(claims),
            #[cfg(test)]
            lookups: std::cell::Cell::default(),
        }
    }

    /// The same, where the blobs of the ledger's images were looked at as well and these are not as they
    /// should be.
    pub fn with_faults(mut self, faults: &'a BlobFaults) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Whether the store has lost something: it has no image at all of one of these names, or a blob of
    /// its images is damaged. What is there and unpinned is not lost.
    pub(crate) fn has_lost(&self, lack: &Lack) -> bool {
        let mut names = lack.names.iter();
        !lack.damage.is_empty() || names.any(|name| !self.by_name.contains_key(name.as_str()))
    }

    /// Decides about the entry at `path`, of which `identity` was seen now, under the `settings` of
    /// now.
    pub fn decide(&self, path: &Path, identity: &Identity, settings: &Fingerprint) -> Decision {
        let Some(record) = self.ledger.get(path) else {
            return Decision::Changed(Change::New);
        };
        if record.identity.as_ref() != Some(identity) {
            Decision::Changed(Change::File)
        } else if record.settings != *settings {
            Decision::Changed(Change::Settings)
        } else if record.outcome.error().is_some() {
            Decision::Failed
        } else {
            match self.lack(path, record) {
                lack if lack.is_empty() => Decision::Unchanged,
                lack => Decision::Missing(lack),
            }
        }
    }

    /// What the store has not as it is to be of the images that an entry, whole or not, has brought.
    pub(crate) fn lack_of(&self, path: &Path) -> Lack {
        let record = self.ledger.get(path);
        record.map_or_else(Lack::default, |record| self.lack(path, record))
    }

    fn lack(&self, path: &Path, record: &Record) -> Lack {
        let images = &record.outcome.imported().images;
        let names = names(images).filter(|(name, digest)| !self.holds(path, name, digest));
        Lack {
            names: names.map(|(name, _)| name.to_owned()).collect(),
            damage: self.damage(images),
        }
    }

    /// What is wrong with the blobs of these images. One that several need counts for the first.
    fn damage(&self, images: &[ImportedImage]) -> Vec<BlobDamage> {
        let Some(faults) = self.faults.filter(|faults| !faults.is_empty()) else {
            return Vec::new();
        };
        let mut seen = HashSet::new();
        let blobs = images.iter().flat_map(|image| {
            let blobs = image.blobs.iter();
            blobs.map(move |blob| (image, blob))
        });
        let damage = blobs.filter_map(|(image, blob)| {
            let fault = *faults.get(&blob.digest)?;
            seen.insert(&blob.digest).then(|| BlobDamage {
                image: image.names.first().cloned().unwrap_or_default(),
                blob: blob.clone(),
                fault,
            })
        });
        damage.collect()
    }

    /// Whether the store has the name, pinned, under this digest; or under whatever digest when another
    /// entry is to have it, or another instance has pinned it. An entry that is imported takes all of its
    /// names, also from later entries, which take theirs back: only a later one is ever imported for that,
    /// so it ends.
    fn holds(&self, path: &Path, name: &str, digest: &Digest) -> bool {
        #[cfg(test)]
        self.lookups.set(self.lookups.get() + 1);
        let is_owner = self.owners.owner(&name) == Some(&InNameOrder(path));
        self.by_name.get(name).is_some_and(|image| {
            let is_left = !is_owner || self.owner.another(|key| image.labels.get(key)).is_some();
            image.is_pinned() && (image.target.digest == *digest || is_left)
        })
    }

    /// The names that other instances have pinned for other images than the entries bring which would have
    /// them here: each with its entry and the instance, in the store's order.
    pub fn left(&self) -> impl Iterator<Item = (&'a Path, &'a str, &'a str)> {
        self.images.iter().filter_map(|image| {
            let instance = self.owner.another(|key| image.labels.get(key))?;
            let name = image.name.as_str();
            let InNameOrder(path) = self.owners.owner(&name)?;
            let mut brought = self.ledger.get(path)?.images();
            let is_other = |brought: &ImportedImage| {
                brought.digest != image.target.digest && brought.names.contains(&image.name)
            };
            brought.any(is_other).then_some((*path, name, instance))
        })
    }

    /// The names of images that carry the owner's pin although no entry brings them any more, in the
    /// store's order. They are to be unpinned. Entries of other images directories count.
    ///
    /// Images are pinned before their entry has a record. So between [`ImageStore::images`] and
    /// the last unpinning no import may be in work, or what it has just pinned is unpinned. And
    /// before the initial load is over, an entry that is still to be imported may have no record.
    ///
    /// [`ImageStore::images`]: crate::image_store::ImageStore::images
    pub fn stale_pins(&self) -> Vec<&'a str> {
        self.images
            .iter()
            .filter(|image| self.owner.owns(image.labels.get(OWNER_LABEL)))
            .map(|image| image.name.as_str())
            .filter(|name| self.owners.owner(name).is_none())
            .filter(|name| !self.ledger.is_brought_elsewhere(name))
            .collect()
    }
}

fn names(images: &[ImportedImage]) -> impl Iterator<Item = (&str, &Digest)> {
    images.iter().flat_map(|image| {
        let names = image.names.iter();
        names.map(|name| (name.as_str(), &image.digest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image_store::Descriptor;
    use crate::ledger::{Attempt, FailureClass, Imported, Keeps, Outcome};
    use std::time::{Duration, SystemTime};

    /// A thousand entries of three images with two names each, and a store that has them all.
    #[test]
    fn a_thousand_entries_cost_a_lookup_a_name() {
        const ENTRIES: u64 = 1000;
        const NAMES: usize = 6;
        let identity = |inode| Identity {
            device: 1,
            inode,
            size: 1,
            mtime: 1,
            ctime: 1,
        };
        let mut ledger = Ledger::default();
        let mut store = Vec::new();
        for entry in 0..ENTRIES {
            let images = (0..3).map(|image| {
                let digest = Digest::of(format!("{entry}/{image}").as_bytes());
                let repo = format!("r.example/{entry}/{image}");
                let names = vec![format!("{repo}:1"), format!("{repo}@{digest}")];
                ImportedImage {
                    names,
                    digest,
                    blobs: Vec::new(),
                }
            });
            let images = images.collect::<Vec<_>>();
            for (name, digest) in names(&images) {
                store.push(Image {
                    name: name.to_owned(),
                    target: Descriptor {
                        media_type: String::new(),
                        digest: digest.clone(),
                        size: 1,
                    },
                    labels: PinOwner::default().labels(),
                });
            }
            let imported = Imported {
                images,
                ..Imported::default()
            };
            let attempt = Attempt {
                identity: Some(identity(entry)),
                settings: Fingerprint::default(),
                outcome: Outcome::Imported(imported),
                class: FailureClass::default(),
                seen_in: Vec::new(),
                finished: SystemTime::UNIX_EPOCH,
                seed: 0,
                keeps: Keeps::All,
                not_before: Duration::ZERO,
                was_interrupted: false,
            };
            ledger.record(format!("{entry}.tar").into(), attempt);
        }
        let owner = PinOwner::default();
        let audit = Audit::new(&ledger, &store, &owner);
        for entry in 0..ENTRIES {
            let path = format!("{entry}.tar");
            let decision = audit.decide(path.as_ref(), &identity(entry), &Fingerprint::default());
            assert_eq!(decision, Decision::Unchanged, "{path}");
        }
        assert_eq!(audit.lookups.get(), 1000 * NAMES);
        assert_eq!(audit.by_name.len(), 1000 * NAMES);
        assert!(audit.stale_pins().is_empty());
    }
}
