//! Has the bytes of one layer unpacked into its snapshot: containerd's Diff service does it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use containerd_client::services::v1::ApplyRequest;
use containerd_client::types::Descriptor as RawLayer;
use tokio::time::{MissedTickBehavior, interval};

use super::client::{Containerd, answered, to_wire};
use super::failure::FailureKind;
use super::snapshots::ActiveSnapshot;
use crate::image_store::UnpackError;
use crate::unpack::DiffLayer;

/// A layer may take this long for each of its MiB, beside what every change may take: containerd does not
/// tell how far it has come, and a layer may unpack to a thousand times its length.
const PER_MIB: Duration = Duration::from_secs(5);

/// While a layer is unpacked, the unpacking counts as getting on this often.
const STEP: Duration = Duration::from_secs(1);

impl Containerd {
    pub(super) async fn apply(
        &self,
        active: &ActiveSnapshot<'_>,
        layer: &DiffLayer,
    ) -> Result<(), UnpackError> {
        let DiffLayer { blob, diff_id, .. } = layer;
        let request = ApplyRequest {
            diff: Some(RawLayer {
                media_type: blob.media_type.clone(),
                digest: blob.digest.to_string(),
                size: to_wire(blob.size),
                annotations: layer.annotations.clone().into_iter().collect(),
            }),
            mounts: active.mounts.clone(),
            ..Default::default()
        };
        let mebibytes = u32::try_from(blob.size >> 20).unwrap_or(u32::MAX);
        let deadline = self.deadlines().change + PER_MIB.saturating_mul(mebibytes);
        let mut diffs = self.diffs();
        let applied = answered("Diff.Apply", deadline, diffs.apply(request));
        let applied = self.getting_on(applied).await;
        let applied = applied.map_err(|failure| match failure.kind {
            FailureKind::NotFound => UnpackError::Lacks {
                layer: blob.needed(),
                cause: failure.cause,
            },
            _ if failure.is_around_layer() => active.snapshotter.failure(failure),
            _ => UnpackError::Layer {
                snapshotter: active.snapshotter.name.clone(),
                layer: blob.digest.clone(),
                cause: failure.cause,
            },
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
}
