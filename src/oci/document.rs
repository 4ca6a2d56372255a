//! JSON documents, as far as stowd reads them. Their bytes are never written anew: a digest is of
//! bytes.
//!
//! What Go writes as `null` reads as absent. A list that is too long is an error before it fills the
//! memory.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, SeqAccess, Visitor};

use super::descriptor::{RawDescriptor, platform_of};
use super::limits::LIST_MAX;
use super::media_type;
use crate::one_line::shortened;
use crate::platform::Platform;

/// How many characters of the JSON reader's words an error repeats.
const SHOWN: usize = 200;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {cause}")]
pub struct JsonError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1; 0 at the end of the line before.
    pub column: usize,
    /// What is wrong there, in the words of the JSON reader.
    pub cause: String,
}

/// A list of at most [`LIST_MAX`] elements, which may be `null`.
#[derive(Debug)]
pub(crate) struct List<T>(pub(crate) Vec<T>);

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
pub(crate) struct Index {
    #[serde(default)]
    pub(crate) manifests: List<RawDescriptor>,
    // What only a manifest has.
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
}

/// A manifest (OCI image spec, "Image Manifest").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) config: RawDescriptor,
    #[serde(default)]
    pub(crate) layers: List<RawDescriptor>,
    // What only an index has.
    manifests: Option<IgnoredAny>,
}

/// What tells the kinds of documents apart, where their descriptor does not.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outline {
    media_type: Option<String>,
    manifests: Option<IgnoredAny>,
    config: Option<IgnoredAny>,
    fs_layers: Option<IgnoredAny>,
}

/// The configuration of an image (OCI image spec, "Image Configuration").
#[derive(Debug, Deserialize)]
pub(crate) struct ImageConfig {
    // Not flattened: serde would hold the whole document in memory once more.
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    #[serde(rename = "os.features")]
    features: Option<Vec<String>>,
    rootfs: Option<RootFs>,
}

#[derive(Debug, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: List<String>,
}

/// `manifest.json` of a docker-archive: what `docker save` writes.
pub(crate) type SavedImages = List<SavedImage>;

/// One image of a docker-archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SavedImage {
    /// The path of the configuration.
    pub(crate) config: String,
    /// The names; none if it was saved by its identifier.
    #[serde(default)]
    pub(crate) repo_tags: List<String>,
    /// The paths of the layers, the lowest first.
    #[serde(default)]
    pub(crate) layers: List<String>,
}

/// The file `oci-layout`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LayoutMarker {
    pub(crate) image_layout_version: String,
}

/// Reads a document.
pub(crate) fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, JsonError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let cause = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let cause = cause.strip_suffix(&place).unwrap_or(&cause);
        JsonError {
            line: error.line(),
            column: error.column(),
            cause: shortened(cause, SHOWN),
        }
    })
}

impl ImageConfig {
    pub(crate) fn platform(&self) -> Option<Platform> {
        platform_of(&self.os, &self.architecture, &self.variant, &self.features)
    }

    /// The digests of the layers when decompressed, the lowest first.
    pub(crate) fn diff_ids(&self) -> &[String] {
        self.rootfs
            .as_ref()
            .map_or(&[], |rootfs| &rootfs.diff_ids.0)
    }
}

impl Index {
    /// A document that can be read as either is read as one thing here and as another there
    /// (CVE-2021-41190).
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.config.is_some() || self.layers.is_some()
    }
}

impl Manifest {
    /// See [`Index::is_ambiguous`].
    pub(crate) fn is_ambiguous(&self) -> bool {
        self.manifests.is_some()
    }
}

impl Outline {
    /// The media type that the document states itself, or else that its fields imply.
    pub(crate) fn media_type(&self) -> Option<&str> {
        match self.media_type.as_deref() {
            Some(media_type) if !media_type.is_empty() => Some(media_type),
            _ if self.fs_layers.is_some() => Some(media_type::DOCKER_SCHEMA1),
            _ if self.manifests.is_some() => Some(media_type::OCI_INDEX),
            _ if self.config.is_some() => Some(media_type::OCI_MANIFEST),
            _ => None,
        }
    }
}
