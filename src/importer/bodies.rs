//! Bodies: the blobs that are too large to be held, on their way from the archive to the store.
//!
//! Each is hashed where it is read, so that a blob that is not what its name says is told from a
//! store that does not keep what it was sent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use crate::archive::catalogue::{Catalogue, File};
use crate::archive::{Archive, Part, limits};
use crate::digest::{Digest, Hasher};
use crate::image_store::{BlobWriter, ImageStore, Labels, NewBlob, Opened, StoreError};
use crate::progress::Meter;

use super::labels::BlobLabels;
use super::{ImportError, blocking};

/// Bodies of one archive that are on their way at once, or commits that are waited for: as many as
/// keep a disk busy while one of them waits for its fsync.
const AT_ONCE: usize = 4;

/// Chunks between the thread that reads and the task that sends.
const CHUNKS_AHEAD: usize = 2;

/// Where a body is to come from.
#[derive(Debug)]
pub(super) enum Body {
    /// From a file of a plain archive, with its path.
    InArchive(String, File),
    /// From nowhere: it is to be in the store.
    InStore,
}

/// Why a blob of an image is not in the store.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("blob {digest} is neither in the archive nor in the store")]
    Missing { digest: Digest },
    #[error("{path}: its bytes have the digest {actual}, not {expected}")]
    Corrupt {
        path: String,
        expected: Digest,
        actual: Digest,
    },
    #[error("{path}: cannot be read: {cause}")]
    Unreadable { path: String, cause: io::Error },
}

/// Sends the bodies of a compressed archive as they come out of it. Returns what it holds, and which
/// blobs the store has under the lease now.
pub(super) async fn receive<S: ImageStore>(
    store: &S,
    lease: &S::Lease,
    archive: Arc<Archive>,
    meter: &Meter,
) -> Result<(Catalogue, HashSet<Digest>), ImportError> {
    let (parts, arriving) = mpsc::channel(CHUNKS_AHEAD);
    let reading = blocking(move || {
        archive.stream(&mut |part| match parts.blocking_send(part) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })
    });
    let (catalogue, sent) = tokio::join!(reading, forward(store, lease, meter, arriving));
    let sent = sent?;
    Ok((catalogue?, sent))
}

/// Answers what is in the store now.
async fn forward<S: ImageStore>(
    store: &S,
    lease: &S::Lease,
    meter: &Meter,
    arriving: mpsc::Receiver<Part>,
) -> Result<HashSet<Digest>, StoreError> {
    let mut there = HashSet::new();
    let mut ending = JoinSet::new();
    let mut forwarded = forward_parts(store, lease, meter, arriving, &mut ending, &mut there).await;
    // Waited for even then: what one of them holds open in the store is not free when the lease ends.
    while !ending.is_empty() {
        match joined(ending.join_next().await) {
            Ok(sent) => there.extend(sent.flatten()),
            Err(error) => forwarded = forwarded.and(Err(error)),
        }
    }
    forwarded.map(|()| there)
}

/// A store that takes no more drops `arriving`, which ends the reading. Bodies of which all has
/// arrived are left `ending`.
async fn forward_parts<S: ImageStore>(
    store: &S,
    lease: &S::Lease,
    meter: &Meter,
    mut arriving: mpsc::Receiver<Part>,
    ending: &mut JoinSet<Result<Option<Digest>, StoreError>>,
    there: &mut HashSet<Digest>,
) -> Result<(), StoreError> {
    let mut body = None;
    let mut begun = 0_u64;
    while let Some(part) = arriving.recv().await {
        match part {
            Part::Begin { claimed, size, .. } => {
                begun += 1;
                let blob = match claimed {
                    Some(digest) => NewBlob::Known { digest, size },
                    // Not its path: a second member of that path would throw the first away, which
                    // may still be on its way.
                    None => NewBlob::Unnamed {
                        key: format!("body-{begun}"),
                        size,
                    },
                };
                body = Some(Incoming::open(store, lease, blob).await?);
            }
            Part::Data(chunk) => {
                if let Some(body) = &mut body {
                    body.write(chunk).await?;
                }
            }
            Part::End { digest } => {
                if ending.len() >= AT_ONCE {
                    there.extend(joined(ending.join_next().await)?.flatten());
                }
                if let Some(body) = body.take() {
                    let meter = meter.clone();
                    // Whose it is turns out later.
                    ending.spawn(async move { body.end(&digest, Labels::new(), &meter).await });
                }
            }
        }
    }
    Ok(())
}

/// Sends the bodies that the store does not have, several at once, with their labels. What it cannot
/// have is returned by digest.
pub(super) async fn send<S: ImageStore>(
    store: &S,
    lease: &S::Lease,
    archive: &Arc<Archive>,
    meter: &Meter,
    needed: BTreeMap<Digest, (u64, Body)>,
    labels: &BlobLabels<'_>,
) -> Result<HashMap<Digest, BodyError>, StoreError> {
    let mut failed = HashMap::new();
    let mut refused = None;
    let mut sending = JoinSet::new();
    let mut needed = needed.into_iter();
    loop {
        while refused.is_none()
            && sending.len() < AT_ONCE
            && let Some((digest, (size, body))) = needed.next()
        {
            let (store, lease) = (store.clone(), lease.clone());
            let (archive, meter) = (Arc::clone(archive), meter.clone());
            let needed = Needed {
                labels: labels.of(&digest),
                digest,
                size,
                body,
            };
            sending.spawn(async move {
                let digest = needed.digest.clone();
                let sent = send_one(&store, &lease, archive, &meter, needed).await?;
                Ok(sent.err().map(|error| (digest, error)))
            });
        }
        match sending.join_next().await {
            Some(sent) => match joined(Some(sent)) {
                Ok(sent) => failed.extend(sent.flatten()),
                // The others are waited for: what one of them holds open in the store is not free
                // when the lease ends.
                Err(error) => {
                    refused.get_or_insert(error);
                }
            },
            None => return refused.map_or(Ok(failed), Err),
        }
    }
}

/// A body that an image needs.
struct Needed {
    digest: Digest,
    size: u64,
    body: Body,
    labels: Labels,
}

async fn send_one<S: ImageStore>(
    store: &S,
    lease: &S::Lease,
    archive: Arc<Archive>,
    meter: &Meter,
    needed: Needed,
) -> Result<Result<(), BodyError>, StoreError> {
    let Needed {
        digest,
        size,
        body,
        labels,
    } = needed;
    let digest = &digest;
    if matches!(body, Body::InStore) && store.has_blob(lease, digest).await? {
        return Ok(Ok(()));
    }
    let blob = NewBlob::Known {
        digest: digest.clone(),
        size,
    };
    let mut incoming = Incoming::open(store, lease, blob).await?;
    let (path, file) = match body {
        Body::InArchive(path, file) => (path, file),
        // It came meanwhile, or out of another namespace, which only opening it finds.
        Body::InStore if incoming.writer.is_none() => return Ok(Ok(())),
        Body::InStore => {
            incoming.abandon().await?;
            return Ok(Err(BodyError::Missing {
                digest: digest.clone(),
            }));
        }
    };
    if incoming.writer.is_none() {
        meter.add(size);
        return Ok(Ok(()));
    }

    let (chunks, arriving) = mpsc::channel(CHUNKS_AHEAD);
    let reading = blocking(move || read(&archive, &file, &chunks));
    let (read, sent) = tokio::join!(reading, incoming.take(arriving));
    sent?;
    match read {
        Ok(actual) if actual == *digest => {
            incoming.end(digest, labels, meter).await?;
            Ok(Ok(()))
        }
        Ok(actual) => {
            incoming.abandon().await?;
            Ok(Err(BodyError::Corrupt {
                path,
                expected: digest.clone(),
                actual,
            }))
        }
        Err(cause) => {
            incoming.abandon().await?;
            Ok(Err(BodyError::Unreadable { path, cause }))
        }
    }
}

/// Reads a body from its first byte to its last, and hashes it.
fn read(archive: &Archive, file: &File, chunks: &mpsc::Sender<Vec<u8>>) -> io::Result<Digest> {
    let mut body = archive.body(file, 0);
    let mut hasher = Hasher::default();
    let mut left = file.size;
    while left > 0 {
        let length = usize::try_from(left).map_or(limits::CHUNK, |left| left.min(limits::CHUNK));
        let mut chunk = vec![0; length];
        body.read_exact(&mut chunk)?;
        hasher.update(&chunk);
        left -= length as u64;
        if chunks.blocking_send(chunk).is_err() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
    }
    Ok(hasher.finish())
}

/// A blob on its way into the store, or one that the store has and whose bytes pass by.
struct Incoming<W> {
    writer: Option<W>,
    claimed: Option<Digest>,
    // What the store has of it from an earlier import.
    skip: u64,
}

impl<W: BlobWriter> Incoming<W> {
    async fn open<S: ImageStore<Writer = W>>(
        store: &S,
        lease: &S::Lease,
        blob: NewBlob,
    ) -> Result<Self, StoreError> {
        let claimed = match &blob {
            NewBlob::Known { digest, .. } => Some(digest.clone()),
            NewBlob::Unnamed { .. } => None,
        };
        let writer = match store.open_blob(lease, blob).await? {
            Opened::Exists => None,
            Opened::Writer(writer) => Some(writer),
        };
        let skip = writer.as_ref().map_or(0, BlobWriter::offset);
        Ok(Self {
            writer,
            claimed,
            skip,
        })
    }

    async fn write(&mut self, mut chunk: Vec<u8>) -> Result<(), StoreError> {
        let Some(writer) = &mut self.writer else {
            return Ok(());
        };
        let skipped = usize::try_from(self.skip).map_or(chunk.len(), |skip| skip.min(chunk.len()));
        self.skip -= skipped as u64;
        if skipped == chunk.len() {
            return Ok(());
        }
        chunk.drain(..skipped);
        writer.write(chunk).await
    }

    async fn take(&mut self, mut arriving: mpsc::Receiver<Vec<u8>>) -> Result<(), StoreError> {
        while let Some(chunk) = arriving.recv().await {
            self.write(chunk).await?;
        }
        Ok(())
    }

    /// All bytes have passed, and this is their digest. Returns which blob the store has now. One
    /// that is not what it claims to be is thrown away; whoever needs it finds it missing.
    async fn end(
        self,
        digest: &Digest,
        labels: Labels,
        meter: &Meter,
    ) -> Result<Option<Digest>, StoreError> {
        match self.writer {
            None => Ok(self.claimed),
            Some(writer) if self.claimed.is_some_and(|claimed| claimed != *digest) => {
                writer.abort().await?;
                Ok(None)
            }
            Some(writer) => {
                writer.commit(digest, labels).await?;
                meter.step();
                Ok(Some(digest.clone()))
            }
        }
    }

    async fn abandon(self) -> Result<(), StoreError> {
        match self.writer {
            None => Ok(()),
            Some(writer) => writer.abort().await,
        }
    }
}

/// The result of a task that ended, if one did; its panic is passed on.
fn joined<T>(
    ended: Option<Result<Result<T, StoreError>, JoinError>>,
) -> Result<Option<T>, StoreError> {
    match ended {
        None => Ok(None),
        Some(Ok(result)) => result.map(Some),
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody aborts these tasks but the set itself, when it is dropped.
            Err(_) => Ok(None),
        },
    }
}
