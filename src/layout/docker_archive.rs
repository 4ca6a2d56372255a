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
use super::gc_labels;
use super::image::BlobSource;
use super::layout_files::{LayoutFiles, in_archive};
use super::parsed_image::{
    CompleteImage, FoundNames, NamePriority, ParsedImage, ParsedImages, Selection,
};
use super::problem::{Fault, LayoutError, quoted};
use crate::compression::Encoding;
use crate::digest::Digest;
use crate::image_store::Labels;
use crate::oci::{self, Descriptor, ImageConfig, SavedImage, SavedImages, media_type};
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
pub(super) fn images(
    files: &LayoutFiles<'_>,
    wanted: &Wanted,
    host: &Platform,
) -> Result<ParsedImages, LayoutError> {
    let (listed_in, saved) = files
        .read::<SavedImages>(SAVED)?
        .unwrap_or_else(|| (SAVED.to_owned(), SavedImages::default()));
    let list = saved
        .0
        .iter()
        .map(|image| parsed_image(files, image, wanted, host))
        .collect();
    Ok(ParsedImages {
        list,
        notes: Vec::new(),
        listed_in,
    })
}

fn parsed_image(
    files: &LayoutFiles<'_>,
    image: &SavedImage,
    wanted: &Wanted,
    host: &Platform,
) -> ParsedImage {
    let mut names = FoundNames::default();
    let selection = files
        .spend(1 + image.layers.0.len() + image.repo_tags.0.len())
        .and_then(|()| {
            names.read(&image.repo_tags.0, "RepoTags");
            read(files, image, wanted, host)
        })
        .unwrap_or_else(Selection::Bad);
    if let Selection::Complete(complete) = &selection {
        names.refuse_others(&complete.target.digest);
    }
    ParsedImage {
        label: format!("the image of {}", quoted(&image.config)),
        names,
        selection,
    }
}

fn read(
    files: &LayoutFiles<'_>,
    image: &SavedImage,
    wanted: &Wanted,
    host: &Platform,
) -> Result<Selection, Fault> {
    let (member, file) = member(files, &image.config, "configuration")?;
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
    let layers = layers(files, image, member, &config, &mut closure)?;
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
        runs_on_host,
        priority,
    }))
}

/// The layers as descriptors, collected on the way.
fn layers(
    files: &LayoutFiles<'_>,
    image: &SavedImage,
    config_member: &str,
    config: &ImageConfig,
    closure: &mut Closure,
) -> Result<Vec<Descriptor>, Fault> {
    let diff_ids = config.diff_ids();
    if diff_ids.len() != image.layers.0.len() {
        return Err(Fault::LayerCount {
            config: config_member.to_owned(),
            layers: image.layers.0.len(),
            diff_ids: diff_ids.len(),
        });
    }
    let mut layers = Vec::with_capacity(diff_ids.len());
    for (path, diff_id) in image.layers.0.iter().zip(diff_ids) {
        let diff_id = Digest::parse(diff_id)?;
        let (member, file) = member(files, path, "layer")?;
        let layer = Descriptor {
            media_type: match file.encoding {
                Encoding::Plain => media_type::DOCKER_LAYER,
                Encoding::Gzip | Encoding::Zstd => media_type::DOCKER_LAYER_GZIP,
            }
            .to_owned(),
            digest: layer_digest(member, file, diff_id)?,
            size: file.size,
        };
        closure.push(
            layer.clone(),
            BlobSource::Member(member.to_owned()),
            Labels::new(),
        )?;
        layers.push(layer);
    }
    Ok(layers)
}

/// The digest of a layer's bytes, which decompressed must have the digest `diff_id`. A plain layer
/// that was not hashed has that one itself, which is verified when it is written. A layer that lies
/// where blobs do has the digest that its path claims; it was not decompressed.
fn layer_digest(member: &str, file: &FileMember, diff_id: Digest) -> Result<Digest, Fault> {
    let claimed = claimed_digest(member);
    let digest = file.digest.clone().or_else(|| claimed.clone());
    let decompressed = match file.encoding {
        Encoding::Plain => digest.clone(),
        Encoding::Gzip | Encoding::Zstd => file.diff_id.clone(),
    };
    match (digest, decompressed) {
        (_, Some(found)) if found != diff_id => Err(Fault::WrongLayer {
            member: member.to_owned(),
            expected: diff_id,
            found,
        }),
        (Some(digest), Some(_)) => Ok(digest),
        (Some(digest), None) if claimed.is_some() => Ok(digest),
        (None, None) if file.encoding == Encoding::Plain => Ok(diff_id),
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

fn member<'a>(
    files: &LayoutFiles<'a>,
    path: &str,
    what: &'static str,
) -> Result<(&'a str, &'a FileMember), Fault> {
    files.file(path).ok_or_else(|| Fault::MissingFile {
        path: path.to_owned(),
        what,
    })
}

/// `….json`, `sha256:…` and `blobs/sha256/…` tell the digest of what they hold.
fn digest_in_name(member: &str) -> Option<Digest> {
    let name = member.rsplit('/').next().unwrap_or_default();
    let name = name.strip_suffix(".json").unwrap_or(name);
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    Digest::parse(&format!("sha256:{hex}")).ok()
}
