//! How much a file may decompress to. This stops decompression bombs: the archive itself and the
//! layers in it count together.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::error::ArchiveError;
use super::limits;
use super::member_name::MemberName;

/// Counts what is decompressed while one archive is read, its own stream and the layers in it
/// together, against the length of the file.
pub(super) struct Expansion {
    left: Cell<u64>,
    // A few bytes of input may keep a decoder busy for long: it looks here, too.
    stop: Arc<AtomicBool>,
}

/// Why a decoder must not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Halt {
    #[error("stopped")]
    Stopped,
    #[error("it decompresses to too much")]
    TooMuch,
}

impl Halt {
    /// Of the decoder of a member, or of the archive itself.
    pub(super) fn error(self, member: Option<&MemberName>) -> ArchiveError {
        let member = member.cloned();
        match self {
            Halt::Stopped => ArchiveError::Stopped,
            Halt::TooMuch => ArchiveError::Expands { member },
        }
    }
}

impl Expansion {
    /// For a file of `length` bytes.
    pub(super) fn new(length: u64, stop: Arc<AtomicBool>) -> Self {
        let relative = length.saturating_mul(limits::EXPANSION_MAX);
        Self {
            left: Cell::new(relative.saturating_add(limits::EXPANDED_FREE)),
            stop,
        }
    }

    /// Whether so many bytes may still be decompressed. A member that says to have more is never whole.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        // The first of them may have been counted, with the chunk that the header came in.
        bytes <= self.left.get().saturating_add(limits::CHUNK as u64)
    }

    /// Counts bytes that were decompressed, or are holes.
    pub(super) fn count(&self, bytes: u64) -> Result<(), Halt> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Halt::Stopped);
        }
        let left = self.left.get().checked_sub(bytes);
        self.left.set(left.ok_or(Halt::TooMuch)?);
        Ok(())
    }
}
