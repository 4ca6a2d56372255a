//! What happens between stowd and the store, beside images: the ways by which bytes reach it and are
//! kept there, and what it does not tell.

use std::fmt;
use std::path::PathBuf;

use crate::entry::shown;

#[derive(Debug, Clone, PartialEq)]
pub enum StoreEvent {
    /// Blobs are written where containerd keeps them.
    WritingDirectly(PathBuf),
    /// Blobs are sent over containerd's socket; the text says why.
    SendingBlobs(String),
    /// Blobs were written directly, and are sent from now on; the text says why.
    DirectWritesEnded(String),
    /// It is not looked for; the text says why.
    SandboxImageUnknown(String),
    /// Nothing tells of images that are deleted; the text says why.
    DeletionsNotHeard(String),
    /// containerd's events tell of them again.
    DeletionsHeardAgain,
    /// The store has no room for what keeps a second stowd out.
    InstanceNotHeld(String),
    /// What a run before this one has left cannot be listed.
    LeasesNotFound(String),
    /// Leases stay until they expire.
    LeasesNotCleared {
        /// Whose they are.
        run: Run,
        error: String,
    },
    /// The lease of one entry stays until it expires.
    LeaseNotReleased(String),
}

/// A run of stowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// One that has ended before this one.
    Earlier,
    /// This one.
    This,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Earlier => "an earlier run",
            Self::This => "this run",
        })
    }
}

impl fmt::Display for StoreEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WritingDirectly(path) => {
                write!(f, "blobs are written directly into {}", shown(path))
            }
            Self::SendingBlobs(cause) => write!(f, "blobs are sent over gRPC: {cause}"),
            Self::DirectWritesEnded(cause) => write!(
                f,
                "blobs are not written directly any more, but sent over gRPC: {cause}"
            ),
            Self::SandboxImageUnknown(cause) => {
                write!(f, "sandbox image not looked for: {cause}")
            }
            Self::DeletionsNotHeard(error) => write!(
                f,
                "images that are deleted are not heard of, and come back at the next rescan: {error}"
            ),
            Self::DeletionsHeardAgain => f.write_str("images that are deleted are heard of again"),
            Self::InstanceNotHeld(error) => write!(
                f,
                "instance not held, a second stowd is not refused: {error}"
            ),
            Self::LeasesNotFound(error) => {
                write!(f, "leases of an earlier run not found: {error}")
            }
            Self::LeasesNotCleared { run, error } => write!(
                f,
                "leases of {run} not cleared, they expire by themselves: {error}"
            ),
            Self::LeaseNotReleased(error) => {
                write!(f, "lease not released, it expires by itself: {error}")
            }
        }
    }
}
