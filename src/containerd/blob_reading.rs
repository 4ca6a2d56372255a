//! Reads blobs to find those whose bytes are wrong: what the disk has lost, or a crash has left.
//!
//! It is done beside everything else, for hours where there is much: with idle priority where the files
//! are read here, and no faster than it is told. A blob that was found wrong counts as damaged from then
//! on, as one of another length does, until its file has been proven again and thrown away (`damage`).

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::blob_files::BlobFiles;
use super::blocking::blocking;
use super::client::Containerd;
use super::file_hash::BytesOnDisk;
use super::idle_io::IdleIo;
use crate::digest::{Digest, Hasher};
use crate::image_store::StoreError;
use crate::needed_blob::{BlobFault, BlobFaults, NeededBlob};

/// The bytes that containerd is asked for at a time.
const PART: u64 = 1 << 20;

/// So many bytes a second, and no more.
struct Pace {
    rate: u64,
    began: Instant,
    read: u64,
}

impl Pace {
    fn new(rate: u64) -> Self {
        Self {
            rate: rate.max(1),
            began: Instant::now(),
            read: 0,
        }
    }

    /// How long to wait after these bytes.
    fn rest(&mut self, read: u64) -> Duration {
        self.read += read;
        let due = Duration::from_secs_f64(self.read as f64 / self.rate as f64);
        due.saturating_sub(self.began.elapsed())
    }
}

impl Containerd {
    pub(super) async fn hash_content(
        &self,
        blobs: Vec<NeededBlob>,
        rate: u64,
    ) -> Result<BlobFaults, StoreError> {
        let faults = match self.files.get() {
            Some(files) => {
                // Closed when this is dropped, which ends the work.
                let (_wanted, unwanted) = channel();
                blocking(move || hash_files(&files, blobs, rate, &unwanted)).await
            }
            None => self.hash_sent(blobs, rate).await?,
        };
        self.wrong.add(&faults);
        Ok(faults)
    }

    /// Where their files cannot be seen, containerd sends them.
    async fn hash_sent(&self, blobs: Vec<NeededBlob>, rate: u64) -> Result<BlobFaults, StoreError> {
        let (mut pace, mut faults) = (Pace::new(rate), BlobFaults::new());
        for NeededBlob { digest, .. } in blobs {
            let fault = match self.fault_of_sent(&digest, &mut pace).await {
                Err(error) if error.is_refusal() => Some(BlobFault::Unreadable),
                read => read?,
            };
            faults.extend(fault.map(|fault| (digest, fault)));
        }
        Ok(faults)
    }

    /// What is wrong with what containerd sends of a blob. One that it has no record of is left out.
    async fn fault_of_sent(
        &self,
        digest: &Digest,
        pace: &mut Pace,
    ) -> Result<Option<BlobFault>, StoreError> {
        let Some(record) = self.blob_record(digest).await? else {
            return Ok(None);
        };
        let mut hasher = Hasher::default();
        for offset in (0..record.size).step_by(PART as usize) {
            let part = offset..record.size.min(offset + PART);
            let read = part.end - part.start;
            let take = |bytes: &[u8]| hasher.update(bytes);
            if !self.read_part(digest, part, take).await? {
                // Its file is gone, unless it was collected meanwhile.
                let is_recorded = self.has_content_of(digest).await?;
                return Ok(is_recorded.then_some(BlobFault::NoFile));
            }
            tokio::time::sleep(pace.rest(read)).await;
        }
        Ok((hasher.finish() != *digest).then_some(BlobFault::Bytes))
    }
}

/// Blobs that are not there are left out: that is found without reading.
fn hash_files(
    files: &BlobFiles,
    blobs: Vec<NeededBlob>,
    rate: u64,
    unwanted: &Receiver<()>,
) -> BlobFaults {
    let _idle = IdleIo::begin();
    let (mut pace, mut faults) = (Pace::new(rate), BlobFaults::new());
    let mut is_wanted = |read| {
        let rest = pace.rest(read);
        matches!(unwanted.recv_timeout(rest), Err(RecvTimeoutError::Timeout))
    };
    for NeededBlob { digest, .. } in blobs {
        if !is_wanted(0) {
            break;
        }
        match files.read(&digest, &mut is_wanted) {
            Ok(Some(BytesOnDisk::Lost)) => _ = faults.insert(digest, BlobFault::Lost),
            Ok(Some(BytesOnDisk::Of(hash))) if hash != digest => {
                faults.insert(digest, BlobFault::Bytes);
            }
            Ok(_) => {}
            // Given up.
            Err(_) if !is_wanted(0) => break,
            Err(_) => _ = faults.insert(digest, BlobFault::Unreadable),
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const RATE: u64 = 4 << 20;

    /// The files of a store, and the blobs that it should have.
    fn stored(bodies: &[&[u8]]) -> (tempfile::TempDir, BlobFiles, Vec<NeededBlob>) {
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        let blobs = dir.path().join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let files = BlobFiles::of(dir.path(), dir.path()).unwrap();
        let needed = bodies.iter().map(|body| {
            let digest = Digest::of(body);
            fs::write(blobs.join(digest.hex()), body).unwrap();
            let size = body.len() as u64;
            NeededBlob { digest, size }
        });
        let needed = needed.collect();
        (dir, files, needed)
    }

    #[test]
    fn wrong_bytes_and_what_cannot_be_read_are_told_apart() {
        let (dir, files, blobs) = stored(&[b"right", b"wrong", b"gone", b"none"]);
        let path = |number: usize| {
            dir.path()
                .join("blobs/sha256")
                .join(blobs[number].digest.hex())
        };
        fs::write(path(1), "wrung").unwrap();
        fs::remove_file(path(2)).unwrap();
        fs::remove_file(path(3)).unwrap();
        fs::create_dir(path(3)).unwrap();
        let (_wanted, unwanted) = channel();
        let faults = hash_files(&files, blobs.clone(), RATE, &unwanted);
        let expected = [
            (blobs[1].digest.clone(), BlobFault::Bytes),
            (blobs[3].digest.clone(), BlobFault::Unreadable),
        ];
        assert_eq!(faults, expected.into());
    }

    #[test]
    fn it_reads_no_faster_than_it_is_told_and_ends_when_it_is_not_wanted() {
        let body = vec![7; 2 << 20];
        let (_dir, files, blobs) = stored(&[&body, b"small"]);
        let (wanted, unwanted) = channel();
        let began = Instant::now();
        assert_eq!(
            hash_files(&files, blobs.clone(), RATE, &unwanted),
            BlobFaults::new()
        );
        assert!(began.elapsed() >= Duration::from_millis(500));
        // At this rate it would take days.
        drop(wanted);
        assert_eq!(hash_files(&files, blobs, 1, &unwanted), BlobFaults::new());
    }
}
