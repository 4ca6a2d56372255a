//! What containerd says when it is asked.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::image_store::Image;
use crate::needed_blob::BlobFaults;

/// Its images, and what it lacks of what is on board.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreAnswer {
    pub images: Vec<Image>,
    /// Of the blobs of the images on board.
    pub faults: BlobFaults,
    /// The configurations of the images that are unpacked; `None` where that was not asked, or cannot be
    /// told.
    pub unpacked: Option<BTreeSet<Digest>>,
    /// `None` where it is of no interest, or cannot be told.
    pub sandbox: Option<SandboxAnswer>,
    /// In bytes, on the file system of its blobs.
    pub free: Option<u64>,
}

/// The image that pods are made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxAnswer {
    pub name: String,
    pub is_there: bool,
}

/// Why containerd was not asked, or has not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unasked {
    /// The caller may not: that says nothing about containerd.
    NotAllowed,
    Silent(String),
}
