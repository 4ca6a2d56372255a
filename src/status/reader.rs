//! Whether the daemon that wrote a `status.json` runs.

use super::document::{DaemonPhase, StatusDocument};

/// The machine of the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    pub boot_id: String,
    pub pid_namespace: u64,
}

/// What a reader has found.
#[derive(Debug, Clone, PartialEq)]
pub enum SeenDaemon {
    /// It runs. In another PID namespace that cannot be told, and the file is believed.
    Runs {
        document: Box<StatusDocument>,
        is_elsewhere: bool,
    },
    NotRunning(Leftover),
    /// The file cannot be read: which, and why.
    Unknown(String),
}

/// What a daemon that does not run has left.
#[derive(Debug, Clone, PartialEq)]
pub enum Leftover {
    /// No file: it was stopped, or has never run.
    Nothing,
    /// The machine was started since.
    OfAnotherBoot,
    /// Its process is gone, and it had no time to say so.
    OfAKilled(u32),
    /// It has said why it ended.
    Ended(String),
}

impl SeenDaemon {
    /// `start_of` tells when the process of a pid began, in clock ticks since the boot.
    pub fn of(
        document: Option<StatusDocument>,
        machine: &Machine,
        start_of: impl Fn(u32) -> Option<u64>,
    ) -> Self {
        let Some(document) = document else {
            return Self::NotRunning(Leftover::Nothing);
        };
        let is_elsewhere = document.pid_namespace != machine.pid_namespace;
        if let (DaemonPhase::Failed, Some(error)) = (document.phase, &document.error) {
            Self::NotRunning(Leftover::Ended(error.clone()))
        } else if document.boot_id != machine.boot_id {
            Self::NotRunning(Leftover::OfAnotherBoot)
        } else if is_elsewhere || start_of(document.pid) == Some(document.pid_start) {
            Self::Runs {
                document: Box::new(document),
                is_elsewhere,
            }
        } else {
            Self::NotRunning(Leftover::OfAKilled(document.pid))
        }
    }

    /// What the daemon says, if it runs.
    pub fn document(&self) -> Option<&StatusDocument> {
        match self {
            Self::Runs { document, .. } => Some(document),
            Self::NotRunning(_) | Self::Unknown(_) => None,
        }
    }
}
