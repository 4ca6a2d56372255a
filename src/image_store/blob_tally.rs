//! How many blobs imports have wanted a store to have, and how it has come by them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// How a store has come by a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobWay {
    /// It was written where the store keeps its blobs.
    Direct,
    /// It was sent to the store.
    Sent,
    /// The store had it.
    Present,
}

/// So many blobs, with so many bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlobCount {
    pub blobs: u64,
    pub bytes: u64,
}

/// Counts blobs by their ways, each time that an import wants one. Clones share the counts.
#[derive(Debug, Clone, Default)]
pub struct BlobTally(Arc<[WayCount; 3]>);

#[derive(Debug, Default)]
struct WayCount {
    blobs: AtomicU64,
    bytes: AtomicU64,
}

impl BlobTally {
    /// The store has one more. Of one that was sent, `bytes` are those that were not there before.
    pub fn count(&self, way: BlobWay, bytes: u64) {
        let count = &self.0[way as usize];
        count.blobs.fetch_add(1, Ordering::Relaxed);
        count.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub fn of(&self, way: BlobWay) -> BlobCount {
        let count = &self.0[way as usize];
        BlobCount {
            blobs: count.blobs.load(Ordering::Relaxed),
            bytes: count.bytes.load(Ordering::Relaxed),
        }
    }
}
