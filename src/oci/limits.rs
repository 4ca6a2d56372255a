//! What one document may ask for.

/// The longest JSON document, in bytes: an index, a manifest or a configuration. containerd reads
/// manifests up to 4 MiB when it pulls.
pub const DOCUMENT_MAX: u64 = 8 << 20;

/// How many manifests an index may list, how many layers a manifest, how many images an archive.
/// An overlay file system takes 500 layers, Docker 127.
pub(super) const LIST_MAX: usize = 4096;
