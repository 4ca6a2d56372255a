//! When the pins are checked.

use std::time::Duration;

/// Whether the pins are to be checked, or are being checked.
#[derive(Debug, Default)]
pub(super) struct PinCheck {
    due: Option<Duration>,
    step: Step,
    /// That it is due and cannot be done was told.
    is_held_told: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    #[default]
    Idle,
    /// The store is asked for its images.
    Asking,
    Unpinning,
}

impl PinCheck {
    /// Something has changed that may leave pins behind. They are checked at this uptime.
    pub(super) fn want(&mut self, at: Duration) {
        self.due.get_or_insert(at);
    }

    /// The check is given up, and done later.
    pub(super) fn put_off(&mut self, at: Duration) {
        if self.step == Step::Asking {
            self.step = Step::Idle;
            self.want(at);
        }
    }

    /// The check is given up, and not done before something new wants it.
    pub(super) fn give_up(&mut self) {
        self.step = Step::Idle;
    }

    pub(super) fn is_asking(&self) -> bool {
        self.step == Step::Asking
    }

    /// Whether nothing may be pinned of which the plan does not know.
    pub(super) fn is_in_work(&self) -> bool {
        self.step != Step::Idle
    }

    pub(super) fn due(&self) -> Option<Duration> {
        self.due.filter(|_| self.step == Step::Idle)
    }

    /// It is due and cannot be done; says whether this is the first time since the last check.
    pub(super) fn is_held_first(&mut self) -> bool {
        !std::mem::replace(&mut self.is_held_told, true)
    }

    /// The store is to be asked for its images.
    pub(super) fn begin(&mut self) {
        self.due = None;
        self.step = Step::Asking;
    }

    pub(super) fn unpin(&mut self) {
        self.step = Step::Unpinning;
    }

    pub(super) fn end(&mut self) {
        self.step = Step::Idle;
        self.is_held_told = false;
    }
}
