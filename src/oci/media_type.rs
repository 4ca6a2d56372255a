//! Media types: what a descriptor points to.
//!
//! Sources: OCI image spec "Media Types"; Docker's image manifest v2 schema 2; containerd's
//! `images` package (`IsLayerType`).

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const OCI_LAYER_PREFIX: &str = "application/vnd.oci.image.layer.";
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

/// Whether it is a layer that may not be distributed, such as a Windows base layer: archives are
/// whole without it.
pub(crate) fn is_foreign_layer(media_type: &str) -> bool {
    media_type.starts_with(OCI_FOREIGN_PREFIX) || media_type.starts_with(DOCKER_FOREIGN_PREFIX)
}
