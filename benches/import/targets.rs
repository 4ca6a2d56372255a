//! What stowd should reach. Printed beside what it does, and asserted nowhere: machines differ, and a
//! busy one is no bug.

use std::time::Duration;

use crate::options::Case;

/// An import, against [`floor`](crate::floor): at most so many times as long.
pub(crate) const FLOOR: f64 = 1.3;

/// The plain archive a second time: so many times as fast as `ctr`.
pub(crate) const AGAIN: f64 = 50.0;

/// A start with 50 archives that were imported before.
pub(crate) const RESTART: Duration = Duration::from_millis(300);

/// Resident at once while the set of archives is imported, in bytes.
pub(crate) const PEAK: u64 = 64 << 20;

/// Resident with nothing to do, in bytes.
pub(crate) const IDLE: u64 = 16 << 20;

/// With nothing to do, between two rescans: an attached stowd asks containerd every other second whether
/// it answers, and that takes a few.
pub(crate) fn wake_ups(watched: Duration) -> u64 {
    8 * watched.as_secs().div_ceil(2)
}

/// One archive of many blobs: so many times as fast as `ctr`.
const BLOBS: f64 = 3.0;

/// All images imported and unpacked: so many times as fast as `ctr`.
pub(crate) const UNPACKED: f64 = 2.0;

/// The same, as the Transfer service.
pub(crate) const UNPACKED_BY_TRANSFER: f64 = 3.0;

/// The first start of a container of an unpacked image: at most so much longer than the second.
pub(crate) const FIRST_START: Duration = Duration::from_millis(50);

/// An import: so many times as fast as `ctr`, which hashes slower the older containerd is.
pub(crate) fn import(generation: &str, case: Case) -> Option<f64> {
    match (generation, case) {
        ("2.1" | "2.3" | "2.4", Case::Tar | Case::Set) => Some(4.0),
        ("2.1" | "2.3" | "2.4", Case::TarZst | Case::TarGz) => Some(3.0),
        (_, Case::Blobs) => Some(BLOBS),
        ("1.6", Case::Tar | Case::Set) => Some(8.0),
        ("1.6", Case::TarZst) => Some(6.0),
        ("1.6", Case::TarGz) => Some(4.0),
        _ => None,
    }
}
