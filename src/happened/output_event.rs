//! What happens to the lines that containerd writes.

use std::fmt;
use std::path::PathBuf;

use crate::entry::shown;

/// Something that happened to the lines that containerd writes.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputEvent {
    /// The log file grows beyond its size.
    FileNotRotated { file: PathBuf, error: String },
    /// Lines are lost.
    FileNotWritten { file: PathBuf, error: String },
    /// Lines are written again.
    FileWrittenAgain {
        file: PathBuf,
        /// How many lines were lost.
        lines: u64,
    },
    /// Rotated files are neither compressed nor removed.
    NotTidied { directory: PathBuf, error: String },
    /// The journal, or the reader of stderr, was too slow for so many lines.
    Dropped(u64),
    /// containerd has ended, and what it wrote last is not passed on yet.
    NotAwaited,
    /// A bug: the lines are read, and passed on no more.
    ReaderPanicked,
}

impl fmt::Display for OutputEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileNotRotated { file, error } => write!(
                f,
                "containerd's log file cannot be rotated: {}: {error}",
                shown(file)
            ),
            Self::FileNotWritten { file, error } => write!(
                f,
                "containerd's log file cannot be written; lines are lost: {}: {error}",
                shown(file)
            ),
            Self::FileWrittenAgain { file, lines } => write!(
                f,
                "containerd's log file can be written again; {lines} lines were lost: {}",
                shown(file)
            ),
            Self::NotTidied { directory, error } => write!(
                f,
                "containerd's rotated logs not tidied: {}: {error}",
                shown(directory)
            ),
            Self::Dropped(lines) => write!(
                f,
                "containerd's output dropped: {lines} lines were not taken in time"
            ),
            Self::NotAwaited => f.write_str(
                "the last of containerd's output is not written yet; it is not waited for",
            ),
            Self::ReaderPanicked => f.write_str(
                "bug: the reader of containerd's output panicked; the output is logged no more",
            ),
        }
    }
}
