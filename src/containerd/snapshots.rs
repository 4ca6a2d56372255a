//! Snapshots: one for each layer of an image, made as containerd's own unpacker makes them
//! (`core/unpack/unpacker.go`), so that containers find them.

use std::collections::{BTreeSet, HashMap};

use containerd_client::services::v1::snapshots::{
    CommitSnapshotRequest, Kind, ListSnapshotsRequest, PrepareSnapshotRequest,
    RemoveSnapshotRequest, StatSnapshotRequest, UsageRequest,
};
use containerd_client::types::Mount;

use super::client::{Containerd, answered, from_wire, next_message};
use super::failure::{CallFailure, FailureKind};
use super::lease::Lease;
use super::leases::new_id;
use super::snapshotter::Snapshotter;
use crate::digest::Digest;
use crate::unpack::DiffLayer;

/// The label by which a snapshotter may find that it has the snapshot already, and containerd that it
/// knows it.
const REFERENCE: &str = "containerd.io/snapshot.ref";

/// Annotations of a layer that begin so are labels of its snapshot (`FilterInheritedLabels`).
const INHERITED: &str = "containerd.io/snapshot/";
/// Labels that containerd from 2.3 on sets beside.
const DIFF_ID: &str = "containerd.io/snapshot/diff-id";
const PARENT: &str = "containerd.io/snapshot/parent-chain-id";

/// A snapshotter may copy all files of the layers below for a snapshot, and write the whole of it anew for
/// its name: each takes so many times what another change may.
const SLOW: u32 = 6;

/// A snapshot that a layer is unpacked into.
pub(super) struct ActiveSnapshot<'a> {
    pub(super) snapshotter: &'a Snapshotter,
    pub(super) key: String,
    pub(super) mounts: Vec<Mount>,
    pub(super) layer: &'a DiffLayer,
    /// The snapshot of the layers below.
    below: Option<&'a Digest>,
}

impl Containerd {
    pub(super) async fn has_snapshot(
        &self,
        snapshotter: &str,
        chain_id: &Digest,
    ) -> Result<bool, CallFailure> {
        let request = StatSnapshotRequest {
            snapshotter: snapshotter.to_owned(),
            key: chain_id.to_string(),
        };
        let mut snapshots = self.snapshots(None);
        let stat = snapshots.stat(request);
        match answered("Snapshots.Stat", self.deadlines().answer, stat).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The names of all that are committed.
    pub(super) async fn list_snapshots(
        &self,
        snapshotter: &str,
    ) -> Result<BTreeSet<String>, CallFailure> {
        const LIST: &str = "Snapshots.List";
        let deadline = self.deadlines().answer;
        let request = ListSnapshotsRequest {
            snapshotter: snapshotter.to_owned(),
            filters: Vec::new(),
        };
        let mut snapshots = self.snapshots(None);
        let mut listed = answered(LIST, deadline, snapshots.list(request)).await?;
        let mut names = BTreeSet::new();
        while let Some(some) = next_message(LIST, deadline, &mut listed).await? {
            let committed = some.info.into_iter();
            let committed = committed.filter(|info| info.kind == i32::from(Kind::Committed));
            names.extend(committed.map(|info| info.name));
        }
        Ok(names)
    }

    /// A snapshot for a layer on that of the layers below; `None` where there is one already. The lease
    /// keeps either.
    pub(super) async fn prepare_snapshot<'a>(
        &self,
        lease: &Lease,
        snapshotter: &'a Snapshotter,
        below: Option<&'a Digest>,
        layer: &'a DiffLayer,
    ) -> Result<Option<ActiveSnapshot<'a>>, CallFailure> {
        let key = format!("{} {}", new_id("extract"), layer.chain_id);
        let request = PrepareSnapshotRequest {
            snapshotter: snapshotter.name.clone(),
            key: key.clone(),
            parent: below.map_or_else(String::new, Digest::to_string),
            labels: labels(layer, below),
        };
        let mut snapshots = self.snapshots(Some(lease));
        let prepared = snapshots.prepare(request);
        let prepared = answered(
            "Snapshots.Prepare",
            self.deadlines().change * SLOW,
            prepared,
        );
        match self.getting_on(prepared).await {
            Ok(answer) => Ok(Some(ActiveSnapshot {
                mounts: answer.mounts,
                snapshotter,
                key,
                layer,
                below,
            })),
            Err(failure) if failure.kind == FailureKind::AlreadyExists => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Gives a snapshot its name. That there is one of this name is success.
    pub(super) async fn commit_snapshot(
        &self,
        lease: &Lease,
        active: &ActiveSnapshot<'_>,
    ) -> Result<(), CallFailure> {
        let request = CommitSnapshotRequest {
            snapshotter: active.snapshotter.name.clone(),
            name: active.layer.chain_id.to_string(),
            key: active.key.clone(),
            labels: labels(active.layer, active.below),
        };
        let mut snapshots = self.snapshots(Some(lease));
        let committed = snapshots.commit(request);
        let committed = answered(
            "Snapshots.Commit",
            self.deadlines().change * SLOW,
            committed,
        );
        match self.getting_on(committed).await {
            Err(failure) if failure.kind == FailureKind::AlreadyExists => {
                // Another client was first.
                self.remove_snapshot(active).await
            }
            answer => answer,
        }
    }

    /// How many bytes have been written into a snapshot; 0 where that cannot be told.
    pub(super) async fn snapshot_usage(&self, active: &ActiveSnapshot<'_>) -> u64 {
        let request = UsageRequest {
            snapshotter: active.snapshotter.name.clone(),
            key: active.key.clone(),
        };
        let mut snapshots = self.snapshots(None);
        let usage = snapshots.usage(request);
        let usage = answered("Snapshots.Usage", self.deadlines().answer, usage).await;
        usage.map_or(0, |usage| from_wire(usage.size))
    }

    /// Takes away a snapshot that has got no name. That it is gone is success.
    pub(super) async fn remove_snapshot(
        &self,
        active: &ActiveSnapshot<'_>,
    ) -> Result<(), CallFailure> {
        let request = RemoveSnapshotRequest {
            snapshotter: active.snapshotter.name.clone(),
            key: active.key.clone(),
        };
        let mut snapshots = self.snapshots(None);
        let removed = snapshots.remove(request);
        match answered("Snapshots.Remove", self.deadlines().change, removed).await {
            Err(failure) if failure.kind == FailureKind::NotFound => Ok(()),
            answer => answer,
        }
    }
}

fn labels(layer: &DiffLayer, below: Option<&Digest>) -> HashMap<String, String> {
    let annotations = layer.annotations.iter();
    let inherited = annotations.filter(|(key, _)| key.starts_with(INHERITED));
    let mut labels = HashMap::new();
    labels.extend(inherited.map(|(key, value)| (key.clone(), value.clone())));
    labels.insert(REFERENCE.to_owned(), layer.chain_id.to_string());
    labels.insert(DIFF_ID.to_owned(), layer.diff_id.to_string());
    labels.extend(below.map(|below| (PARENT.to_owned(), below.to_string())));
    labels
}
