//! What must hold in every history, in one place.
//!
//! 0. Nothing panics.
//! 1. READY only after every entry of the start has an outcome, which is so: of what is done the store has all
//!    names, pinned, and all blobs, but for what it has lost since it was asked; what has failed has failed;
//!    what was found damaged before is right; and, where it waits for that, all of their images are unpacked
//!    that can be. Also when a store has returned, which may be another one.
//! 2. No image that a present, out-of-sight or failed-but-good-before entry brings is ever unpinned,
//!    and none that no entry brings stays pinned by stowd, unless it cannot be known, which is told.
//!    Nothing is unpinned before READY, or while a directory cannot be listed, or that an entry would
//!    bring which could not be read; and no job that pins names begins while pins are taken off.
//! 3. What the plan believes done is what the store has, snapshots included. A record is about the version that
//!    was read, no import takes the name of a later entry, and what follows from a change, or from a deletion
//!    that the store tells, does not wait for the next listing.
//! 4. Work ends: a content failure costs at most two reads, of which the first alone writes, nothing is
//!    done again that the store has, a store that is away is left alone, and so is a file that the source
//!    has called whole.
//! 5. A pin that this stowd has not set is not touched, also if another stowd has set it.
//! 6. No job begins for a file that the source has not called whole, or that has failed and has come back
//!    into sight and is not whole.
//! 7. Nothing is pulled while an archive that may bring it has no outcome.
//! 8. There are no more jobs at once than there are slots, no retry is too early, or comes before there is
//!    the space that was lacking, nor is another reading of a file that changes at each too early, an entry
//!    is brought back a bounded number of times in a row, and the store is not asked without end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use stowd::entry::Kind;
use stowd::ledger::FailureClass;
use stowd::pin::BEFORE_INSTANCES;

use crate::baked;
use crate::content::{Content, SimImage, kind};
use crate::node::Node;
use crate::store::Record;

/// An invariant that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) String);

impl Violation {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Whether the entry at `path` lacks an image that another one has brought since it was tried.
fn is_brought_since(node: &Node, path: &Path, image: &SimImage) -> bool {
    let (ledger, digest) = (node.process.plan.ledger(), image.digest());
    let Some(tried) = ledger.get(path) else {
        return false;
    };
    let mut later = ledger.iter();
    let is_brought = later.any(|(_, record)| {
        let mut images = record.outcome.imported().images.iter();
        record.serial > tried.serial && images.any(|image| image.digest == digest)
    });
    // A list brings an image that the store names, also when it has lost a blob of it.
    let is_there = node.store.now.blobs.contains(&digest);
    is_brought && is_there && tried.class == Some(FailureClass::MissingBlob)
}

/// What was removed has no record.
fn removed_are_forgotten(node: &Node) -> Result<(), Violation> {
    let records = node.process.plan.ledger().iter();
    let mut absent = records.filter(|(path, _)| {
        // What was removed while stowd did not run is out of sight where its directory is away, or
        // another one.
        !node.directory.files.contains_key(*path)
            && !node.process.plan.ledger().is_baked(path)
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
    pins_are_accounted_for(node)?;
    let ledger = node.process.plan.ledger();
    let settings = node.oracle.config.rules().fingerprint;
    let is_whole = |path: &Path| {
        let file = node.directory.seen(path);
        file.filter(|file| !file.open && file.can_be_read())
    };
    for path in node.directory.files.keys() {
        let Some(file) = is_whole(path) else {
            continue;
        };
        let record = ledger.get(path);
        if record.is_some_and(|record| record.settings != settings) {
            let path = path.display();
            return Err(Violation::new(format!(
                "3: {path} was tried with other settings only"
            )));
        }
        let record = record.and_then(|record| record.identity);
        if record != Some(file.identity) {
            let path = path.display();
            return Err(Violation::new(format!(
                "3: {path} was tried in another version only"
            )));
        }
    }
    deleted_are_back(node)?;
    // What each name is to be, by the last entry that brings it.
    let mut owners = BTreeMap::new();
    // What is kept without its file gives way.
    let with_file = |(path, _): &(&Path, _)| ledger.has_file(path);
    for (path, record) in ledger.iter().filter(with_file) {
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
        // Where another client deletes a name, its entry is brought back again and again, and takes names
        // from others. They take them back a few times only before the next listing. And of what another
        // stowd lets go this one hears then.
        if node.store.has_deleted || is_of_both(node, name) {
            continue;
        }
        let Some((image, taker)) = node
            .store
            .now
            .images
            .get(name)
            .zip(node.oracle.put_by.get(name))
        else {
            continue;
        };
        // One that was removed lets its names go, and one that failed may have been whole in part.
        let is_gone =
            !node.directory.files.contains_key(taker) && node.oracle.removed_takers.contains(taker);
        let is_over = is_whole(taker).is_some() || is_gone;
        // Another instance that has pinned it keeps it: an import since has not taken it.
        let is_left = image.is_left_by(node.config.instance);
        let is_taken = image.digest != *digest && taker.as_path() != owner && !is_left;
        if is_taken && is_over && is_done(owner) {
            let (owner, taker) = (owner.display(), taker.display());
            return Err(Violation::new(format!(
                "3: {owner}: {name} is that of {taker}"
            )));
        }
    }
    Ok(())
}

/// Where the store tells that images were deleted, they are back; but for a name that another client deletes
/// again and again.
fn deleted_are_back(node: &Node) -> Result<(), Violation> {
    let may_lack = !node.is_listening || node.store.has_deleted;
    for (path, record) in node.process.plan.ledger().iter().filter(|_| !may_lack) {
        let file = node.directory.seen(path);
        let is_whole = file.is_some_and(|file| !file.open && file.can_be_read());
        let mut names = record.images().flat_map(|image| &image.names);
        let images = &node.store.now.images;
        if is_whole
            && record.outcome.error().is_none()
            && let Some(name) = names.find(|name| !images.contains_key(*name))
        {
            let path = path.display();
            return Err(Violation::new(format!(
                "3: {path}: {name} was deleted, and is not brought back"
            )));
        }
    }
    Ok(())
}

/// Whether the other stowd has put the name as well: it may be the image of either.
fn is_of_both(node: &Node, name: &str) -> bool {
    let other = node.other.as_ref();
    other.is_some_and(|other| other.oracle.put_by.contains_key(name))
}

/// Nothing that no entry brings is pinned by this stowd, unless it cannot be known, and that was told.
fn pins_are_accounted_for(node: &Node) -> Result<(), Violation> {
    let (images, instance) = (&node.store.now.images, node.config.instance);
    let held = node.oracle.holds.iter();
    let held = held.filter(|(path, _)| node.directory.files.contains_key(*path));
    let held = held.flat_map(|(_, holds)| holds.all().chain(&holds.may));
    let mut held = held.collect::<BTreeSet<_>>();
    let records = node.process.plan.ledger().iter();
    let absent = records.filter(|(path, _)| !node.directory.files.contains_key(*path));
    for (_, record) in absent {
        held.extend(record.images().flat_map(|image| &image.names));
    }
    // What was pinned for an entry that has no record, and cannot be seen or read whole, is not known.
    let ledger = node.process.plan.ledger();
    let is_unknown = node.directory.files.iter().any(|(path, file)| {
        let record = ledger.get(path);
        let is_recorded = record.is_some_and(|record| {
            let is_whole = record.outcome.error().is_none();
            is_whole && record.identity == Some(file.identity)
        });
        let is_archive = kind(path) == Kind::Archive;
        let is_seen = node.directory.is_visible(path) && file.can_be_read() && !file.open;
        !(is_seen || is_archive && is_recorded)
    });
    // So it is with what was out of sight when it was removed, if its record says as much.
    let is_hidden =
        |path: &Path| !node.directory.is_visible(path) || node.directory.is_in_another(path);
    let is_unknown = is_unknown || ledger.unknown().any(is_hidden);
    // Nor is it known of any where nothing was ever seen, or a directory could not be listed.
    let is_held = is_unknown || !node.oracle.has_memory || node.oracle.seen.is_any_unlisted();
    for (name, record) in images {
        let is_stale = record.is_of(instance) && !held.contains(name);
        if is_stale && !(is_held && node.oracle.is_held_told) && node.oracle.config.unpins() {
            return Err(Violation::new(format!(
                "2: {name} is pinned, and no entry brings it"
            )));
        }
    }
    Ok(())
}

/// What must hold when nothing is left to do, with a store and a registry that work.
pub(crate) fn at_rest(node: &Node) -> Result<(), Violation> {
    let images = &node.store.now.images;
    for name in &node.store.now.foreign {
        let record = images.get(name);
        if record.is_some_and(|record| !record.pinned || record.is_of_stowd()) {
            return Err(Violation::new(format!(
                "5: the pin of {name} is that of another client"
            )));
        }
    }
    let mut old = images.iter();
    let is_old = |record: &Record| record.owner == Some(BEFORE_INSTANCES);
    if let Some((name, _)) = old.find(|(_, record)| is_old(record)) {
        return Err(Violation::new(format!(
            "5: the pin of {name} was not taken over"
        )));
    }
    for (path, file) in &node.directory.files {
        let is_whole = !file.open && file.can_be_read() && node.directory.is_visible(path);
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
        let config = node.oracle.config;
        let is_pinned = |name: &String| images.get(name).filter(|record| record.pinned);
        // The pin of another client does not tell which instance has put the name: two take it from each
        // other, a time each listing.
        let foreign = &node.store.now.foreign;
        let is_contested = |name: &String| node.other.is_some() && foreign.contains(name);
        match file.content {
            Content::Archive {
                images,
                lacking,
                cut: false,
            } => {
                let mut there = lacking.iter().filter(|image| config.wants(**image));
                if let Some(image) = there.find(|image| is_brought_since(node, path, image)) {
                    let image = image.tagged();
                    return Err(problem(format!("{image} has come, and it lacks it")));
                }
                for image in images.iter().filter(|image| config.wants(**image)) {
                    if !node.store.now.blobs.contains(&image.digest()) {
                        let image = image.tagged();
                        return Err(problem(format!("a blob of {image} is not there")));
                    }
                    let is_wrong = node.store.now.wrong.contains(&image.digest());
                    if is_wrong && config.scrubs() {
                        let image = image.tagged();
                        return Err(problem(format!("a blob of {image} has wrong bytes")));
                    }
                    for name in image.names(config.extra_registry()) {
                        let Some(record) = is_pinned(&name) else {
                            return Err(problem(format!("{name} is not there, or not pinned")));
                        };
                        if record.digest != image.digest()
                            && !taken.contains(&name)
                            && !record.is_left_by(node.config.instance)
                            && !is_contested(&name)
                        {
                            return Err(problem(format!("{name} is another image")));
                        }
                    }
                }
            }
            Content::List { prose: false, .. } => {
                for name in file.content.names(config.extra_registry()) {
                    if is_pinned(&name).is_none() {
                        return Err(problem(format!("{name} is not there, or not pinned")));
                    }
                }
            }
            _ => {}
        }
    }
    removed_are_forgotten(node)?;
    baked::at_rest(node)?;
    pins_are_accounted_for(node)?;
    if !node.process.plan.is_loaded() {
        return Err(Violation::new("4: the initial load does not end"));
    }
    match node.process.plan.missing_sandbox_image() {
        Some(name) if images.contains_key(name) => Err(Violation::new(format!(
            "3: {name} is told to be missing, and is there"
        ))),
        _ => Ok(()),
    }
}
