//! The one question to the store that may be under way.

use std::time::Duration;

/// How long a store that failed to answer is left alone.
pub(super) const STORE_REST: Duration = Duration::from_secs(2);

/// The question which images the store has.
#[derive(Debug, Default)]
pub(super) struct StoreQuery {
    /// The ledger's last serial number when it was asked.
    asked: Option<u64>,
    /// An audit is wanted.
    wanted: bool,
    not_before: Duration,
}

impl StoreQuery {
    /// Wants the entries audited against what the store has from now on.
    pub(super) fn want_audit(&mut self) {
        self.wanted = true;
    }

    /// Wants it, but not before this uptime.
    pub(super) fn want_audit_at(&mut self, not_before: Duration) {
        self.wanted = true;
        self.not_before = not_before;
    }

    /// Whether an audit is wanted and has not been asked for, or the answer is awaited.
    pub(super) fn is_pending(&self) -> bool {
        self.wanted || self.asked.is_some()
    }

    pub(super) fn due(&self) -> Option<Duration> {
        (self.wanted && self.asked.is_none()).then_some(self.not_before)
    }

    /// Whether the question is to be asked now: an audit is due, or `is_urgent`. Then it is taken for
    /// asked; the ledger's last serial number is `serial`.
    pub(super) fn ask(&mut self, uptime: Duration, is_urgent: bool, serial: u64) -> bool {
        let is_due = self.due().is_some_and(|due| due <= uptime);
        let asks = self.asked.is_none() && (is_due || is_urgent);
        if asks {
            self.wanted = false;
            self.asked = Some(serial);
        }
        asks
    }

    /// It was answered. The serial number is that of the question, if one was asked.
    pub(super) fn answered(&mut self) -> Option<u64> {
        self.asked.take()
    }
}
