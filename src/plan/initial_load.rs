//! How far the initial load has come.
//!
//! It ends when nothing of what the first listing had is without an outcome: files that come later do
//! not hold it. Lists may hold it for `lists.ready-timeout`, counted from when nothing but lists is left.

use std::time::Duration;

/// Between two signs that a start which waits for lists goes on: CRI does not tell how far a pull
/// has come.
const SIGN: Duration = Duration::from_secs(60);

/// How far the initial load has come.
#[derive(Debug, Default)]
pub(super) struct InitialLoad {
    phase: Phase,
    signs: u64,
}

#[derive(Debug, Default)]
enum Phase {
    /// Nothing has been listed yet.
    #[default]
    New,
    Loading,
    /// Nothing but lists was left at this uptime. The next sign is due at the other.
    Lists {
        begun: Duration,
        sign: Duration,
    },
    Over,
}

impl InitialLoad {
    /// A listing has come; says whether it is the first.
    pub(super) fn begin(&mut self) -> bool {
        let is_first = matches!(self.phase, Phase::New);
        if is_first {
            self.phase = Phase::Loading;
        }
        is_first
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Something moved that no meter tells.
    pub(super) fn sign(&mut self) {
        self.signs += 1;
    }

    pub(super) fn signs(&self) -> u64 {
        self.signs
    }

    /// Whether something has been listed and the load is not over.
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.phase, Phase::Loading | Phase::Lists { .. })
    }

    /// Nothing is left.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Over;
    }

    /// Nothing but lists is left. Says whether they have had their time.
    pub(super) fn wait_for_lists(&mut self, uptime: Duration, timeout: Duration) -> bool {
        if !matches!(self.phase, Phase::Lists { .. }) {
            self.phase = Phase::Lists {
                begun: uptime,
                sign: uptime + SIGN,
            };
        }
        let Phase::Lists { begun, sign } = &mut self.phase else {
            return false;
        };
        if *sign <= uptime {
            *sign = uptime + SIGN;
            self.signs += 1;
        }
        *begun + timeout <= uptime
    }

    /// When [`wait_for_lists`](Self::wait_for_lists) is to be asked again.
    pub(super) fn due(&self, timeout: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Lists { begun, sign } => Some(sign.min(begun + timeout)),
            _ => None,
        }
    }
}
