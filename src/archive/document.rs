//! The JSON documents of both layouts, as far as stowd reads them. Their bytes are never written
//! anew: a digest is of bytes.
//!
//! What Go writes as `null` reads as absent. Lists are cut off by an error, not by memory.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::problem::{JsonError, shortened};
use crate::digest::{Digest, DigestError};
use crate::image_store::Descriptor;
use crate::platform::Platform;

/// How many manifests an index may list, how many layers a manifest, how many images an archive.
/// An overlay file system takes 500 layers, Docker 127.
pub(super) const LIST_MAX: usize = 4096;

/// A list of at most [`LIST_MAX`] elements, which may be `null`.
#[derive(Debug)]
pub(super) struct List<T>(pub(super) Vec<T>);

impl<T> Default for List<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Elements<T> {
            type Value = List<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a list of at most {LIST_MAX} elements")
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(List::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    if elements.len() == LIST_MAX {
                        return Err(serde::de::Error::invalid_length(LIST_MAX + 1, &self));
                    }
                    elements.push(element);
                }
                Ok(List(elements))
            }
        }
        deserializer.deserialize_any(Elements(PhantomData))
    }
}

/// An index, or Docker's manifest list (OCI image spec, "Image Index").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Index {
    #[serde(default)]
    pub(super) manifests: List<Pointer>,
    // What only a manifest has.
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

/// A manifest (OCI image spec, "Image Manifest").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) config: Pointer,
    #[serde(default)]
    pub(super) layers: List<Pointer>,
    // What only an index has.
    manifests: Option<IgnoredAny>,
}

/// What tells the kinds of documents apart, where their descriptor does not.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Outline {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// A descriptor as it is written (OCI image spec, "Content Descriptors").
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pointer {
    #[serde(default)]
    pub(super) media_type: String,
    digest: String,
    size: u64,
    platform: Option<PlatformFields>,
    pub(super) annotations: Option<Annotations>,
}

/// The two annotations that name images.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Annotations {
    #[serde(rename = "io.containerd.image.name")]
    pub(super) image_name: Option<String>,
    #[serde(rename = "org.opencontainers.image.ref.name")]
    pub(super) ref_name: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct PlatformFields {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
}

/// The configuration of an image (OCI image spec, "Image Configuration").
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    // Not flattened: serde would hold the whole document in memory once more.
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    rootfs: Option<RootFs>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: List<String>,
}

/// `manifest.json` of a docker-archive: what `docker save` writes.
pub(super) type SavedImages = List<SavedImage>;

/// One image of a docker-archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SavedImage {
    /// The path of the configuration.
    pub(super) config: String,
    /// The names; none if it was saved by its identifier.
    #[serde(default)]
    pub(super) repo_tags: List<String>,
    /// The paths of the layers, the lowest first.
    #[serde(default)]
    pub(super) layers: List<String>,
}

/// The file `oci-layout`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OciLayout {
    pub(super) image_layout_version: String,
}

/// Reads a document.
pub(super) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, JsonError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let cause = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let cause = cause.strip_suffix(&place).unwrap_or(&cause);
        JsonError {
            line: error.line(),
            column: error.column(),
            cause: shortened(cause),
        }
    })
}

impl Pointer {
    pub(super) fn digest(&self) -> Result<Digest, DigestError> {
        Digest::parse(&self.digest)
    }

    pub(super) fn descriptor(&self) -> Result<Descriptor, DigestError> {
        Ok(Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest()?,
            size: self.size,
        })
    }

    pub(super) fn platform(&self) -> Option<Platform> {
        let platform = self.platform.as_ref()?;
        platform_of(&platform.os, &platform.architecture, &platform.variant)
    }
}

/// None without a processor: that is what those write who mean no platform.
fn platform_of(
    os: &Option<String>,
    architecture: &Option<String>,
    variant: &Option<String>,
) -> Option<Platform> {
    let [os, architecture, variant] =
        [os, architecture, variant].map(|field| field.as_deref().unwrap_or_default());
    (!architecture.is_empty()).then(|| Platform::normalized(os, architecture, variant))
}

impl Config {
    pub(super) fn platform(&self) -> Option<Platform> {
        platform_of(&self.os, &self.architecture, &self.variant)
    }

    /// The digests of the layers when decompressed, the lowest first.
    pub(super) fn diff_ids(&self) -> &[String] {
        self.rootfs
            .as_ref()
            .map_or(&[], |rootfs| &rootfs.diff_ids.0)
    }
}

impl Index {
    /// A document that can be read as either is read as one thing here and as another there
    /// (CVE-2021-41190).
    pub(super) fn is_ambiguous(&self) -> bool {
        self.config.is_some() || self.layers.is_some()
    }
}

impl Manifest {
    /// See [`Index::is_ambiguous`].
    pub(super) fn is_ambiguous(&self) -> bool {
        self.manifests.is_some()
    }
}

impl Outline {
    /// The media type that the document has of itself, by its own word or by its shape.
    pub(super) fn media_type(&self) -> Option<&str> {
        use super::media_type;
        match self.media_type.as_deref() {
            Some(media_type) if !media_type.is_empty() => Some(media_type),
            _ if self.fs_layers.is_some() => Some(media_type::DOCKER_SCHEMA1),
            _ if self.manifests.is_some() => Some(media_type::OCI_INDEX),
            _ if self.config.is_some() => Some(media_type::OCI_MANIFEST),
            _ => None,
        }
    }
}
