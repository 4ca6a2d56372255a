//! Where the bytes of a tar archive come from.

use super::error::ArchiveError;

/// The bytes of a tar archive, from the first to the last.
pub(super) trait TarSource {
    /// Reads on; 0 at the end.
    fn read(&mut self, buf: &mut [u8]) -> Result<usize, ArchiveError>;

    /// The next bytes where they lie, at most `most` of them; none at the end.
    fn next(&mut self, most: usize) -> Result<&[u8], ArchiveError>;

    /// Passes over bytes; says how many there were.
    fn skip(&mut self, bytes: u64) -> Result<u64, ArchiveError>;
}
