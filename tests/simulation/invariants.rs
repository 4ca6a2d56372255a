//! What must hold in every history, in one place.
//!
//! 0. Nothing panics.
//! 1. READY only after every entry of the start has an outcome.
//! 2. No image that a present, out-of-sight or failed-but-good-before entry brings is ever unpinned,
//!    and none that no entry brings stays pinned by stowd. Nothing is unpinned before READY, and no
//!    job that pins names begins while pins are taken off.
//! 3. What the plan believes done is what the store has. A record is about the version that was read,
//!    and what follows from a change does not wait for the next listing.
//! 4. Work ends: a content failure costs at most two reads, nothing is done again that the store has,
//!    and a store that is away is left alone.
//! 5. A pin that stowd has not set is not touched.
//! 6. No job begins for a file that the source has not called whole.
//! 7. Nothing is pulled while an archive that may bring it has no outcome.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use stowd::entry::{Entry, Identity, Kind};
use stowd::happened::Happened;
use stowd::image_store::Image;
use stowd::ledger::{FailureClass, Ledger};
use stowd::pin::{BEFORE_INSTANCES, DEFAULT_INSTANCE, OWNER_LABEL};
use stowd::plan::{Job, JobEnd, Plan};
use stowd::source_event::{Listed, SourceEvent};

use crate::content::{Content, SimImage, kind};
use crate::directory::{Away, Directory};
use crate::node::Node;
use crate::store::Store;

/// How long a store that was away is left alone.
const STORE_REST: Duration = Duration::from_secs(2);

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) String);

impl Violation {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// What an entry holds, as somebody would say who sees everything.
#[derive(Debug, Clone, Default)]
struct Holds {
    /// By the version of the file that is there, as jobs for it have ended.
    current: BTreeSet<String>,
    /// Pinned for that version by a job that has not ended yet.
    pending: BTreeSet<String>,
    /// By the last version that was whole, until a newer one is.
    kept: BTreeSet<String>,
    /// What it need not hold, and may until it is whole again.
    may: BTreeSet<String>,
    identity: Option<Identity>,
    /// A job for this version has ended with what it brought.
    is_recorded: bool,
    /// A version before it was removed, and stowd may not have heard of it: what the next version
    /// goes on holding is not known.
    is_obscure: bool,
}

impl Holds {
    fn all(&self) -> impl Iterator<Item = &String> {
        self.current.iter().chain(&self.pending).chain(&self.kept)
    }

    /// Whether the name must stay pinned while this version of the file is there.
    fn must_hold(&self, name: &str, identity: Identity) -> bool {
        let current = self.current.contains(name);
        let kept = self.kept.contains(name);
        match self.identity == Some(identity) {
            true => current || kept || self.pending.contains(name),
            // The next version goes on holding what the last whole one has brought.
            false if self.is_obscure => false,
            false => kept || (current && self.is_recorded && self.kept.is_empty()),
        }
    }
}

/// Sees everything, and remembers what must hold.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    holds: BTreeMap<PathBuf, Holds>,
    /// The entries of the first listing of this process.
    start: Option<BTreeSet<PathBuf>>,
    /// Reads of each version of a broken archive by this process.
    reads: HashMap<(PathBuf, Identity), usize>,
    lists_overtime: bool,
    /// Pins that somebody else has set.
    pub(crate) foreign: BTreeSet<String>,
    pub(crate) too_many_reads: Option<String>,
    pub(crate) reads_allowed: usize,
    /// The files that the source has told of last.
    seen: BTreeSet<PathBuf>,
    /// The versions that the source of this process or of one before has called whole.
    whole: HashSet<(PathBuf, Identity)>,
    /// The entries of which all was brought, with what the store had lost when the job for it began;
    /// and those of lists that are pulled.
    brought: BTreeMap<PathBuf, u64>,
    looked: BTreeMap<PathBuf, u64>,
    /// A job met a store that is away: none begins before this uptime.
    left_alone: Option<Duration>,
    /// What stowd had pinned when the store was asked last.
    own: BTreeSet<String>,
    /// For which entry each name was put last, and whether its record tells so.
    put_by: BTreeMap<String, (PathBuf, bool)>,
}

impl Oracle {
    /// What only the process knew is forgotten: of what it did not save, what cannot be seen now
    /// cannot be known.
    pub(crate) fn restarted(&mut self, ledger: &Ledger, directory: &Directory) {
        self.start = None;
        self.lists_overtime = false;
        self.reads.clear();
        self.reads_allowed = 2;
        self.seen.clear();
        self.brought.clear();
        self.looked.clear();
        self.left_alone = None;
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
                holds.is_recorded &= record.identity == holds.identity;
            } else {
                *holds = Holds {
                    is_obscure: holds.is_obscure,
                    ..Holds::default()
                };
            }
            holds.may = may;
            let is_visible = directory.seen(path).is_some_and(|file| file.readable);
            is_visible || ledger.get(path).is_some()
        });
    }

    pub(crate) fn told(&mut self, happened: &Happened, store: &Store) -> Result<(), Violation> {
        match happened {
            Happened::ListsOvertime { .. } => self.lists_overtime = true,
            Happened::Missing { path, names } => {
                let Some(losses) = self.brought.get(path) else {
                    return Ok(());
                };
                let mut names = names.iter();
                if let Some(name) = names.find(|name| !store.is_lost_since(name, *losses)) {
                    let path = path.display();
                    return Err(Violation::new(format!(
                        "4: {path} is to be done again for {name}, which is there"
                    )));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The source tells the plan something.
    pub(crate) fn sees(&mut self, event: &SourceEvent) {
        let mut see = |entry: &Entry, whole: bool| {
            self.seen.insert(entry.path.clone());
            if whole {
                self.whole.insert((entry.path.clone(), entry.identity));
            }
        };
        match event {
            SourceEvent::Settling(entry) | SourceEvent::StillWritten(entry) => see(entry, false),
            SourceEvent::Settled(entry) => see(entry, true),
            SourceEvent::Listed(listing) => {
                self.seen.clear();
                for Listed { entry, whole } in &listing.entries {
                    self.seen.insert(entry.path.clone());
                    if *whole {
                        self.whole.insert((entry.path.clone(), entry.identity));
                    }
                }
            }
            SourceEvent::Removed(path) => self.seen.retain(|other| !other.starts_with(path)),
            _ => {}
        }
    }

    /// A job begins.
    pub(crate) fn begins(
        &mut self,
        entry: &Entry,
        job: &Job,
        plan: &Plan,
        is_unpinning: bool,
        uptime: Duration,
    ) -> Result<(), Violation> {
        let path = entry.path.display();
        if is_unpinning && !matches!(job, Job::Pull(_)) {
            return Err(Violation::new(format!(
                "2: a job for {path}, and pins are taken off"
            )));
        }
        if !self.whole.contains(&(entry.path.clone(), entry.identity)) {
            return Err(Violation::new(format!(
                "6: a job for {path}, which is not whole"
            )));
        }
        if self.left_alone.is_some_and(|until| uptime < until) {
            return Err(Violation::new(format!(
                "4: a job for {path}, and the store is away"
            )));
        }
        let is_open =
            |path: &&PathBuf| kind(path) == Kind::Archive && !plan.ledger().has_outcome(path);
        if matches!(job, Job::Pull(_))
            && let Some(archive) = self.seen.iter().find(is_open)
        {
            let archive = archive.display();
            return Err(Violation::new(format!(
                "7: {path} is pulled before {archive}"
            )));
        }
        Ok(())
    }

    /// A job ends; it began when the store had had so many losses.
    pub(crate) fn stopped(
        &mut self,
        path: &Path,
        end: &JobEnd,
        is_pull: bool,
        losses: u64,
        uptime: Duration,
    ) {
        self.left_alone = match end {
            JobEnd::StoreAway(_) => Some(uptime + STORE_REST),
            _ => None,
        };
        // What the look before a pull has pinned may be lost when the pull begins.
        let looked = self.looked.remove(path);
        let losses = looked.filter(|_| is_pull).unwrap_or(losses);
        match end {
            JobEnd::Through(brought) if brought.problems.is_empty() => {
                self.brought.insert(path.to_owned(), losses);
            }
            JobEnd::Absent(_) => {
                self.looked.insert(path.to_owned(), losses);
                self.brought.remove(path);
            }
            _ => drop(self.brought.remove(path)),
        }
    }

    /// The store tells which images it has.
    pub(crate) fn answered(&mut self, images: &[Image]) {
        let own = images.iter();
        // Not as stowd asks: that is what is tested.
        let is_own =
            |owner: &String| [DEFAULT_INSTANCE, BEFORE_INSTANCES].contains(&owner.as_str());
        let own = own.filter(|image| image.labels.get(OWNER_LABEL).is_some_and(is_own));
        self.own = own.map(|image| image.name.clone()).collect();
    }

    /// The plan wants pins taken off.
    pub(crate) fn unpins(&self, names: &[String], plan: &Plan) -> Result<(), Violation> {
        if !plan.is_loaded() {
            let names = names.join(", ");
            return Err(Violation::new(format!("2: {names} unpinned before READY")));
        }
        match names.iter().find(|name| !self.own.contains(*name)) {
            Some(name) => Err(Violation::new(format!(
                "5: {name} is to be unpinned, and stowd has not pinned it"
            ))),
            None => Ok(()),
        }
    }

    /// A listing is told. Of the entries of the first those count that the later ones have, too.
    pub(crate) fn listed(&mut self, entries: &BTreeSet<PathBuf>) {
        match &mut self.start {
            Some(start) => start.retain(|path| entries.contains(path)),
            None => self.start = Some(entries.clone()),
        }
    }

    pub(crate) fn loaded(&self, plan: &Plan, directory: &Directory) -> Result<(), Violation> {
        let Some(start) = &self.start else {
            return Err(Violation::new("1: READY before anything was listed"));
        };
        for path in start {
            let is_list = kind(path) == Kind::List;
            let is_there = directory.seen(path).is_some();
            if is_there && !plan.ledger().has_outcome(path) && !(is_list && self.lists_overtime) {
                let path = path.display();
                return Err(Violation::new(format!(
                    "1: READY, and {path} has no outcome"
                )));
            }
        }
        Ok(())
    }

    /// A name was pinned for an entry.
    pub(crate) fn pinned(&mut self, entry: &Entry, name: String, directory: &Directory) {
        self.put_by
            .insert(name.clone(), (entry.path.clone(), false));
        let file = directory.files.get(&entry.path);
        match file {
            Some(file) if file.identity == entry.identity => {
                let holds = self.version(&entry.path, entry.identity);
                // What a line names may be another image the next time.
                match entry.kind == Kind::List && name.contains('@') {
                    true => holds.may.insert(name),
                    false => holds.pending.insert(name),
                };
            }
            // The file is another one by now.
            Some(_) => drop(
                self.holds
                    .entry(entry.path.clone())
                    .or_default()
                    .may
                    .insert(name),
            ),
            None => {}
        }
    }

    /// An entry has a record of all that was put for it.
    pub(crate) fn recorded(&mut self, path: &Path) {
        let puts = self.put_by.values_mut();
        for (_, is_recorded) in puts.filter(|(other, _)| other == path) {
            *is_recorded = true;
        }
    }

    fn version(&mut self, path: &Path, identity: Identity) -> &mut Holds {
        let holds = self.holds.entry(path.to_owned()).or_default();
        if holds.identity != Some(identity) {
            let current = std::mem::take(&mut holds.current);
            holds.may.append(&mut holds.pending);
            if !holds.is_recorded {
                // Only of what has been recorded the next version goes on holding anything.
                holds.may.extend(current);
            } else if holds.is_obscure {
                holds.may.extend(current);
            } else if holds.kept.is_empty() {
                holds.kept = current;
            }
            holds.identity = Some(identity);
            holds.is_recorded = false;
        }
        holds
    }

    pub(crate) fn ended(&mut self, entry: &Entry, end: &JobEnd, directory: &Directory) {
        let file = directory.files.get(&entry.path);
        let is_current = file.is_some_and(|file| file.identity == entry.identity);
        let brought = match end {
            JobEnd::Through(brought) => brought,
            JobEnd::Failed(FailureClass::Content, _) => return self.read(entry),
            _ => return,
        };
        if !is_current {
            // Its record is about a version that is no more; what it held is replaced all the same.
            if brought.problems.is_empty()
                && let Some(holds) = self.holds.get_mut(&entry.path)
            {
                let names = brought.images.iter().flat_map(|image| &image.names);
                // It is the last whole version, and what the next one goes on holding is of it.
                *holds = Holds {
                    may: names.cloned().collect(),
                    is_obscure: true,
                    ..Holds::default()
                };
            }
            return;
        }
        let names = brought.images.iter().flat_map(|image| &image.names);
        let names = names.cloned().collect::<BTreeSet<_>>();
        let holds = self.version(&entry.path, entry.identity);
        holds.is_recorded = true;
        let (names, by_digest): (BTreeSet<_>, BTreeSet<_>) = names
            .into_iter()
            .partition(|name| entry.kind == Kind::Archive || !name.contains('@'));
        let pending = std::mem::take(&mut holds.pending);
        if brought.problems.is_empty() {
            holds.current = names;
            holds.kept.clear();
            holds.may.clear();
            holds.is_obscure = false;
        } else if let stowd::ledger::Keeps::Named(failed) = &brought.keeps {
            // All of the list was gone through: what failed is kept, by its tagged name.
            let is_kept = |name: &String| failed.contains(name);
            let kept = holds.all().filter(|name| is_kept(name)).cloned().collect();
            // The names by digest of an image that is kept stay with it.
            let stays = |name: &String| {
                let repository = name.split_once('@').map(|(repository, _)| repository);
                repository.is_some_and(|repository| failed.contains(&format!("{repository}:1")))
            };
            let may = holds.may.iter().filter(|name| stays(name));
            holds.may = holds.all().chain(may).cloned().collect();
            holds.kept = kept;
            holds.current = names;
        } else {
            holds.current.extend(names);
            // What an attempt that was given up had pinned, and this one has not brought.
            holds.may.extend(pending);
        }
        holds.may.extend(by_digest);
    }

    /// The file of an entry was removed, or is another one that is not known yet.
    pub(crate) fn removed(&mut self, path: &Path) {
        self.let_go(|held| held == path);
        if let Some(start) = &mut self.start {
            start.remove(path);
        }
    }

    /// Nothing must be held for these. A file that is made in their place before stowd has heard of it
    /// is another version to stowd.
    fn let_go(&mut self, is_removed: impl Fn(&Path) -> bool) {
        for (_, holds) in self.holds.iter_mut().filter(|(path, _)| is_removed(path)) {
            let may = holds.all().chain(&holds.may).cloned().collect();
            *holds = Holds {
                may,
                is_obscure: true,
                ..Holds::default()
            };
        }
    }

    pub(crate) fn removed_below(&mut self, dir: &Path) {
        self.let_go(|path| path.starts_with(dir));
        if let Some(start) = &mut self.start {
            start.retain(|path| !path.starts_with(dir));
        }
    }

    /// A broken archive was read to its verdict.
    fn read(&mut self, entry: &Entry) {
        let key = (entry.path.clone(), entry.identity);
        let reads = self.reads.entry(key).or_default();
        *reads += 1;
        if *reads > self.reads_allowed {
            let path = entry.path.display();
            self.too_many_reads = Some(format!("4: {path} was read {reads} times"));
        }
    }

    pub(crate) fn unpinned(&self, name: &str, directory: &Directory) -> Result<(), Violation> {
        for (path, holds) in &self.holds {
            let file = directory.files.get(path);
            if file.is_some_and(|file| holds.must_hold(name, file.identity)) {
                let path = path.display();
                return Err(Violation::new(format!("2: {name} of {path} was unpinned")));
            }
        }
        Ok(())
    }
}

/// Whether the entry at `path` lacks an image that another one has brought since it was tried. What was
/// out of sight may have missed that.
fn is_brought_since(node: &Node, path: &Path, image: &SimImage) -> bool {
    let (ledger, digest) = (node.process.plan.ledger(), image.digest());
    let Some(tried) = ledger.get(path).filter(|_| !node.directory.was_away) else {
        return false;
    };
    let mut later = ledger.iter();
    let is_brought = later.any(|(_, record)| {
        let mut images = record.outcome.imported().images.iter();
        record.serial > tried.serial && images.any(|image| image.digest == digest)
    });
    is_brought && tried.class == Some(FailureClass::MissingBlob)
}

/// What was removed has no record.
fn removed_are_forgotten(node: &Node) -> Result<(), Violation> {
    let records = node.process.plan.ledger().iter();
    let mut absent = records.filter(|(path, _)| {
        // What was removed while stowd did not run is out of sight where its directory is away, or
        // another one.
        !node.directory.files.contains_key(*path)
            && node.directory.is_visible(path)
            && !node.directory.is_in_another(path)
    });
    match absent.next() {
        Some((path, _)) => {
            let path = path.display();
            Err(Violation::new(format!(
                "2: {path} was removed, and is not forgotten"
            )))
        }
        None => Ok(()),
    }
}

/// What must hold when the faults have ended and nothing is left to do, though nothing was listed again:
/// the source has told all, and a later listing is not to mend anything.
pub(crate) fn without_a_listing(node: &Node) -> Result<(), Violation> {
    removed_are_forgotten(node)?;
    let ledger = node.process.plan.ledger();
    let is_whole = |path: &Path| {
        let file = node.directory.seen(path);
        file.filter(|file| !file.open && file.readable)
    };
    for path in node.directory.files.keys() {
        let Some(file) = is_whole(path) else {
            continue;
        };
        let record = ledger.get(path).and_then(|record| record.identity);
        if record != Some(file.identity) {
            let path = path.display();
            return Err(Violation::new(format!(
                "3: {path} was tried in another version only"
            )));
        }
    }
    // What each name is to be, by the last entry that brings it.
    let mut owners = BTreeMap::new();
    for (path, record) in ledger.iter() {
        for image in record.images() {
            let names = image.names.iter();
            owners.extend(names.map(|name| (name, (path, &image.digest))));
        }
    }
    let is_done = |path: &Path| {
        let record = ledger.get(path);
        is_whole(path).is_some() && record.is_some_and(|record| record.outcome.error().is_none())
    };
    for (name, (owner, digest)) in owners {
        let Some((image, (taker, is_recorded))) = node
            .store
            .images
            .get(name)
            .zip(node.oracle.put_by.get(name))
        else {
            continue;
        };
        // One that was removed is no owner any more, and one that failed may have been whole in part.
        let is_over = is_whole(taker).is_some() || !node.directory.files.contains_key(taker);
        let is_taken = image.digest != *digest && *is_recorded && taker.as_path() != owner;
        if is_taken && is_over && is_done(owner) {
            let (owner, taker) = (owner.display(), taker.display());
            return Err(Violation::new(format!(
                "3: {owner}: {name} is that of {taker}"
            )));
        }
    }
    Ok(())
}

/// What must hold when nothing is left to do, with a store and a registry that work.
pub(crate) fn at_rest(node: &Node) -> Result<(), Violation> {
    let images = &node.store.images;
    for name in &node.oracle.foreign {
        let record = images.get(name);
        if record.is_some_and(|record| !record.pinned || record.is_own()) {
            return Err(Violation::new(format!(
                "5: the pin of {name} is somebody else's"
            )));
        }
    }
    let mut old = images.iter();
    if let Some((name, _)) = old.find(|(_, record)| record.owner == Some(BEFORE_INSTANCES)) {
        return Err(Violation::new(format!(
            "5: the pin of {name} was not taken over"
        )));
    }
    for (path, file) in &node.directory.files {
        let is_whole = !file.open && file.readable && node.directory.is_visible(path);
        if !is_whole {
            continue;
        }
        let later = node.directory.files.range::<PathBuf, _>(path..).skip(1);
        let taken = later.flat_map(|(_, later)| later.content.tags());
        // What is out of sight goes on holding what it brought.
        let records = node.process.plan.ledger().iter();
        let records = records.filter(|(other, _)| *other > path.as_path());
        let recorded = records.flat_map(|(_, record)| record.images());
        let recorded = recorded.flat_map(|image| image.names.iter().cloned());
        let taken = taken.chain(recorded).collect::<BTreeSet<_>>();
        let problem = |what: String| Violation::new(format!("3: {}: {what}", path.display()));
        if !node.process.plan.ledger().has_outcome(path) {
            return Err(problem("it has no outcome".to_owned()));
        }
        let is_pinned = |name: &String| images.get(name).filter(|record| record.pinned);
        match file.content {
            Content::Archive {
                images,
                lacking,
                cut: false,
            } => {
                let mut there = lacking.iter();
                if let Some(image) = there.find(|image| is_brought_since(node, path, image)) {
                    let image = image.tagged();
                    return Err(problem(format!("{image} has come, and it lacks it")));
                }
                for image in images {
                    for name in image.names() {
                        let Some(record) = is_pinned(&name) else {
                            return Err(problem(format!("{name} is not there, or not pinned")));
                        };
                        if record.digest != image.digest() && !taken.contains(&name) {
                            return Err(problem(format!("{name} is another image")));
                        }
                    }
                }
            }
            Content::List {
                names,
                prose: false,
                ..
            } => {
                for name in names.iter().map(|name| format!("{name}:1")) {
                    if is_pinned(&name).is_none() {
                        return Err(problem(format!("{name} is not there, or not pinned")));
                    }
                }
            }
            _ => {}
        }
    }
    let held = node.oracle.holds.iter();
    let held = held.filter(|(path, _)| node.directory.files.contains_key(*path));
    let held = held.flat_map(|(_, holds)| holds.all().chain(&holds.may));
    let mut held = held.collect::<BTreeSet<_>>();
    removed_are_forgotten(node)?;
    let records = node.process.plan.ledger().iter();
    let absent = records.filter(|(path, _)| !node.directory.files.contains_key(*path));
    for (_, record) in absent {
        held.extend(record.images().flat_map(|image| &image.names));
    }
    // What was pinned for an entry that has no record, and cannot be seen, is not known.
    let ledger = node.process.plan.ledger();
    let is_unknown = node.directory.files.iter().any(|(path, file)| {
        let record = ledger.get(path);
        let is_recorded = record.is_some_and(|record| {
            let is_whole = record.outcome.error().is_none();
            is_whole && record.identity == Some(file.identity)
        });
        let is_archive = kind(path) == Kind::Archive;
        !(node.directory.is_visible(path) || is_archive && is_recorded)
    });
    // Without a ledger, and without an entry seen, what the pins are for is not known either; nor where a
    // directory cannot be listed, or what is out of sight was never read whole.
    let is_unlisted = node.directory.sub_away == Some(Away::Unreadable);
    let is_unlisted = is_unlisted || node.directory.root_away.is_some();
    let mut unknown = ledger
        .unknown()
        .filter(|path| !node.directory.is_visible(path));
    let is_unknown = is_unknown || is_unlisted || unknown.next().is_some() || node.disk.is_empty();
    for (name, record) in images {
        if record.is_own() && !held.contains(name) && !is_unknown {
            return Err(Violation::new(format!(
                "2: {name} is pinned, and no entry brings it"
            )));
        }
    }
    if !node.process.plan.is_loaded() {
        return Err(Violation::new("4: the initial load does not end"));
    }
    Ok(())
}
