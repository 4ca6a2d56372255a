//! The states of one image on its way to being unpacked.

use std::time::Duration;

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
    /// Whether the initial load may wait for it.
    pub(super) fn is_open(self) -> bool {
        matches!(self, Self::Unknown | Self::Queued | Self::Running { .. })
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
