//! Where documents come from that an archive refers to and does not have.

use crate::digest::Digest;

/// Hands out documents that are not in the archive. Its answers may block.
pub trait DocumentSource {
    /// Why there is no answer. It ends the resolution.
    type Error;

    /// The bytes of a document; `None` where there is no such document. It is asked for each digest
    /// once at most, where the document is needed. The answer is verified.
    fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Self::Error>;
}
