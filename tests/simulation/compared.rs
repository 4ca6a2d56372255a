//! What the plan can know of what the store has: from when on what is lost is news to it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::path::{Path, PathBuf};

use stowd::digest::Digest;
use stowd::entry::Identity;
use stowd::plan::JobEnd;

use crate::content::Content;
use crate::directory::File;
use crate::invariants::Violation;
use crate::jobs::JobUnderWay;
use crate::node::Node;
use crate::process::UnderWay;
use crate::store::{Store, snapshot};

/// What the store had lost when an entry was compared, or when the job began that brought it.
#[derive(Debug, Clone, Copy, Default)]
struct Since {
    names: u64,
    blobs: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Compared {
    entries: BTreeMap<PathBuf, Since>,
    /// Those of which a job has ended since the store was asked: its answer says nothing about them.
    newer: BTreeSet<PathBuf>,
    /// What the store had lost when the snapshots of an image were made or listed.
    unpacked: BTreeMap<Digest, u64>,
    /// Images whose snapshots could not be made.
    not_unpacked: BTreeSet<Digest>,
    /// Entries that were brought back too often.
    given_up: BTreeSet<PathBuf>,
    /// Versions of files that have failed, also in a process before.
    failed: HashSet<(PathBuf, Identity)>,
}

impl Compared {
    pub(crate) fn restarted(&mut self) {
        *self = Self {
            failed: std::mem::take(&mut self.failed),
            ..Self::default()
        };
    }

    /// The store is asked what it has.
    pub(crate) fn asks(&mut self) {
        self.newer.clear();
    }

    /// It answers, and had lost so much when it looked; also at its blobs, or not.
    pub(crate) fn answered<'a>(
        &mut self,
        known: impl Iterator<Item = &'a Path>,
        losses: u64,
        has_blobs: bool,
    ) {
        for path in known.filter(|path| !self.newer.contains(*path)) {
            let since = self.entries.entry(path.to_owned()).or_default();
            since.names = losses;
            if has_blobs {
                since.blobs = losses;
            }
        }
    }

    /// The store has told of the snapshots of an image, when it had lost so much.
    pub(crate) fn unpacked(&mut self, image: &Digest, losses: u64) {
        self.not_unpacked.remove(image);
        self.unpacked.insert(image.clone(), losses);
    }

    pub(crate) fn not_unpacked(&mut self, image: &Digest) {
        self.not_unpacked.insert(image.clone());
    }

    pub(crate) fn gives_up(&mut self, path: &Path) {
        self.given_up.insert(path.to_owned());
    }

    /// Whether the snapshots of an image could be made, and were not lost since they were made or listed.
    pub(crate) fn is_to_be_unpacked(&self, image: &Digest, store: &Store) -> bool {
        let since = self.unpacked.get(image).copied().unwrap_or(0);
        !self.not_unpacked.contains(image) && !store.is_lost_since(&snapshot(image), since)
    }

    /// A job has ended, for which `losses` is what the store had lost when it, or the look before it, began.
    pub(crate) fn ended(&mut self, job: &JobUnderWay, end: &JobEnd, losses: u64) {
        let entry = &job.entry;
        let (names, blobs) = (losses, losses);
        self.newer.insert(entry.path.clone());
        self.entries
            .insert(entry.path.clone(), Since { names, blobs });
        let has_failed = match end {
            JobEnd::Through(brought) => !brought.problems.is_empty(),
            JobEnd::Failed(..) => true,
            _ => false,
        };
        if has_failed {
            self.failed.insert((entry.path.clone(), entry.identity));
        }
    }
}

/// 1: READY says of the entries of the start what is so: what has failed has failed, and of all else the store
/// has all, but for what it has lost since it was asked. That is judged by the files, and not as the plan does.
pub(crate) fn at_ready(node: &Node) -> Result<(), Violation> {
    for path in node.oracle.start.iter().flatten() {
        if node.process.plan.ledger().has_outcome(path)
            && let Some(what) = not_as_told(node, path)
        {
            let path = path.display();
            return Err(Violation::new(format!("1: READY, and of {path} {what}")));
        }
    }
    Ok(())
}

fn not_as_told(node: &Node, path: &Path) -> Option<String> {
    let (oracle, store) = (&node.oracle, &node.store);
    let (config, compared) = (oracle.config, &oracle.compared);
    let is_whole = |file: &&File| !file.open && file.can_be_read() && oracle.seen.is_whole(path);
    let file = node.directory.seen(path).filter(is_whole)?;
    let settings = config.rules().fingerprint;
    let record = node.process.plan.ledger().get(path)?;
    if record.identity != Some(file.identity) || record.settings != settings {
        // The source has not told of this version yet, or it has changed at each reading.
        return None;
    }
    if record.outcome.error().is_some() {
        let has_failed = compared.failed.contains(&(path.to_owned(), file.identity));
        return (!has_failed).then(|| "it has not failed".to_owned());
    }
    if compared.given_up.contains(path) {
        return None;
    }
    let since = compared.entries.get(path).copied().unwrap_or_default();
    let images = match file.content {
        Content::Archive { cut: true, .. } => return Some("it is broken".to_owned()),
        Content::Archive {
            images, lacking, ..
        } => images.iter().chain(lacking).copied().collect(),
        Content::List { .. } => Vec::new(),
    };
    for image in images.into_iter().filter(|image| config.wants(*image)) {
        let digest = image.digest();
        let is_lost = store.is_lost_since(&digest.to_string(), since.blobs);
        if !store.now.blobs.contains(&digest) && !is_lost {
            return Some(format!("a blob of {} is not there", image.tagged()));
        }
        for name in image.names(config.extra_registry()) {
            if !is_named(node, &name, since) {
                return Some(format!("{name} is not there, or not pinned"));
            }
            if is_of_another(node, path, &name, &digest, since) {
                return Some(format!("{name} is another image"));
            }
        }
    }
    let is_list = matches!(file.content, Content::List { .. });
    let names = file.content.names(config.extra_registry()).into_iter();
    let mut lacking = names.filter(|name| is_list && !is_named(node, name, since));
    let lacking = lacking.next()?;
    Some(format!("{lacking} is not there, or not pinned"))
}

fn is_named(node: &Node, name: &str, since: Since) -> bool {
    let image = node.store.now.images.get(name);
    image.is_some_and(|image| image.pinned) || node.store.is_lost_since(name, since.names)
}

/// Whether a name that an archive brings is another image's, and not by a later entry, by one that is not of
/// the start, or is in work, or by another client.
fn is_of_another(node: &Node, path: &Path, name: &str, digest: &Digest, since: Since) -> bool {
    let (store, instance) = (&node.store, node.config.instance);
    let Some(there) = store.now.images.get(name) else {
        return false;
    };
    let later = node
        .directory
        .files
        .range::<Path, _>((Excluded(path), Unbounded));
    let mut taken =
        later.flat_map(|(_, file)| file.content.names(node.oracle.config.extra_registry()));
    let records = node.process.plan.ledger().iter();
    let records = records.filter(|(other, _)| *other > path);
    let mut recorded = records.flat_map(|(_, record)| record.images());
    let is_taken = taken.any(|other| other == name)
        || recorded.any(|image| image.names.iter().any(|other| other == name));
    let is_in_work = |taker: &PathBuf| {
        let mut jobs = node.process.under_way.iter();
        jobs.any(|other| matches!(other, UnderWay::Job(job) if job.entry.path == *taker))
    };
    let is_later = |taker: &PathBuf| {
        let start = node.oracle.start.as_ref();
        start.is_some_and(|start| !start.contains(taker))
    };
    let taker = node.oracle.put_by.get(name);
    let is_of_work = taker.is_some_and(|taker| is_later(taker) || is_in_work(taker));
    there.digest != *digest
        && !is_taken
        && !there.is_left_by(instance)
        && !is_of_work
        && !store.is_lost_to_another(name, since.names, instance)
}
