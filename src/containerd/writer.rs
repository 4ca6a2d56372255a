//! One blob on its way into containerd, in either of two ways.

use std::sync::Arc;

use super::blob_file::BlobFile;
use super::blobs_dir::{self, BlobsDir};
use super::client::Containerd;
use super::damage::FileState;
use super::direct_writer::{self, DirectWriter};
use super::direct_writes::DIRECT_FROM;
use super::ingest::Ingest;
use super::lease::Lease;
use super::stream_writer::{OpenedStream, StreamWriter};
use crate::digest::Digest;
use crate::image_store::{BlobTally, BlobWay, BlobWriter, Labels, NewBlob, Opened, StoreError};
use crate::source_labels;

/// Writes one blob. While it lives, no other writer of this process writes the same blob: opening it a
/// second time waits until this one is gone.
pub struct ContentWriter {
    medium: Medium,
    /// Labels of the damaged blob that this one replaces.
    had: Labels,
    /// What it counts as when it is committed: the way, and how many bytes go that way.
    counts: (BlobWay, u64),
    tally: BlobTally,
}

enum Medium {
    /// Every byte goes over the socket.
    Stream(Box<StreamWriter>),
    /// stowd writes the file, containerd adopts it.
    Direct(Box<DirectWriter>),
}

impl Containerd {
    /// Asks for a blob. Where another writer has it (an import of an image with the same base layer),
    /// waits until that one has committed it or let go of it, as long as it gets on. One that is damaged
    /// is thrown away, and to be written.
    pub(super) async fn open_content(
        &self,
        lease: &Lease,
        blob: NewBlob,
    ) -> Result<Opened<ContentWriter>, StoreError> {
        let ingest = Ingest::of(lease, blob);
        let guard = self.lock_ingest(&ingest).await?;
        let mut had = Labels::new();
        let state = match &ingest.expected {
            Some(digest) => self.discard_wrong_file(lease, digest, &mut had).await?,
            None => FileState::Unseen,
        };
        if let Some(blobs) = self.direct_writes.dir()
            && ingest.size >= DIRECT_FROM
            && !matches!(state, FileState::There(_))
            && self
                .may_write_directly(lease, &ingest, state, &mut had)
                .await?
            && let Some(file) = self.direct_file(&blobs, &ingest).await?
        {
            let medium = DirectWriter::new(self, lease, &ingest, blobs, file, guard);
            let medium = Medium::Direct(Box::new(medium));
            return Ok(Opened::Writer(ContentWriter {
                medium,
                had,
                counts: (BlobWay::Direct, ingest.size),
                tally: self.tally.clone(),
            }));
        }
        if ingest.expected.is_none() {
            // Whatever lies under this name, from an earlier try, is the beginning of other bytes.
            self.abort_ingest(&ingest.reference).await?;
        }
        let mut opened = self.open_stream(lease, &ingest).await?;
        if let (OpenedStream::Exists, FileState::Missing, Some(digest)) =
            (&opened, state, &ingest.expected)
        {
            had.extend(self.discard_damaged(lease, digest).await?);
            opened = self.open_stream(lease, &ingest).await?;
        }
        match opened {
            OpenedStream::Exists => Ok(Opened::Exists(match state {
                FileState::There(length) => Some(length),
                _ => None,
            })),
            OpenedStream::Writer(mut writer) => {
                writer.guard = Some(guard);
                let counts = match ingest.size.saturating_sub(writer.offset()) {
                    // Another namespace has it.
                    0 if ingest.size > 0 => (BlobWay::Present, ingest.size),
                    bytes => (BlobWay::Sent, bytes),
                };
                Ok(Opened::Writer(ContentWriter {
                    medium: Medium::Stream(writer),
                    had,
                    counts,
                    tally: self.tally.clone(),
                }))
            }
        }
    }

    /// Whether containerd has no record of the blob. One without a file is thrown away.
    async fn may_write_directly(
        &self,
        lease: &Lease,
        ingest: &Ingest,
        state: FileState,
        had: &mut Labels,
    ) -> Result<bool, StoreError> {
        let Some(digest) = &ingest.expected else {
            return Ok(true);
        };
        let is_recorded = self.has_content_of(digest).await?;
        if is_recorded && state == FileState::Missing {
            had.extend(self.discard_damaged(lease, digest).await?);
            return Ok(!self.has_content_of(digest).await?);
        }
        Ok(!is_recorded)
    }

    /// A file to write the blob to; `None` where it is to be sent, or asked for, over the socket: the
    /// store has it from another namespace, or no file can be had. What was half sent of a blob that
    /// gets a file is thrown away.
    async fn direct_file(
        &self,
        blobs: &Arc<BlobsDir>,
        ingest: &Ingest,
    ) -> Result<Option<BlobFile>, StoreError> {
        match direct_writer::new_file(blobs, ingest).await {
            Ok(None) => Ok(None),
            Ok(Some(file)) => {
                self.clear_ingest(ingest).await?;
                Ok(Some(file))
            }
            Err(error) if blobs_dir::is_full(&error) => Err(direct_writer::failed(&error)),
            Err(error) => {
                if !blobs_dir::is_passing(&error) {
                    self.direct_writes.give_up(&error);
                }
                Ok(None)
            }
        }
    }
}

impl BlobWriter for ContentWriter {
    fn offset(&self) -> u64 {
        match &self.medium {
            Medium::Stream(writer) => writer.offset(),
            Medium::Direct(writer) => writer.offset(),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        match &mut self.medium {
            Medium::Stream(writer) => writer.write(bytes).await,
            Medium::Direct(writer) => writer.write(bytes).await,
        }
    }

    fn digest(&self) -> Digest {
        match &self.medium {
            Medium::Stream(writer) => writer.digest(),
            Medium::Direct(writer) => writer.digest(),
        }
    }

    async fn commit(self, digest: &Digest, labels: Labels) -> Result<(), StoreError> {
        let Self {
            medium,
            had,
            counts: (way, bytes),
            tally,
        } = self;
        let labels = source_labels::together(had, &labels);
        match medium {
            Medium::Stream(writer) => writer.commit(digest, labels).await,
            Medium::Direct(writer) => writer.commit(digest, labels).await,
        }?;
        tally.count(way, bytes);
        Ok(())
    }

    async fn abort(self) -> Result<(), StoreError> {
        match self.medium {
            Medium::Stream(writer) => writer.abort().await,
            Medium::Direct(writer) => writer.abort().await,
        }
    }
}
