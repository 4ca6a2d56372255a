//! Blobs in containerd's content store: asking for them, opening them for writing, reading and
//! labelling them.

use std::time::Duration;

use containerd_client::services::v1::{
    AbortRequest, Info, InfoRequest, ReadContentRequest, StatusRequest, UpdateRequest,
};
use prost_types::FieldMask;
use tokio::time::Instant;
use tokio_stream::StreamExt as _;

use super::blobs_dir::{self, BlobsDir};
use super::client::{Containerd, answered};
use super::failure::{Failure, Kind};
use super::leases::Lease;
use super::placed_writer::{self, PlacedWriter};
use super::placement::WORTH_PLACING;
use super::stream_writer::StreamWriter;
use super::turns::Turn;
use super::writer::ContentWriter;
use crate::digest::Digest;
use crate::image_store::{Labels, NewBlob, Opened, StoreError};
use crate::naming::sources;

/// Between two looks at an ingest that another writer holds.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

/// How far another writer has come: the offset of its ingest, and how often it has said that it gets on.
type Progress = (Option<i64>, u64);

impl Containerd {
    /// Asks for a blob. Where another writer is at it (an import of an image with the same base
    /// layer), waits until that one has put it, or has let go of it, as long as it gets on.
    pub(super) async fn open_content(
        &self,
        lease: &Lease,
        blob: NewBlob,
    ) -> Result<Opened<ContentWriter>, StoreError> {
        let ingest = Ingest::of(lease, blob);
        let mut turn = self.turn_at(&ingest).await?;
        if let Some(blobs) = self.placement.dir()
            && ingest.size >= WORTH_PLACING
            && self.is_to_be_placed(&blobs, &ingest).await?
            && let Some(held) = turn.take()
        {
            match PlacedWriter::open(self, lease, &ingest, blobs, held) {
                Ok(writer) => return Ok(Opened::Writer(writer.into())),
                Err((error, _)) if blobs_dir::is_full(&error) => {
                    return Err(placed_writer::failed(&error));
                }
                Err((error, held)) => {
                    turn = Some(held);
                    if !blobs_dir::is_passing(&error) {
                        self.placement.give_up(&error);
                    }
                }
            }
        }
        if ingest.expected.is_none() {
            // Whatever lies under this name, from an earlier try, is the beginning of other bytes.
            self.abort_ingest(&ingest.reference).await?;
        }
        match self.open_stream(lease, &ingest).await? {
            OpenedStream::Exists => Ok(Opened::Exists),
            OpenedStream::Writer(mut writer) => {
                writer.turn = turn;
                Ok(Opened::Writer(writer.into()))
            }
        }
    }

    /// Waits for the turn at an ingest, as long as whoever has it gets on.
    pub(super) async fn turn_at(&self, ingest: &Ingest) -> Result<Option<Turn>, StoreError> {
        let mut moved = (Progress::default(), Instant::now());
        loop {
            let turn = self.turns.take(&ingest.reference);
            match tokio::time::timeout(self.deadlines().change / 4, turn).await {
                Ok(turn) => return Ok(Some(turn)),
                Err(_) => {
                    let failure = Failure {
                        call: "Content.Write",
                        kind: Kind::Locked,
                        cause: format!("{} is being written", ingest.reference),
                    };
                    self.check_it_moves(ingest, &mut moved, failure).await?;
                }
            }
        }
    }

    /// Whether neither this namespace has the blob nor the store, from another one. What was half
    /// sent of it is thrown away then.
    async fn is_to_be_placed(&self, blobs: &BlobsDir, ingest: &Ingest) -> Result<bool, StoreError> {
        if let Some(digest) = &ingest.expected
            && (self.has_content_of(digest).await? || blobs.has(digest, ingest.size))
        {
            return Ok(false);
        }
        self.clear_ingest(ingest).await?;
        Ok(true)
    }

    /// Throws an ingest away, if there is one: to ask for it costs less than to abort it.
    pub(super) async fn clear_ingest(&self, ingest: &Ingest) -> Result<(), StoreError> {
        match self.ingest_offset(&ingest.reference).await? {
            Some(_) => self.abort_ingest(&ingest.reference).await,
            None => Ok(()),
        }
    }

    /// Opens the stream of a blob, whose turn it is.
    pub(super) async fn open_stream(
        &self,
        lease: &Lease,
        ingest: &Ingest,
    ) -> Result<OpenedStream, StoreError> {
        let mut moved = (Progress::default(), Instant::now());
        let mut aborted = false;
        let mut wait = FIRST_WAIT;
        loop {
            match StreamWriter::open(self, lease, ingest).await {
                Ok(writer) => return Ok(OpenedStream::Writer(Box::new(writer))),
                // containerd has put the blob under the lease with this answer.
                Err(failure) if failure.kind == Kind::AlreadyExists => {
                    return Ok(OpenedStream::Exists);
                }
                // Half written with another length: not the beginning of this blob.
                Err(failure) if failure.kind == Kind::OtherIngest && !aborted => {
                    self.abort_ingest(&ingest.reference).await?;
                    aborted = true;
                }
                Err(failure) if failure.kind == Kind::Locked => {
                    self.check_it_moves(ingest, &mut moved, failure).await?;
                    tokio::time::sleep(wait).await;
                    wait = LONGEST_WAIT.min(wait * 2);
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Fails where an ingest that another writer has does not get on. `moved` is where it was last
    /// seen, and since when.
    async fn check_it_moves(
        &self,
        ingest: &Ingest,
        moved: &mut (Progress, Instant),
        failure: Failure,
    ) -> Result<(), StoreError> {
        // What is placed has no ingest, but its writer moves all the same.
        let offset = self.ingest_offset(&ingest.reference).await?;
        let now_at = (offset, self.turns.beats(&ingest.reference));
        if now_at != moved.0 {
            *moved = (now_at, Instant::now());
        }
        let patience = self.deadlines().change;
        if moved.1.elapsed() < patience {
            return Ok(());
        }
        let cause = format!(
            "another writer has it and has not moved for {} s: {}",
            patience.as_secs(),
            failure.cause
        );
        Err(Failure { cause, ..failure }.into())
    }

    /// How far an ingest has come; `None` where there is none.
    async fn ingest_offset(&self, reference: &str) -> Result<Option<i64>, StoreError> {
        let request = StatusRequest {
            r#ref: reference.to_owned(),
        };
        let mut content = self.content(None);
        let status = content.status(request);
        match answered("Content.Status", self.deadlines().answer, status).await {
            Ok(answer) => Ok(answer.status.map(|status| status.offset)),
            Err(failure) if failure.kind == Kind::NotFound => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Throws an ingest away; that there is none is fine.
    pub(super) async fn abort_ingest(&self, reference: &str) -> Result<(), StoreError> {
        let patience = self.deadlines().change;
        let began = Instant::now();
        loop {
            let request = AbortRequest {
                r#ref: reference.to_owned(),
            };
            let mut content = self.content(None);
            match answered("Content.Abort", patience, content.abort(request)).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.kind == Kind::NotFound => return Ok(()),
                // A writer that was just dropped closes its files while they are being removed.
                Err(failure) if failure.is_removal_race() && began.elapsed() < patience => {
                    tokio::time::sleep(FIRST_WAIT).await;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }

    /// Whether a blob is there, which it stays then. It is put under the lease before it is looked
    /// for: the other way round it could be collected in between. That a lease has what is not there
    /// does no harm.
    pub(super) async fn has_content(
        &self,
        lease: &Lease,
        digest: &Digest,
    ) -> Result<bool, StoreError> {
        self.keep_content(lease, digest).await?;
        self.has_content_of(digest).await
    }

    /// Whether a blob is there, of this length and with these labels.
    pub(super) async fn has_content_labelled(
        &self,
        digest: &Digest,
        size: u64,
        labels: &Labels,
    ) -> Result<bool, StoreError> {
        let Some(info) = self.content_info(digest).await? else {
            return Ok(false);
        };
        let had = info.labels.into_iter().collect();
        let has_all = sources::missing(&had, labels).is_empty();
        Ok(u64::try_from(info.size) == Ok(size) && has_all)
    }

    /// Whether a blob is there now.
    pub(super) async fn has_content_of(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(self.content_info(digest).await?.is_some())
    }

    /// What containerd knows of a blob; `None` where there is none.
    async fn content_info(&self, digest: &Digest) -> Result<Option<Info>, StoreError> {
        let request = InfoRequest {
            digest: digest.as_str().to_owned(),
        };
        let mut content = self.content(None);
        let info = content.info(request);
        match answered("Content.Info", self.deadlines().answer, info).await {
            Ok(answer) => Ok(Some(answer.info.unwrap_or_default())),
            Err(failure) if failure.kind == Kind::NotFound => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    pub(super) async fn read_content(
        &self,
        digest: &Digest,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        const READ: &str = "Content.Read";
        let patience = self.deadlines().answer;
        let Some(Info { size, .. }) = self.content_info(digest).await? else {
            return Ok(None);
        };
        if u64::try_from(size).is_ok_and(|size| size > limit) {
            return Err(StoreError::Refused {
                call: READ,
                cause: format!("blob {digest} has {size} bytes, more than the {limit} expected"),
            });
        }
        let request = ReadContentRequest {
            digest: digest.as_str().to_owned(),
            offset: 0,
            size,
        };
        let mut content = self.content(None);
        let mut chunks = match answered(READ, patience, content.read(request)).await {
            Ok(chunks) => chunks,
            Err(failure) if failure.kind == Kind::NotFound => return Ok(None),
            Err(failure) => return Err(failure.into()),
        };
        let mut bytes = Vec::new();
        loop {
            match tokio::time::timeout(patience, chunks.next()).await {
                Ok(Some(Ok(chunk))) => bytes.extend_from_slice(&chunk.data),
                Ok(Some(Err(status))) => return Err(Failure::of(READ, &status).into()),
                Ok(None) => break,
                Err(_) => return Err(Failure::late(READ, patience).into()),
            }
        }
        // containerd checks what it takes, not what it gives.
        if Digest::of(&bytes) == *digest {
            Ok(Some(bytes))
        } else {
            Err(StoreError::Refused {
                call: READ,
                cause: format!("the store's blob {digest} is damaged"),
            })
        }
    }

    /// Adds to what the blob has, and writes only what that changes. It is looked at and written in
    /// one turn, so that no two imports forget what the other has added. Who adds to the same list in
    /// another process at the same moment may still lose by it: containerd changes labels without
    /// looking.
    pub(super) async fn label_content(
        &self,
        digest: &Digest,
        wanted: Labels,
    ) -> Result<(), StoreError> {
        if wanted.is_empty() {
            return Ok(());
        }
        let _turn = self.turns.take(&format!("labels of {digest}")).await;
        let Some(info) = self.content_info(digest).await? else {
            return Err(StoreError::Refused {
                call: "Content.Info",
                cause: format!("content {digest}: not found"),
            });
        };
        let labels = sources::missing(&info.labels.into_iter().collect(), &wanted);
        if labels.is_empty() {
            return Ok(());
        }
        // Key by key: a mask of all labels would drop those that others set.
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let request = UpdateRequest {
            info: Some(Info {
                digest: digest.as_str().to_owned(),
                labels: labels.into_iter().collect(),
                ..Default::default()
            }),
            update_mask: Some(FieldMask { paths }),
        };
        let mut content = self.content(None);
        let updated = content.update(request);
        answered("Content.Update", self.deadlines().change, updated).await?;
        Ok(())
    }
}

/// A blob on its way in, as containerd names it.
#[derive(Debug, Clone)]
pub(super) struct Ingest {
    /// Its name among the half-written blobs of the namespace. stowd's own, with the digest in it:
    /// whoever writes it, the bytes under it are the beginning of the same blob.
    pub(super) reference: String,
    pub(super) expected: Option<Digest>,
    pub(super) size: u64,
}

/// The answer to a stream that was opened.
pub(super) enum OpenedStream {
    /// The blob is there, and under the lease.
    Exists,
    Writer(Box<StreamWriter>),
}

impl Ingest {
    pub(super) fn known(digest: Digest, size: u64) -> Self {
        Self {
            reference: format!("stowd-{digest}"),
            expected: Some(digest),
            size,
        }
    }

    fn of(lease: &Lease, blob: NewBlob) -> Self {
        match blob {
            NewBlob::Known { digest, size } => Self::known(digest, size),
            NewBlob::Unnamed { key, size } => Self {
                reference: format!("{}-{key}", lease.id()),
                expected: None,
                size,
            },
        }
    }

    /// The error of more bytes than were announced.
    pub(super) fn too_long(&self, call: &'static str) -> StoreError {
        let cause = format!(
            "blob {} is longer than its {} bytes",
            self.reference, self.size
        );
        StoreError::Refused { call, cause }
    }
}
