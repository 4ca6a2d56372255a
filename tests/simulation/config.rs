//! The configurations that a stowd of a history has, by number. Number 0 is that of a new node.

use std::path::PathBuf;
use std::time::Duration;

use stowd::ledger::Fingerprint;
use stowd::pin::PinOwner;
use stowd::plan::Rules;
use stowd::platform::{Platform, Wanted};
use stowd::unpack::UnpackWhen;

use crate::content::{SimImage, Y};
use crate::directory::{ROOT, SETTLE};

/// Between two readings of all blobs.
pub(crate) const SCRUB: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Config {
    number: u8,
    /// The instance, which no reload changes.
    pub(crate) instance: &'static str,
    pub(crate) unpack: UnpackWhen,
}

impl Config {
    pub(crate) fn new(number: u8, instance: &'static str) -> Self {
        let unpack = UnpackWhen::Never;
        Self {
            number,
            instance,
            unpack,
        }
    }

    /// Which settings shape what an entry brings.
    pub(crate) fn shape(self) -> u8 {
        self.number & 3
    }

    /// With some platforms the images of one repository are not wanted.
    pub(crate) fn wants(self, image: SimImage) -> bool {
        self.number & 1 == 0 || image.name != Y
    }

    pub(crate) fn extra_registry(self) -> Option<&'static str> {
        (self.number & 2 != 0).then_some("e.example")
    }

    pub(crate) fn unpins(self) -> bool {
        self.number & 4 == 0
    }

    pub(crate) fn scrubs(self) -> bool {
        self.number & 32 == 0
    }

    pub(crate) fn parallel(self) -> usize {
        [2, 1, 3, 2][usize::from(self.number >> 3) % 4]
    }

    pub(crate) fn rules(self) -> Rules {
        let platforms = match self.number & 1 {
            0 => "linux/amd64",
            _ => "linux/arm64",
        };
        let wanted = Wanted::from_config(&[platforms.to_owned()], Platform::host());
        let extra_registries = Vec::from_iter(self.extra_registry().map(str::to_owned));
        Rules {
            unpack: self.unpack,
            root: PathBuf::from(ROOT),
            owner: PinOwner::of_instance(self.instance),
            fingerprint: Fingerprint::of(&wanted.expect("a platform"), &extra_registries, "n"),
            parallel: self.parallel(),
            settle: SETTLE,
            unpin_removed: self.unpins(),
            scrub: if self.scrubs() { SCRUB } else { Duration::ZERO },
            ready_timeout: Duration::from_secs(300),
            extra_registries,
            seed: 1,
        }
    }
}
