//! Why the documents of an image do not say how it is unpacked.

use crate::digest::DigestError;
use crate::oci::JsonError;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRootFileSystem {
    #[error("its manifest has {layers} layers, its configuration {diff_ids}")]
    Counts {
        /// The layers of the manifest.
        layers: usize,
        /// Those of the configuration.
        diff_ids: usize,
    },
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Digest(#[from] DigestError),
}
