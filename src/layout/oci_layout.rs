//! The OCI layout: `index.json`, and blobs by their digests (OCI image spec, "Image Layout").

use std::collections::HashMap;

use super::archive_path::normalise;
use super::blob_path::blob_path;
use super::detect::{INDEX, OCI_LAYOUT, SAVED};
use super::document_source::DocumentSource;
use super::layout_error::{LayoutError, ResolveError};
use super::layout_files::LayoutFiles;
use super::note::Note;
use super::parsed_image::{FoundNames, ParsedImage, ParsedImages, Selection};
use super::problem::quoted;
use super::select::{SelectedTarget, Selector};
use crate::digest::Digest;
use crate::naming::is_full_name;
use crate::oci::{Index, LayoutMarker, RawDescriptor, SavedImages};
use crate::platform::{Platform, Wanted};

/// The one version there is.
const VERSION: &str = "1.0.0";

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const BASE_NAME: &str = "org.opencontainers.image.base.name";

/// Reads `index.json` and all that it leads to.
pub(super) fn images<D: DocumentSource>(
    files: &LayoutFiles<'_>,
    source: &D,
    wanted: &Wanted,
    host: &Platform,
) -> Result<ParsedImages, ResolveError<D::Error>> {
    check_version(files)?;
    let Some((listed_in, index)) = files.read::<Index>(INDEX)? else {
        let layout = OCI_LAYOUT.to_owned();
        return Err(LayoutError::NoIndex { layout }.into());
    };
    let mut notes = Vec::new();
    let tags = saved_tags(files).unwrap_or_else(|error| {
        let reason = format!("its names are not looked up in {SAVED}: {error}");
        notes.push(Note::NamesNotRead(reason));
        HashMap::new()
    });
    let mut selector = Selector::new(files, source, wanted, host);
    let mut list = Vec::new();
    for descriptors in by_target(&index.manifests.0) {
        let selected = selector.select(descriptors[0]);
        let selected = selected.map_err(ResolveError::Source)?;
        list.push(image(&descriptors, selected, &tags, files));
    }
    Ok(ParsedImages {
        list,
        notes,
        listed_in,
    })
}

fn check_version(files: &LayoutFiles<'_>) -> Result<(), LayoutError> {
    match files.read::<LayoutMarker>(OCI_LAYOUT)? {
        Some((
            layout,
            LayoutMarker {
                image_layout_version,
            },
        )) if image_layout_version != VERSION => Err(LayoutError::Version {
            layout,
            version: image_layout_version,
        }),
        _ => Ok(()),
    }
}

/// Descriptors of one target are one image with several names. No group is empty.
fn by_target(descriptors: &[RawDescriptor]) -> Vec<Vec<&RawDescriptor>> {
    let mut targets: Vec<Vec<&RawDescriptor>> = Vec::new();
    let mut places: HashMap<Digest, usize> = HashMap::new();
    for descriptor in descriptors {
        // One with a bad digest is an image of its own, which will be a problem.
        let place = descriptor
            .digest()
            .map(|digest| *places.entry(digest).or_insert(targets.len()));
        match place {
            Ok(place) if place < targets.len() => targets[place].push(descriptor),
            _ => targets.push(vec![descriptor]),
        }
    }
    targets
}

fn image(
    descriptors: &[&RawDescriptor],
    selected: SelectedTarget,
    tags: &HashMap<String, Vec<String>>,
    files: &LayoutFiles<'_>,
) -> ParsedImage {
    let SelectedTarget {
        mut selection,
        configs,
    } = selected;
    let mut names = FoundNames::default();
    for descriptor in descriptors {
        read_annotations(descriptor, files.is_of_zarf(), &mut names);
    }
    if names.usable.is_empty() {
        let tags = configs
            .iter()
            .filter_map(|config| tags.get(&blob_path(config)));
        for tags in tags {
            match files.spend(tags.len()) {
                Ok(()) => names.read(tags, "RepoTags"),
                Err(fault) => selection = Selection::Bad(fault),
            }
        }
    }
    let label = match descriptors[0].digest() {
        Ok(digest) => {
            names.refuse_others(&digest);
            digest.to_string()
        }
        Err(_) => format!("a descriptor of {INDEX}"),
    };
    ParsedImage {
        label,
        names,
        selection,
    }
}

/// Takes the name out of the annotations of a descriptor: the first that is one.
///
/// Zarf has the names of its images where others have those of the images that theirs are made of.
fn read_annotations(descriptor: &RawDescriptor, is_of_zarf: bool, names: &mut FoundNames) {
    let Some(annotations) = &descriptor.annotations else {
        return;
    };
    let text = |annotation: &Option<String>| annotation.clone().filter(|name| !name.is_empty());
    if let Some(name) = text(&annotations.image_name)
        && names.add(&name, "io.containerd.image.name")
    {
        return;
    }
    if is_of_zarf
        && let Some(name) = text(&annotations.base_name)
        && names.add(&name, BASE_NAME)
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
fn saved_tags(files: &LayoutFiles<'_>) -> Result<HashMap<String, Vec<String>>, LayoutError> {
    let mut tags: HashMap<String, Vec<String>> = HashMap::new();
    if let Some((_, saved)) = files.read::<SavedImages>(SAVED)? {
        for image in saved.0 {
            if let Some(config) = normalise(&image.config) {
                let tags = tags.entry(config).or_default();
                tags.extend(image.repo_tags.0);
            }
        }
    }
    Ok(tags)
}
