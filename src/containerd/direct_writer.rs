//! One blob that stowd writes itself, for containerd to adopt. See [`super::direct_writes`].

use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::blob_file::{BlobFile, SharedFile};
use super::blobs_dir::{self, BlobsDir};
use super::blocking::blocking;
use super::client::Containerd;
use super::ingest::Ingest;
use super::lease::Lease;
use super::stream_writer::{OpenedStream, StreamWriter};
use crate::digest::{Digest, Hasher};
use crate::image_store::{BlobWriter, Labels, StoreError};
use crate::keyed_lock::KeyGuard;
use crate::source_labels;

/// What a failure of work with the content store's directory is reported under.
const DIRECT_WRITE: &str = "direct write";

/// The bytes that are read at a time from a file that has to be streamed after all.
const BACK: usize = 256 << 10;

/// A file for a blob; `None` where the store has the blob's file. One hop to a thread that may wait.
pub(super) async fn new_file(
    blobs: &Arc<BlobsDir>,
    ingest: &Ingest,
) -> io::Result<Option<BlobFile>> {
    let blobs = Arc::clone(blobs);
    let (expected, size) = (ingest.expected.clone(), ingest.size);
    blocking(move || {
        if expected.is_some_and(|digest| blobs.has(&digest, size)) {
            return Ok(None);
        }
        Ok(Some(BlobFile::new(blobs.create()?, size)))
    })
    .await
}

/// Writes one blob to a file that has no name until it is whole.
pub(super) struct DirectWriter {
    store: Containerd,
    lease: Lease,
    ingest: Ingest,
    blobs: Arc<BlobsDir>,
    file: BlobFile,
    hasher: Hasher,
    written: u64,
    guard: KeyGuard,
}

impl DirectWriter {
    /// A writer to a file of [`new_file`].
    pub(super) fn new(
        store: &Containerd,
        lease: &Lease,
        ingest: &Ingest,
        blobs: Arc<BlobsDir>,
        file: BlobFile,
        guard: KeyGuard,
    ) -> Self {
        Self {
            store: store.clone(),
            lease: lease.clone(),
            ingest: ingest.clone(),
            blobs,
            file,
            hasher: Hasher::default(),
            written: 0,
            guard,
        }
    }

    /// Checks what was written against what it should be.
    fn check(&self, digest: &Digest) -> Result<(), StoreError> {
        let actual = self.hasher.clone().finish();
        let cause = if self.written != self.ingest.size {
            format!(
                "it has {} bytes, not {}, and their digest is {actual}",
                self.written, self.ingest.size
            )
        } else if actual != *digest {
            format!("its bytes have the digest {actual}")
        } else {
            return Ok(());
        };
        Err(StoreError::Mismatch {
            expected: digest.clone(),
            cause,
        })
    }
}

impl BlobWriter for DirectWriter {
    fn offset(&self) -> u64 {
        0
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let end = self.written.saturating_add(bytes.len() as u64);
        if end > self.ingest.size {
            return Err(self.ingest.too_long(DIRECT_WRITE));
        }
        self.hasher.update(bytes);
        let written = self.file.write(bytes).await;
        written.map_err(|error| failed(&error))?;
        self.written = end;
        self.guard.report_progress();
        Ok(())
    }

    fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    async fn commit(self, digest: &Digest, labels: Labels) -> Result<(), StoreError> {
        if let Err(error) = self.check(digest) {
            self.file.discard().await;
            return Err(error);
        }
        let Self {
            store,
            lease,
            ingest,
            blobs,
            file,
            guard,
            ..
        } = self;
        let file = file.finish().await.map_err(|error| failed(&error))?;
        let whole = WrittenBlob {
            blobs,
            file,
            digest: digest.clone(),
        };
        let committed = whole.commit(&store, &lease, ingest, labels).await;
        if committed.is_err() {
            whole.close().await;
        }
        drop(guard);
        committed
    }

    /// The file has no name: it goes with its last handle.
    async fn abort(self) -> Result<(), StoreError> {
        self.file.discard().await;
        Ok(())
    }
}

/// A whole file, on its way to become a blob of containerd's.
struct WrittenBlob {
    blobs: Arc<BlobsDir>,
    file: SharedFile,
    digest: Digest,
}

impl WrittenBlob {
    /// Has the file named and adopted.
    async fn commit(
        &self,
        store: &Containerd,
        lease: &Lease,
        ingest: Ingest,
        mut labels: Labels,
    ) -> Result<(), StoreError> {
        // The digest of an unnamed blob is known now: another import may be writing that blob.
        let (ingest, _second) = match &ingest.expected {
            Some(_) => (ingest, None),
            None => {
                let known = Ingest::known(self.digest.clone(), ingest.size);
                let second = store.lock_ingest(&known).await?;
                store.clear_ingest(&known).await?;
                let had = store.discard_wrong(lease, &self.digest).await?;
                labels = source_labels::together(had, &labels);
                (known, Some(second))
            }
        };
        let committed = match self.name().await {
            Ok(()) => self.adopted(store, lease, &ingest, labels).await,
            Err(error) if blobs_dir::is_full(&error) => Err(failed(&error)),
            Err(error) => {
                if !blobs_dir::is_passing(&error) {
                    store.direct_writes.give_up(&error);
                }
                self.adopted(store, lease, &ingest, labels).await
            }
        };
        if let Err(StoreError::NoSpace { .. }) = &committed
            && let Ok(false) = store.has_content_of(&self.digest).await
        {
            // The file has its name, and containerd had no room for its record: until a garbage
            // collection the file would take room from other blobs.
            self.take_back().await;
        }
        committed
    }

    /// Closes the file. If it has no name, its blocks are free when this returns.
    async fn close(self) {
        blocking(move || drop(self)).await;
    }

    /// Gives the file its name.
    async fn name(&self) -> io::Result<()> {
        let (blobs, file, digest) = self.clones();
        blocking(move || blobs.publish(&file, &digest)).await
    }

    /// Takes the name away again, if the file has it. Returns whether it had.
    async fn take_back(&self) -> bool {
        let (blobs, file, digest) = self.clones();
        let take_back = move || {
            let named = blobs_dir::is_named(&file);
            if named {
                // On an error the file stays, until a garbage collection.
                let _ = blobs.take_back(&file, &digest);
            }
            named
        };
        blocking(take_back).await
    }

    fn clones(&self) -> (Arc<BlobsDir>, SharedFile, Digest) {
        let (blobs, file) = (Arc::clone(&self.blobs), Arc::clone(&self.file));
        (blobs, file, self.digest.clone())
    }

    /// Has containerd adopt the file, or streams it.
    async fn adopted(
        &self,
        store: &Containerd,
        lease: &Lease,
        ingest: &Ingest,
        labels: Labels,
    ) -> Result<(), StoreError> {
        let mut writer = match store.open_stream(lease, ingest).await? {
            OpenedStream::Exists => return store.label_content(&self.digest, labels).await,
            OpenedStream::Writer(writer) => writer,
        };
        if writer.offset() != ingest.size {
            // containerd does not have the file. If it lost its name, a garbage collection was first.
            // If it still has its name, containerd's store is another directory.
            if self.take_back().await {
                let path = self.blobs.path().display();
                let why = format!("containerd does not see what is put into {path}");
                store.direct_writes.give_up(&why);
                store.files.set(None);
            }
            self.send(&mut writer).await?;
        }
        writer.commit(&self.digest, labels).await
    }

    async fn send(&self, writer: &mut StreamWriter) -> Result<(), StoreError> {
        let mut buffer = vec![0; BACK];
        let mut position = 0;
        loop {
            let file = Arc::clone(&self.file);
            let (read, back) = blocking(move || {
                let read = file.read_at(&mut buffer, position);
                (read, buffer)
            })
            .await;
            buffer = back;
            match read {
                Ok(0) => return Ok(()),
                Ok(read) => {
                    writer.write(&buffer[..read]).await?;
                    position += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(&error)),
            }
        }
    }
}

pub(super) fn failed(error: &io::Error) -> StoreError {
    let cause = error.to_string();
    if blobs_dir::is_full(error) {
        StoreError::NoSpace {
            call: DIRECT_WRITE,
            cause,
        }
    } else {
        StoreError::Refused {
            call: DIRECT_WRITE,
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The directory's own calls panic on a worker of the runtime.
    #[tokio::test]
    async fn the_disk_is_asked_where_waiting_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        let open = move || {
            fs::write(root.join("meta.db"), "").unwrap();
            BlobsDir::open(&root.join("content"), &root.join("meta.db")).unwrap()
        };
        let blobs = Arc::new(blocking(open).await);
        let ingest = Ingest::known(Digest::of(b"abc"), 3);
        let file = new_file(&blobs, &ingest).await.unwrap();
        let mut file = file.expect("the blob is not there");
        file.write(b"abc").await.unwrap();
        let whole = WrittenBlob {
            blobs: Arc::clone(&blobs),
            file: file.finish().await.unwrap(),
            digest: Digest::of(b"abc"),
        };
        whole.name().await.unwrap();
        let again = new_file(&blobs, &ingest).await.unwrap();
        assert!(again.is_none(), "the blob is there");
        assert!(whole.take_back().await);
        let other = new_file(&blobs, &ingest).await.unwrap();
        other.expect("a file").discard().await;
    }
}
