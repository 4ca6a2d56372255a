//! The docker-archive: `manifest.json` and the files that it names (Docker image spec v1.1, v1.2).
//!
//! Such an archive has no manifests. The one that is made here is byte for byte what containerd's
//! own importer makes (`core/images/archive/importer.go`), so that an image has the same digest with
//! both. That is why a layer compressed with zstd is called a gzip one, too:
//! containerd looks at the bytes, and 1.6 would not unpack it under another name.

use super::blob_path::claimed_digest;
use super::catalogue::FileMember;
use super::closure::Closure;
use super::detect::SAVED;
use super::document_cache::Stop;
use super::document_source::DocumentSource;
use super::gc_labels;
use super::image::BlobSource;
use super::layer_check::{LayerFault, is_unpacked};
use super::layout_error::{LayoutError, ResolveError};
use super::layout_files::{LayoutFiles, in_archive};
use super::parsed_image::{
    CompleteImage, FoundNames, NamePriority, ParsedImage, ParsedImages, Selection,
};
use super::problem::{Fault, quoted};
use crate::compression::Compression;
use crate::digest::Digest;
use crate::image_store::Labels;
use crate::oci::{self, Descriptor, ImageConfig, Outline, SavedImage, SavedImages, media_type};
use crate::platform::{Platform, Wanted};

/// The manifest that is made for an image. The order of the fields is part of its digest.
#[derive(serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct GeneratedManifest<'a> {
    schema_version: u32,
    media_type: &'static str,
    config: &'a Descriptor,
    layers: &'a [Descriptor],
}

/// Reads `manifest.json` and all that it names.
pub(super) fn images<D: DocumentSource>(
    files: &LayoutFiles<'_>,
    source: &D,
    wanted: &Wanted,
    host: &Platform,
) -> Result<ParsedImages, ResolveError<D::Error>> {
    let read = files.read::<SavedImages>(SAVED);
    let read = read.map_err(|error| match error {
        LayoutError::Json { member, .. } if is_manifest(files) => {
            LayoutError::SkopeoDirectory { member }
        }
        other => other,
    });
    let (listed_in, saved) = read?.unwrap_or_else(|| (SAVED.to_owned(), SavedImages::default()));
    let images = saved.0.iter();
    let list = images.map(|image| parsed_image(files, source, image, wanted, host));
    Ok(ParsedImages {
        list: list
            .collect::<Result<_, _>>()
            .map_err(ResolveError::Source)?,
        notes: Vec::new(),
        listed_in,
    })
}

/// Whether the list of images is a manifest, or an index.
fn is_manifest(files: &LayoutFiles<'_>) -> bool {
    let read = files.read::<Outline>(SAVED);
    read.is_ok_and(|found| found.is_some_and(|(_, outline)| outline.media_type().is_some()))
}

fn parsed_image<D: DocumentSource>(
    files: &LayoutFiles<'_>,
    source: &D,
    image: &SavedImage,
    wanted: &Wanted,
    host: &Platform,
) -> Result<ParsedImage, D::Error> {
    let mut names = FoundNames::default();
    let selection = files
        .spend(1 + image.layers.0.len() + image.repo_tags.0.len())
        .map_err(Stop::Fault)
        .and_then(|()| {
            names.read(&image.repo_tags.0, "RepoTags");
            read(files, source, image, wanted, host)
        });
    let selection = match selection {
        Ok(selection) => selection,
        Err(Stop::Fault(fault)) => Selection::Bad(fault),
        Err(Stop::Source(error)) => return Err(error),
    };
    if let Selection::Complete(complete) = &selection {
        names.refuse_others(&complete.target.digest);
    }
    Ok(ParsedImage {
        label: format!("the image of {}", quoted(&image.config)),
        names,
        selection,
    })
}

fn read<D: DocumentSource>(
    files: &LayoutFiles<'_>,
    source: &D,
    image: &SavedImage,
    wanted: &Wanted,
    host: &Platform,
) -> Result<Selection, Stop<D::Error>> {
    let (member, file) = files
        .file(&image.config)
        .ok_or_else(|| Fault::MissingConfig {
            path: image.config.clone(),
            link: files.broken_link(&image.config),
        })?;
    let bytes = file.document.as_deref().ok_or_else(|| Fault::NoDocument {
        member: member.to_owned(),
    })?;
    let descriptor = Descriptor {
        media_type: media_type::DOCKER_CONFIG.to_owned(),
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    // All makers name the configuration after its digest. It is the one proof of its bytes.
    let expected = digest_in_name(member).unwrap_or_else(|| descriptor.digest.clone());
    let document = in_archive(member, file, &expected)?;
    let config: ImageConfig = oci::parse(bytes).map_err(|cause| Fault::Json {
        member: member.to_owned(),
        cause,
    })?;
    let platform = config.platform();
    if let Some(platform) = platform
        .clone()
        .filter(|platform| !wanted.accepts(platform))
    {
        return Ok(Selection::OtherPlatforms(vec![platform]));
    }
    let mut closure = Closure::default();
    closure.push(descriptor.clone(), document.source, Labels::new())?;
    let layers = layers(files, source, image, member, &config, &mut closure)?;
    let target = manifest(&descriptor, &layers, &mut closure)?;
    let (runs_on_host, priority) = match platform {
        // As containerd does with a manifest that is not out of an index.
        None => (true, NamePriority::Unplatformed),
        Some(platform) if Wanted::Each(vec![host.clone()]).accepts(&platform) => {
            (true, NamePriority::Host)
        }
        Some(_) => (false, NamePriority::Wanted),
    };
    Ok(Selection::Complete(CompleteImage {
        target,
        blobs: closure.blobs,
        mislabelled: closure.mislabelled,
        runs_on_host,
        priority,
    }))
}

/// The layers as descriptors, collected on the way.
fn layers<D: DocumentSource>(
    files: &LayoutFiles<'_>,
    source: &D,
    image: &SavedImage,
    config_member: &str,
    config: &ImageConfig,
    closure: &mut Closure,
) -> Result<Vec<Descriptor>, Stop<D::Error>> {
    let diff_ids = config.diff_ids();
    if diff_ids.len() != image.layers.0.len() {
        return Err(Fault::LayerCount {
            config: config_member.to_owned(),
            layers: image.layers.0.len(),
            diff_ids: diff_ids.len(),
        }
        .into());
    }
    let mut layers = Vec::with_capacity(diff_ids.len());
    for (path, diff_id) in image.layers.0.iter().zip(diff_ids) {
        let diff_id = Digest::parse(diff_id).map_err(Fault::from)?;
        let (layer, source) = match files.file(path) {
            Some((member, file)) => {
                let layer = layer_in_archive(member, file, diff_id)?;
                (layer, BlobSource::Member(member.to_owned()))
            }
            None => {
                let layer = layer_in_store(files, source, path, diff_id)?;
                (layer, BlobSource::Store(files.broken_link(path)))
            }
        };
        closure.push(layer.clone(), source, Labels::new())?;
        layers.push(layer);
    }
    Ok(layers)
}

fn layer_in_archive(member: &str, file: &FileMember, diff_id: Digest) -> Result<Descriptor, Fault> {
    if !is_unpacked(file.compression) {
        return Err(LayerFault::Compression {
            layer: quoted(member),
            is: file.compression,
        }
        .into());
    }
    let is_plain = file.compression == Compression::Plain;
    Ok(layer(
        is_plain,
        layer_digest(member, file, diff_id)?,
        file.size,
    ))
}

/// A layer that the archive does not have: the images of a node share their lower ones, and some tools
/// save the upper ones alone.
fn layer_in_store<D: DocumentSource>(
    files: &LayoutFiles<'_>,
    source: &D,
    path: &str,
    diff_id: Digest,
) -> Result<Descriptor, Stop<D::Error>> {
    match source.layer(&diff_id).map_err(Stop::Source)? {
        Some(stored) => Ok(layer(stored.digest == diff_id, stored.digest, stored.size)),
        None if path.is_empty() => Err(Fault::LayerLeftOut { diff_id }.into()),
        None => Err(Fault::MissingLayer {
            path: path.to_owned(),
            link: files.broken_link(path),
            diff_id,
        }
        .into()),
    }
}

fn layer(is_plain: bool, digest: Digest, size: u64) -> Descriptor {
    let media_type = match is_plain {
        true => media_type::DOCKER_LAYER,
        false => media_type::DOCKER_LAYER_GZIP,
    };
    Descriptor {
        media_type: media_type.to_owned(),
        digest,
        size,
    }
}

/// The digest of a layer's bytes, which decompressed must have the digest `diff_id`. A plain layer
/// that was not hashed has that one itself, which is verified when it is written. A layer that lies
/// where blobs do has the digest that its path claims; it was not decompressed.
fn layer_digest(member: &str, file: &FileMember, diff_id: Digest) -> Result<Digest, Fault> {
    let claimed = claimed_digest(member);
    let digest = file.digest.clone().or_else(|| claimed.clone());
    let decompressed = match file.compression {
        Compression::Plain => digest.clone(),
        _ => file.diff_id.clone(),
    };
    match (digest, decompressed) {
        (_, Some(found)) if found != diff_id => Err(Fault::WrongLayer {
            member: member.to_owned(),
            expected: diff_id,
            found,
        }),
        (Some(digest), Some(_)) => Ok(digest),
        (Some(digest), None) if claimed.is_some() => Ok(digest),
        (None, None) if file.compression == Compression::Plain => Ok(diff_id),
        _ => Err(Fault::DamagedLayer {
            member: member.to_owned(),
        }),
    }
}

/// Makes the manifest, and collects it.
fn manifest(
    config: &Descriptor,
    layers: &[Descriptor],
    closure: &mut Closure,
) -> Result<Descriptor, Fault> {
    let bytes = serde_json::to_vec(&GeneratedManifest {
        schema_version: 2,
        media_type: media_type::DOCKER_MANIFEST,
        config,
        layers,
    })
    .expect("strings and numbers can be written as JSON");
    let target = Descriptor {
        media_type: media_type::DOCKER_MANIFEST.to_owned(),
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
    };
    let children = [config].into_iter().chain(layers);
    let labels = gc_labels::of_children(
        children.map(|child| (child.media_type.as_str(), Some(child.digest.clone()))),
    );
    closure.push(target.clone(), BlobSource::Document(bytes.into()), labels)?;
    Ok(target)
}

/// `….json`, `sha256:…` and `blobs/sha256/…` tell the digest of what they hold.
fn digest_in_name(member: &str) -> Option<Digest> {
    let name = member.rsplit('/').next().unwrap_or_default();
    let name = name.strip_suffix(".json").unwrap_or(name);
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    Digest::parse(&format!("sha256:{hex}")).ok()
}
