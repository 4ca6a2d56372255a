//! Descriptors (OCI image spec, "Content Descriptors").

use serde::Deserialize;

use crate::digest::{Digest, DigestError};
use crate::needed_blob::NeededBlob;
use crate::platform::Platform;

/// What a manifest, an index or an image record points to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

impl Descriptor {
    pub(crate) fn needed(&self) -> NeededBlob {
        NeededBlob {
            digest: self.digest.clone(),
            size: self.size,
        }
    }
}

/// A descriptor as it is written in a document. Its digest may be one that stowd cannot use.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawDescriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    digest: String,
    size: u64,
    platform: Option<PlatformFields>,
    pub(crate) annotations: Option<Annotations>,
}

/// The annotations that name images.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Annotations {
    #[serde(rename = "io.containerd.image.name")]
    pub(crate) image_name: Option<String>,
    #[serde(rename = "org.opencontainers.image.ref.name")]
    pub(crate) ref_name: Option<String>,
    /// The name of the image that this one is made of; in packages of Zarf its own.
    #[serde(rename = "org.opencontainers.image.base.name")]
    pub(crate) base_name: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct PlatformFields {
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    #[serde(rename = "os.features")]
    features: Option<Vec<String>>,
}

impl RawDescriptor {
    pub(crate) fn digest(&self) -> Result<Digest, DigestError> {
        Digest::parse(&self.digest)
    }

    pub(crate) fn needed(&self) -> Result<NeededBlob, DigestError> {
        Ok(NeededBlob {
            digest: self.digest()?,
            size: self.size,
        })
    }

    pub(crate) fn descriptor(&self) -> Result<Descriptor, DigestError> {
        Ok(Descriptor {
            media_type: self.media_type.clone(),
            digest: self.digest()?,
            size: self.size,
        })
    }

    pub(crate) fn platform(&self) -> Option<Platform> {
        let platform = self.platform.as_ref()?;
        let PlatformFields {
            os,
            architecture,
            variant,
            features,
        } = platform;
        platform_of(os, architecture, variant, features)
    }
}

/// The platform of these fields. `None` without an architecture: tools leave it empty where they mean
/// no platform.
pub(super) fn platform_of(
    os: &Option<String>,
    architecture: &Option<String>,
    variant: &Option<String>,
    features: &Option<Vec<String>>,
) -> Option<Platform> {
    let [os, architecture, variant] =
        [os, architecture, variant].map(|field| field.as_deref().unwrap_or_default());
    let features = features.iter().flatten().filter(|name| !name.is_empty());
    (!architecture.is_empty())
        .then(|| Platform::normalized(os, architecture, variant).needing(features.cloned()))
}
