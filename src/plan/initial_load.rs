//! How far the initial load has come.
//!
//! It ends when nothing of what the first listing had is without an outcome: files that come later do
//! not hold it. It begins anew with all that is known when a store returns, which may be another one. Lists may hold it for `lists.ready-timeout`, counted from when nothing but lists is left.

use std::time::Duration;

/// Between two steps of a start that waits for lists: CRI does not tell how far a pull has come.
const STEP: Duration = Duration::from_secs(60);

/// How far the initial load has come.
#[derive(Debug, Default)]
pub(super) struct InitialLoad {
    phase: Phase,
    steps: u64,
}

#[derive(Debug, Default)]
enum Phase {
    /// Nothing has been listed yet.
    #[default]
    New,
    Loading,
    /// Nothing but lists was left at this uptime. The next step is due at the other.
    Lists {
        begun: Duration,
        step: Duration,
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

    /// The store returns: what was loaded may be gone. Says whether it was over.
    pub(super) fn begin_again(&mut self) -> bool {
        let was_over = self.is_over();
        if was_over {
            self.phase = Phase::Loading;
        }
        was_over
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether something has been listed.
    pub(super) fn is_begun(&self) -> bool {
        !matches!(self.phase, Phase::New)
    }

    /// The start has come further, and no meter tells.
    pub(super) fn step(&mut self) {
        self.steps += 1;
    }

    /// Steps that no meter tells: for as long as there are new ones the start goes on.
    pub(super) fn steps(&self) -> u64 {
        self.steps
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
                step: uptime + STEP,
            };
        }
        let Phase::Lists { begun, step } = &mut self.phase else {
            return false;
        };
        if *step <= uptime {
            *step = uptime + STEP;
            self.steps += 1;
        }
        *begun + timeout <= uptime
    }

    /// When [`wait_for_lists`](Self::wait_for_lists) is to be asked again.
    pub(super) fn due(&self, timeout: Duration) -> Option<Duration> {
        match self.phase {
            Phase::Lists { begun, step } => Some(step.min(begun + timeout)),
            _ => None,
        }
    }
}
