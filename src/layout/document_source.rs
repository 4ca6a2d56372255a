//! Where documents and layers come from that an archive refers to and does not have.

use crate::digest::Digest;
use crate::image_store::StoredLayer;

/// Hands out documents, and tells of layers, that are not in the archive. Its answers may block.
pub trait DocumentSource {
    /// Why there is no answer. It ends the resolution.
    type Error;

    /// The bytes of a document; `None` where there is no such document. It is asked for each digest
    /// once at most, where the document is needed. The answer is verified.
    fn document(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Self::Error>;

    /// A layer that decompresses to what has this digest; `None` where there is none.
    fn layer(&self, diff_id: &Digest) -> Result<Option<StoredLayer>, Self::Error>;
}
