//! What an archive may ask of memory. Together these bound an import, whatever its archive holds.

/// The longest JSON document, in bytes: an index, a manifest or a configuration. containerd reads
/// manifests up to 4 MiB when it pulls.
pub const DOCUMENT_MAX: u64 = 8 << 20;

/// The bytes of all documents of one archive together.
pub const DOCUMENTS_MAX: u64 = 64 << 20;

/// The most members that an archive may have. Each costs its path and some 100 bytes.
pub const MEMBERS_MAX: usize = 100_000;

/// The longest path of a member, in bytes.
pub const PATH_MAX: usize = 4096;

/// The bytes that are handed on at a time.
pub const CHUNK: usize = 1 << 20;

/// The largest zstd window as a power of two: 128 MiB, what `zstd --long=27` makes and every
/// decoder takes unasked.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 27;
