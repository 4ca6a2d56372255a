//! Media types: what a descriptor points to, and how containerd refers to it.
//!
//! Sources: OCI image spec "Media Types"; Docker's image manifest v2 schema 2; containerd's
//! `images` package (`IsLayerType`, `ChildGCLabels`).

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::image_store::Labels;

pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER_PREFIX: &str = "application/vnd.oci.image.layer.";
const OCI_FOREIGN_PREFIX: &str = "application/vnd.oci.image.layer.nondistributable.";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(super) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(super) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
pub(super) const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
const DOCKER_FOREIGN_PREFIX: &str = "application/vnd.docker.image.rootfs.foreign.";
pub(super) const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What a descriptor of an index points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A manifest: a configuration and layers.
    Manifest,
    /// An index, or Docker's manifest list: manifests.
    Index,
    /// A manifest of the kind that registries had before 2015. containerd runs none.
    Schema1,
    /// Not told.
    Unsaid,
    /// Anything else.
    Other,
}

pub(super) fn kind(media_type: &str) -> Kind {
    match media_type {
        OCI_MANIFEST | DOCKER_MANIFEST => Kind::Manifest,
        OCI_INDEX | DOCKER_LIST => Kind::Index,
        DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED => Kind::Schema1,
        "" => Kind::Unsaid,
        _ => Kind::Other,
    }
}

/// Whether it is the configuration of an image that can be run, rather than that of a Helm chart or
/// of another artifact.
pub(super) fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

/// Whether it is a part of a root file system.
pub(super) fn is_layer(media_type: &str) -> bool {
    let base = media_type.split('+').next().unwrap_or_default();
    media_type.starts_with(OCI_LAYER_PREFIX)
        || media_type.starts_with(DOCKER_FOREIGN_PREFIX)
        || matches!(base, DOCKER_LAYER | DOCKER_LAYER_GZIP | DOCKER_LAYER_ZSTD)
}

/// Whether it is a layer that may not be passed on, such as a Windows base layer: archives are
/// whole without it.
pub(super) fn is_foreign_layer(media_type: &str) -> bool {
    media_type.starts_with(OCI_FOREIGN_PREFIX) || media_type.starts_with(DOCKER_FOREIGN_PREFIX)
}

/// The labels that keep the children of a manifest or an index from containerd's garbage
/// collection. A child without a usable digest has its number, but no label.
///
/// The numbers are those of the whole list of children, wanted or not, as after a pull. So a later
/// import of another platform adds labels and moves none.
pub(super) fn gc_labels<'a>(children: impl Iterator<Item = (&'a str, Option<Digest>)>) -> Labels {
    let mut labels = Labels::new();
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for (media_type, digest) in children {
        let key = gc_label(media_type);
        let number = numbers.entry(key).or_default();
        if let Some(digest) = digest {
            // Of the keys without a final dot the first has no number.
            let key = if *number > 0 || key.ends_with('.') {
                format!("{key}{number}")
            } else {
                key.to_owned()
            };
            labels.insert(key, digest.as_str().to_owned());
        }
        *number += 1;
    }
    labels
}

fn gc_label(media_type: &str) -> &'static str {
    if is_image_config(media_type) {
        "containerd.io/gc.ref.content.config"
    } else if kind(media_type) == Kind::Manifest {
        "containerd.io/gc.ref.content.m."
    } else if is_layer(media_type) {
        "containerd.io/gc.ref.content.l."
    } else {
        "containerd.io/gc.ref.content."
    }
}
