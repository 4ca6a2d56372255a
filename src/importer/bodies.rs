//! Bodies: blobs that are too large to be held in memory, copied from the archive to the store.
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
//! The thread that writes a chunk hashes it first, while the chunk is in the core's cache; nothing is
//! hashed twice. By the digest a wrong blob is told from a store that lost bytes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::admit::{ArchiveLabels, LeasedStore};
use crate::blocking::{blocking, joined};
use crate::concurrency::{BODIES, BODIES_OF_ARCHIVE};
use crate::digest::Digest;
use crate::image_store::{BlobWriter, ImageStore, Labels, NewBlob, Opened, StoreError};
use crate::layout::{BrokenLink, FileMember};
use crate::progress::Meter;
use crate::tar::{PlainArchive, limits};

use super::blocking_bridge::{WaitError, Waiter};
use super::reservations::Reservation;

/// Bodies of plain archives that are on their way, in this process.
static BODY_SLOTS: Semaphore = Semaphore::const_new(BODIES);

/// Where a body comes from.
#[derive(Debug)]
pub(super) enum BodyOrigin {
    /// From a file of a plain archive, with its path.
    Archive(PlainArchive, String, FileMember),
    /// It is not in the archive, because of a link perhaps, or has been sent: the store must have it.
    Store(Option<BrokenLink>),
}

#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    #[error("blob {digest} is neither in the archive nor in the store{}", because_of(link.as_ref()))]
    Missing {
        digest: Digest,
        /// Why it is not in the archive.
        link: Option<BrokenLink>,
    },
    #[error("{path}: its bytes have the digest {actual}, not {expected}")]
    Corrupt {
        path: String,
        expected: Digest,
        actual: Digest,
    },
    #[error("{path}: it has {size} bytes, and the store's blob {digest} has not")]
    OtherLength {
        path: String,
        size: u64,
        digest: Digest,
    },
    #[error("{path}: cannot be read: {cause}")]
    Unreadable { path: String, cause: io::Error },
}

/// Sends the bodies of one import. Clones share its lease, its reservation and its meter.
#[derive(Clone)]
pub(super) struct BodySender<S: ImageStore> {
    pub(super) leased: LeasedStore<S>,
    pub(super) reservation: Arc<Reservation>,
    pub(super) meter: Meter,
    pub(super) waiter: Waiter,
}

impl<S: ImageStore> BodySender<S> {
    /// Sends the bodies that the store does not have, several at once, with their labels. Those that
    /// it cannot have are returned by digest. Of an import that is given up not all are sent.
    pub(super) async fn send_all(
        &self,
        needed: BTreeMap<Digest, (u64, BodyOrigin)>,
        labels: &ArchiveLabels<'_>,
    ) -> Result<HashMap<Digest, BodyError>, StoreError> {
        let mut failed = HashMap::new();
        let mut refused = None;
        let mut sending = JoinSet::new();
        let mut needed = needed.into_iter().collect::<Vec<_>>();
        // The longest first, so that no long one is left alone at the end.
        needed.sort_by_key(|(_, (size, _))| Reverse(*size));
        let mut needed = needed.into_iter();
        loop {
            while refused.is_none()
                && !self.waiter.is_abandoned()
                && sending.len() < BODIES_OF_ARCHIVE
                && let Some((digest, (size, origin))) = needed.next()
            {
                let (sender, labels) = (self.clone(), labels.of(&digest));
                sending.spawn(async move {
                    // Taken before the blob is opened: other imports wait for an open blob. The semaphore
                    // is never closed.
                    let _one = BODY_SLOTS.acquire().await.ok();
                    if sender.waiter.is_abandoned() {
                        return Ok(None);
                    }
                    let reservation = Arc::clone(&sender.reservation);
                    let sent = sender.send(&digest, size, origin, labels).await;
                    reservation.done(digest.as_str(), matches!(sent, Ok(Ok(()))));
                    Ok(sent?.err().map(|error| (digest, error)))
                });
            }
            match sending.join_next().await.map(joined) {
                Some(Some(Ok(sent))) => failed.extend(sent),
                // Wait for the others: a writer that is still open keeps its ingest when the lease ends.
                Some(Some(Err(error))) => {
                    refused.get_or_insert(error);
                }
                // Cancelled, which happens only when the set is dropped.
                Some(None) => {}
                None => return refused.map_or(Ok(failed), Err),
            }
        }
    }

    async fn send(
        self,
        digest: &Digest,
        size: u64,
        origin: BodyOrigin,
        labels: Labels,
    ) -> Result<Result<(), BodyError>, StoreError> {
        let missing = |link| BodyError::Missing {
            digest: digest.clone(),
            link,
        };
        let (archive, path, file) = match origin {
            BodyOrigin::Archive(archive, path, file) => (archive, path, file),
            BodyOrigin::Store(link) => {
                let is_there = self.leased.adopt(digest, size, labels).await?;
                return Ok(if is_there { Ok(()) } else { Err(missing(link)) });
            }
        };
        let blob = NewBlob::Known {
            digest: digest.clone(),
            size,
        };
        let writer = match self.leased.open(blob).await? {
            Opened::Writer(writer) => writer,
            Opened::Exists(length) => {
                // The store knows the blob by its digest, and the archive's bytes are not read.
                if !self.leased.is_of(digest, size, length).await? {
                    let digest = digest.clone();
                    return Ok(Err(BodyError::OtherLength { path, size, digest }));
                }
                self.reservation.is_there(digest.as_str(), size);
                self.meter.add(size);
                return Ok(Ok(()));
            }
        };
        let Self {
            waiter,
            meter,
            reservation,
            ..
        } = self;
        let name = digest.to_string();
        let on_written = move |bytes| reservation.written(&name, bytes);
        let copied = blocking(move || copy(&archive, &file, writer, &waiter, on_written));
        let (writer, copied) = copied.await;
        match copied {
            Ok(()) => {}
            Err(CopyError::Read(cause)) => {
                writer.abort().await?;
                return Ok(Err(BodyError::Unreadable { path, cause }));
            }
            Err(CopyError::Write(WaitError::Store(error))) => {
                writer.give_up(&error).await;
                return Err(error);
            }
            // The import was given up or dropped: no image of it gets a name.
            Err(CopyError::Write(WaitError::Abandoned)) => {
                writer.abort().await?;
                return Ok(Err(missing(None)));
            }
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

fn because_of(link: Option<&BrokenLink>) -> String {
    link.map_or_else(String::new, |link| format!(": {link}"))
}

/// Why a body was not copied to its end.
enum CopyError {
    Read(io::Error),
    Write(WaitError),
}

/// Reads a body from its first byte to its last and writes it, in one buffer.
fn copy<W: BlobWriter>(
    archive: &PlainArchive,
    file: &FileMember,
    mut writer: W,
    waiter: &Waiter,
    on_written: impl Fn(u64),
) -> (W, Result<(), CopyError>) {
    let mut body = archive.body(file, 0);
    let mut left = file.size;
    let room = |left| usize::try_from(left).map_or(limits::CHUNK, |left| left.min(limits::CHUNK));
    let mut buffer = vec![0; room(left)];
    while left > 0 {
        let chunk = &mut buffer[..room(left)];
        if let Err(error) = body.read_exact(chunk) {
            return (writer, Err(CopyError::Read(error)));
        }
        if let Err(error) = waiter.wait(writer.write(chunk)) {
            return (writer, Err(CopyError::Write(error)));
        }
        on_written(chunk.len() as u64);
        left -= chunk.len() as u64;
    }
    (writer, Ok(()))
}
