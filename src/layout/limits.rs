//! What the documents of one archive may ask for together.

/// The bytes of all documents of one archive together, in bytes. Documents that only the store has
/// may take as much again.
pub const DOCUMENTS_MAX: u64 = 64 << 20;

/// How many manifests, layers and names the images of one archive may have together. A document
/// may be referred to from many others, so the size of the archive alone bounds nothing.
pub(super) const WORK_MAX: usize = 100_000;

/// How many names one image may have in an archive. Each is two records of the store, and two more for
/// each extra registry, and the store answers for all of them at once.
pub(super) const NAMES_OF_IMAGE_MAX: usize = 1000;

/// How many names the images of one archive may have together.
pub(super) const NAMES_MAX: usize = 4000;

/// How many characters of a text out of the archive an error line shows.
pub(super) const SHOWN: usize = 200;

/// How deep indexes may lie in indexes. `docker save` has two levels.
pub(super) const DEPTH_MAX: usize = 8;
