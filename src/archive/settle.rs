//! Which image of an archive gets which name, and which are problems.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::candidate::{Candidate, Candidates, Claim, Outcome};
use super::problem::{Fault, ImageProblem, LayoutError};
use super::resolve::{ArchiveImage, Resolution};
use crate::digest::Digest;
use crate::naming::Reference;
use crate::platform::{Platform, Wanted};

/// Nobody reads more notes.
const NOTES_MAX: usize = 20;

/// Gives each name to one image, and tells the images from the problems.
pub(super) fn settle(candidates: Candidates, wanted: &Wanted) -> Result<Resolution, LayoutError> {
    let Candidates {
        mut list,
        mut notes,
        listed_in,
    } = candidates;
    list.retain(|candidate| !matches!(candidate.outcome, Outcome::Nothing));
    let list = merge(list);
    if list.is_empty() {
        return Err(LayoutError::Empty { member: listed_in });
    }
    if let Some(has) = all_foreign(&list) {
        return Err(LayoutError::NoWantedPlatform {
            has,
            wanted: wanted.clone(),
        });
    }
    let owners = owners(&list);
    let parts = parts(&list);
    let mut images = Vec::new();
    let mut problems = Vec::new();
    // Of images that nobody could ask for.
    let mut minor = Vec::new();
    for (number, candidate) in list.into_iter().enumerate() {
        let Candidate {
            label,
            mut names,
            outcome,
        } = candidate;
        let nameless = names.usable.is_empty();
        let (own, lost): (Vec<_>, Vec<_>) = std::mem::take(&mut names.usable)
            .into_iter()
            .partition(|name| owners.get(name).is_none_or(|owner| *owner == number));
        if !matches!(outcome, Outcome::Foreign(_)) {
            notes.extend(lost.iter().map(|name| {
                format!("{name} names several images of the archive; {label} does not get it")
            }));
        }
        if !nameless && own.is_empty() {
            continue;
        }
        let (list, fault) = match outcome {
            Outcome::Whole(whole) if !nameless => {
                let refused = names.refused.iter();
                notes.extend(refused.map(|reason| format!("{label}: {reason}")));
                images.push(ArchiveImage {
                    names: own,
                    target: whole.target,
                    blobs: whole.blobs,
                    runs_on_host: whole.runs_on_host,
                });
                continue;
            }
            Outcome::Whole(whole) if parts.contains(&whole.target.digest) => continue,
            Outcome::Whole(whole) => {
                let list = match whole.claim {
                    Claim::Unplatformed => &mut minor,
                    Claim::Wanted | Claim::Host => &mut problems,
                };
                (list, Fault::NoName { said: names.said() })
            }
            Outcome::Foreign(has) => {
                let list = if nameless { &mut minor } else { &mut problems };
                let wanted = wanted.clone();
                (list, Fault::NoWantedPlatform { has, wanted })
            }
            Outcome::Bad(fault) => (&mut problems, fault),
            Outcome::Nothing | Outcome::Pending => continue,
        };
        let image = called(&own, label);
        list.push(ImageProblem { image, fault });
    }
    if images.is_empty() && problems.is_empty() {
        problems = minor;
    } else {
        notes.extend(minor.iter().map(ImageProblem::to_string));
    }
    let more = notes.len().saturating_sub(NOTES_MAX);
    notes.truncate(NOTES_MAX);
    if more > 0 {
        notes.push(format!("and {more} more notes of the kind"));
    }
    Ok(Resolution {
        images,
        problems,
        claimed: owners.into_keys().collect(),
        notes,
        missing_documents: BTreeSet::new(),
    })
}

/// Candidates with one target are one image.
fn merge(list: Vec<Candidate>) -> Vec<Candidate> {
    let mut merged: Vec<Candidate> = Vec::new();
    let mut places: HashMap<Digest, usize> = HashMap::new();
    for candidate in list {
        if let Outcome::Whole(whole) = &candidate.outcome {
            let digest = whole.target.digest.clone();
            if let Some(place) = places.get(&digest) {
                merged[*place].names.append(candidate.names);
                continue;
            }
            places.insert(digest, merged.len());
        }
        merged.push(candidate);
    }
    for candidate in &mut merged {
        let mut seen = HashSet::new();
        let names = &mut candidate.names.usable;
        names.retain(|name| seen.insert(name.clone()));
    }
    merged
}

/// The platforms of all, if none has a wanted one.
fn all_foreign(list: &[Candidate]) -> Option<Vec<Platform>> {
    const SOME: usize = 100;
    let mut all = Vec::new();
    for candidate in list {
        let Outcome::Foreign(has) = &candidate.outcome else {
            return None;
        };
        for platform in has {
            if all.len() < SOME && !all.contains(platform) {
                all.push(platform.clone());
            }
        }
    }
    Some(all)
}

/// Which candidate each name goes to. Those for other platforms give way.
fn owners(list: &[Candidate]) -> BTreeMap<Reference, usize> {
    let mut owners: BTreeMap<Reference, (Claim, usize)> = BTreeMap::new();
    for (number, candidate) in list.iter().enumerate() {
        let claim = match &candidate.outcome {
            Outcome::Whole(whole) => whole.claim,
            // What it would have been is not known; a name that was meant for it goes to none else.
            Outcome::Bad(_) => Claim::Host,
            Outcome::Foreign(_) | Outcome::Nothing | Outcome::Pending => continue,
        };
        for name in &candidate.names.usable {
            let owner = owners.entry(name.clone()).or_insert((claim, number));
            *owner = (*owner).max((claim, number));
        }
    }
    let number = |(name, (_, number))| (name, number);
    owners.into_iter().map(number).collect()
}

/// What lies in named images.
fn parts(list: &[Candidate]) -> HashSet<Digest> {
    let mut parts = HashSet::new();
    for candidate in list {
        if let Outcome::Whole(whole) = &candidate.outcome
            && !candidate.names.usable.is_empty()
        {
            let digests = whole.blobs.iter().map(|blob| &blob.descriptor.digest);
            parts.extend(digests.cloned());
        }
    }
    parts
}

/// What a problem calls an image.
fn called(names: &[Reference], label: String) -> String {
    match names {
        [] => label,
        [name] => name.to_string(),
        [name, more @ ..] => format!("{name} (and {} more names)", more.len()),
    }
}
