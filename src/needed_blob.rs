//! Blobs that images need, and what may be wrong with one in a store.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A blob as an image needs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NeededBlob {
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// What is wrong with a blob that a store should have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlobFault {
    /// The store has no record of it. Its file may be there.
    NoRecord,
    /// The store's record has another length, in bytes.
    RecordLength(u64),
    /// There is a record of it, and no file.
    NoFile,
    /// Its file has another length, in bytes.
    FileLength(u64),
    /// Its bytes are not those of its digest.
    Bytes,
    /// The disk says each time that bytes of it are lost.
    Lost,
    /// Its bytes cannot be read, which proves nothing about them.
    Unreadable,
}

impl BlobFault {
    /// Whether the blob is not what it should be, for certain.
    pub fn is_proven(self) -> bool {
        self != Self::Unreadable
    }
}

/// The blobs that are not as they should be.
pub type BlobFaults = BTreeMap<Digest, BlobFault>;

/// What is wrong with a blob of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobDamage {
    /// A name of the image.
    pub image: String,
    pub blob: NeededBlob,
    pub fault: BlobFault,
}

impl fmt::Display for BlobDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { image, blob, fault } = self;
        let NeededBlob { digest, size } = blob;
        write!(f, "{image}: blob {digest}: ")?;
        match fault {
            BlobFault::NoRecord => f.write_str("containerd has no record of it"),
            BlobFault::RecordLength(found) => {
                write!(f, "containerd's record has {found} bytes, not {size}")
            }
            BlobFault::NoFile => f.write_str("its file is gone"),
            BlobFault::FileLength(found) => write!(f, "its file has {found} bytes, not {size}"),
            BlobFault::Bytes => f.write_str("its bytes are not those of its digest"),
            BlobFault::Lost => f.write_str("the disk has lost bytes of it"),
            BlobFault::Unreadable => f.write_str("it cannot be read"),
        }
    }
}
