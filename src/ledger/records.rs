//! The records of all entries.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::digest::Digest;
use crate::entry::{Entry, InNameOrder};
use crate::needed_blob::NeededBlob;
use crate::one_line::cut;
use crate::source_event::DirectoryId;

use super::record::{Attempt, ERROR_MAX, ImportedImage, Outcome, Record};
use super::snapshot::Snapshot;
use super::tally::{Summary, Tally};

/// Names, each with the images that entries bring under it.
pub type NamesOfLater = BTreeMap<String, BTreeSet<Digest>>;

/// What became of every entry.
///
/// A record *stands* when it is an outcome of this run: made in it, or found to hold in it. One
/// that was read from disk does not stand until it was looked into; it does not count in
/// [`summary`](Self::summary), but what it brought stays pinned.
///
/// An entry in *trouble* is a failure by what the source says of its file now. Its record, if it has
/// one, goes on saying what became of the file when it was read last. A trouble is not written to
/// disk: after a restart the source says it again.
#[derive(Debug, Default)]
pub struct Ledger {
    // Shared with the snapshots that are being written. By the bytes of the paths, which are compared
    // faster than their components.
    pub(super) records: BTreeMap<OsString, Arc<Record>>,
    /// The baked set, and those entries of it whose files are gone.
    pub(super) baked: BTreeMap<OsString, Arc<Record>>,
    pub(super) without_file: BTreeSet<OsString>,
    standing: BTreeSet<OsString>,
    troubles: BTreeMap<PathBuf, String>,
    /// Those that are in trouble, or stand and are failures.
    failed: BTreeSet<PathBuf>,
    /// Those of which it is not known what they bring.
    unknown: BTreeSet<PathBuf>,
    tally: Tally,
    /// How many entries bring each tagged name.
    names: HashMap<String, usize>,
    /// Names that ledgers of other images directories have.
    elsewhere: HashSet<String>,
    /// A ledger of another images directory that could not be read, or not all of it.
    lacking_elsewhere: Option<PathBuf>,
    pub(super) serial: u64,
    pub(super) revision: u64,
    is_remembered: bool,
}

impl Ledger {
    /// Entries of other images directories, which this ledger knows nothing else of, bring these names
    /// as well.
    pub fn bring_elsewhere(&mut self, names: impl IntoIterator<Item = String>) {
        self.elsewhere.extend(names);
    }

    /// Whether an entry of another images directory brings this name.
    pub fn is_brought_elsewhere(&self, name: &str) -> bool {
        self.elsewhere.contains(name)
    }

    /// Which names entries of another images directory bring is not known in full: their ledger, this file,
    /// cannot be read.
    pub fn lack_elsewhere(&mut self, ledger: PathBuf) {
        self.lacking_elsewhere.get_or_insert(ledger);
    }

    /// The first ledger of another images directory that could not be read, or not all of it.
    pub fn lacking_elsewhere(&self) -> Option<&Path> {
        self.lacking_elsewhere.as_deref()
    }

    /// Writes down how an attempt at the entry has ended, in place of an earlier one, and returns
    /// what was written. It stands.
    ///
    /// An entry that fails goes on holding what it brought before (see [`Record::kept`]), and
    /// attempts at the same version of it are counted.
    pub fn record(&mut self, path: PathBuf, attempt: Attempt) -> &Record {
        self.reopen(&path);
        self.serial = self.serial.saturating_add(1);
        let earlier = self.records.get(path.as_os_str()).map(AsRef::as_ref);
        let record = Record::after(earlier, &path, attempt, self.serial);
        self.revision += 1;
        if let Some(earlier) = self.records.remove(path.as_os_str()) {
            self.uncount_names(&earlier);
        }
        self.count_names(&record);
        match record.is_unknown {
            true => self.unknown.insert(path.clone()),
            false => self.unknown.remove(&path),
        };
        let key = path.clone().into_os_string();
        self.records.insert(key, Arc::new(record));
        self.confirm(&path);
        &self.records[path.as_os_str()]
    }

    /// An entry that has failed is not tried before then, which counts as an attempt. Does nothing where
    /// there is no record.
    pub(crate) fn put_off(&mut self, path: &Path, next_try: Option<SystemTime>) {
        if let Some(record) = self.records.get_mut(path.as_os_str()) {
            if !Arc::make_mut(record).put_off(next_try) {
                self.unknown.remove(path);
            }
            self.revision += 1;
        }
    }

    /// The record of an entry, whether it stands or not.
    pub fn get(&self, path: &Path) -> Option<&Record> {
        self.records.get(path.as_os_str()).map(AsRef::as_ref)
    }

    /// Whether the record of an entry, standing or not, is about this version of it.
    pub fn is_of_version(&self, entry: &Entry) -> bool {
        let record = self.get(&entry.path);
        record.is_some_and(|record| record.identity == Some(entry.identity))
    }

    /// All records with their paths, whether they stand or not.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &Record)> {
        self.records
            .iter()
            .map(|(path, record)| (Path::new(path), record.as_ref()))
    }

    /// The entry was looked into and its record holds: it stands. Nothing is to be written to disk
    /// for that. Does nothing where there is no record.
    pub fn confirm(&mut self, path: &Path) {
        if self.records.contains_key(path.as_os_str()) {
            self.uncount(path);
            self.standing.insert(path.as_os_str().to_owned());
            self.count(path);
        }
    }

    /// The entry is to be done again: until then its record does not stand. It is in no trouble.
    pub fn reopen(&mut self, path: &Path) {
        self.uncount(path);
        self.standing.remove(path.as_os_str());
        self.troubles.remove(path);
    }

    /// The entry is in this trouble, in place of an earlier one; says whether it was in another one or
    /// in none.
    pub fn trouble(&mut self, path: &Path, trouble: &str) -> bool {
        self.uncount(path);
        let trouble = cut(trouble, ERROR_MAX).into_owned();
        let before = self.troubles.insert(path.to_owned(), trouble);
        self.count(path);
        before.as_ref() != self.troubles.get(path)
    }

    /// The trouble that the entry is in, if it is in one.
    pub(crate) fn trouble_of(&self, path: &Path) -> Option<&str> {
        self.troubles.get(path).map(String::as_str)
    }

    /// The entry is in no trouble any more. Whether its record stands is as it was before.
    pub(crate) fn end_trouble(&mut self, path: &Path) {
        self.uncount(path);
        self.troubles.remove(path);
        self.count(path);
    }

    /// Adds what an entry counts for to the tally.
    fn count(&mut self, path: &Path) {
        let Some((standing, is_failed)) = self.counted(path) else {
            return;
        };
        self.tally.add(images(standing.as_deref()), is_failed);
        if is_failed {
            self.failed.insert(path.to_owned());
        }
    }

    /// Takes it back.
    fn uncount(&mut self, path: &Path) {
        if let Some((standing, is_failed)) = self.counted(path) {
            self.tally.remove(images(standing.as_deref()), is_failed);
            self.failed.remove(path);
        }
    }

    /// What an entry with an outcome counts for: its record, if that stands, and whether it has failed.
    fn counted(&self, path: &Path) -> Option<(Option<Arc<Record>>, bool)> {
        let standing = self.records.get(path.as_os_str());
        let standing = standing.filter(|_| self.stands(path));
        let has_failed = standing.is_some_and(|record| record.outcome.error().is_some());
        let is_failed = has_failed || self.troubles.contains_key(path);
        (standing.is_some() || is_failed).then(|| (standing.cloned(), is_failed))
    }

    pub fn stands(&self, path: &Path) -> bool {
        self.standing.contains(path.as_os_str())
    }

    /// Whether an entry has an outcome now: its record stands, or it is in trouble.
    pub fn has_outcome(&self, path: &Path) -> bool {
        self.stands(path) || self.troubles.contains_key(path)
    }

    /// The first entry that has failed, by its path, with its record. One that is in trouble has a
    /// record of what was read before, or none: `None`.
    pub(crate) fn first_failed(&self) -> Option<(&Path, Option<&Record>)> {
        let first = self.failed.first()?;
        let record = self.get(first);
        let record = record.filter(|_| !self.troubles.contains_key(first));
        Some((first, record))
    }

    /// Whether another entry brings a tagged name that this one brings.
    pub fn shares_names(&self, path: &Path) -> bool {
        let record = self.records.get(path.as_os_str()).into_iter();
        let mut names = record.flat_map(|record| tagged_names(&record.outcome));
        names.any(|name| self.names.get(name).is_some_and(|entries| *entries > 1))
    }

    /// The tagged names that entries later in name order than this one bring: they are to have them.
    pub(crate) fn names_of_later(&self, path: &Path) -> NamesOfLater {
        // To compare two paths in name order costs more than all else here.
        let brings = self
            .iter()
            .filter(|(_, record)| record.images().next().is_some());
        let brings = brings.filter(|(other, _)| self.has_file(other));
        let later = brings.filter(|(other, _)| InNameOrder(*other) > InNameOrder(path));
        let mut names = NamesOfLater::new();
        for image in later.flat_map(|(_, record)| record.images()) {
            for name in image.tagged_names() {
                let targets = names.entry(name.to_owned()).or_default();
                targets.insert(image.digest.clone());
            }
        }
        names
    }

    /// Whether an entry brings an image of this name, as it is written in the store. What a failed one
    /// only goes on holding the store may have lost.
    pub(crate) fn brings(&self, name: &str) -> bool {
        let records = self.records.values();
        let mut images = records.flat_map(|record| &record.outcome.imported().images);
        images.any(|image| image.names.iter().any(|own| own == name))
    }

    /// The entry was seen in these directories. Does nothing where there is no record.
    pub fn seen_in(&mut self, path: &Path, seen_in: Vec<DirectoryId>) {
        if let Some(record) = self.records.get_mut(path.as_os_str())
            && record.seen_in != seen_in
        {
            Arc::make_mut(record).seen_in = seen_in;
            self.revision += 1;
        }
    }

    /// Whether a run before has left what it knew, or some of it.
    pub(crate) fn is_remembered(&self) -> bool {
        self.is_remembered
    }

    /// The entries of which it is not known what they bring.
    pub fn unknown(&self) -> impl Iterator<Item = &Path> {
        self.unknown.iter().map(PathBuf::as_path)
    }

    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// The blobs of all images that were brought at the last attempts, each once.
    pub fn needed_blobs(&self) -> Vec<NeededBlob> {
        let records = self.records.values();
        let images = records.flat_map(|record| &record.outcome.imported().images);
        let blobs = images.flat_map(|image| &image.blobs);
        let blobs = blobs.collect::<HashSet<_>>();
        blobs.into_iter().cloned().collect()
    }

    /// An image needs a blob that the records of some entries which brought it have not. One that has none
    /// recorded goes on so.
    pub(crate) fn needs(&mut self, target: &Digest, blob: &NeededBlob) {
        let lacks = |image: &ImportedImage| {
            let is_recorded = image.digest == *target && !image.blobs.is_empty();
            is_recorded && !image.blobs.contains(blob)
        };
        for record in self.records.values_mut() {
            if record.outcome.imported().images.iter().any(lacks) {
                let imported = Arc::make_mut(record).outcome.imported_mut();
                for image in imported.images.iter_mut().filter(|image| lacks(image)) {
                    image.blobs.push(blob.clone());
                }
                self.revision += 1;
            }
        }
    }

    /// Takes a record from elsewhere. It does not stand.
    pub(super) fn adopt(&mut self, path: &Path, record: Arc<Record>) {
        self.count_names(&record);
        self.serial = self.serial.max(record.serial);
        self.is_remembered = true;
        self.revision += 1;
        self.records.insert(path.as_os_str().to_owned(), record);
    }

    /// Removes what is known of an entry that is gone; says whether it had an outcome or was in trouble.
    pub fn remove(&mut self, path: &Path) -> bool {
        let was_in_trouble = self.troubles.contains_key(path);
        self.reopen(path);
        self.without_file.remove(path.as_os_str());
        let Some(record) = self.records.remove(path.as_os_str()) else {
            return was_in_trouble;
        };
        self.uncount_names(&record);
        self.unknown.remove(path);
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
    pub(super) fn remembered(records: BTreeMap<OsString, Arc<Record>>, is_whole: bool) -> Self {
        let serial = records.values().map(|record| record.serial).max();
        let mut ledger = Self {
            serial: serial.unwrap_or(0),
            is_remembered: is_whole || !records.is_empty(),
            ..Self::default()
        };
        for (path, record) in &records {
            ledger.count_names(record);
            if record.is_unknown {
                ledger.unknown.insert(path.into());
            }
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

fn images(record: Option<&Record>) -> &[ImportedImage] {
    record.map_or(&[], |record| &record.outcome.imported().images)
}

/// The tagged names of an outcome's images, each once.
fn tagged_names(outcome: &Outcome) -> BTreeSet<&str> {
    let images = outcome.imported().images.iter();
    images.flat_map(ImportedImage::tagged_names).collect()
}
