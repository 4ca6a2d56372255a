//! The OCI layout: `index.json`, and blobs by their digests (OCI image spec, "Image Layout").

use std::collections::HashMap;

use super::candidate::{Candidate, Candidates, Names, Outcome};
use super::content::Content;
use super::document::{Index, OciLayout, Pointer, SavedImages};
use super::image_tree::{ImageTrees, Tree};
use super::layout::{self, INDEX, OCI_LAYOUT, SAVED};
use super::problem::{LayoutError, quoted};
use crate::digest::Digest;
use crate::naming::is_full_name;
use crate::platform::{Platform, Wanted};

/// The one version there is.
const VERSION: &str = "1.0.0";

const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Reads `index.json` and all that it leads to.
pub(super) fn candidates(
    content: &mut Content<'_>,
    wanted: &Wanted,
    host: &Platform,
) -> Result<Candidates, LayoutError> {
    check_version(content)?;
    let Some((listed_in, index)) = layout::read::<Index>(content, INDEX)? else {
        return Err(LayoutError::NoIndex {
            layout: OCI_LAYOUT.to_owned(),
        });
    };
    let mut notes = Vec::new();
    let tags = saved_tags(content).unwrap_or_else(|error| {
        notes.push(format!("its names are not looked up in {SAVED}: {error}"));
        HashMap::new()
    });
    let mut trees = ImageTrees::new(content, wanted, host);
    let list = by_target(&index.manifests.0)
        .into_iter()
        .map(|pointers| candidate(&pointers, &tags, &mut trees))
        .collect();
    Ok(Candidates {
        list,
        notes,
        listed_in,
    })
}

fn check_version(content: &Content<'_>) -> Result<(), LayoutError> {
    match layout::read::<OciLayout>(content, OCI_LAYOUT)? {
        Some((
            layout,
            OciLayout {
                image_layout_version,
            },
        )) if image_layout_version != VERSION => Err(LayoutError::Version {
            layout,
            version: image_layout_version,
        }),
        _ => Ok(()),
    }
}

/// Descriptors of one target are one image with several names.
fn by_target(pointers: &[Pointer]) -> Vec<Vec<&Pointer>> {
    let mut targets: Vec<Vec<&Pointer>> = Vec::new();
    let mut places: HashMap<Digest, usize> = HashMap::new();
    for pointer in pointers {
        // One with a bad digest is an image of its own, which will be a problem.
        let place = pointer
            .digest()
            .map(|digest| *places.entry(digest).or_insert(targets.len()));
        match place {
            Ok(place) if place < targets.len() => targets[place].push(pointer),
            _ => targets.push(vec![pointer]),
        }
    }
    targets
}

fn candidate(
    pointers: &[&Pointer],
    tags: &HashMap<String, Vec<String>>,
    trees: &mut ImageTrees<'_, '_>,
) -> Candidate {
    let Tree {
        mut outcome,
        configs,
    } = trees.read(pointers[0]);
    let mut names = Names::default();
    for pointer in pointers {
        read_annotations(pointer, &mut names);
    }
    if names.usable.is_empty() {
        let tags = configs
            .iter()
            .filter_map(|config| tags.get(&blob_path(config)));
        for tags in tags {
            match trees.spend(tags.len()) {
                Ok(()) => names.read(tags, "RepoTags"),
                Err(fault) => outcome = Outcome::Bad(fault),
            }
        }
    }
    let label = match pointers[0].digest() {
        Ok(digest) => {
            names.refuse_others(&digest);
            digest.to_string()
        }
        Err(_) => format!("a descriptor of {INDEX}"),
    };
    Candidate {
        label,
        names,
        outcome,
    }
}

/// Takes the name out of the annotations of a descriptor: the first that is one.
fn read_annotations(pointer: &Pointer, names: &mut Names) {
    let Some(annotations) = &pointer.annotations else {
        return;
    };
    let text = |annotation: &Option<String>| annotation.clone().filter(|name| !name.is_empty());
    if let Some(name) = text(&annotations.image_name)
        && names.add(&name, "io.containerd.image.name")
    {
        return;
    }
    match text(&annotations.ref_name) {
        Some(name) if is_full_name(&name) => {
            names.add(&name, REF_NAME);
        }
        Some(tag) => names.pass_over(format!(
            "{REF_NAME} says {}, which is only a tag",
            quoted(&tag)
        )),
        None => {}
    }
}

/// `RepoTags` of a `manifest.json` that lies beside `index.json`, by the path of the configuration.
fn saved_tags(content: &Content<'_>) -> Result<HashMap<String, Vec<String>>, LayoutError> {
    let mut tags: HashMap<String, Vec<String>> = HashMap::new();
    if let Some((_, saved)) = layout::read::<SavedImages>(content, SAVED)? {
        for image in saved.0 {
            tags.entry(image.config)
                .or_default()
                .extend(image.repo_tags.0);
        }
    }
    Ok(tags)
}

fn blob_path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
