//! Has the bytes of one layer unpacked into its snapshot: containerd's Diff service does it.

use std::time::Duration;

use containerd_client::services::v1::ApplyRequest;
use containerd_client::types::Descriptor as RawLayer;

use super::client::{Containerd, answered, to_wire};
use super::failure::FailureKind;
use super::snapshots::ActiveSnapshot;
use crate::image_store::UnpackError;
use crate::unpack::DiffLayer;

/// A layer may take this long for each of its MiB, beside what every change may take: containerd does not
/// tell how far it has come, and a layer may unpack to a thousand times its length.
const PER_MIB: Duration = Duration::from_secs(5);

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
            // Where its files are not to be seen from here, only containerd can (from 1.7 on).
            sync_fs: self.files.get().is_none(),
            ..Default::default()
        };
        let mebibytes = u32::try_from(blob.size >> 20).unwrap_or(u32::MAX);
        let deadline = self.deadlines().change + PER_MIB.saturating_mul(mebibytes);
        let mut diffs = self.diffs();
        let applied = answered("Diff.Apply", deadline, diffs.apply(request));
        let applied = self.getting_on(applied).await;
        let unusable = |cause| UnpackError::Layer {
            snapshotter: active.snapshotter.name.clone(),
            layer: blob.digest.clone(),
            cause,
        };
        let applied = applied.map_err(|failure| match failure.kind {
            FailureKind::NotFound => UnpackError::Lacks {
                layer: blob.needed(),
                cause: failure.cause,
            },
            // A disk that hangs ends some time; a bomb is written for as long as it is waited for.
            FailureKind::Late(deadline) if self.late_layers.is_again(&blob.digest) => {
                unusable(format!("it took more than {} s, twice", deadline.as_secs()))
            }
            _ if failure.is_around_layer() => active.snapshotter.failure(failure),
            _ => unusable(failure.cause),
        })?;
        self.late_layers.forget(&blob.digest);
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
}
