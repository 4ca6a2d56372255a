//! Direct writes: stowd writes a blob where containerd keeps blobs, instead of sending it byte by
//! byte.
//!
//! ```text
//!   stowd                                     containerd
//!   write and hash a file without a name
//!   name it blobs/sha256/<hex>
//!   STAT, with the digest and the length ---> has the file: records that it is wanted
//!   COMMIT, with the labels ----------------> the namespace has the blob, the lease holds it
//! ```
//!
//! containerd adopts a blob that another namespace has in the same way, without a byte being sent. A
//! garbage collection removes files that containerd has no record of; the STAT makes a record. If
//! garbage collection removes the file before that, the blob is streamed instead, from the file that
//! stowd still has open.
//!
//! For that the store must be on this machine, belong to stowd's user, and be shared between
//! namespaces (`content_sharing_policy` of the metadata plugin). Otherwise every blob is streamed.

use std::fmt;
use std::sync::Arc;

use super::blobs_dir::BlobsDir;
use super::found::Found;
use crate::happened::StoreEvent;
use crate::reporter::report;

/// A blob that is shorter costs containerd no more when it is sent.
pub(super) const DIRECT_FROM: u64 = 128 << 10;

/// Where blobs are written directly; nowhere until it is known that they can be. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct DirectWrites(Found<BlobsDir>);

impl DirectWrites {
    pub(super) fn dir(&self) -> Option<Arc<BlobsDir>> {
        self.0.get()
    }

    pub(super) fn set(&self, dir: Option<BlobsDir>) -> Option<Arc<BlobsDir>> {
        self.0.set(dir)
    }

    /// From now on everything is sent.
    pub(super) fn give_up(&self, why: &dyn fmt::Display) {
        if self.set(None).is_some() {
            report(StoreEvent::DirectWritesEnded(why.to_string()));
        }
    }
}
