//! Whether blobs are there with their lengths: in containerd's records, and as files where those can be
//! seen from here. Nothing of them is read but, where the files are not seen, the last byte of each: that
//! containerd sends none shows that the file is gone, or cut. One that is too long is not found there:
//! containerd sends no more than its record says.
//!
//! containerd lists the records of the whole namespace in one call, which costs it some microseconds a
//! record; a call for each blob would cost twenty times that. Whatever is suspect then, and each blob
//! whose file is not seen, is asked for by itself: a blob may have come, or have been replaced, since it
//! was listed.
//!
//! Memory: the blobs that were asked for, a few words each, and one message of containerd's.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt as _, stream};

use super::blocking::begin_blocking;
use super::client::Containerd;
use super::damage::FileState;
use super::ingest::Ingest;
use crate::blocking::finished;
use crate::concurrency::QUESTIONS_OF_ARCHIVE;
use crate::digest::Digest;
use crate::image_store::StoreError;
use crate::needed_blob::{BlobFault, BlobFaults, NeededBlob};

/// So many blobs are asked for one by one: the records of a large store need not be listed for them.
const FEW: usize = 32;

impl Containerd {
    pub(super) async fn blob_faults(
        &self,
        blobs: Vec<NeededBlob>,
    ) -> Result<BlobFaults, StoreError> {
        let suspects = match self.files.get() {
            None => blobs,
            Some(_) => self.suspects(blobs).await?,
        };
        let mut asked = stream::iter(suspects)
            .map(async |blob| (self.fault_of(&blob).await, blob.digest))
            .buffer_unordered(QUESTIONS_OF_ARCHIVE);
        let mut faults = BlobFaults::new();
        while let Some((fault, digest)) = asked.next().await {
            if let Some(fault) = fault? {
                faults.insert(digest, fault);
            }
        }
        drop(asked);
        self.check_view(&mut faults).await?;
        Ok(faults)
    }

    /// Those of the blobs of which something seems to be wrong.
    async fn suspects(&self, blobs: Vec<NeededBlob>) -> Result<Vec<NeededBlob>, StoreError> {
        let (files, looked_at) = (self.files.get(), blobs.clone());
        let wrong_files = begin_blocking(move || {
            let wrong = files.map(|files| files.without_file(looked_at));
            let wrong = wrong.into_iter().flatten().map(|blob| blob.digest);
            wrong.collect::<HashSet<_>>()
        });
        let wrong_records = match blobs.len() {
            0..=FEW => self.without_own_record(blobs.clone()).await,
            _ => self.without_record(&blobs).await,
        };
        let wrong_files = finished(wrong_files).await;
        let wrong_records = wrong_records?;
        let mut suspects = blobs;
        suspects.retain(|NeededBlob { digest, .. }| {
            let is_known = self.wrong.fault(digest).is_some();
            is_known || wrong_files.contains(digest) || wrong_records.contains(digest)
        });
        Ok(suspects)
    }

    /// What is wrong with a blob that has a record, as far as its last byte tells.
    async fn fault_of_end(&self, blob: &NeededBlob) -> Result<Option<BlobFault>, StoreError> {
        let NeededBlob { digest, size } = blob;
        let (last, mut sent) = (size.saturating_sub(1)..*size, 0);
        let take = |bytes: &[u8]| sent += bytes.len();
        match self.read_part(digest, last, take).await {
            Ok(false) => Ok(Some(BlobFault::NoFile)),
            // A read from behind the end of a file is no error of containerd's.
            Ok(true) => Ok((sent == 0 && *size > 0).then_some(BlobFault::Bytes)),
            // The scrub tells of it.
            Err(error) if error.is_refusal() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Those of a few blobs of which containerd has no record of that length.
    async fn without_own_record(
        &self,
        blobs: Vec<NeededBlob>,
    ) -> Result<HashSet<Digest>, StoreError> {
        let mut asked = stream::iter(blobs)
            .map(async |blob| (self.blob_record(&blob.digest).await, blob))
            .buffer_unordered(QUESTIONS_OF_ARCHIVE);
        let mut without = HashSet::new();
        while let Some((record, blob)) = asked.next().await {
            if record?.is_none_or(|record| record.size != blob.size) {
                without.insert(blob.digest);
            }
        }
        Ok(without)
    }

    /// Those of the blobs of which containerd's list has no record of that length.
    async fn without_record(&self, blobs: &[NeededBlob]) -> Result<HashSet<Digest>, StoreError> {
        let open = blobs.iter().map(|blob| (blob.digest.as_str(), blob));
        let mut open = open.collect::<HashMap<_, _>>();
        let take = |digest: &str, size| {
            if open.get(digest).is_some_and(|blob| blob.size == size) {
                open.remove(digest);
            }
        };
        self.list_lengths(take).await?;
        Ok(open.into_values().map(|blob| blob.digest.clone()).collect())
    }

    async fn fault_of(&self, blob: &NeededBlob) -> Result<Option<BlobFault>, StoreError> {
        let NeededBlob { digest, size } = blob;
        let ingest = Ingest::known(digest.clone(), *size);
        let is_written = || self.locks.is_in_use(&ingest.reference);
        if is_written() {
            return Ok(None);
        }
        let fault = match self.blob_record(digest).await? {
            None => Some(BlobFault::NoRecord),
            Some(record) if record.size != *size => Some(BlobFault::RecordLength(record.size)),
            Some(_) => match self.file_state(digest).await {
                FileState::Unseen => {
                    let fault = self.fault_of_end(blob).await?;
                    if let Some(fault) = fault.filter(|_| !is_written()) {
                        self.wrong.add(&[(digest.clone(), fault)].into());
                    }
                    fault
                }
                FileState::There(length) if length == *size => None,
                FileState::Missing => Some(BlobFault::NoFile),
                FileState::Wrong(fault) => Some(fault),
                FileState::There(length) => Some(BlobFault::FileLength(length)),
            },
        };
        Ok(fault.filter(|_| !is_written()))
    }

    /// Where containerd keeps its files elsewhere, what is seen says nothing.
    async fn check_view(&self, faults: &mut BlobFaults) -> Result<(), StoreError> {
        let missing = faults
            .iter()
            .find(|(_, fault)| **fault == BlobFault::NoFile);
        if let Some((digest, _)) = missing
            && self.files.get().is_some()
            && self.keeps_elsewhere(digest).await?
        {
            faults.retain(|_, fault| {
                matches!(fault, BlobFault::NoRecord | BlobFault::RecordLength(_))
            });
        }
        Ok(())
    }

    /// Whether containerd can read a blob whose file is not seen. It keeps its files in another place
    /// then, and they are not looked at any more.
    pub(super) async fn keeps_elsewhere(&self, digest: &Digest) -> Result<bool, StoreError> {
        let is_readable = self.read_into(digest, 1, |_| ()).await?;
        // Not where the file has come meanwhile.
        if is_readable && self.file_state(digest).await == FileState::Missing {
            self.files.set(None);
            self.direct_writes
                .give_up(&"containerd keeps its blobs in another place than it is seen from here");
        }
        Ok(is_readable)
    }
}
