//! What the intake needs of the configuration.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use crate::concurrency;
use crate::ledger::Fingerprint;
use crate::pin::PinOwner;
use crate::plan;
use crate::platform::Wanted;
use crate::puller::PullRules;
use crate::unpack::UnpackWhen;

/// What the intake needs to know. All but `dir`, `state_dir`, `namespace` and `ready_timeout` may
/// change while it runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub dir: PathBuf,
    pub state_dir: PathBuf,
    pub namespace: String,
    /// Quiet time after the last change of a file.
    pub settle: Duration,
    /// Entries imported at once; 0: as many as there are cores, from 2 to 4.
    pub parallel: usize,
    /// Time between two readings of all blobs; zero: never.
    pub scrub: Duration,
    /// So many bytes of them are read in a second.
    pub scrub_rate: u64,
    /// Unpin what no entry brings any more.
    pub unpin_removed: bool,
    /// Which platforms of an image are imported.
    pub wanted: Wanted,
    /// What lists are pulled with.
    pub pulls: PullRules,
    /// How long lists may hold the initial load.
    pub ready_timeout: Duration,
    /// When images are unpacked.
    pub unpack: UnpackWhen,
}

impl Settings {
    /// What the plan needs of them. `seed` spreads the retries of this process from those of others.
    pub(super) fn rules(&self, owner: &PinOwner, seed: u64) -> plan::Rules {
        let registries = &self.pulls.extra_registries;
        plan::Rules {
            root: self.dir.clone(),
            owner: owner.clone(),
            fingerprint: Fingerprint::of(&self.wanted, registries, &self.namespace),
            parallel: concurrency::imports(self.parallel),
            settle: self.settle,
            scrub: self.scrub,
            unpin_removed: self.unpin_removed,
            ready_timeout: self.ready_timeout,
            unpack: self.unpack,
            extra_registries: registries.clone(),
            seed,
        }
    }
}

/// A number that differs from process to process.
pub(super) fn seed() -> u64 {
    RandomState::new().build_hasher().finish()
}
