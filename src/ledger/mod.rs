//! The ledger: what stowd has done with each entry, and what follows from that.
//!
//! ```text
//!   a file of bytes -> json (reads what it can) -> Ledger <- record (an attempt that has ended)
//!                                                    |
//!   audit (the ledger against the store's images) <--+--> json -> a file of bytes
//!     decide: unchanged, missing, changed, failed
//!     stale_pins: what no entry brings any more
//! ```

mod audit;
mod fingerprint;
mod json;
mod path_text;
mod record;
mod tally;

pub use audit::{Audit, Change, Decision};
pub use fingerprint::Fingerprint;
pub use json::{Dropped, Snapshot, VERSION};
pub use record::{Attempt, Imported, ImportedImage, Keeps, Outcome, Record};
pub use tally::Summary;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digest;
use crate::entry::Identity;
use tally::Tally;

/// What became of every entry.
///
/// A record *stands* when it is an outcome of this run: made in it, or found to hold in it. One
/// that was read from disk does not stand until it was looked into; it does not count in
/// [`summary`](Self::summary), but what it brought stays pinned.
#[derive(Debug, Default)]
pub struct Ledger {
    // Shared with the snapshots that are being written.
    records: BTreeMap<PathBuf, Arc<Record>>,
    standing: BTreeSet<PathBuf>,
    tally: Tally,
    serial: u64,
    revision: u64,
}

impl Ledger {
    /// Writes down how an attempt at the entry has ended, in place of an earlier one, and returns
    /// what was written. It stands.
    ///
    /// An entry that fails goes on holding what it brought before (see [`Record::kept`]), and
    /// attempts at the same version of it are counted.
    pub fn record(&mut self, path: PathBuf, attempt: Attempt) -> &Record {
        self.reopen(&path);
        self.serial = self.serial.saturating_add(1);
        let earlier = self.records.get(&path).map(AsRef::as_ref);
        let record = Record::after(earlier, &path, attempt, self.serial);
        self.tally.add(&record.outcome);
        self.standing.insert(path.clone());
        self.revision += 1;
        self.records
            .entry(path)
            .insert_entry(Arc::new(record))
            .into_mut()
    }

    /// The record of an entry, whether it stands or not.
    pub fn get(&self, path: &Path) -> Option<&Record> {
        self.records.get(path).map(AsRef::as_ref)
    }

    /// All records with their paths, in name order, whether they stand or not.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Record)> {
        self.records
            .iter()
            .map(|(path, record)| (path.as_path(), record.as_ref()))
    }

    /// The entry was looked into and its record holds: it stands. Nothing is to be written to disk
    /// for that. Does nothing where there is no record.
    pub fn uphold(&mut self, path: &Path) {
        if let Some(record) = self.records.get(path)
            && self.standing.insert(path.to_owned())
        {
            self.tally.add(&record.outcome);
        }
    }

    /// The entry is to be done again: until then its record does not stand.
    pub fn reopen(&mut self, path: &Path) {
        if self.standing.remove(path)
            && let Some(record) = self.records.get(path)
        {
            self.tally.remove(&record.outcome);
        }
    }

    /// Whether the record of an entry stands.
    pub fn stands(&self, path: &Path) -> bool {
        self.standing.contains(path)
    }

    /// The first record of a failure that stands, in name order.
    pub fn first_failed(&self) -> Option<(&Path, &Record)> {
        if self.summary().failed == 0 {
            return None;
        }
        let failed = |(path, record): &(&Path, &Record)| {
            record.outcome.error().is_some() && self.standing.contains(*path)
        };
        self.iter().find(failed)
    }

    /// The entries after `path` in name order that bring one of its names for another image: of two
    /// entries that bring a name, the last in name order is to have it, whichever ended first.
    pub fn overruled_by(&self, path: &Path) -> Vec<(PathBuf, Identity)> {
        let own = self.names_of(path);
        let after = (Bound::Excluded(path.to_owned()), Bound::Unbounded);
        let later = self.records.range(after).filter(|(path, later)| {
            self.standing.contains(*path) && names(&later.outcome).any(|name| clashes(&own, name))
        });
        let later = later.filter_map(|(path, later)| Some((path.clone(), later.identity?)));
        later.collect()
    }

    /// Whether an entry before `path` in name order brings one of its names for another image, and
    /// ended after the record of this serial number: it has taken the name.
    pub fn was_overruled(&self, path: &Path, serial: u64) -> bool {
        let own = self.names_of(path);
        let earlier = self.records.range(..path.to_owned());
        let mut since = earlier.filter(|(_, earlier)| earlier.serial > serial);
        since.any(|(_, earlier)| names(&earlier.outcome).any(|name| clashes(&own, name)))
    }

    /// Whether another entry brings a name that this one brings.
    pub fn shares_names(&self, path: &Path) -> bool {
        let own = self.names_of(path);
        let others = self.records.iter().filter(|(other, _)| *other != path);
        let mut others = others.flat_map(|(_, record)| names(&record.outcome));
        others.any(|(name, _)| own.contains_key(name))
    }

    /// What the names of an entry are to point to; nothing where there is no record.
    fn names_of(&self, path: &Path) -> HashMap<&str, &Digest> {
        let record = self.records.get(path).into_iter();
        record.flat_map(|record| names(&record.outcome)).collect()
    }

    /// The serial number of the newest record.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Removes the records of which `is_there` says that their entry is gone. Returns their paths,
    /// in name order.
    pub fn prune(&mut self, mut is_there: impl FnMut(&Path) -> bool) -> Vec<PathBuf> {
        let gone = self.records.keys().filter(|path| !is_there(path));
        let gone = gone.cloned().collect::<Vec<_>>();
        for path in &gone {
            self.remove(path);
        }
        gone
    }

    /// Removes the record of an entry that is gone; says whether there was one.
    pub fn remove(&mut self, path: &Path) -> bool {
        self.reopen(path);
        let removed = self.records.remove(path).is_some();
        self.revision += u64::from(removed);
        removed
    }

    /// Counts the records that stand. Costs nothing: the counts are kept up as records come and go.
    pub fn summary(&self) -> Summary {
        self.tally.summary()
    }

    /// A number that changes with every change that is to be written to disk.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The records as they are now, to be written elsewhere.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.records.clone())
    }

    /// A ledger of records from disk. None of them stands.
    fn remembered(records: BTreeMap<PathBuf, Arc<Record>>) -> Self {
        let serial = records.values().map(|record| record.serial).max();
        Self {
            records,
            serial: serial.unwrap_or(0),
            ..Self::default()
        }
    }
}

/// The tagged names of an outcome's images: a name by digest is never two images.
fn names(outcome: &Outcome) -> impl Iterator<Item = (&str, &Digest)> {
    let images = outcome.imported().images.iter();
    images.flat_map(|image| {
        let names = image.names.iter().filter(|name| !name.contains('@'));
        names.map(|name| (name.as_str(), &image.digest))
    })
}

/// Whether a name is among `own`, for another image.
fn clashes(own: &HashMap<&str, &Digest>, (name, digest): (&str, &Digest)) -> bool {
    own.get(name).is_some_and(|own| *own != digest)
}
