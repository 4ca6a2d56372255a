//! Unpacks an image: makes the snapshots that its containers are made from, and tells containerd that they
//! are the image's.
//!
//! ```text
//!   of all layers the highest that has a snapshot -> each layer above it:
//!     Prepare -> Apply -> the digest is the one of the configuration -> on the disk -> Commit
//!   -> labels: what the layer unpacks to; which snapshot is that of the configuration
//! ```
//!
//! A snapshot has its name when all its files are on the disk: containerd believes the name, also after a
//! loss of power. What is not committed is taken away, or, where stowd is killed, collected when the lease
//! of the unpacking has ended.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use containerd_client::services::v1::{ApplyRequest, ListContentRequest};
use containerd_client::types::Descriptor as RawLayer;
use tokio::time::{MissedTickBehavior, interval};

use super::blocking::blocking;
use super::client::{Containerd, answered, next_message, to_wire};
use super::content::UNCOMPRESSED;
use super::failure::{CallFailure, FailureKind};
use super::lease::Lease;
use super::snapshots::ActiveSnapshot;
use super::snapshotter::Snapshotter;
use crate::digest::Digest;
use crate::image_store::{Labels, StoreError, UnpackError};
use crate::unpack::{DiffLayer, RootFileSystem};

/// The label of a configuration that keeps its snapshot from collection; behind it stands the snapshotter.
const OF_SNAPSHOT: &str = "containerd.io/gc.ref.snapshot.";

/// A layer may take this long for each of its MiB, beside what every change may take: containerd does not
/// tell how far it has come, and a layer may unpack to a thousand times its length.
const PER_MIB: Duration = Duration::from_secs(5);

/// While a layer is unpacked, the unpacking counts as getting on this often.
const STEP: Duration = Duration::from_secs(1);

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
        made
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

    /// The configurations that say which snapshot is theirs, each with its name.
    async fn configs_with_snapshots(
        &self,
        snapshotter: &str,
    ) -> Result<Vec<(Digest, String)>, CallFailure> {
        const LIST: &str = "Content.List";
        let deadline = self.deadlines().answer;
        let label = format!("{OF_SNAPSHOT}{snapshotter}");
        let request = ListContentRequest {
            filters: vec![format!("labels.\"{label}\"")],
        };
        let mut content = self.content(None);
        let mut listed = answered(LIST, deadline, content.list(request)).await?;
        let mut found = Vec::new();
        while let Some(some) = next_message(LIST, deadline, &mut listed).await? {
            found.extend(some.info.into_iter().filter_map(|mut info| {
                Some((
                    Digest::parse(&info.digest).ok()?,
                    info.labels.remove(&label)?,
                ))
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
        let mut missing = image.layers.len();
        // The one that is there is asked for once more: `Prepare` puts it under the lease.
        while missing > 0 {
            missing -= 1;
            let chain_id = &image.layers[missing].chain_id;
            let has = self.has_snapshot(&snapshotter.name, chain_id).await;
            if has.map_err(|failure| snapshotter.failure(failure))? {
                break;
            }
        }
        let below = missing.checked_sub(1).map(|below| &image.layers[below]);
        let mut parent = below.map(|layer| &layer.chain_id);
        let mut made = 0;
        for layer in &image.layers[missing..] {
            let is_new = self.unpack_layer(lease, snapshotter, parent, layer).await?;
            made += usize::from(is_new);
            parent = Some(&layer.chain_id);
        }
        if made == 0 {
            // What another client has unpacked may not be on the disk.
            self.sync_snapshots(snapshotter).await?;
        }
        let label = format!("{OF_SNAPSHOT}{}", snapshotter.name);
        let labels = Labels::from([(label, top.to_string())]);
        self.label_content(&image.config, labels).await?;
        Ok(made)
    }

    /// Returns whether there was no snapshot of the layer before.
    async fn unpack_layer(
        &self,
        lease: &Lease,
        snapshotter: &Snapshotter,
        parent: Option<&Digest>,
        layer: &DiffLayer,
    ) -> Result<bool, UnpackError> {
        let chain_id = &layer.chain_id;
        // One image of those that share the layer unpacks it, and the others have it then.
        let key = format!("snapshot {chain_id} of {}", snapshotter.name);
        let _guard = self.locks.lock(&key).await;
        let prepared = self.prepare_snapshot(lease, &snapshotter.name, parent, chain_id);
        let prepared = prepared.await;
        let Some(active) = prepared.map_err(|failure| snapshotter.failure(failure))? else {
            return Ok(false);
        };
        let made = async {
            self.apply(snapshotter, &active, layer).await?;
            self.sync_snapshots(snapshotter).await?;
            let committed = self.commit_snapshot(lease, &active).await;
            committed.map_err(|failure| snapshotter.failure(failure))
        };
        if let Err(error) = made.await {
            // The lease keeps it no longer than this unpacking.
            drop(self.remove_snapshot(&active).await);
            return Err(error);
        }
        let unpacks_to = (UNCOMPRESSED.to_owned(), layer.diff_id.to_string());
        let labels = Labels::from([unpacks_to]);
        self.label_content(&layer.blob.digest, labels).await?;
        Ok(true)
    }

    /// Has the bytes of a layer unpacked into its snapshot.
    async fn apply(
        &self,
        snapshotter: &Snapshotter,
        active: &ActiveSnapshot<'_>,
        layer: &DiffLayer,
    ) -> Result<(), UnpackError> {
        let DiffLayer { blob, diff_id, .. } = layer;
        let request = ApplyRequest {
            diff: Some(RawLayer {
                media_type: blob.media_type.clone(),
                digest: blob.digest.to_string(),
                size: to_wire(blob.size),
                ..Default::default()
            }),
            mounts: active.mounts.clone(),
            ..Default::default()
        };
        let mebibytes = u32::try_from(blob.size >> 20).unwrap_or(u32::MAX);
        let deadline = self.deadlines().change + PER_MIB.saturating_mul(mebibytes);
        let mut diffs = self.diffs();
        let applied = answered("Diff.Apply", deadline, diffs.apply(request));
        let applied = self.getting_on(applied).await;
        let applied = applied.map_err(|failure| match is_of_layer(&failure) {
            true => UnpackError::Layer {
                snapshotter: active.snapshotter.to_owned(),
                layer: blob.digest.clone(),
                cause: failure.cause,
            },
            false => snapshotter.failure(failure),
        })?;
        let actual = applied.applied.unwrap_or_default().digest;
        if actual == diff_id.as_str() {
            return Ok(());
        }
        Err(UnpackError::OtherLayer {
            layer: blob.digest.clone(),
            expected: diff_id.clone(),
            actual,
        })
    }

    /// Counts steps for as long as a call of which containerd tells no progress is waited for.
    async fn getting_on<T>(&self, call: impl Future<Output = T>) -> T {
        let mut call = std::pin::pin!(call);
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                done = &mut call => return done,
                _ = steps.tick() => {
                    self.moved.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    async fn sync_snapshots(&self, snapshotter: &Snapshotter) -> Result<(), StoreError> {
        let snapshotter = snapshotter.clone();
        let synced = blocking(move || snapshotter.sync()).await;
        synced.map_err(|error| StoreError::Refused {
            call: "syncfs of the snapshotter",
            cause: error.to_string(),
        })
    }
}

/// Whether `Apply` failed for the bytes that it was to unpack, and not for what is around them.
fn is_of_layer(failure: &CallFailure) -> bool {
    let around = ["input/output error", "failed to mount", "mount source"];
    let is_around = around.iter().any(|words| failure.cause.contains(words));
    failure.kind == FailureKind::Other && !is_around
}
