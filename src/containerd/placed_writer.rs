//! One blob that stowd writes itself, for containerd to adopt. See [`super::placement`].

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use super::blob_file::BlobFile;
use super::blobs_dir::{self, BlobsDir, PLACE};
use super::blocking::blocking;
use super::client::Containerd;
use super::content::{Ingest, OpenedStream};
use super::leases::Lease;
use super::stream_writer::StreamWriter;
use super::turns::Turn;
use crate::digest::{Digest, Hasher};
use crate::image_store::{BlobWriter, Labels, StoreError};

/// The bytes that are read back at a time, of a file that has to be sent after all.
const BACK: usize = 256 << 10;

/// Writes one blob to a file that has no name until it is whole.
pub(super) struct PlacedWriter {
    store: Containerd,
    lease: Lease,
    ingest: Ingest,
    blobs: Arc<BlobsDir>,
    file: BlobFile,
    hasher: Hasher,
    written: u64,
    turn: Turn,
}

impl PlacedWriter {
    /// A writer, if a file can be had.
    pub(super) fn open(
        store: &Containerd,
        lease: &Lease,
        ingest: &Ingest,
        blobs: Arc<BlobsDir>,
        turn: Turn,
    ) -> Result<Self, (io::Error, Turn)> {
        match blobs.create() {
            Ok(file) => Ok(Self {
                store: store.clone(),
                lease: lease.clone(),
                ingest: ingest.clone(),
                blobs,
                file: BlobFile::new(file, ingest.size),
                hasher: Hasher::default(),
                written: 0,
                turn,
            }),
            Err(error) => Err((error, turn)),
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

impl BlobWriter for PlacedWriter {
    fn offset(&self) -> u64 {
        0
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let end = self.written.saturating_add(bytes.len() as u64);
        if end > self.ingest.size {
            return Err(self.ingest.too_long(PLACE));
        }
        self.hasher.update(bytes);
        let written = self.file.write(bytes).await?;
        written.map_err(|error| failed(&error))?;
        self.written = end;
        self.turn.beat();
        Ok(())
    }

    fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    async fn commit(self, digest: &Digest, labels: Labels) -> Result<(), StoreError> {
        self.check(digest)?;
        let Self {
            store,
            lease,
            ingest,
            blobs,
            file,
            turn,
            ..
        } = self;
        let file = file.finish().await?.map_err(|error| failed(&error))?;
        // An unnamed blob has its name now, and whoever writes that one has its turn, too.
        let (ingest, turns) = match &ingest.expected {
            Some(_) => (ingest, [Some(turn), None]),
            None => {
                let known = Ingest::known(digest.clone(), ingest.size);
                let second = store.turn_at(&known).await?;
                store.clear_ingest(&known).await?;
                (known, [Some(turn), second])
            }
        };
        let placed = Placed {
            blobs,
            file,
            digest: digest.clone(),
        };
        let committed = match placed.name().await? {
            Ok(()) => placed.adopted(&store, &lease, &ingest, labels).await,
            Err(error) if blobs_dir::is_full(&error) => Err(failed(&error)),
            Err(error) => {
                if !blobs_dir::is_passing(&error) {
                    store.placement.give_up(&error);
                }
                placed.adopted(&store, &lease, &ingest, labels).await
            }
        };
        if let Err(StoreError::NoSpace { .. }) = &committed
            && let Ok(false) = store.has_content_of(digest).await
        {
            // Named, and then containerd had no room to take note of it: until it collects what
            // nobody knows of, the file would keep others out.
            let _ = placed.take_back().await;
        }
        drop(turns);
        committed
    }

    /// The file has no name: it goes with its last handle.
    async fn abort(self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// A whole file, on its way to become a blob of containerd's.
struct Placed {
    blobs: Arc<BlobsDir>,
    file: Arc<File>,
    digest: Digest,
}

impl Placed {
    /// Gives the file its name.
    async fn name(&self) -> Result<io::Result<()>, StoreError> {
        let (blobs, file, digest) = self.clones();
        blocking(move || blobs.place(&file, &digest)).await
    }

    /// Takes the name away again, if the file has it. Whether it had.
    async fn take_back(&self) -> Result<bool, StoreError> {
        let (blobs, file, digest) = self.clones();
        let take_back = move || {
            let named = blobs_dir::is_named(&file);
            if named {
                // That it stays is a file too many, which a garbage collection takes.
                let _ = blobs.take_back(&file, &digest);
            }
            named
        };
        blocking(take_back).await
    }

    fn clones(&self) -> (Arc<BlobsDir>, Arc<File>, Digest) {
        let (blobs, file) = (Arc::clone(&self.blobs), Arc::clone(&self.file));
        (blobs, file, self.digest.clone())
    }

    /// Has containerd adopt the file, or sends it.
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
            // Collected before containerd was asked for it. Or it is there, and containerd, which was
            // asked, has not found it: its store is not what is seen from here.
            if self.take_back().await? {
                let path = self.blobs.path().display();
                let why = format!("containerd does not see what is put into {path}");
                store.placement.give_up(&why);
            }
            self.send(&mut writer).await?;
        }
        writer.commit(&self.digest, labels).await
    }

    /// Sends the whole of the file.
    async fn send(&self, writer: &mut StreamWriter) -> Result<(), StoreError> {
        let mut buffer = vec![0; BACK];
        let mut position = 0;
        loop {
            let file = Arc::clone(&self.file);
            let (read, back) = blocking(move || {
                let read = file.read_at(&mut buffer, position);
                (read, buffer)
            })
            .await?;
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
        StoreError::NoSpace { call: PLACE, cause }
    } else {
        StoreError::Refused { call: PLACE, cause }
    }
}
