//! One blob on its way into containerd: a stream of `Content.Write`.
//!
//! Writes are pipelined: the next is sent before the last is acknowledged. What one writer holds is
//! bounded by [`QUEUED`] messages of at most [`MESSAGE`] bytes that wait in its queue, one that is
//! being filled and what HTTP/2 has taken (at most 1 MiB of it encoded): 2 MiB.
//! Beyond that `write` waits, because containerd reads no faster than it stores. And only so many
//! hold that at once ([`SENT_BLOBS`](crate::concurrency::SENT_BLOBS)): the others wait with their first message.

use std::collections::HashMap;
use std::time::Duration;

use containerd_client::services::v1::{WriteAction, WriteContentRequest, WriteContentResponse};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::client::{Containerd, answered, from_wire, next_message, to_wire};
use super::failure::{CallFailure, FailureKind};
use super::ingest::Ingest;
use super::ingests::Moved;
use super::lease::Lease;
use crate::digest::{Digest, Hasher};
use crate::image_store::{BlobWriter, Labels, StoreError};
use crate::keyed_lock::KeyGuard;
use crate::source_labels;

/// The most bytes of a blob in one message. containerd takes 16 MiB; larger ones gain no speed, and
/// cost the allocator more than they hold.
const MESSAGE: usize = 128 << 10;
/// Messages that wait for the connection to take them.
const QUEUED: usize = 4;

/// Between two looks at an ingest that another writer holds.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(500);

const WRITE: &str = "Content.Write";
const COMMIT: &str = "Content.Write (commit)";

/// Writes one blob. While it lives, containerd refuses other writers of the same blob under stowd's
/// name: opening it a second time waits until this one is gone.
pub(super) struct StreamWriter {
    store: Containerd,
    lease: Lease,
    ingest: Ingest,
    requests: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
    resumed_at: u64,
    hasher: Hasher,
    /// How many bytes the caller has written. Those before `resumed_at` are not sent.
    taken: u64,
    /// The next message.
    filling: Vec<u8>,
    sent: u64,
    acknowledged: u64,
    sending: Option<OwnedSemaphorePermit>,
    /// Held until the ingest is committed, thrown away or let go. The last field: it is dropped
    /// after the stream.
    pub(super) guard: Option<KeyGuard>,
}

/// The answer to a stream that was opened.
pub(super) enum OpenedStream {
    /// The blob is there, and under the lease.
    Exists,
    Writer(Box<StreamWriter>),
}

impl Containerd {
    /// Opens the stream of a blob, whose lock is held.
    pub(super) async fn open_stream(
        &self,
        lease: &Lease,
        ingest: &Ingest,
    ) -> Result<OpenedStream, StoreError> {
        let mut moved = Moved::default();
        let mut aborted = false;
        let mut wait = FIRST_WAIT;
        loop {
            match StreamWriter::open(self, lease, ingest).await {
                Ok(writer) => return Ok(OpenedStream::Writer(Box::new(writer))),
                // containerd has put the blob under the lease with this answer.
                Err(failure) if failure.kind == FailureKind::AlreadyExists => {
                    return Ok(OpenedStream::Exists);
                }
                // Half written with another length: not the beginning of this blob.
                Err(failure) if failure.kind == FailureKind::OtherIngest && !aborted => {
                    self.abort_ingest(&ingest.reference).await?;
                    aborted = true;
                }
                Err(failure) if failure.kind == FailureKind::Locked => {
                    self.check_it_moves(ingest, &mut moved, failure).await?;
                    tokio::time::sleep(wait).await;
                    wait = LONGEST_WAIT.min(wait * 2);
                }
                Err(failure) => return Err(failure.into()),
            }
        }
    }
}

impl StreamWriter {
    /// Opens the stream and learns where to begin.
    pub(super) async fn open(
        store: &Containerd,
        lease: &Lease,
        ingest: &Ingest,
    ) -> Result<Self, CallFailure> {
        let (requests, queue) = mpsc::channel(QUEUED);
        let stat = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: ingest.reference.clone(),
            total: to_wire(ingest.size),
            expected: ingest
                .expected
                .as_ref()
                .map_or("", Digest::as_str)
                .to_owned(),
            ..Default::default()
        };
        // Queued before the stream is opened: tonic waits for the server's headers, and a server
        // in Go sends none before its first message.
        let stat_is_queued = requests.try_send(stat);
        debug_assert!(stat_is_queued.is_ok(), "the queue is new");
        // To resume, containerd hashes what it has of the blob before it answers.
        let deadline = store.deadlines().change;
        let mut content = store.content_stream(lease);
        let opened = content.write(ReceiverStream::new(queue));
        let mut answers = answered(WRITE, deadline, opened).await?;
        let first = next_answer(WRITE, deadline, &mut answers).await?;
        let offset = from_wire(first.offset);
        if offset > ingest.size || (offset > 0 && ingest.expected.is_none()) {
            return Err(CallFailure {
                call: WRITE,
                kind: FailureKind::OtherIngest,
                cause: format!("{offset} of {} bytes are there already", ingest.size),
            });
        }
        Ok(Self {
            store: store.clone(),
            lease: lease.clone(),
            ingest: ingest.clone(),
            requests,
            answers,
            resumed_at: offset,
            hasher: Hasher::default(),
            taken: 0,
            filling: Vec::new(),
            sent: offset,
            acknowledged: offset,
            sending: None,
            guard: None,
        })
    }

    /// Returns when the stream has ended, which containerd does not end by itself while it serves.
    pub(super) async fn ended(&mut self) {
        while let Ok(Some(_)) = self.answers.message().await {}
    }

    /// Queues a message as soon as there is room, and takes in the acknowledgements meanwhile.
    async fn send(&mut self, request: WriteContentRequest) -> Result<(), CallFailure> {
        let deadline = self.store.deadlines().progress;
        loop {
            let answer = tokio::select! {
                biased;
                answer = next_answer(WRITE, deadline, &mut self.answers) => answer?,
                // Fails only when the stream has ended; then the answer above says why.
                Ok(room) = self.requests.reserve() => {
                    room.send(request);
                    return Ok(());
                }
            };
            self.acknowledge(&answer);
        }
    }

    async fn send_data(&mut self) -> Result<(), CallFailure> {
        if self.filling.is_empty() {
            return Ok(());
        }
        if self.sending.is_none() {
            self.sending = self.store.may_send().await;
        }
        let data = std::mem::take(&mut self.filling);
        let length = data.len() as u64;
        let message = WriteContentRequest {
            action: WriteAction::Write.into(),
            r#ref: self.ingest.reference.clone(),
            offset: to_wire(self.sent),
            // No digest: containerd would look it up with each message.
            data,
            ..Default::default()
        };
        self.send(message).await?;
        self.sent += length;
        Ok(())
    }

    fn acknowledge(&mut self, answer: &WriteContentResponse) {
        let offset = from_wire(answer.offset);
        self.acknowledged = self.acknowledged.max(offset);
    }

    /// Sends the commit and waits until it is acknowledged, and all that was sent before it.
    async fn send_commit(&mut self, digest: &Digest, labels: &Labels) -> Result<(), CallFailure> {
        self.send_data().await?;
        self.send(WriteContentRequest {
            action: WriteAction::Commit.into(),
            r#ref: self.ingest.reference.clone(),
            total: to_wire(self.ingest.size),
            expected: digest.as_str().to_owned(),
            // With the offset 0 containerd discards the ingest's bytes: right for an empty blob alone.
            offset: to_wire(self.sent),
            labels: labels.clone().into_iter().collect::<HashMap<_, _>>(),
            ..Default::default()
        })
        .await?;
        loop {
            let deadlines = self.store.deadlines();
            let (call, deadline) = if self.acknowledged < self.sent {
                (WRITE, deadlines.progress)
            } else {
                (COMMIT, deadlines.change)
            };
            let answer = next_answer(call, deadline, &mut self.answers).await?;
            if answer.action == i32::from(WriteAction::Commit) {
                return Ok(());
            }
            self.acknowledge(&answer);
        }
    }
}

impl BlobWriter for StreamWriter {
    fn offset(&self) -> u64 {
        self.resumed_at
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let end = self.taken.saturating_add(bytes.len() as u64);
        if end > self.ingest.size {
            return Err(self.ingest.too_long(WRITE));
        }
        self.hasher.update(bytes);
        let there = self.resumed_at.saturating_sub(self.taken);
        let there = usize::try_from(there).map_or(bytes.len(), |there| there.min(bytes.len()));
        self.taken = end;
        let mut bytes = &bytes[there..];
        while !bytes.is_empty() {
            if self.filling.capacity() == 0 {
                let left = self.ingest.size - self.sent;
                let room = usize::try_from(left).map_or(MESSAGE, |left| left.min(MESSAGE));
                self.filling.reserve_exact(room);
            }
            let (now, later) = bytes.split_at(bytes.len().min(MESSAGE - self.filling.len()));
            self.filling.extend_from_slice(now);
            bytes = later;
            if self.filling.len() == MESSAGE {
                self.send_data().await?;
            }
        }
        Ok(())
    }

    fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    async fn commit(mut self, digest: &Digest, mut labels: Labels) -> Result<(), StoreError> {
        let _second = match &self.ingest.expected {
            Some(_) => None,
            // Now it is known which blob it is: another import may be writing it.
            None => {
                let known = Ingest::known(digest.clone(), self.ingest.size);
                let second = self.store.lock_ingest(&known).await?;
                let had = self.store.discard_wrong(&self.lease, digest).await?;
                labels = source_labels::together(had, &labels);
                Some(second)
            }
        };
        match self.send_commit(digest, &labels).await {
            Ok(()) => Ok(()),
            // Another writer, one that uses another name, was first. That answer neither sets
            // labels nor puts the blob under the lease.
            Err(failure) if failure.kind == FailureKind::AlreadyExists => {
                self.store.keep_content(&self.lease, digest).await?;
                self.store.label_content(digest, labels).await
            }
            Err(failure) if failure.kind == FailureKind::Removed => Err(StoreError::Removed {
                digest: digest.clone(),
                cause: failure.cause,
            }),
            Err(failure) if failure.kind == FailureKind::WrongContent => {
                self.store.abort_ingest(&self.ingest.reference).await?;
                Err(StoreError::Mismatch {
                    expected: digest.clone(),
                    cause: failure.cause,
                })
            }
            Err(failure) => {
                let error = failure.into();
                // It could be resumed, but until then every other write of the node would fail.
                if let StoreError::NoSpace { .. } = error {
                    self.give_up(&error).await;
                }
                Err(error)
            }
        }
    }

    async fn abort(self) -> Result<(), StoreError> {
        let Self {
            store,
            ingest,
            requests,
            mut answers,
            guard,
            ..
        } = self;
        // containerd stores what is under way, closes its file and ends the stream. Before that an abort
        // frees no room, and what is under way could be stored after it.
        drop(requests);
        let deadline = store.deadlines().progress;
        while next_answer(WRITE, deadline, &mut answers).await.is_ok() {}
        let aborted = store.abort_ingest(&ingest.reference).await;
        // The lock is held until then, so that no other writer takes up what is not gone yet.
        drop(guard);
        aborted
    }
}

/// The next answer, which must come.
async fn next_answer(
    call: &'static str,
    deadline: Duration,
    answers: &mut Streaming<WriteContentResponse>,
) -> Result<WriteContentResponse, CallFailure> {
    let answer = next_message(call, deadline, answers).await?;
    answer.ok_or_else(|| CallFailure {
        call,
        kind: FailureKind::Unreachable,
        cause: "containerd ended the stream before the blob was committed".to_owned(),
    })
}
