//! The ledger: what stowd has done with each entry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::digest::Digest;

/// What became of every entry.
#[derive(Debug, Default)]
pub struct Ledger {
    records: BTreeMap<PathBuf, Outcome>,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All that it holds is in the store.
    Imported(Imported),
    /// Something of it is not.
    Failed {
        /// Why, in one line.
        error: String,
        /// What of it is in the store all the same.
        imported: Imported,
    },
}

/// What an entry brought.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Its images.
    pub images: Vec<ImportedImage>,
    /// The length of the entry's file, in bytes.
    pub bytes: u64,
    /// How long it took.
    pub duration: Duration,
}

/// An image that is in the store under its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedImage {
    /// All names that it got, `repo:tag` before `repo@digest`.
    pub names: Vec<String>,
    /// The digest of its manifest or index.
    pub digest: Digest,
}

/// The ledger in three numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Different images that the entries brought.
    pub images: usize,
    /// Entries with an outcome.
    pub entries: usize,
    /// Entries of which something failed.
    pub failed: usize,
}

impl Ledger {
    /// Writes down the outcome of an entry in place of an earlier one.
    pub fn record(&mut self, path: PathBuf, outcome: Outcome) {
        self.records.insert(path, outcome);
    }

    /// Counts.
    pub fn summary(&self) -> Summary {
        let mut images = BTreeSet::new();
        let mut failed = 0;
        for outcome in self.records.values() {
            let imported = match outcome {
                Outcome::Imported(imported) => imported,
                Outcome::Failed { imported, .. } => {
                    failed += 1;
                    imported
                }
            };
            images.extend(
                imported
                    .images
                    .iter()
                    .map(|image| (image.names.first(), &image.digest)),
            );
        }
        Summary {
            images: images.len(),
            entries: self.records.len(),
            failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(names: &[&str]) -> Imported {
        let images = names
            .iter()
            .map(|name| ImportedImage {
                names: vec![(*name).to_owned()],
                digest: Digest::of(b""),
            })
            .collect();
        Imported {
            images,
            ..Imported::default()
        }
    }

    #[test]
    fn an_image_that_two_entries_bring_is_one_image() {
        let mut ledger = Ledger::default();
        ledger.record("a.tar".into(), Outcome::Imported(imported(&["x:1", "y:1"])));
        ledger.record("b.tar".into(), Outcome::Imported(imported(&["x:1"])));
        let error = "broken".to_owned();
        ledger.record(
            "c.tar".into(),
            Outcome::Failed {
                error,
                imported: imported(&["z:1"]),
            },
        );
        assert_eq!(
            ledger.summary(),
            Summary {
                images: 3,
                entries: 3,
                failed: 1
            }
        );
        ledger.record("c.tar".into(), Outcome::Imported(imported(&["z:1"])));
        assert_eq!(
            ledger.summary(),
            Summary {
                images: 3,
                entries: 3,
                failed: 0
            }
        );
    }
}
