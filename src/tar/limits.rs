//! What an archive may ask of memory. Together these bound an import, whatever its archive holds:
//!
//! ```text
//! members      MEMBERS_MAX * some 350 bytes, and NAMES_MAX      66 MiB
//! documents    layout::limits::DOCUMENTS_MAX, each held once    64 MiB
//!              of the store, where the archive lacks them       64 MiB
//! one decoder  a zstd window, or XZ_MEMORY_MAX                 128 MiB
//! one layer    compressed inside: a second zstd window         128 MiB
//! in flight    INPUT_BUFFER, CHUNKS_AHEAD and two more of       20 MiB
//!              CHUNK, EXTENSION_MAX, and a document of
//!              oci::limits::DOCUMENT_MAX on its way in or out
//! ```
//!
//! An archive as the usual tools write it needs 2 to 20 MiB of that.

/// The most members that an archive may have, those that are ignored included.
pub const MEMBERS_MAX: usize = 100_000;

/// The longest path of a member, in bytes.
pub const PATH_MAX: usize = 4096;

/// The bytes of all paths, link targets and maps of sparse members of one archive together.
pub const NAMES_MAX: usize = 32 << 20;

/// The longest extension of a tar header, in bytes: a GNU long name or a PAX header. Go's reader,
/// which containerd and Docker use, has the same limit.
pub const EXTENSION_MAX: u64 = 1 << 20;

/// How many times its own length a file may decompress to, beyond [`EXPANDED_FREE`]: its stream and
/// the compressed layers in it together. DEFLATE cannot do more than 1032; Zstandard makes 32,000
/// of zeros, and seldom 20 of an image.
pub(super) const EXPANSION_MAX: u64 = 2048;

/// What any file may decompress to, in bytes: seconds of work.
pub(super) const EXPANDED_FREE: u64 = 1 << 30;

/// The zeros that may follow the end marker, in bytes. tar pads to 10 KiB, and with the largest
/// blocking factor that its manual speaks of to 1 MiB.
pub const PADDING_MAX: u64 = 16 << 20;

/// The bytes that are handed on at a time: what a core's own cache holds while they are decoded,
/// hashed and written.
pub const CHUNK: usize = 256 << 10;

/// The chunks of a compressed archive that are decoded before they are asked for.
pub(super) const CHUNKS_AHEAD: usize = 8;

/// The compressed bytes that are read at a time.
pub const INPUT_BUFFER: usize = 256 << 10;

/// The bytes that the page cache may keep behind a reader of the file.
pub(super) const KEPT_BEHIND: u64 = 8 << 20;

/// The largest zstd window as a power of two: 128 MiB, what `zstd --long=27` makes and every
/// decoder takes unasked.
pub(super) const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The memory that an xz decoder may take, in bytes. `xz -9` needs 65 MiB.
pub(super) const XZ_MEMORY_MAX: u64 = 128 << 20;
