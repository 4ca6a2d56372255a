//! Unpacks an image: makes the snapshots that its containers are made from, and tells containerd that they
//! are the image's.
//!
//! ```text
//!   of all layers the highest that has a snapshot -> each layer above it:
//!     Prepare -> Apply -> the digest is the one of the configuration -> label: what the layer unpacks to
//!     -> on the disk -> Commit
//!   -> label: which snapshot is that of the configuration
//! ```
//!
//! A snapshot has its name when all its files are on the disk: containerd believes the name, also after a
//! loss of power. It syncs its records with each `Commit`, and no files: so these are synced before, and for
//! each layer, since a layer is prepared on the name of the one below.
//!
//! From 2.2 on overlayfs and erofs take the parent with the `Commit` as well (`rebase`), and all layers of an
//! image could be unpacked at once, and synced once. They are not: `Apply` gives a directory that a layer has
//! files in, and does not list itself, the owner and the mode of the layers below (`mkparent` of
//! `pkg/archive`), which it does not see then. `/tmp` would become 0755, and root's.
//!
//! What is not committed is taken away, or, where stowd is killed, collected when the lease of the unpacking
//! has ended.

use std::collections::BTreeSet;

use containerd_client::services::v1::ListContentRequest;
use containerd_client::types::Mount;
use tracing::debug;

use super::client::{Containerd, answered, next_message};
use super::content::UNCOMPRESSED;
use super::failure::{CallFailure, FailureKind};
use super::lease::Lease;
use super::snapshot_sync::{LONGEST, sync_dirs, written_dirs};
use super::snapshots::ActiveSnapshot;
use super::snapshotter::Snapshotter;
use crate::digest::Digest;
use crate::image_store::{Labels, StoreError, UnpackError};
use crate::unpack::{DiffLayer, RootFileSystem};

/// The label of a configuration that keeps its snapshot from collection; behind it stands the snapshotter.
const OF_SNAPSHOT: &str = "containerd.io/gc.ref.snapshot.";

/// The label of a configuration that the host runs, and whose snapshot is on the disk: other clients unpack
/// other platforms, and sync nothing. Behind it stands the snapshotter.
const UNPACKED: &str = "io.stowd.unpacked.";

/// The unpacking of one image with one snapshotter.
struct Unpacking<'a> {
    store: &'a Containerd,
    lease: &'a Lease,
    snapshotter: &'a Snapshotter,
    image: &'a RootFileSystem,
}

impl Containerd {
    pub(super) async fn unpack_image(
        &self,
        lease: &Lease,
        image: &RootFileSystem,
    ) -> Result<usize, UnpackError> {
        let mut made = Ok(0);
        // One that fails keeps the containers of the others from nothing.
        for snapshotter in self.found_snapshotters().await? {
            let done = match snapshotter {
                Ok(snapshotter) => self.unpack_with(lease, &snapshotter, image).await,
                Err(error) => Err(error),
            };
            made = match (made, done) {
                (Ok(before), Ok(more)) => Ok(before + more),
                (Err(first), _) | (Ok(_), Err(first)) => Err(first),
            };
        }
        match made {
            Err(UnpackError::Removed(_)) => made,
            Err(error) if !error.is_store_away() && !self.has_lease(lease).await? => {
                Err(UnpackError::Removed(error.to_string()))
            }
            made => made,
        }
    }

    async fn has_lease(&self, lease: &Lease) -> Result<bool, StoreError> {
        let found = self.list_leases(format!("id=={}", lease.id)).await?;
        Ok(!found.is_empty())
    }

    /// The configurations whose snapshots are there, in all snapshotters.
    pub(super) async fn unpacked_configs(&self) -> Result<BTreeSet<Digest>, UnpackError> {
        let mut unpacked = None::<BTreeSet<Digest>>;
        for snapshotter in self.found_snapshotters().await? {
            let snapshotter = snapshotter?;
            let (snapshots, configs) = tokio::try_join!(
                self.list_snapshots(&snapshotter.name),
                self.configs_with_snapshots(&snapshotter.name),
            )
            .map_err(|failure| snapshotter.failure(failure))?;
            let configs = configs.into_iter();
            let configs = configs.filter(|(_, chain_id)| snapshots.contains(chain_id));
            let configs = configs.map(|(config, _)| config).collect::<BTreeSet<_>>();
            unpacked = Some(match unpacked {
                Some(before) => before.intersection(&configs).cloned().collect(),
                None => configs,
            });
        }
        Ok(unpacked.unwrap_or_default())
    }

    /// The configurations that the host runs and that say which snapshot is theirs, each with its name.
    async fn configs_with_snapshots(
        &self,
        snapshotter: &str,
    ) -> Result<Vec<(Digest, String)>, CallFailure> {
        const LIST: &str = "Content.List";
        let deadline = self.deadlines().answer;
        let label = format!("{OF_SNAPSHOT}{snapshotter}");
        let own = format!("{UNPACKED}{snapshotter}");
        let request = ListContentRequest {
            filters: vec![format!("labels.\"{own}\"")],
        };
        let mut content = self.content(None);
        let mut listed = answered(LIST, deadline, content.list(request)).await?;
        let mut found = Vec::new();
        while let Some(some) = next_message(LIST, deadline, &mut listed).await? {
            found.extend(some.info.into_iter().filter_map(|mut info| {
                let chain_id = info.labels.remove(&label)?;
                let is_it = info.labels.get(&own) == Some(&chain_id);
                is_it.then_some((Digest::parse(&info.digest).ok()?, chain_id))
            }));
        }
        Ok(found)
    }

    async fn unpack_with(
        &self,
        lease: &Lease,
        snapshotter: &Snapshotter,
        image: &RootFileSystem,
    ) -> Result<usize, UnpackError> {
        let Some(top) = image.top() else {
            return Ok(0);
        };
        let unpacking = Unpacking {
            store: self,
            lease,
            snapshotter,
            image,
        };
        let mut made = 0;
        for number in unpacking.first_missing().await?..image.layers.len() {
            made += usize::from(unpacking.make(number).await?);
        }
        if made == 0 {
            // What another client has unpacked may not be on the disk.
            self.sync_snapshots(snapshotter, &[]).await?;
        }
        let labels = [OF_SNAPSHOT, UNPACKED].map(|label| {
            let label = format!("{label}{}", snapshotter.name);
            (label, top.to_string())
        });
        self.label_content(&image.config, Labels::from(labels))
            .await?;
        Ok(made)
    }

    /// Returns when what is in a snapshotter is on the disk. `mounts` are those of the snapshot that was
    /// written. A failure is one of the image, and not of the store.
    async fn sync_snapshots(
        &self,
        snapshotter: &Snapshotter,
        mounts: &[Mount],
    ) -> Result<(), StoreError> {
        let dirs = snapshotter.root.iter().cloned();
        let dirs = dirs.chain(written_dirs(mounts)).collect::<Vec<_>>();
        let syncs = &self.snapshot_syncs;
        let synced = self.getting_on(syncs.wait(LONGEST, move || sync_dirs(&dirs)));
        let is_any_synced = synced.await.map_err(|cause| StoreError::Refused {
            call: "syncfs of the snapshotter",
            cause,
        })?;
        let is_known = is_any_synced && self.files.get().is_some();
        if !is_known && syncs.is_first_doubt() {
            debug!(
                snapshotter = snapshotter.name,
                "the files of snapshots are not seen: whether they survive a loss of power is unknown"
            );
        }
        Ok(())
    }
}

impl Unpacking<'_> {
    /// The layer from which on snapshots are to be made. The highest that is there is asked for once more:
    /// `Prepare` puts it under the lease.
    async fn first_missing(&self) -> Result<usize, UnpackError> {
        for (number, layer) in self.image.layers.iter().enumerate().rev() {
            let has = self
                .store
                .has_snapshot(&self.snapshotter.name, &layer.chain_id);
            if has.await.map_err(|failure| self.failure(failure))? {
                return Ok(number);
            }
        }
        Ok(0)
    }

    /// Makes the snapshot of a layer. Returns whether there was none before.
    async fn make(&self, number: usize) -> Result<bool, UnpackError> {
        let Self {
            store,
            lease,
            snapshotter,
            image,
        } = *self;
        let layer = &image.layers[number];
        // One image of those that share the layer unpacks it, and the others have it then.
        let key = format!("snapshot {} of {}", layer.chain_id, snapshotter.name);
        let _guard = store.locks.lock(&key).await;
        let below = number.checked_sub(1);
        let below = below.map(|below| &image.layers[below].chain_id);
        let prepared = store.prepare_snapshot(lease, snapshotter, below, layer);
        let prepared = prepared.await.map_err(|failure| match failure.kind {
            // An annotation is too long for a label.
            FailureKind::Invalid => UnpackError::Layer {
                snapshotter: snapshotter.name.clone(),
                layer: layer.blob.digest.clone(),
                cause: failure.cause,
            },
            _ => self.failure(failure),
        });
        let Some(active) = prepared? else {
            return Ok(false);
        };
        let Err(error) = self.fill(&active).await else {
            return Ok(true);
        };
        let error = match error {
            UnpackError::Store(error @ StoreError::NoSpace { .. }) => UnpackError::NoSpace {
                needs: self.needs(&active, number).await,
                error,
            },
            error => error,
        };
        // The lease keeps it no longer than this unpacking.
        drop(store.remove_snapshot(&active).await);
        Err(error)
    }

    /// Unpacks a layer into its snapshot, and gives that its name.
    async fn fill(&self, active: &ActiveSnapshot<'_>) -> Result<(), UnpackError> {
        let DiffLayer { blob, diff_id, .. } = active.layer;
        self.store.apply(active, active.layer).await?;
        // Before the snapshot has its name: with that the layer is not unpacked again. A blob that was not
        // unpacked itself is not labelled: what it unpacks to is no more than what its image says.
        let labels = Labels::from([(UNCOMPRESSED.to_owned(), diff_id.to_string())]);
        match self.store.label_content(&blob.digest, labels).await {
            // CRI throws layers away that are unpacked (`discard_unpacked_layers`).
            Ok(()) | Err(StoreError::Collected { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        let synced = self.store.sync_snapshots(self.snapshotter, &active.mounts);
        synced.await?;
        let committed = self.store.commit_snapshot(self.lease, active).await;
        committed.map_err(|failure| self.failure(failure))
    }

    /// How many bytes are lacking at least: as many as the layer has filled, and some; and those above take
    /// no less than they are long.
    async fn needs(&self, active: &ActiveSnapshot<'_>, number: usize) -> u64 {
        const SOME: u64 = 1 << 20;
        let above = self.image.layers[number + 1..].iter();
        let above = above.map(|layer| layer.blob.size).sum::<u64>();
        let filled = self.store.snapshot_usage(active).await;
        filled.saturating_add(SOME).saturating_add(above)
    }

    /// Why a call for a snapshot failed.
    fn failure(&self, failure: CallFailure) -> UnpackError {
        let is_gone = failure.kind == FailureKind::NotFound;
        let error = self.snapshotter.failure(failure);
        match is_gone {
            true => UnpackError::Removed(error.to_string()),
            false => error,
        }
    }
}
