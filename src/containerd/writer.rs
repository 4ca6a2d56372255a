//! One blob on its way into containerd, in either of two ways.

use super::placed_writer::PlacedWriter;
use super::stream_writer::StreamWriter;
use crate::digest::Digest;
use crate::image_store::{BlobWriter, Labels, StoreError};

/// Writes one blob. While it lives, nobody else writes the same blob under stowd's name: opening it
/// a second time waits until this one is gone.
pub struct ContentWriter(pub(super) Way);

pub(super) enum Way {
    /// Every byte goes over the socket.
    Sent(Box<StreamWriter>),
    /// stowd writes the file, containerd adopts it.
    Placed(Box<PlacedWriter>),
}

impl From<Box<StreamWriter>> for ContentWriter {
    fn from(writer: Box<StreamWriter>) -> Self {
        Self(Way::Sent(writer))
    }
}

impl From<PlacedWriter> for ContentWriter {
    fn from(writer: PlacedWriter) -> Self {
        Self(Way::Placed(Box::new(writer)))
    }
}

impl BlobWriter for ContentWriter {
    fn offset(&self) -> u64 {
        match &self.0 {
            Way::Sent(writer) => writer.offset(),
            Way::Placed(writer) => writer.offset(),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        match &mut self.0 {
            Way::Sent(writer) => writer.write(bytes).await,
            Way::Placed(writer) => writer.write(bytes).await,
        }
    }

    fn digest(&self) -> Digest {
        match &self.0 {
            Way::Sent(writer) => writer.digest(),
            Way::Placed(writer) => writer.digest(),
        }
    }

    async fn commit(self, digest: &Digest, labels: Labels) -> Result<(), StoreError> {
        match self.0 {
            Way::Sent(writer) => writer.commit(digest, labels).await,
            Way::Placed(writer) => writer.commit(digest, labels).await,
        }
    }

    async fn abort(self) -> Result<(), StoreError> {
        match self.0 {
            Way::Sent(writer) => writer.abort().await,
            Way::Placed(writer) => writer.abort().await,
        }
    }
}
