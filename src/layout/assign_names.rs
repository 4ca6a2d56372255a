//! Which image of an archive gets which name, and which are problems.

use std::collections::{HashMap, HashSet};

use super::image::{ArchiveImage, Resolution};
use super::layout_error::LayoutError;
use super::limits::{NAMES_MAX, NAMES_OF_IMAGE_MAX};
use super::note::Note;
use super::parsed_image::{NamePriority, ParsedImage, ParsedImages, Selection};
use super::problem::{Fault, ImageProblem};
use crate::digest::Digest;
use crate::naming::{Owners, Reference};
use crate::platform::{Platform, Wanted};

/// More notes than these help no operator.
const NOTES_MAX: usize = 20;

/// Gives each name to one image, and tells the images from the problems.
pub(super) fn assign_names(
    images: ParsedImages,
    wanted: &Wanted,
) -> Result<Resolution, LayoutError> {
    let ParsedImages {
        mut list,
        mut notes,
        listed_in,
    } = images;
    list.retain(|image| !matches!(image.selection, Selection::NotAnImage));
    let mut list = merge(list);
    if list.is_empty() {
        return Err(LayoutError::Empty { member: listed_in });
    }
    if let Some(has) = all_other_platforms(&list) {
        return Err(LayoutError::NoWantedPlatform {
            has,
            wanted: wanted.clone(),
        });
    }
    bound_names(&mut list);
    let owners = owners(&list);
    let parts = parts(&list);
    let mut images = Vec::new();
    let mut problems = Vec::new();
    // Of images that could not be asked for by a name, or are of no use here.
    let mut minor = Vec::new();
    let mut mislabelled = HashSet::new();
    for (number, image) in list.into_iter().enumerate() {
        let ParsedImage {
            label,
            mut names,
            selection,
        } = image;
        let nameless = names.usable.is_empty();
        let mut own = std::mem::take(&mut names.usable);
        let shadowed = owners.take_shadowed(&number, &label, &mut own);
        if !matches!(selection, Selection::OtherPlatforms(_)) {
            notes.extend(shadowed.into_iter().map(Note::Shadowed));
        }
        if !nameless && own.is_empty() {
            continue;
        }
        let (list, fault) = match selection {
            Selection::Complete(complete) if !nameless => {
                notes.extend(names.refused.into_iter().map(|reason| {
                    let image = label.clone();
                    Note::NameRefused { image, reason }
                }));
                // Images share layers.
                let layers = complete.mislabelled.into_iter();
                let layers = layers.filter(|layer| mislabelled.insert(layer.clone()));
                notes.extend(layers.map(Note::Mislabelled));
                images.push(ArchiveImage {
                    names: own,
                    target: complete.target,
                    blobs: complete.blobs,
                    runs_on_host: complete.runs_on_host,
                });
                continue;
            }
            Selection::Complete(complete) if parts.contains(&complete.target.digest) => continue,
            Selection::Complete(complete) => {
                let list = match complete.priority {
                    NamePriority::Unplatformed => &mut minor,
                    NamePriority::Wanted | NamePriority::Host => &mut problems,
                };
                (list, Fault::NoName { said: names.said() })
            }
            Selection::OtherPlatforms(has) => {
                let wanted = wanted.clone();
                (&mut minor, Fault::NoWantedPlatform { has, wanted })
            }
            // An index may list what is no image, and a reader must ignore what it does not know.
            Selection::Bad(fault @ Fault::NoManifest { .. }) if nameless => (&mut minor, fault),
            Selection::Bad(fault) => (&mut problems, fault),
            Selection::NotAnImage => continue,
        };
        let image = called(&own, label);
        list.push(ImageProblem { image, fault });
    }
    if images.is_empty() && problems.is_empty() {
        problems = minor;
    } else {
        notes.extend(minor.into_iter().map(Note::LeftOut));
    }
    let more = notes.len().saturating_sub(NOTES_MAX);
    notes.truncate(NOTES_MAX);
    if more > 0 {
        notes.push(Note::More(more));
    }
    Ok(Resolution {
        images,
        problems,
        claimed: owners.into_names().collect(),
        notes,
    })
}

/// Entries of one target are one image.
fn merge(list: Vec<ParsedImage>) -> Vec<ParsedImage> {
    let mut merged: Vec<ParsedImage> = Vec::new();
    let mut places: HashMap<Digest, usize> = HashMap::new();
    for image in list {
        if let Selection::Complete(complete) = &image.selection {
            let digest = complete.target.digest.clone();
            if let Some(place) = places.get(&digest) {
                merged[*place].names.append(image.names);
                continue;
            }
            places.insert(digest, merged.len());
        }
        merged.push(image);
    }
    for image in &mut merged {
        let mut seen = HashSet::new();
        let names = &mut image.names.usable;
        names.retain(|name| seen.insert(name.clone()));
    }
    merged
}

/// Refuses images with too many names, and those that come after them with too many together.
fn bound_names(list: &mut [ParsedImage]) {
    let mut together = 0;
    for image in list {
        let own = image.names.usable.len();
        let fault = if own > NAMES_OF_IMAGE_MAX {
            Fault::TooManyNames(own)
        } else if together + own > NAMES_MAX {
            Fault::TooManyNamesTogether
        } else {
            together += own;
            continue;
        };
        if !matches!(image.selection, Selection::OtherPlatforms(_)) {
            image.selection = Selection::Bad(fault);
        }
    }
}

/// The platforms of all, if none has a wanted one.
fn all_other_platforms(list: &[ParsedImage]) -> Option<Vec<Platform>> {
    const SOME: usize = 100;
    let mut all = Vec::new();
    for image in list {
        let Selection::OtherPlatforms(has) = &image.selection else {
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

/// Which image has each name, by its number. Images for other platforms claim none.
fn owners(list: &[ParsedImage]) -> Owners<Reference, NamePriority, usize> {
    Owners::of(list.iter().enumerate().flat_map(|(number, image)| {
        let priority = match &image.selection {
            Selection::Complete(complete) => Some(complete.priority),
            // Which platform it would have had is not known. Its name goes to no other image: an
            // image that the name was not meant for could be run under it.
            Selection::Bad(_) => Some(NamePriority::Host),
            Selection::OtherPlatforms(_) | Selection::NotAnImage => None,
        };
        let names = image.names.usable.iter();
        names.filter_map(move |name| Some((name.clone(), priority?, number)))
    }))
}

/// What lies in named images.
fn parts(list: &[ParsedImage]) -> HashSet<Digest> {
    let mut parts = HashSet::new();
    for image in list {
        if let Selection::Complete(complete) = &image.selection
            && !image.names.usable.is_empty()
        {
            let digests = complete.blobs.iter().map(|blob| &blob.descriptor.digest);
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
