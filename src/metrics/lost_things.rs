//! What the store has lost of entries and images, until it is back.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::path::PathBuf;

use crate::digest::Digest;
use crate::happened::Happened;

/// So many things were lost, or are back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Things {
    /// Names of images, with their pins.
    pub(super) names: usize,
    pub(super) blobs: usize,
    /// Images that had their snapshots.
    pub(super) snapshots: usize,
}

/// Which things are lost. What is told again before it is back is lost once.
#[derive(Debug, Default)]
pub(super) struct LostThings {
    of_entries: HashMap<PathBuf, LostOfEntry>,
    images: HashSet<String>,
}

#[derive(Debug, Default)]
struct LostOfEntry {
    names: HashSet<String>,
    blobs: HashSet<Digest>,
}

impl LostThings {
    /// Says what is lost now and was not, and what was and is back.
    pub(super) fn follow(&mut self, happened: &Happened) -> (Things, Things) {
        let (mut lost, mut back) = (Things::default(), Things::default());
        match happened {
            Happened::Missing { path, names } => {
                let of_entry = self.of_entries.entry(path.clone()).or_default();
                lost.names = added(&mut of_entry.names, names.iter());
            }
            Happened::Damaged { path, damage } => {
                let of_entry = self.of_entries.entry(path.clone()).or_default();
                let blobs = damage.iter().map(|damage| &damage.blob.digest);
                lost.blobs = added(&mut of_entry.blobs, blobs);
            }
            Happened::Imported { path, images, .. } => {
                if let Some(of_entry) = self.of_entries.get_mut(path) {
                    let names = images.iter().flat_map(|image| &image.names);
                    back.names = names.filter(|name| of_entry.names.remove(*name)).count();
                    let blobs = images.iter().flat_map(|image| &image.blobs);
                    let blobs = blobs.map(|blob| &blob.digest);
                    back.blobs = blobs.filter(|blob| of_entry.blobs.remove(*blob)).count();
                    if of_entry.names.is_empty() && of_entry.blobs.is_empty() {
                        self.of_entries.remove(path);
                    }
                }
            }
            // Nothing brings them back any more.
            Happened::Gone(path) => _ = self.of_entries.remove(path),
            Happened::SnapshotsMissing(image) => {
                lost.snapshots = usize::from(self.images.insert(image.clone()));
            }
            Happened::Unpacked { image, .. } => {
                back.snapshots = usize::from(self.images.remove(image));
            }
            Happened::Unpinned(image) => _ = self.images.remove(image),
            _ => {}
        }
        (lost, back)
    }
}

fn added<'t, T: Clone + Eq + Hash + 't>(
    to: &mut HashSet<T>,
    things: impl Iterator<Item = &'t T>,
) -> usize {
    things.filter(|thing| to.insert((*thing).clone())).count()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::entry::Kind;
    use crate::ledger::ImportedImage;
    use crate::needed_blob::{BlobDamage, BlobFault, NeededBlob};

    fn blob(name: &str) -> NeededBlob {
        NeededBlob {
            digest: Digest::of(name.as_bytes()),
            size: 1,
        }
    }

    fn missing(names: &[&str]) -> Happened {
        Happened::Missing {
            path: "/i/a.tar".into(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn damaged(name: &str) -> Happened {
        let damage = BlobDamage {
            image: "x".to_owned(),
            blob: blob(name),
            fault: BlobFault::NoRecord,
        };
        Happened::Damaged {
            path: "/i/a.tar".into(),
            damage: vec![damage],
        }
    }

    fn imported(path: &str, name: &str, blobs: &[&str]) -> Happened {
        let image = ImportedImage {
            names: vec![name.to_owned()],
            digest: Digest::of(name.as_bytes()),
            blobs: blobs.iter().map(|name| blob(name)).collect(),
        };
        Happened::Imported {
            path: path.into(),
            kind: Kind::Archive,
            images: vec![image],
            bytes: 1,
            duration: Duration::ZERO,
        }
    }

    fn things(names: usize, blobs: usize, snapshots: usize) -> Things {
        Things {
            names,
            blobs,
            snapshots,
        }
    }

    #[test]
    fn what_is_lost_counts_once_until_it_is_back() {
        let none = Things::default();
        let mut lost = LostThings::default();
        for (happened, is_lost, is_back) in [
            (imported("/i/a.tar", "x", &["1"]), none, none),
            (missing(&["x", "y"]), things(2, 0, 0), none),
            (missing(&["x", "y"]), none, none),
            (damaged("1"), things(0, 1, 0), none),
            (imported("/i/b.tar", "x", &["1"]), none, none),
            // Some of the archive is whole.
            (imported("/i/a.tar", "x", &["1"]), none, things(1, 1, 0)),
            (imported("/i/a.tar", "y", &[]), none, things(1, 0, 0)),
            (imported("/i/a.tar", "y", &[]), none, none),
            (missing(&["x"]), things(1, 0, 0), none),
            (Happened::Gone("/i/a.tar".into()), none, none),
            (imported("/i/a.tar", "x", &[]), none, none),
            (
                Happened::SnapshotsMissing("x".to_owned()),
                things(0, 0, 1),
                none,
            ),
            (
                Happened::Unpacked {
                    image: "x".to_owned(),
                    snapshots: 1,
                    duration: Duration::ZERO,
                },
                none,
                things(0, 0, 1),
            ),
        ] {
            assert_eq!(lost.follow(&happened), (is_lost, is_back), "{happened}");
        }
        assert!(lost.of_entries.is_empty() && lost.images.is_empty());
    }
}
