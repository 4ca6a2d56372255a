//! The budget of concurrency: what is done at once, and how that follows from the configuration and
//! from the machine.
//!
//! ```text
//!   images.parallel   N; 0: as many as there are cores, from 2 to 4
//!     archives imported at once                            N
//!       compressed: decompressed at once                   N, two threads each
//!       plain: bodies on their way at once                 4 an archive, 16 in all, a thread each
//!     images unpacked at once                              N
//!     lists looked at once                                 N
//!       lines that the store is asked about at once        8 a list
//!     images and blobs that the store is asked about       16 an archive that is there already
//!   lists.parallel    M
//!     pulls at once                                        M, and M - 1 of one registry
//!       lists that wait for pulls at once                  256
//!   containerd's socket
//!     connections for blobs                                4
//!     blobs sent at once                                   4; blobs that are written directly: no limit
//! ```

use std::thread::available_parallelism;

/// The most of `images.parallel` and of `lists.parallel`.
pub(crate) const PARALLEL_MAX: usize = 256;

/// The most archives that are imported at once where `images.parallel` is 0.
const IMPORTS_BY_DEFAULT: usize = 4;

/// Entries that are imported, or looked at, at once. Reading an archive keeps a core busy: by default
/// there are as many as cores, and no more than a few.
pub(crate) fn imports(configured: usize) -> usize {
    match configured {
        0 => available_parallelism()
            .map_or(2, usize::from)
            .clamp(2, IMPORTS_BY_DEFAULT),
        configured => configured,
    }
}

/// Bodies of one archive that are on their way at once, or commits that are waited for: as many as
/// keep a disk busy while one of them waits for its fsync.
pub(crate) const BODIES_OF_ARCHIVE: usize = 4;

/// Bodies of plain archives that are on their way at once, in this process: those of as many archives
/// as are imported at once by default. More archives share them. Each keeps a thread, which waits for
/// another to write, and some blocks.
pub(crate) const BODIES: usize = IMPORTS_BY_DEFAULT * BODIES_OF_ARCHIVE;

/// Threads that may block, as tokio limits them by default.
const BLOCKING_THREADS: usize = 512;

// An import keeps at most one such thread for its archive, and each body one; both wait for writes that
// need another.
const _: () = assert!(PARALLEL_MAX + BODIES < BLOCKING_THREADS);

/// Images, and then blobs, of one archive that the store is asked about at once.
pub(crate) const QUESTIONS_OF_ARCHIVE: usize = 16;

/// Lines of one list that the store is asked about at once.
pub(crate) const QUESTIONS_OF_LIST: usize = 8;

/// Lists that are pulled at once. They wait for registries more than they work; how many pulls they
/// make together is `lists.parallel`.
pub(crate) const PULLED_LISTS: usize = 256;

/// Pulls from one registry at once, of `parallel` in all: one that does not answer leaves a permit to the
/// others.
pub(crate) fn pulls_of_registry(parallel: usize) -> usize {
    parallel.saturating_sub(1).max(1)
}

/// Connections to containerd for blobs on their way, beside the one for everything else: streams of one
/// connection wait for each other.
pub(crate) const STREAM_CONNECTIONS: usize = 4;

/// Blobs that are sent over the socket at once, by all imports together: each holds some MiB on its way.
pub(crate) const SENT_BLOBS: usize = 4;
