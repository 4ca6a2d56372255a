//! Whether containerd unpacks a layer, by its bytes and its media type.
//!
//! containerd (`images.DiffCompression`, `archive/compression`) looks at the bytes of a layer where the
//! media type speaks of a compression, and also where it is Docker's for none. It tells gzip and zstd,
//! and takes all else for a tar. A layer with the OCI type for none is not looked at: a compressed one
//! would be read as a tar, and the first pod would end with "unexpected EOF" or "invalid tar header".
//! All generations do so alike.

use std::fmt;

use super::limits::SHOWN;
use crate::compression::Compression;
use crate::digest::Digest;
use crate::oci::Descriptor;
use crate::oci::media_type::{self, OCI_FOREIGN_LAYER, OCI_LAYER};
use crate::one_line::shortened;

/// A layer that is compressed in another way than its media type says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MislabelledLayer {
    pub digest: Digest,
    /// What it is.
    pub is: Compression,
    /// What its media type says.
    pub says: Compression,
}

/// Why containerd cannot unpack a layer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LayerFault {
    /// It trusts the media type.
    #[error("{0}: push or build it again")]
    Mislabelled(MislabelledLayer),
    /// No containerd unpacks what is compressed so.
    #[error(
        "layer {} is compressed with {is}, which containerd does not unpack; \
         push or build it again with gzip or zstd",
        shortened(layer, SHOWN)
    )]
    Compression {
        /// The member's path, or the digest.
        layer: String,
        is: Compression,
    },
}

/// Fails where containerd cannot unpack a layer whose bytes are compressed so. Returns what its media
/// type says wrongly, where that does no harm.
pub(super) fn check(
    layer: &Descriptor,
    is: Compression,
) -> Result<Option<MislabelledLayer>, LayerFault> {
    let Some(says) = media_type::layer_compression(&layer.media_type) else {
        return Ok(None);
    };
    let digest = layer.digest.clone();
    if !is_unpacked(is) {
        let layer = digest.to_string();
        return Err(LayerFault::Compression { layer, is });
    }
    let is_looked_at = !matches!(&*layer.media_type, OCI_LAYER | OCI_FOREIGN_LAYER);
    let mislabelled = (is != says).then_some(MislabelledLayer { digest, is, says });
    match mislabelled {
        Some(mislabelled) if !is_looked_at => Err(LayerFault::Mislabelled(mislabelled)),
        harmless => Ok(harmless),
    }
}

/// Whether containerd can decompress it.
pub(super) fn is_unpacked(compression: Compression) -> bool {
    matches!(
        compression,
        Compression::Plain | Compression::Gzip | Compression::Zstd
    )
}

impl fmt::Display for MislabelledLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, is, says } = self;
        let [is, says] = [is, says].map(|compression| match compression {
            Compression::Plain => "plain tar".to_owned(),
            other => other.to_string(),
        });
        write!(f, "layer {digest} is {is}, its media type says {says}")
    }
}
