//! What a daemon knows of its entries and images, or its ledger where none runs.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::image_store::BlobCount;
use crate::needed_blob::NeededBlob;

use super::rfc3339;

/// All that is on board, or is to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OnBoard {
    /// The one line that the service manager is told.
    pub line: String,
    /// Every entry of the start has an outcome.
    pub loaded: bool,
    /// Why containerd does not answer.
    pub containerd_away: Option<String>,
    pub images_dir_missing: bool,
    /// The image without which no pod starts, where neither the store nor an entry has it.
    pub missing_sandbox_image: Option<String>,
    /// How many of the images that entries bring are pinned, as the store has listed them last.
    pub pinned_images: Option<usize>,
    pub traffic: Traffic,
    /// By their paths.
    pub entries: Vec<EntryStatus>,
    /// Files of the images directory that are no entries.
    pub ignored: Vec<String>,
    pub shadowed: Vec<Overshadowed>,
    /// Damage that the scrub has found and about which nothing is done, a line for each blob.
    pub damaged: Vec<String>,
}

/// What imports of archives have moved since the daemon was started, and what they have not had to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Traffic {
    /// Bytes that were read from archives.
    pub read_bytes: u64,
    /// Blobs that were written where containerd keeps them.
    pub direct: BlobCount,
    /// Blobs that were sent to containerd.
    pub sent: BlobCount,
    /// Blobs that containerd had, each time that an import wanted one.
    pub present: BlobCount,
}

/// One entry. Its texts come from files, containerd and registries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryStatus {
    pub path: String,
    pub state: EntryState,
    /// Of one that is worked on.
    #[serde(default)]
    pub progress: Option<WorkDone>,
    /// The length of its file at the last attempt.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// When the last attempt ended.
    #[serde(default, with = "rfc3339")]
    pub finished: Option<SystemTime>,
    /// How long it took.
    #[serde(default)]
    pub seconds: Option<f64>,
    /// Of one that has failed: how often it was tried.
    #[serde(default)]
    pub attempts: u32,
    /// Why it has failed.
    #[serde(default)]
    pub error: Option<String>,
    /// `content`, `missing-blob`, `no-space` or `environment`.
    #[serde(default)]
    pub class: Option<String>,
    /// When it is tried again by itself.
    #[serde(default, with = "rfc3339")]
    pub next_try: Option<SystemTime>,
    #[serde(default)]
    pub images: Vec<ImageStatus>,
}

/// How far an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryState {
    /// It is not known yet whether anything is to be done.
    Checking,
    /// Its file is not whole yet.
    Settling,
    Queued,
    /// It is imported, pulled or read.
    Working,
    Imported,
    Failed,
    /// Its directory cannot be seen.
    OutOfSight,
    /// Its file is gone, and what it brought is kept: it is of the baked set.
    Baked,
}

/// How far the work on an entry has come: in bytes of an archive, or in lines of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkDone {
    pub done: u64,
    pub total: u64,
}

/// An image that an entry has brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    pub names: Vec<String>,
    /// Of its manifest or index.
    pub digest: Digest,
    /// An earlier version of the entry has brought it, and it is kept until one is whole again.
    #[serde(default)]
    pub kept: bool,
    /// `None` where stowd does not unpack it, or no daemon runs.
    #[serde(default)]
    pub unpack: Option<ImageUnpack>,
    /// The blobs that it needs on this node.
    pub blobs: Vec<NeededBlob>,
}

/// How far the unpacking of an image is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageUnpack {
    pub stage: UnpackStage,
    /// Why it has failed.
    #[serde(default)]
    pub error: Option<String>,
    #[serde(default, with = "rfc3339")]
    pub next_try: Option<SystemTime>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnpackStage {
    Waiting,
    Unpacking,
    Unpacked,
    /// The host runs nothing of it.
    NothingToUnpack,
    Failed,
}

/// An image that has not all the names that its entry gives it: a later entry gives them to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overshadowed {
    pub entry: String,
    pub digest: Digest,
    pub names: Vec<String>,
    /// The entry whose image has the names.
    pub by: String,
    pub other: Digest,
}
