//! One image on its way to being unpacked: why, and how far it is.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::ledger::ImportedImage;
use crate::status::UnpackStage;

/// An image that is, or is to be, unpacked.
#[derive(Debug, Clone)]
pub(super) struct Unpack {
    /// One of its names, for people.
    pub(super) name: String,
    /// The first names of the images that are this one: a tally counts images as
    /// [`Summary`](crate::ledger::Summary) does.
    pub(super) counted: BTreeSet<String>,
    pub(super) state: UnpackState,
    /// The initial load may wait for it.
    pub(super) is_of_start: bool,
    pub(super) failures: u32,
    /// Those of them of which the image itself was the cause.
    pub(super) found_broken: u32,
    /// Of its last change.
    pub(super) serial: u64,
}

/// Why an image is to be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// A job has brought something that the store had not.
    New,
    /// A job was done again, or has failed, and the image is one that it names.
    Repeated,
    /// Its record stands: the store's snapshots are asked for first.
    Standing,
    /// The same of an entry that is out of sight: its images are kept, and not counted.
    Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnpackState {
    /// The store's snapshots tell whether anything is to be done.
    Unknown,
    Queued,
    /// `again`: it was brought once more meanwhile.
    Running {
        again: bool,
    },
    /// `has_snapshots`: where not, the host runs nothing of it.
    Done {
        has_snapshots: bool,
    },
    /// It failed.
    Waiting(UnpackWait),
}

/// What an image that could not be unpacked waits for. A reload, and a job that brings it, end each wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnpackWait {
    /// Only that can help.
    Change,
    /// This uptime.
    Uptime(Duration),
    /// So many free bytes in the store, which is asked for them at this uptime.
    Space { due: Duration, needs: u64 },
    /// The same, and the store was asked.
    Answer { needs: u64 },
}

impl UnpackState {
    pub(super) const UNPACKED: Self = Self::Done {
        has_snapshots: true,
    };

    /// Whether the initial load may wait for it.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Unknown | Self::Queued | Self::Running { .. })
    }

    /// How far an image is, and the uptime at which it is tried again.
    pub(super) fn stage(self) -> (UnpackStage, Option<Duration>) {
        match self {
            Self::Unknown | Self::Queued => (UnpackStage::Waiting, None),
            Self::Running { .. } => (UnpackStage::Unpacking, None),
            Self::UNPACKED => (UnpackStage::Unpacked, None),
            Self::Done { .. } => (UnpackStage::NothingToUnpack, None),
            Self::Waiting(wait) => (UnpackStage::Failed, wait.due()),
        }
    }
}

impl UnpackWait {
    pub(super) fn due(self) -> Option<Duration> {
        match self {
            Self::Uptime(due) | Self::Space { due, .. } => Some(due),
            Self::Change | Self::Answer { .. } => None,
        }
    }
}

/// The name by which a tally counts it.
pub(super) fn first_name(image: &ImportedImage) -> &str {
    image.names.first().map_or("", String::as_str)
}
