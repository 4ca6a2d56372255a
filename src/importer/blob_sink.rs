//! Where the bytes of one blob of a compressed archive go: into the store, or only into a hash.

use crate::admit::LeasedStore;
use crate::digest::{Digest, Hasher};
use crate::image_store::{BlobWriter, ImageStore, NewBlob, Opened, StoreError};

/// A blob that the store lacks and is written, or one that the store has, whose bytes are hashed
/// alone.
pub(super) enum BlobSink<W> {
    Write(W),
    HashOnly(Hasher),
}

impl<W: BlobWriter> BlobSink<W> {
    pub(super) async fn open<S: ImageStore<Writer = W>>(
        leased: &LeasedStore<S>,
        blob: NewBlob,
    ) -> Result<Self, StoreError> {
        Ok(match leased.open(blob).await? {
            Opened::Exists(_) => Self::HashOnly(Hasher::default()),
            Opened::Writer(writer) => Self::Write(writer),
        })
    }

    pub(super) async fn take(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        match self {
            Self::Write(writer) => writer.write(bytes).await,
            Self::HashOnly(hasher) => {
                hasher.update(bytes);
                Ok(())
            }
        }
    }

    pub(super) fn digest(&self) -> Digest {
        match self {
            Self::Write(writer) => writer.digest(),
            Self::HashOnly(hasher) => hasher.clone().finish(),
        }
    }
}
