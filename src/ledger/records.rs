//! The records of all entries.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::source_event::DirectoryId;

use super::record::{Attempt, Outcome, Record};
use super::snapshot::Snapshot;
use super::tally::{Summary, Tally};

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
    /// Those that stand and are failures.
    failed: BTreeSet<PathBuf>,
    tally: Tally,
    /// How many entries bring each tagged name.
    names: HashMap<String, usize>,
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
        self.stand(&path, &record.outcome);
        self.revision += 1;
        if let Some(earlier) = self.records.remove(&path) {
            self.uncount_names(&earlier);
        }
        self.count_names(&record);
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
        if let Some(record) = self.records.get(path).cloned()
            && !self.standing.contains(path)
        {
            self.stand(path, &record.outcome);
        }
    }

    fn stand(&mut self, path: &Path, outcome: &Outcome) {
        self.tally.add(outcome);
        self.standing.insert(path.to_owned());
        if outcome.error().is_some() {
            self.failed.insert(path.to_owned());
        }
    }

    /// The entry is to be done again: until then its record does not stand.
    pub fn reopen(&mut self, path: &Path) {
        self.failed.remove(path);
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
    pub(crate) fn first_failed(&self) -> Option<(&Path, &Record)> {
        let first = self.failed.first()?;
        self.get(first).map(|record| (first.as_path(), record))
    }

    /// Whether another entry brings a tagged name that this one brings.
    pub fn shares_names(&self, path: &Path) -> bool {
        let record = self.records.get(path).into_iter();
        let mut names = record.flat_map(|record| tagged_names(&record.outcome));
        names.any(|name| self.names.get(name).is_some_and(|entries| *entries > 1))
    }

    /// The entry was seen in these directories. Does nothing where there is no record.
    pub fn seen_in(&mut self, path: &Path, seen_in: Vec<DirectoryId>) {
        if let Some(record) = self.records.get_mut(path)
            && record.seen_in != seen_in
        {
            Arc::make_mut(record).seen_in = seen_in;
            self.revision += 1;
        }
    }

    /// The serial number of the newest record.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Removes the record of an entry that is gone; says whether there was one.
    pub fn remove(&mut self, path: &Path) -> bool {
        self.reopen(path);
        let Some(record) = self.records.remove(path) else {
            return false;
        };
        self.uncount_names(&record);
        self.revision += 1;
        true
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
    pub(super) fn remembered(records: BTreeMap<PathBuf, Arc<Record>>) -> Self {
        let serial = records.values().map(|record| record.serial).max();
        let mut ledger = Self {
            serial: serial.unwrap_or(0),
            ..Self::default()
        };
        for record in records.values() {
            ledger.count_names(record);
        }
        ledger.records = records;
        ledger
    }

    fn count_names(&mut self, record: &Record) {
        for name in tagged_names(&record.outcome) {
            *self.names.entry(name.to_owned()).or_default() += 1;
        }
    }

    fn uncount_names(&mut self, record: &Record) {
        for name in tagged_names(&record.outcome) {
            if let Some(entries) = self.names.get_mut(name) {
                *entries -= 1;
                if *entries == 0 {
                    self.names.remove(name);
                }
            }
        }
    }
}

/// The tagged names of an outcome's images, each once: a name by digest is never two images.
fn tagged_names(outcome: &Outcome) -> BTreeSet<&str> {
    let images = outcome.imported().images.iter();
    let names = images.flat_map(|image| &image.names);
    names
        .map(String::as_str)
        .filter(|name| !name.contains('@'))
        .collect()
}
