//! Bodies of a compressed archive: sent as they come out of it, for there is no second time.

use std::collections::HashSet;
use std::ops::ControlFlow;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::blocking::{blocking, joined};
use crate::digest::Digest;
use crate::image_store::{BlobWriter, ImageStore, Labels, NewBlob, StoreError};
use crate::layout::Catalogue;
use crate::progress::Meter;
use crate::tar::{self, CompressedArchive};

use super::blob_sink::BlobSink;
use super::blocking_bridge::{WaitError, Waiter};
use super::bodies::AT_ONCE;
use super::leased_store::LeasedStore;
use super::report::ImportError;

/// Archives that are decompressed at once, in this process: as many as are imported at once by
/// default. Each keeps two cores busy and has a window of some MiB.
static DECODERS: Semaphore = Semaphore::const_new(4);

/// Sends the bodies of a compressed archive as they come out of it. Returns what it holds, and which
/// blobs the store has under the lease now.
pub(super) async fn receive<S: ImageStore>(
    leased: &LeasedStore<S>,
    archive: CompressedArchive,
    meter: &Meter,
    waiter: Waiter,
) -> Result<(Catalogue, HashSet<Digest>), ImportError> {
    // The semaphore is never closed.
    let _decoder = DECODERS.acquire().await.ok();
    let mut bodies = Bodies {
        leased: leased.clone(),
        meter: meter.clone(),
        waiter,
        begun: 0,
        at_hand: None,
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
        at_hand,
        mut ending,
        mut there,
        mut failed,
        ..
    } = bodies;
    drop(at_hand);
    // Waited for even then: what one of them holds open in the store is not free when the lease ends.
    while let Some(end) = ending.join_next().await {
        match joined(end) {
            Some(Ok(sent)) => there.extend(sent),
            Some(Err(error)) => failed = failed.or(Some(WaitError::Store(error))),
            None => {}
        }
    }
    match failed {
        Some(WaitError::Store(error)) => Err(error.into()),
        // After `Abandoned` the catalogue is an error, and the result goes nowhere.
        Some(WaitError::Abandoned) | None => Ok((catalogue?, there)),
    }
}

/// The bodies as they come, and those whose bytes have all come.
struct Bodies<S: ImageStore> {
    leased: LeasedStore<S>,
    meter: Meter,
    waiter: Waiter,
    begun: u64,
    at_hand: Option<(BlobSink<S::Writer>, Option<Digest>)>,
    ending: JoinSet<Result<Option<Digest>, StoreError>>,
    there: HashSet<Digest>,
    /// Why no more are taken.
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

    /// Waits until no more than so many are ending.
    fn make_room(&mut self) -> Result<(), WaitError> {
        while self.ending.len() > AT_ONCE {
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
        let blob = match &claimed {
            Some(digest) => NewBlob::Known {
                digest: digest.clone(),
                size,
            },
            // Not its path: a second member of that path would throw the first away, which may
            // still be on its way.
            None => NewBlob::Unnamed {
                key: format!("body-{}", self.begun),
                size,
            },
        };
        let opened = BlobSink::open(&self.leased, blob);
        let opened = self.waiter.wait(opened);
        self.at_hand = Some((self.step(opened)?, claimed));
        ControlFlow::Continue(())
    }

    fn take(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let taken = match &mut self.at_hand {
            Some((body, _)) => self.waiter.wait(body.take(bytes)),
            None => Ok(()),
        };
        self.step(taken)
    }

    fn end(&mut self) -> ControlFlow<(), Digest> {
        // The archive begins each body before it ends it.
        let Some((body, claimed)) = self.at_hand.take() else {
            return ControlFlow::Break(());
        };
        let digest = body.digest();
        let (actual, meter) = (digest.clone(), self.meter.clone());
        let end = async move { end(body, claimed, &actual, &meter).await };
        self.ending.spawn_on(end, self.waiter.runtime());
        // After that: what this one holds others may need to come to their end.
        let room = self.make_room();
        self.step(room)?;
        ControlFlow::Continue(digest)
    }
}

/// Ends a body whose bytes have all passed, with their digest. Returns which blob the store has now. A
/// body that is not what it claims to be is thrown away; an image that needs it finds it missing.
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
