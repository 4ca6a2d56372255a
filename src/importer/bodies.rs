//! Bodies: the blobs that are too large to be held, on their way from the archive to the store.
//!
//! ```text
//!   plain       one thread a body, several bodies at once:
//!                 read a chunk -> hash it -> write it, in one buffer       -> commit
//!
//!   compressed  (see `streamed`) one thread decodes, another has the archive:
//!                 decode a chunk => walk the tar -> hash it -> write it    -> commit, while the
//!                                                                             next body comes
//! ```
//!
//! Whoever writes a chunk hashes it first, while it is in the core's cache; nothing is hashed twice.
//! The digest tells a blob that is not what its name says from a store that does not keep what it
//! was sent.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use crate::archive::catalogue::File;
use crate::archive::{Archive, limits};
use crate::digest::Digest;
use crate::image_store::{BlobWriter, ImageStore, Labels, NewBlob, Opened, StoreError};
use crate::progress::Meter;

use super::blocking;
use super::labels::BlobLabels;
use super::passage::{Ended, Waiter};

/// Bodies of one archive that are on their way at once, or commits that are waited for: as many as
/// keep a disk busy while one of them waits for its fsync.
pub(super) const AT_ONCE: usize = 4;

/// Bodies of plain archives that are on their way at once, in this process: those of as many archives as
/// are imported at once where nobody asks for more. Each keeps a thread, which waits for another to
/// write, and some blocks.
static ON_THEIR_WAY: Semaphore = Semaphore::const_new(4 * AT_ONCE);

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

/// Sends the bodies that the store does not have, several at once, with their labels. What it cannot
/// have is returned by digest.
pub(super) async fn send<S: ImageStore>(
    store: &S,
    lease: &S::Lease,
    archive: &Arc<Archive>,
    meter: &Meter,
    waiter: &Waiter,
    needed: BTreeMap<Digest, (u64, Body)>,
    labels: &BlobLabels<'_>,
) -> Result<HashMap<Digest, BodyError>, StoreError> {
    let mut failed = HashMap::new();
    let mut refused = None;
    let mut sending = JoinSet::new();
    let mut needed = needed.into_iter().collect::<Vec<_>>();
    // The longest first: none is to be alone at the end for long.
    needed.sort_by_key(|(_, (size, _))| Reverse(*size));
    let mut needed = needed.into_iter();
    loop {
        while refused.is_none()
            && sending.len() < AT_ONCE
            && let Some((digest, (size, body))) = needed.next()
        {
            let sender = Sender {
                store: store.clone(),
                lease: lease.clone(),
                archive: Arc::clone(archive),
                meter: meter.clone(),
                waiter: waiter.clone(),
                labels: labels.of(&digest),
            };
            sending.spawn(async move {
                // Before it is this one's turn at a blob, for which others wait. Nobody closes it.
                let _one = ON_THEIR_WAY.acquire().await.ok();
                let sent = sender.send(&digest, size, body).await?;
                Ok(sent.err().map(|error| (digest, error)))
            });
        }
        match sending.join_next().await {
            Some(sent) => match joined(sent) {
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

/// Sends one body.
struct Sender<S: ImageStore> {
    store: S,
    lease: S::Lease,
    archive: Arc<Archive>,
    meter: Meter,
    waiter: Waiter,
    labels: Labels,
}

impl<S: ImageStore> Sender<S> {
    async fn send(
        self,
        digest: &Digest,
        size: u64,
        body: Body,
    ) -> Result<Result<(), BodyError>, StoreError> {
        let missing = || BodyError::Missing {
            digest: digest.clone(),
        };
        if matches!(body, Body::InStore) && self.store.has_blob(&self.lease, digest).await? {
            return Ok(Ok(()));
        }
        let blob = NewBlob::Known {
            digest: digest.clone(),
            size,
        };
        let opened = self.store.open_blob(&self.lease, blob).await?;
        let (path, file, writer) = match (body, opened) {
            (Body::InArchive(path, file), Opened::Writer(writer)) => (path, file, writer),
            (Body::InArchive(..), Opened::Exists) => {
                self.meter.add(size);
                return Ok(Ok(()));
            }
            // It came meanwhile.
            (Body::InStore, Opened::Exists) => return Ok(Ok(())),
            // Another namespace has it, which only opening it finds.
            (Body::InStore, Opened::Writer(writer)) if writer.offset() == size && size > 0 => {
                writer.commit(digest, self.labels).await?;
                return Ok(Ok(()));
            }
            (Body::InStore, Opened::Writer(writer)) => {
                writer.abort().await?;
                return Ok(Err(missing()));
            }
        };
        let Self {
            archive,
            waiter,
            labels,
            meter,
            ..
        } = self;
        let (writer, read) = blocking(move || pump(&archive, &file, writer, &waiter)).await;
        match read {
            Ok(()) => {}
            Err(Stopped::Reading(cause)) => {
                writer.abort().await?;
                return Ok(Err(BodyError::Unreadable { path, cause }));
            }
            Err(Stopped::Writing(Ended::Store(error))) => return Err(error),
            // Nobody hears this.
            Err(Stopped::Writing(Ended::Abandoned)) => return Ok(Err(missing())),
        }
        let actual = writer.digest();
        if actual != *digest {
            writer.abort().await?;
            let expected = digest.clone();
            return Ok(Err(BodyError::Corrupt {
                path,
                expected,
                actual,
            }));
        }
        writer.commit(digest, labels).await?;
        meter.step();
        Ok(Ok(()))
    }
}

/// Why a body did not come to its end.
enum Stopped {
    Reading(io::Error),
    Writing(Ended),
}

/// Reads a body from its first byte to its last and writes it, in one buffer.
fn pump<W: BlobWriter>(
    archive: &Archive,
    file: &File,
    mut writer: W,
    waiter: &Waiter,
) -> (W, Result<(), Stopped>) {
    let mut body = archive.body(file, 0);
    let mut left = file.size;
    let room = |left| usize::try_from(left).map_or(limits::CHUNK, |left| left.min(limits::CHUNK));
    let mut buffer = vec![0; room(left)];
    while left > 0 {
        let chunk = &mut buffer[..room(left)];
        if let Err(error) = body.read_exact(chunk) {
            return (writer, Err(Stopped::Reading(error)));
        }
        if let Err(ended) = waiter.wait(writer.write(chunk)) {
            return (writer, Err(Stopped::Writing(ended)));
        }
        left -= chunk.len() as u64;
    }
    (writer, Ok(()))
}

/// The result of a task that ended; its panic is passed on.
pub(super) fn joined<T>(
    ended: Result<Result<T, StoreError>, JoinError>,
) -> Result<Option<T>, StoreError> {
    match ended {
        Ok(result) => result.map(Some),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody aborts these tasks but the set itself, when it is dropped.
            Err(_) => Ok(None),
        },
    }
}
