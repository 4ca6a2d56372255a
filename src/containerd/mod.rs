//! Writes to containerd, over the gRPC API of its socket.
//!
//! `client` holds the connection and the one way to make a call, `failure` tells failures apart.
//! `writer` opens a blob for writing, in one of two ways: `stream_writer` sends every byte;
//! `direct_writer` writes a `blob_file` into the `blobs_dir` that `content_store` has found, for
//! containerd to adopt (`direct_writes`). `ingests` sees to blobs that are half written, `content` to
//! those that are there; `blob_check` finds those that are not whole, by their records
//! (`content_lengths`) and `blob_files`, `blob_reading` those whose bytes are wrong (`wrong_bytes`), which
//! it reads past the page cache (`file_hash`) with `idle_io`; `damage` makes way for them. `images` names
//! blobs, `leases` keeps them meanwhile, `cri` asks whether the runtime sees them, `sandbox_image` which one
//! it makes pods with, and `snapshotters` what it makes containers with, as it says itself (`cri_status`) or
//! its program does (`config_dump`, `dumped_config`), for as long as it is the same `server`; with that
//! `unpack` makes `snapshots` of images, into which layers are unpacked by `apply`, which remembers
//! `late_layers`, and which `snapshot_sync` has on the disk. `pull` has the runtime pull them, `instance` keeps
//! a second stowd out, `serving` waits until all of that can be had, `events` hears of images that are deleted, `presence` whether containerd answers.

mod apply;
mod blob_check;
mod blob_file;
mod blob_files;
mod blob_reading;
mod blobs_dir;
mod blocking;
mod client;
mod config_dump;
mod content;
mod content_lengths;
mod content_store;
mod cri;
mod cri_status;
mod damage;
mod direct_writer;
mod direct_writes;
mod dumped_config;
mod events;
mod failure;
mod file_hash;
mod found;
mod idle_io;
mod images;
mod ingest;
mod ingests;
mod instance;
mod late_layers;
mod lease;
mod leases;
mod name_parts;
mod owner;
mod presence;
mod pull;
mod sandbox_image;
mod server;
mod serving;
mod snapshot_sync;
mod snapshots;
mod snapshotter;
mod snapshotters;
mod stream_writer;
mod unpack;
mod writer;
mod wrong_bytes;

pub use client::{Containerd, Deadlines};
pub use dumped_config::DumpedConfig;
pub use instance::{ClaimError, Holder, InstanceClaim, InstanceInUse};
pub use lease::Lease;
pub use serving::NotServing;
pub use writer::ContentWriter;

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use self::ingest::Ingest;
use crate::credentials::Login;
use crate::digest::Digest;
use crate::image_store::{
    BlobTally, Image, ImageStore, Labels, NewBlob, Opened, PullError, StoreError, StoredLayer,
    UnpackError,
};
use crate::needed_blob::{BlobFaults, NeededBlob};
use crate::pin::PinOwner;
use crate::unpack::RootFileSystem;

impl ImageStore for Containerd {
    type Lease = Lease;
    type Writer = ContentWriter;

    fn owner(&self) -> &PinOwner {
        self.pin_owner()
    }

    fn moved(&self) -> u64 {
        self.moved.load(Ordering::Relaxed)
    }

    fn tally(&self) -> BlobTally {
        self.tally.clone()
    }

    async fn begin_lease(&self, purpose: &str) -> Result<Lease, StoreError> {
        self.create_lease(purpose).await
    }

    async fn release(&self, lease: Lease) -> Result<bool, StoreError> {
        self.delete_lease(&lease, false).await
    }

    async fn release_and_collect(&self, lease: Lease) -> Result<bool, StoreError> {
        self.delete_lease(&lease, true).await
    }

    async fn has_image(&self, image: &Image) -> Result<bool, StoreError> {
        self.is_recorded(image).await
    }

    async fn has_labelled(
        &self,
        digest: &Digest,
        size: u64,
        labels: &Labels,
    ) -> Result<bool, StoreError> {
        self.has_content_labelled(digest, size, labels).await
    }

    async fn has_blob(&self, lease: &Lease, digest: &Digest) -> Result<bool, StoreError> {
        self.has_content(lease, digest).await
    }

    async fn half_written(&self, digest: &Digest) -> Result<u64, StoreError> {
        let ingest = Ingest::known(digest.clone(), 0);
        let offset = self.ingest_offset(&ingest.reference).await?;
        Ok(offset.map_or(0, client::from_wire))
    }

    async fn free_space(&self) -> Option<u64> {
        let files = self.files.get()?;
        blocking::blocking(move || files.free_space()).await
    }

    async fn faults(&self, blobs: Vec<NeededBlob>) -> Result<BlobFaults, StoreError> {
        self.blob_faults(blobs).await
    }

    async fn hash_blobs(
        &self,
        blobs: Vec<NeededBlob>,
        rate: u64,
    ) -> Result<BlobFaults, StoreError> {
        self.hash_content(blobs, rate).await
    }

    async fn discard_if_damaged(&self, lease: &Lease, digest: &Digest) -> Result<(), StoreError> {
        let _guard = self.lock_ingest(&Ingest::known(digest.clone(), 0)).await?;
        self.discard_damaged(lease, digest).await.map(drop)
    }

    async fn open_blob(
        &self,
        lease: &Lease,
        blob: NewBlob,
    ) -> Result<Opened<ContentWriter>, StoreError> {
        self.open_content(lease, blob).await
    }

    async fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_content(digest, limit).await
    }

    async fn layer(&self, diff_id: &Digest) -> Result<Option<StoredLayer>, StoreError> {
        self.stored_layer(diff_id).await
    }

    async fn label_blob(&self, digest: &Digest, labels: Labels) -> Result<(), StoreError> {
        self.label_content(digest, labels).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.sync_content().await
    }

    async fn unpack(&self, lease: &Lease, image: &RootFileSystem) -> Result<usize, UnpackError> {
        self.unpack_image(lease, image).await
    }

    async fn unpacked(&self) -> Result<BTreeSet<Digest>, UnpackError> {
        self.unpacked_configs().await
    }

    async fn put_image(&self, lease: &Lease, image: &Image) -> Result<(), StoreError> {
        self.create_or_update_image(lease, image).await
    }

    async fn unpin(&self, name: &str) -> Result<(), StoreError> {
        self.unpin_image(name).await
    }

    async fn take_over(&self, name: &str) -> Result<(), StoreError> {
        self.take_over_pin(name).await
    }

    async fn image(&self, name: &str) -> Result<Option<Image>, StoreError> {
        self.image_named(name).await
    }

    async fn images(&self) -> Result<Vec<Image>, StoreError> {
        self.list_images().await
    }

    async fn seen_by_runtime(&self, image: &Image) -> Result<(), StoreError> {
        self.wait_for_runtime(image).await
    }

    async fn runtime_has(&self, name: &str) -> Result<bool, StoreError> {
        self.is_seen_by_runtime(name).await
    }

    async fn sandbox_image(&self) -> Option<String> {
        self.sandbox_image_of_cri().await
    }

    async fn pull(&self, name: &str, login: Option<&Login>) -> Result<(), PullError> {
        self.pull_image(name, login).await
    }

    async fn pull_blob(
        &self,
        lease: &Lease,
        name: &str,
        digest: &Digest,
        login: Option<&Login>,
    ) -> Result<(), PullError> {
        self.pull_as_image(lease, name, digest, login).await
    }
}
