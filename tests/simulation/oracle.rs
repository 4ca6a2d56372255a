//! Sees everything, and knows what must hold while a history goes on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use stowd::digest::Digest;
use stowd::entry::{Entry, Identity, Kind};
use stowd::happened::Happened;
use stowd::ledger::Ledger;
use stowd::plan::{Effect, Job, JobEnd};

use crate::compared::Compared;
use crate::config::Config;
use crate::content::kind;
use crate::directory::Directory;
use crate::holds::{Holds, Version};
use crate::invariants::Violation;
use crate::jobs::JobUnderWay;
use crate::pace::Pace;
use crate::process::{Process, UnderWay};
use crate::ready::Uncompared;
use crate::seen::Seen;
use crate::store::Store;
use crate::unknown::Unknown;

/// How long a store that was away is left alone.
const STORE_REST: Duration = Duration::from_secs(2);

/// Sees everything, and remembers what must hold.
#[derive(Debug)]
pub(crate) struct Oracle {
    /// That of the process.
    pub(crate) config: Config,
    pub(crate) pace: Pace,
    pub(crate) holds: BTreeMap<PathBuf, Holds>,
    /// The entries of the first listing of this process.
    pub(crate) start: Option<BTreeSet<PathBuf>>,
    /// All entries of it, also those that had changed by then; or those that are loaded anew.
    pub(crate) first_listing: Option<BTreeSet<PathBuf>>,
    /// Reads of each version of a broken archive by this process.
    pub(crate) reads: HashMap<(PathBuf, Identity), usize>,
    pub(crate) lists_overtime: bool,
    /// Files that were compared with those that were imported, and are no copies of them.
    no_copies: BTreeSet<(PathBuf, i128)>,
    /// An invariant that did not hold while a job went on.
    broken: Option<String>,
    reads_allowed: usize,
    /// Entries of which the plan was told that they were removed, and that had put names.
    pub(crate) removed_takers: BTreeSet<PathBuf>,
    /// There was a ledger, or an entry was seen.
    pub(crate) has_memory: bool,
    /// It was told why pins are left as they are.
    pub(crate) is_held_told: bool,
    pub(crate) seen: Seen,
    pub(crate) unknown: Unknown,
    pub(crate) compared: Compared,
    /// The entries of which all was brought; and for those of lists that are pulled, what the store had
    /// lost when the look began.
    brought: BTreeMap<PathBuf, Brought>,
    looked: BTreeMap<PathBuf, u64>,
    /// A job met a store that is away: none begins before this uptime.
    pub(crate) left_alone: Option<Duration>,
    /// The store has told that it is away.
    pub(crate) is_away_told: bool,
    /// What stowd had pinned when the store was asked last.
    pub(crate) own: BTreeSet<String>,
    /// For which entry each name was put last.
    pub(crate) put_by: BTreeMap<String, PathBuf>,
    /// A store has returned, and was not asked what it has, or has not answered.
    pub(crate) uncompared: Option<Uncompared>,
    /// Blobs that a run before has found damaged, and that were not written since.
    pub(crate) remembered: BTreeSet<Digest>,
}

/// All of an entry was brought.
#[derive(Debug)]
struct Brought {
    version: Version,
    /// Its names and its blobs.
    what: Vec<String>,
    /// Names that were left to later entries.
    left: BTreeSet<String>,
    /// One of them was let go when the entry was to be brought back: also where another entry has it by now.
    was_let_go: bool,
    /// What the store had lost when the job began.
    losses: u64,
}

impl Oracle {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            pace: Pace::default(),
            holds: BTreeMap::new(),
            start: None,
            first_listing: None,
            reads: HashMap::new(),
            lists_overtime: false,
            no_copies: BTreeSet::new(),
            broken: None,
            reads_allowed: 2,
            removed_takers: BTreeSet::new(),
            has_memory: false,
            is_held_told: false,
            seen: Seen::default(),
            unknown: Unknown::default(),
            compared: Compared::default(),
            brought: BTreeMap::new(),
            looked: BTreeMap::new(),
            left_alone: None,
            is_away_told: false,
            own: BTreeSet::new(),
            put_by: BTreeMap::new(),
            uncompared: None,
            remembered: BTreeSet::new(),
        }
    }

    /// What only the process knew is forgotten: of what it did not save, what cannot be seen now
    /// cannot be known.
    pub(crate) fn restarted(&mut self, ledger: &Ledger, directory: &Directory, config: Config) {
        self.config = config;
        self.pace = Pace::default();
        self.start = None;
        self.first_listing = None;
        self.lists_overtime = false;
        self.reads.clear();
        self.reads_allowed = 2;
        self.removed_takers.clear();
        self.is_held_told = false;
        self.seen.restarted();
        self.unknown.restarted(ledger);
        self.compared.restarted();
        self.brought.clear();
        self.looked.clear();
        self.left_alone = None;
        self.is_away_told = false;
        self.uncompared = None;
        self.holds.retain(|path, holds| {
            let mut may = holds
                .all()
                .chain(&holds.may)
                .cloned()
                .collect::<BTreeSet<_>>();
            if let Some(record) = ledger.get(path) {
                // It may be older than what the process knew.
                let saved = record.images().flat_map(|image| &image.names);
                may.extend(saved.cloned());
                let images = record.images();
                let saved = images
                    .flat_map(|image| &image.names)
                    .collect::<BTreeSet<_>>();
                holds.current.retain(|name| saved.contains(name));
                holds.kept.retain(|name| saved.contains(name));
                holds.pending.clear();
                holds.is_recorded &= record.identity == holds.version.map(|(identity, _)| identity);
            } else {
                *holds = Holds {
                    is_obscure: holds.is_obscure,
                    ..Holds::default()
                };
            }
            holds.may = may;
            let is_visible = directory.seen(path).is_some_and(|file| file.can_be_read());
            is_visible || ledger.get(path).is_some()
        });
        // What was forgotten may be on record again: the disk has lost that it was.
        for (path, record) in ledger.iter() {
            let names = record.images().flat_map(|image| &image.names);
            let holds = || Holds::on_record_again(names.cloned().collect());
            self.holds.entry(path.to_owned()).or_insert_with(holds);
        }
    }

    /// An operator has it take a configuration, which may be the same.
    pub(crate) fn reloaded(&mut self, config: Config) {
        if config.shape() != self.config.shape() {
            // What is broken is read again with other settings.
            self.reads.clear();
            self.pace.counts_anew();
        }
        self.reads_allowed += 1;
        self.config = config;
        self.pace.is_asked_for();
        self.pace.may_be_whole(|_| true);
    }

    pub(crate) fn told(&mut self, happened: &Happened, store: &Store) -> Result<(), Violation> {
        match happened {
            Happened::ListsOvertime { .. } => self.lists_overtime = true,
            Happened::GivenUp { path, .. } => self.compared.gives_up(path),
            Happened::PinsHeld(_) => self.is_held_told = true,
            Happened::Missing { path, names } => {
                self.is_done_again(path, names.iter().cloned(), store)?;
            }
            Happened::Damaged { path, damage } => {
                let blobs = damage.iter().map(|damage| damage.blob.digest.to_string());
                self.is_done_again(path, blobs, store)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// An entry is to be done again for names or blobs, which the store has lost since the entry was done.
    fn is_done_again(
        &self,
        path: &Path,
        mut lacks: impl Iterator<Item = String>,
        store: &Store,
    ) -> Result<(), Violation> {
        let Some(brought) = self.brought.get(path) else {
            return Ok(());
        };
        let is_lost = |lack: &String| {
            brought.left.contains(lack) || store.is_lost_since(lack, brought.losses)
        };
        match lacks.find(|lack| !is_lost(lack)) {
            Some(lack) => Err(Violation::new(format!(
                "4: {} is to be done again for {lack}, which is there",
                path.display()
            ))),
            None => Ok(()),
        }
    }

    /// Entries are to be brought back, which is told.
    pub(crate) fn brings_back(
        &mut self,
        effects: &[Effect],
        ledger: &Ledger,
        uptime: Duration,
    ) -> Result<(), Violation> {
        let mut lacking = BTreeMap::<_, BTreeSet<_>>::new();
        for effect in effects {
            match effect {
                Effect::Tell(Happened::Missing { path, names }) => {
                    lacking.entry(path).or_default().extend(names.clone());
                }
                Effect::Tell(Happened::Damaged { path, damage }) => {
                    let blobs = damage.iter().map(|damage| damage.blob.digest.to_string());
                    lacking.entry(path).or_default().extend(blobs);
                }
                _ => {}
            }
        }
        for (path, names) in lacking {
            let identity = ledger.get(path).and_then(|record| record.identity);
            if let Some(brought) = self.brought.get_mut(path) {
                brought.was_let_go |= is_any_let_go(&brought.left, path, ledger);
            }
            self.pace.brings_back(path, names, identity, uptime)?;
        }
        Ok(())
    }

    /// A job begins.
    pub(crate) fn begins(
        &mut self,
        entry: &Entry,
        job: &Job,
        process: &Process,
        store: &Store,
        uptime: Duration,
    ) -> Result<(), Violation> {
        let path = entry.path.display();
        let version = (entry.identity, self.config.shape());
        let brought = self.brought.get(&entry.path);
        let brought = brought.filter(|brought| brought.version == version);
        if brought.is_some_and(|brought| {
            let mut what = brought.what.iter();
            let is_left = brought.was_let_go
                || is_any_let_go(&brought.left, &entry.path, process.plan.ledger());
            !is_left && !what.any(|what| store.is_lost_since(what, brought.losses))
        }) {
            return Err(Violation::new(format!(
                "4: a job for {path}, of which the store has all"
            )));
        }
        if *job == Job::Import && self.is_to_be_compared(entry, process.plan.ledger()) {
            return Err(Violation::new(format!(
                "4: {path} may be a copy of what was imported, and is read whole"
            )));
        }
        let (mut of_its_kind, mut is_unpinning) = (0, false);
        for under_way in &process.under_way {
            match under_way {
                UnderWay::Job(other) if other.entry.path == entry.path => {
                    return Err(Violation::new(format!("4: two jobs for {path}")));
                }
                UnderWay::Job(other) => of_its_kind += usize::from(is_alike(&other.job, job)),
                UnderWay::Unpin(..) => is_unpinning = true,
                _ => {}
            }
        }
        let parallel = self.config.parallel();
        self.pace
            .begins(entry, job, of_its_kind, parallel, uptime)?;
        if is_unpinning && !matches!(job, Job::Pull(_)) {
            return Err(Violation::new(format!(
                "2: a job for {path}, and pins are taken off"
            )));
        }
        if !self.seen.was_whole(entry) {
            return Err(Violation::new(format!(
                "6: a job for {path}, which is not whole"
            )));
        }
        if self.is_away_told || self.left_alone.is_some_and(|until| uptime < until) {
            return Err(Violation::new(format!(
                "4: a job for {path}, and the store is away"
            )));
        }
        let is_open = |path: &&PathBuf| {
            kind(path) == Kind::Archive && !process.plan.ledger().has_outcome(path)
        };
        if matches!(job, Job::Pull(_))
            && let Some(archive) = self.seen.entries().map(|entry| &entry.path).find(is_open)
        {
            let archive = archive.display();
            return Err(Violation::new(format!(
                "7: {path} is pulled before {archive}"
            )));
        }
        Ok(())
    }

    /// A file was compared with the one that was imported, and is no copy of it.
    pub(crate) fn is_no_copy(&mut self, entry: &Entry) {
        let copy = (entry.path.clone(), entry.identity.ctime);
        self.no_copies.insert(copy);
    }

    fn is_to_be_compared(&self, entry: &Entry, ledger: &Ledger) -> bool {
        let Some(record) = ledger.get(&entry.path) else {
            return false;
        };
        let now = &entry.identity;
        let may_be_copy = record.identity.is_some_and(|known| {
            (known.size, known.mtime) == (now.size, now.mtime) && known.inode != now.inode
        });
        may_be_copy
            && record.sample.is_some()
            && record.outcome.error().is_none()
            && record.settings == self.config.rules().fingerprint
            && !self.no_copies.contains(&(entry.path.clone(), now.ctime))
    }

    /// A job ends.
    pub(crate) fn stopped(&mut self, job: &JobUnderWay, end: &JobEnd, uptime: Duration) {
        let path = &job.entry.path;
        let is_outdated = job.config.shape() != self.config.shape();
        self.pace.ended(&job.entry, end, !is_outdated, uptime);
        let is_there = !is_outdated && self.seen.has(path);
        self.pace.read(path, end, is_there, uptime);
        if *end == JobEnd::Changed {
            self.seen.changed(path);
        }
        self.left_alone = match end {
            JobEnd::StoreAway(_) => Some(uptime + STORE_REST),
            _ => None,
        };
        // What the look before a pull has pinned may be lost when the pull begins.
        let looked = self.looked.remove(path);
        let losses = looked.filter(|_| matches!(job.job, Job::Pull(_)));
        let losses = losses.unwrap_or(job.losses);
        self.compared.ended(job, end, losses);
        match end {
            JobEnd::Through(brought) if brought.problems.is_empty() => {
                let images = brought.images.iter().flat_map(|image| {
                    let blobs = image.blobs.iter().map(|blob| blob.digest.to_string());
                    image.names.iter().cloned().chain(blobs)
                });
                let brought = Brought {
                    version: (job.entry.identity, job.config.shape()),
                    what: images.collect(),
                    left: job.left.clone(),
                    was_let_go: false,
                    losses,
                };
                self.brought.insert(path.clone(), brought);
            }
            JobEnd::Absent(_) => {
                self.looked.insert(path.clone(), losses);
                self.brought.remove(path);
            }
            _ => drop(self.brought.remove(path)),
        }
    }

    /// A broken archive was read to its verdict.
    pub(crate) fn read(&mut self, entry: &Entry) {
        let key = (entry.path.clone(), entry.identity);
        let reads = self.reads.entry(key).or_default();
        *reads += 1;
        if *reads > self.reads_allowed {
            let path = entry.path.display();
            self.broken = Some(format!("4: {path} was read {reads} times"));
        }
    }

    /// An import takes a name that the store has pinned for an entry later in name order, which had a record
    /// when it began.
    pub(crate) fn takes(&mut self, name: &str, from: &Path) {
        let from = from.display();
        self.broken = Some(format!("3: {name} of {from} is taken by an earlier entry"));
    }

    pub(crate) fn checked(&self) -> Result<(), Violation> {
        match &self.broken {
            Some(what) => Err(Violation::new(what.clone())),
            None => Ok(()),
        }
    }
}

/// Whether no entry later than the one at `path` brings one of these names any more, or only one that gives way.
fn is_any_let_go(left: &BTreeSet<String>, path: &Path, ledger: &Ledger) -> bool {
    let later = ledger
        .iter()
        .filter(|(other, _)| *other > path && ledger.has_file(other));
    let names = later.flat_map(|(_, record)| record.images().flat_map(|image| &image.names));
    let held = names.collect::<BTreeSet<_>>();
    left.iter().any(|name| !held.contains(name))
}

/// Whether two jobs share their slots.
fn is_alike(one: &Job, other: &Job) -> bool {
    let slots = |job: &Job| match job {
        Job::Import | Job::Verify | Job::Compare(_) => 0,
        Job::Look => 1,
        Job::Pull(_) => 2,
    };
    slots(one) == slots(other)
}
