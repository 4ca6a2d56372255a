//! Makes the C library's allocator return memory to the system early.
//!
//! glibc takes large blocks straight from the system, and returns them when they are freed; but
//! what counts as large grows to the largest that was freed, up to 32 MiB (mallopt(3),
//! `M_MMAP_THRESHOLD`). After the first zstd window of 8 MiB the next ones come from a heap, and a
//! heap is shrunk only from its end: a daemon that has imported for seconds would hold tens of
//! mebibytes for weeks. There is also a heap for each of many threads (`M_ARENA_MAX`).

// mallopt has no safe wrapper; see below for why it is sound.
#![allow(unsafe_code)]

/// Fixes the size from which blocks are large, and the number of heaps. To be called before a second
/// thread is started.
pub fn set_up() {
    #[cfg(target_env = "gnu")]
    gnu::set_up();
}

#[cfg(target_env = "gnu")]
mod gnu {
    use std::ffi::c_int;

    /// Of `malloc.h`.
    const M_MMAP_THRESHOLD: c_int = -3;
    const M_ARENA_MAX: c_int = -8;

    /// Windows and chunks, which live as long as an archive is read, are at least this large. Messages,
    /// which are freed soon, are smaller.
    const LARGE: c_int = 256 << 10;
    const HEAPS: c_int = 2;

    // Safe to call: mallopt takes two numbers, and returns 0 for those that it does not know.
    unsafe extern "C" {
        safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }

    pub(super) fn set_up() {
        // Where it refuses, stowd holds more memory and runs all the same.
        mallopt(M_MMAP_THRESHOLD, LARGE);
        mallopt(M_ARENA_MAX, HEAPS);
    }
}
