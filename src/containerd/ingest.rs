//! What containerd calls a blob that is not whole yet.

use super::lease::Lease;
use crate::digest::Digest;
use crate::image_store::{NewBlob, StoreError};

/// A blob on its way in, as containerd names it.
#[derive(Debug, Clone)]
pub(super) struct Ingest {
    /// Its name among the half-written blobs of the namespace. stowd's own, with the digest in it: the
    /// bytes under it are the beginning of this blob, whichever process wrote them.
    pub(super) reference: String,
    pub(super) expected: Option<Digest>,
    pub(super) size: u64,
}

impl Ingest {
    pub(super) fn known(digest: Digest, size: u64) -> Self {
        Self {
            reference: format!("stowd-{digest}"),
            expected: Some(digest),
            size,
        }
    }

    /// The one that nothing is written to, and that one process at a time has open.
    pub(super) fn of_instance(instance: &str) -> Self {
        Self {
            reference: format!("stowd-instance-{instance}"),
            expected: None,
            size: 0,
        }
    }

    pub(super) fn of(lease: &Lease, blob: NewBlob) -> Self {
        match blob {
            NewBlob::Known { digest, size } => Self::known(digest, size),
            NewBlob::Unnamed { key, size } => Self {
                reference: format!("{}-{key}", lease.id()),
                expected: None,
                size,
            },
        }
    }

    /// The error of more bytes than were announced.
    pub(super) fn too_long(&self, call: &'static str) -> StoreError {
        let cause = format!(
            "blob {} is longer than its {} bytes",
            self.reference, self.size
        );
        StoreError::Refused { call, cause }
    }
}
