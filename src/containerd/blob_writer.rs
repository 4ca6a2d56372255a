//! One blob on its way into containerd: a stream of `Content.Write`.
//!
//! Writes are pipelined: the next is sent before the last is acknowledged. What one writer holds is
//! bounded by [`QUEUED`] messages of at most [`MESSAGE`] bytes that wait in its queue, one that its
//! caller holds and what HTTP/2 has taken (a message, and at most 1 MiB of it encoded): 6 MiB.
//! Beyond that `write` waits, because containerd reads no faster than it stores.

use std::collections::HashMap;
use std::time::Duration;

use containerd_client::services::v1::{WriteAction, WriteContentRequest, WriteContentResponse};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::client::{Containerd, answered};
use super::content::Ingest;
use super::failure::{Failure, Kind};
use super::leases::Lease;
use super::turns::Turn;
use crate::digest::Digest;
use crate::image_store::{BlobWriter, Labels, StoreError};

/// The most bytes of a blob in one message. containerd takes 16 MiB; larger ones gain no speed.
const MESSAGE: usize = 1 << 20;
/// Messages that wait for the connection to take them.
const QUEUED: usize = 2;

const WRITE: &str = "Content.Write";
const COMMIT: &str = "Content.Write (commit)";

/// Writes one blob. While it lives, containerd lets nobody else write the same blob under stowd's
/// name: opening it a second time waits until this one is gone.
pub struct ContentWriter {
    store: Containerd,
    lease: Lease,
    ingest: Ingest,
    requests: mpsc::Sender<WriteContentRequest>,
    answers: Streaming<WriteContentResponse>,
    resumed_at: u64,
    sent: u64,
    acknowledged: u64,
    /// Held until the ingest is committed, thrown away or let go. The last field: it is dropped
    /// after the stream.
    pub(super) turn: Option<Turn>,
}

impl ContentWriter {
    /// Opens the stream and learns where to begin.
    pub(super) async fn open(
        store: &Containerd,
        lease: &Lease,
        ingest: &Ingest,
    ) -> Result<Self, Failure> {
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
        let patience = store.deadlines().change;
        let mut content = store.content(Some(lease));
        let opened = content.write(ReceiverStream::new(queue));
        let mut answers = answered(WRITE, patience, opened).await?;
        let first = next_answer(WRITE, patience, &mut answers).await?;
        let offset = u64::try_from(first.offset).unwrap_or(0);
        if offset > ingest.size || (offset > 0 && ingest.expected.is_none()) {
            return Err(Failure {
                call: WRITE,
                kind: Kind::OtherIngest,
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
            sent: offset,
            acknowledged: offset,
            turn: None,
        })
    }

    /// Queues a message as soon as there is room, and takes in the acknowledgements meanwhile.
    async fn send(&mut self, request: WriteContentRequest) -> Result<(), Failure> {
        let patience = self.store.deadlines().progress;
        loop {
            let answer = tokio::select! {
                biased;
                answer = next_answer(WRITE, patience, &mut self.answers) => answer?,
                // Fails only when the stream has ended; then the answer above says why.
                Ok(room) = self.requests.reserve() => {
                    room.send(request);
                    return Ok(());
                }
            };
            self.acknowledge(&answer);
        }
    }

    /// What a failure asks for, before it is told: on a full disk, that the half-written blob makes
    /// room. It could be resumed otherwise, but whatever else the node writes would fail until then.
    async fn failed(&mut self, failure: Failure) -> StoreError {
        if failure.kind == Kind::NoSpace {
            // That there is no room is the news, whether or not this succeeds.
            let _ = self.store.abort_ingest(&self.ingest.reference).await;
        }
        // Its caller may keep what is of no more use.
        self.turn = None;
        failure.into()
    }

    fn acknowledge(&mut self, answer: &WriteContentResponse) {
        let offset = u64::try_from(answer.offset).unwrap_or(0);
        self.acknowledged = self.acknowledged.max(offset);
    }

    /// Sends the commit and waits until it is acknowledged, and all that was sent before it.
    async fn send_commit(&mut self, digest: &Digest, labels: &Labels) -> Result<(), Failure> {
        self.send(WriteContentRequest {
            action: WriteAction::Commit.into(),
            r#ref: self.ingest.reference.clone(),
            total: to_wire(self.ingest.size),
            expected: digest.as_str().to_owned(),
            // With the offset 0 containerd throws away what it has. That is wanted only of a blob
            // of no bytes.
            offset: to_wire(self.sent),
            labels: labels.clone().into_iter().collect::<HashMap<_, _>>(),
            ..Default::default()
        })
        .await?;
        loop {
            let deadlines = self.store.deadlines();
            let (call, patience) = if self.acknowledged < self.sent {
                (WRITE, deadlines.progress)
            } else {
                (COMMIT, deadlines.change)
            };
            let answer = next_answer(call, patience, &mut self.answers).await?;
            if answer.action == i32::from(WriteAction::Commit) {
                return Ok(());
            }
            self.acknowledge(&answer);
        }
    }
}

impl BlobWriter for ContentWriter {
    fn offset(&self) -> u64 {
        self.resumed_at
    }

    async fn write(&mut self, mut chunk: Vec<u8>) -> Result<(), StoreError> {
        let end = self.sent.saturating_add(chunk.len() as u64);
        if end > self.ingest.size {
            return Err(StoreError::Refused {
                call: WRITE,
                cause: format!(
                    "blob {} is longer than its {} bytes",
                    self.ingest.reference, self.ingest.size
                ),
            });
        }
        while !chunk.is_empty() {
            let rest = chunk.split_off(chunk.len().min(MESSAGE));
            let length = chunk.len() as u64;
            let message = WriteContentRequest {
                action: WriteAction::Write.into(),
                r#ref: self.ingest.reference.clone(),
                offset: to_wire(self.sent),
                // No digest: containerd would look it up with each message.
                data: chunk,
                ..Default::default()
            };
            if let Err(failure) = self.send(message).await {
                return Err(self.failed(failure).await);
            }
            self.sent += length;
            chunk = rest;
        }
        Ok(())
    }

    async fn commit(mut self, digest: &Digest, labels: Labels) -> Result<(), StoreError> {
        match self.send_commit(digest, &labels).await {
            Ok(()) => Ok(()),
            // Another writer, one that uses another name, was first. That answer neither sets
            // labels nor puts the blob under the lease.
            Err(failure) if failure.kind == Kind::AlreadyExists => {
                self.store.keep_content(&self.lease, digest).await?;
                self.store.label_content(digest, labels).await
            }
            Err(failure) if failure.kind == Kind::Removed => Err(StoreError::Removed {
                digest: digest.clone(),
                cause: failure.cause,
            }),
            Err(failure) if failure.kind == Kind::WrongContent => {
                self.store.abort_ingest(&self.ingest.reference).await?;
                Err(StoreError::Mismatch {
                    expected: digest.clone(),
                    cause: failure.cause,
                })
            }
            Err(failure) => Err(self.failed(failure).await),
        }
    }

    async fn abort(mut self) -> Result<(), StoreError> {
        // What is under way must have arrived, or it could be stored after the abort.
        let patience = self.store.deadlines().progress;
        while self.acknowledged < self.sent {
            match next_answer(WRITE, patience, &mut self.answers).await {
                Ok(answer) => self.acknowledge(&answer),
                Err(_) => break,
            }
        }
        // While it is held, so that nobody takes it up before it is gone.
        self.store.abort_ingest(&self.ingest.reference).await
    }
}

/// The next answer, which must come.
async fn next_answer(
    call: &'static str,
    patience: Duration,
    answers: &mut Streaming<WriteContentResponse>,
) -> Result<WriteContentResponse, Failure> {
    match timeout(patience, answers.next()).await {
        Ok(Some(Ok(answer))) => Ok(answer),
        Ok(Some(Err(status))) => Err(Failure::of(call, &status)),
        Ok(None) => Err(Failure {
            call,
            kind: Kind::Unreachable,
            cause: "containerd ended the stream before the blob was committed".to_owned(),
        }),
        Err(_) => Err(Failure::late(call, patience)),
    }
}

/// containerd counts in signed numbers. No blob comes near their limit.
fn to_wire(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
