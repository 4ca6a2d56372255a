//! Bodies of a compressed archive, sent while it is decompressed: it is read only once.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::blocking::{blocking, joined};
use crate::concurrency::BODIES_OF_ARCHIVE;
use crate::digest::Digest;
use crate::image_store::{BlobWriter, ImageStore, Labels, NewBlob, StoreError};
use crate::layout::Catalogue;
use crate::progress::Meter;
use crate::tar::{self, CompressedArchive};

use super::blob_sink::BlobSink;
use super::blocking_bridge::{WaitError, Waiter};
use super::report::ImportError;
use super::space::{BodyToWrite, Space};

/// Sends the bodies of a compressed archive as they come out of it. Returns what it holds, and which
/// blobs the store has under the lease now.
pub(super) async fn receive<S: ImageStore>(
    space: &Space<S>,
    archive: CompressedArchive,
    meter: &Meter,
    waiter: Waiter,
) -> Result<(Catalogue, HashSet<Digest>), ImportError> {
    let mut bodies = Bodies {
        space: space.clone(),
        meter: meter.clone(),
        waiter,
        begun: 0,
        current: None,
        ending: JoinSet::new(),
        there: HashSet::new(),
        failed: None,
    };
    let (catalogue, bodies) = blocking(move || {
        let catalogue = archive.stream(&mut bodies);
        (catalogue, bodies)
    })
    .await;
    let Bodies {
        current,
        mut ending,
        mut there,
        mut failed,
        ..
    } = bodies;
    // First: a commit may wait for the blob that this one holds.
    if let Some(Body {
        sink: BlobSink::Write(writer),
        ..
    }) = current
    {
        match &failed {
            Some(WaitError::Store(error)) => writer.give_up(error).await,
            // The archive is broken, or the import was given up: that is what is reported.
            Some(WaitError::Abandoned) | None => drop(writer.abort().await),
        }
    }
    // Also after a failure: a writer that is still open keeps its ingest when the lease ends.
    while let Some(end) = ending.join_next().await {
        match joined(end) {
            Some(Ok(sent)) => there.extend(sent),
            Some(Err(error)) => failed = failed.or(Some(WaitError::Store(error))),
            None => {}
        }
    }
    match failed {
        Some(WaitError::Store(error)) => Err(error.into()),
        // After `Abandoned` the catalogue is an error.
        Some(WaitError::Abandoned) | None => Ok((catalogue?, there)),
    }
}

/// The body that is being read.
struct Body<W> {
    sink: BlobSink<W>,
    claimed: Option<Digest>,
    /// What its reservation goes by.
    name: String,
}

/// The body that is being read, and those that are being committed.
struct Bodies<S: ImageStore> {
    space: Space<S>,
    meter: Meter,
    waiter: Waiter,
    begun: u64,
    current: Option<Body<S::Writer>>,
    ending: JoinSet<Result<Option<Digest>, StoreError>>,
    there: HashSet<Digest>,
    /// Why reading was ended.
    failed: Option<WaitError>,
}

impl<S: ImageStore> Bodies<S> {
    /// Remembers why a step failed, and ends the reading.
    fn step<T>(&mut self, step: Result<T, WaitError>) -> ControlFlow<(), T> {
        match step {
            Ok(value) => ControlFlow::Continue(value),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Waits until no more commits are under way than one archive may have.
    fn make_room(&mut self) -> Result<(), WaitError> {
        while self.ending.len() > BODIES_OF_ARCHIVE {
            let Self {
                waiter,
                ending,
                there,
                ..
            } = self;
            let committed = waiter.wait(async {
                let end = ending.join_next().await.and_then(joined);
                end.unwrap_or(Ok(None))
            })?;
            there.extend(committed);
        }
        Ok(())
    }
}

impl<S: ImageStore> tar::BodySink for Bodies<S> {
    fn begin(&mut self, _: &str, claimed: Option<Digest>, size: u64) -> ControlFlow<()> {
        self.begun += 1;
        // Not its path: a second member of the same path would discard the first, which may not be
        // committed yet.
        let key = format!("body-{}", self.begun);
        let (blob, wanted) = match &claimed {
            Some(digest) => (
                NewBlob::Known {
                    digest: digest.clone(),
                    size,
                },
                BodyToWrite::known(digest, size),
            ),
            None => (
                NewBlob::Unnamed {
                    key: key.clone(),
                    size,
                },
                self.space.unnamed(&key, size),
            ),
        };
        let name = wanted.name.clone();
        let reserved = self.space.reserve(vec![wanted], &self.waiter);
        let reserved = self.waiter.runtime().block_on(reserved);
        self.step(reserved)?;
        let opened = BlobSink::open(self.space.leased(), blob);
        let opened = self.waiter.wait(opened);
        let sink = self.step(opened)?;
        if let BlobSink::HashOnly(_) = sink {
            self.space.own().is_there(&name, size);
        }
        self.current = Some(Body {
            sink,
            claimed,
            name,
        });
        ControlFlow::Continue(())
    }

    fn take(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let taken = match &mut self.current {
            Some(body) => {
                self.space.own().written(&body.name, bytes.len() as u64);
                self.waiter.wait(body.sink.take(bytes))
            }
            None => Ok(()),
        };
        self.step(taken)
    }

    fn end(&mut self) -> ControlFlow<(), Digest> {
        // The archive begins each body before it ends it.
        let Some(Body {
            sink,
            claimed,
            name,
        }) = self.current.take()
        else {
            return ControlFlow::Break(());
        };
        let digest = sink.digest();
        let (actual, meter) = (digest.clone(), self.meter.clone());
        let reservation = Arc::clone(self.space.own());
        let end = async move {
            let ended = end(sink, claimed, &actual, &meter).await;
            reservation.done(&name, matches!(ended, Ok(Some(_))));
            ended
        };
        self.ending.spawn_on(end, self.waiter.runtime());
        // After the spawn: other commits may wait for the blob that this one holds.
        let room = self.make_room();
        self.step(room)?;
        ControlFlow::Continue(digest)
    }
}

/// Commits a body whose bytes have all been read; `digest` is theirs. Returns the blob that the store has
/// now. A body with another digest than it claims is thrown away; an image that needs it finds it
/// missing.
async fn end<W: BlobWriter>(
    body: BlobSink<W>,
    claimed: Option<Digest>,
    digest: &Digest,
    meter: &Meter,
) -> Result<Option<Digest>, StoreError> {
    match body {
        BlobSink::HashOnly(_) => Ok(claimed),
        BlobSink::Write(writer) if claimed.is_some_and(|claimed| claimed != *digest) => {
            writer.abort().await?;
            Ok(None)
        }
        BlobSink::Write(writer) => {
            writer.commit(digest, Labels::new()).await?;
            meter.step();
            Ok(Some(digest.clone()))
        }
    }
}
