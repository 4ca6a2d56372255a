//! Media types: what a descriptor points to.
//!
//! Sources: OCI image spec "Media Types"; Docker's image manifest v2 schema 2; containerd's
//! `images` package (`IsLayerType`).

use crate::compression::Compression;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER_PREFIX: &str = "application/vnd.oci.image.layer.";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const OCI_FOREIGN_LAYER: &str =
    "application/vnd.oci.image.layer.nondistributable.v1.tar";
const OCI_FOREIGN_PREFIX: &str = "application/vnd.oci.image.layer.nondistributable.";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
pub(crate) const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
pub(crate) const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
const DOCKER_FOREIGN_PREFIX: &str = "application/vnd.docker.image.rootfs.foreign.";
pub(crate) const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";
const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What a descriptor of an index points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MediaKind {
    /// A manifest: a configuration and layers.
    Manifest,
    /// An index, or Docker's manifest list: manifests.
    Index,
    /// A manifest of the kind that registries had before 2015. containerd runs none.
    Schema1,
    /// Not told.
    Unsaid,
    Other,
}

pub(crate) fn kind(media_type: &str) -> MediaKind {
    match media_type {
        OCI_MANIFEST | DOCKER_MANIFEST => MediaKind::Manifest,
        OCI_INDEX | DOCKER_LIST => MediaKind::Index,
        DOCKER_SCHEMA1 | DOCKER_SCHEMA1_SIGNED => MediaKind::Schema1,
        "" => MediaKind::Unsaid,
        _ => MediaKind::Other,
    }
}

/// Whether it is the configuration of an image that can be run, rather than that of a Helm chart or
/// of another artifact.
pub(crate) fn is_image_config(media_type: &str) -> bool {
    matches!(media_type, OCI_CONFIG | DOCKER_CONFIG)
}

/// Whether it is a part of a root file system.
pub(crate) fn is_layer(media_type: &str) -> bool {
    let base = media_type.split('+').next().unwrap_or_default();
    media_type.starts_with(OCI_LAYER_PREFIX)
        || media_type.starts_with(DOCKER_FOREIGN_PREFIX)
        || matches!(base, DOCKER_LAYER | DOCKER_LAYER_GZIP | DOCKER_LAYER_ZSTD)
}

/// How the media type of a layer says that it is compressed; `None` where it does not tell, or says
/// that it is encrypted as well.
pub(crate) fn layer_compression(media_type: &str) -> Option<Compression> {
    let (base, suffix) = media_type.split_once('+').unwrap_or((media_type, ""));
    match (base, suffix) {
        (OCI_LAYER | OCI_FOREIGN_LAYER | DOCKER_LAYER, "") => Some(Compression::Plain),
        (OCI_LAYER | OCI_FOREIGN_LAYER, "gzip") | (DOCKER_LAYER_GZIP, "") => {
            Some(Compression::Gzip)
        }
        (OCI_LAYER | OCI_FOREIGN_LAYER, "zstd") | (DOCKER_LAYER_ZSTD, "") => {
            Some(Compression::Zstd)
        }
        _ => None,
    }
}

/// Whether it is a layer that may not be distributed, such as a Windows base layer: archives are
/// whole without it.
pub(crate) fn is_foreign_layer(media_type: &str) -> bool {
    media_type.starts_with(OCI_FOREIGN_PREFIX) || media_type.starts_with(DOCKER_FOREIGN_PREFIX)
}
