//! Why a compressed stream cannot be decoded.

use std::io;

use super::limits;
use crate::compression::Compression;

/// Why a compressed stream cannot be decoded. Every message names the compression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The file ends inside the stream.
    #[error("the {0} stream ends early: the file was cut, or is still being written")]
    Truncated(Compression),
    /// The stream is well-formed, but not what was compressed.
    #[error("a checksum of the {0} stream is wrong: the file is damaged")]
    Checksum(Compression),
    /// The window is larger than [`limits::ZSTD_WINDOW_LOG_MAX`].
    #[error(
        "the zstd stream needs a window of more than {} MiB; recompress it with --long={} or less",
        1 << (limits::ZSTD_WINDOW_LOG_MAX - 20),
        limits::ZSTD_WINDOW_LOG_MAX
    )]
    Window,
    /// The dictionary is larger than [`limits::XZ_MEMORY_MAX`] allows.
    #[error(
        "the xz stream needs more than {} MiB of memory to decompress; recompress it with -9 or less",
        limits::XZ_MEMORY_MAX >> 20
    )]
    Memory,
    /// Bytes that are neither padding nor a further member.
    #[error("after the end of the {0} stream come bytes that do not belong to it")]
    Trailing(Compression),
    /// Anything else that the format forbids, in the decoder's own words.
    #[error("the {compression} stream is damaged: {cause}")]
    Corrupt {
        compression: Compression,
        /// What the decoder says.
        cause: String,
    },
}

impl DecodeError {
    /// Classifies an error of a decoder by its kind and its text: the crates have no other way to
    /// tell.
    pub(super) fn new(compression: Compression, error: &io::Error) -> Self {
        let cause = error.to_string();
        // The words are those of flate2, libzstd (ZSTD_getErrorName), lz4_flex and liblzma in turn;
        // tests hold each against the decoder.
        if error.kind() == io::ErrorKind::UnexpectedEof {
            DecodeError::Truncated(compression)
        } else if cause.to_lowercase().contains("checksum") {
            DecodeError::Checksum(compression)
        } else if cause.contains("requires too much memory") {
            DecodeError::Window
        } else if cause == "memory limit reached" {
            DecodeError::Memory
        } else {
            DecodeError::Corrupt { compression, cause }
        }
    }
}
