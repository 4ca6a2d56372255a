//! Why an image is not unpacked.

use super::store_error::StoreError;
use crate::digest::Digest;
use crate::needed_blob::NeededBlob;
use crate::unpack::NoRootFileSystem;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnpackError {
    #[error(transparent)]
    Documents(#[from] NoRootFileSystem),
    /// The containerd has no such snapshotter, or it does not work there.
    #[error("snapshotter {name}: {cause}")]
    Snapshotter { name: String, cause: String },
    /// The bytes of a layer cannot be unpacked, in the words of the store.
    #[error("layer {layer} cannot be unpacked with {snapshotter}: {cause}")]
    Layer {
        snapshotter: String,
        layer: Digest,
        cause: String,
    },
    /// A layer was unpacked, and is not the one of the configuration.
    #[error("layer {layer} unpacks to {actual}, and the image's configuration says {expected}")]
    OtherLayer {
        layer: Digest,
        expected: Digest,
        actual: String,
    },
    /// The store has not the bytes of a layer.
    #[error("layer {} cannot be unpacked: {cause}", layer.digest)]
    Lacks { layer: NeededBlob, cause: String },
    /// The lease has ended, or a snapshot was removed, meanwhile: under another lease it can succeed.
    #[error("what was unpacked was removed meanwhile: {0}")]
    Removed(String),
    /// The store has no room for it.
    #[error("{error}")]
    NoSpace {
        /// So many bytes at least, of all that is missing.
        needs: u64,
        error: StoreError,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnpackError {
    /// Whether the store is away: that says nothing about the image.
    pub(crate) fn is_store_away(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_away())
    }
}
