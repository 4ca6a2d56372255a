//! READY waits until the disk has the record of what the initial load has brought: a node that loses its
//! power after READY has nothing to import again. It does not wait for a disk that refuses the ledger, or does
//! not take it in time.

use std::time::Instant;

use super::ledger_writer::{LAST_SAVE, Recording};

/// How far the record of the initial load is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordedLoad {
    /// The load is not over.
    #[default]
    Loading,
    /// It is, and the disk is to have this revision of the ledger.
    Awaited { revision: u64, until: Instant },
    /// The disk has it, or is not waited for any more.
    Over,
}

impl RecordedLoad {
    /// What it is now.
    pub(super) fn followed(self, is_loaded: bool, recording: Recording, now: Instant) -> Self {
        let Recording {
            revision,
            on_disk,
            is_failing,
        } = recording;
        let awaited = match self {
            _ if !is_loaded => return Self::Loading,
            Self::Over => return Self::Over,
            Self::Loading => Self::Awaited {
                revision,
                until: now + LAST_SAVE,
            },
            Self::Awaited { .. } => self,
        };
        match awaited {
            Self::Awaited { revision, until }
                if !is_failing && on_disk < Some(revision) && now < until =>
            {
                awaited
            }
            _ => Self::Over,
        }
    }

    pub(super) fn is_over(self) -> bool {
        self == Self::Over
    }

    pub(super) fn is_awaited(self) -> bool {
        self.until().is_some()
    }

    /// When the disk is not waited for any more.
    pub(super) fn until(self) -> Option<Instant> {
        match self {
            Self::Awaited { until, .. } => Some(until),
            Self::Loading | Self::Over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn recording(revision: u64, on_disk: Option<u64>) -> Recording {
        Recording {
            revision,
            on_disk,
            is_failing: false,
        }
    }

    #[test]
    fn the_load_is_over_when_the_disk_has_what_it_has_brought() {
        let now = Instant::now();
        let load = RecordedLoad::default();
        assert_eq!(load.followed(false, recording(3, None), now), load);
        let load = load.followed(true, recording(3, Some(2)), now);
        assert!(load.is_awaited());
        // What comes later is not waited for.
        assert!(load.followed(true, recording(9, Some(2)), now).is_awaited());
        let over = load.followed(true, recording(9, Some(3)), now);
        assert!(over.is_over());
        assert!(over.followed(true, recording(12, Some(3)), now).is_over());
        // Another store is loaded anew.
        let again = over.followed(false, recording(12, Some(3)), now);
        assert_eq!(again, RecordedLoad::Loading);
        assert!(again.followed(true, recording(12, Some(12)), now).is_over());
    }

    #[test]
    fn a_disk_that_fails_or_hangs_is_not_waited_for() {
        let now = Instant::now();
        let load = RecordedLoad::default().followed(true, recording(3, None), now);
        let failing = Recording {
            is_failing: true,
            ..recording(3, None)
        };
        assert!(load.followed(true, failing, now).is_over());
        let late = now + LAST_SAVE;
        assert!(
            load.followed(true, recording(3, None), late - Duration::from_millis(1))
                .is_awaited()
        );
        assert!(load.followed(true, recording(3, None), late).is_over());
    }
}
