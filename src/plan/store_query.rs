//! The one question to the store that may be under way.

use std::time::Duration;

/// How long a store that failed to answer is left alone.
pub(super) const STORE_REST: Duration = Duration::from_secs(2);

/// Between two questions that nothing but listings and deletions want: directories that come and go all
/// the time have the images directory listed as often, and a client may delete a thousand images in a
/// second.
const SOON: Duration = Duration::from_secs(1);

/// The question which images the store has.
#[derive(Debug, Default)]
pub(super) struct StoreQuery {
    asked: Option<Asked>,
    wanted: Option<Want>,
    /// A store that has failed to answer is left alone until then.
    rests_until: Duration,
    /// When it was asked last.
    last: Option<Duration>,
}

/// Why an audit is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Want {
    /// A listing has come, and the entries that it has brought wait for the answer themselves; or images
    /// were deleted.
    Soon,
    /// Something may be missing of an entry that is done: nothing goes on before the answer.
    Doubt,
}

/// A question that is under way.
#[derive(Debug)]
struct Asked {
    /// The ledger's last serial number when it was asked.
    serial: u64,
    want: Option<Want>,
}

impl StoreQuery {
    /// Wants the entries audited against what the store has from now on.
    pub(super) fn want_audit(&mut self) {
        self.wanted = Some(Want::Doubt);
    }

    /// Wants it within [`SOON`]. What is done goes on counting as done until then.
    pub(super) fn want_audit_soon(&mut self) {
        self.wanted = self.wanted.max(Some(Want::Soon));
    }

    /// The store answers again, and may be another one.
    pub(super) fn returned(&mut self) {
        self.want_audit();
        self.rests_until = Duration::ZERO;
    }

    /// The store has not answered: it is asked again after a while.
    pub(super) fn failed(&mut self, uptime: Duration) {
        self.want_audit();
        self.rests_until = uptime + STORE_REST;
    }

    /// Whether an audit is wanted and has not been asked for, or the answer is awaited, and what is
    /// done may lack something until then.
    pub(super) fn is_pending(&self) -> bool {
        let asked = self.asked.as_ref().and_then(|asked| asked.want);
        self.wanted.max(asked) == Some(Want::Doubt)
    }

    /// Whether an answer is awaited.
    pub(super) fn is_under_way(&self) -> bool {
        self.asked.is_some()
    }

    pub(super) fn due(&self) -> Option<Duration> {
        let rested = match (self.wanted?, self.last) {
            (Want::Soon, Some(last)) => last + SOON,
            _ => Duration::ZERO,
        };
        self.asked.is_none().then(|| rested.max(self.rests_until))
    }

    /// Whether the question is to be asked now: an audit is due, or `is_urgent`. Then it is taken for
    /// asked; the ledger's last serial number is `serial`.
    pub(super) fn ask(&mut self, uptime: Duration, is_urgent: bool, serial: u64) -> bool {
        let is_due = self.due().is_some_and(|due| due <= uptime);
        let asks = self.asked.is_none() && (is_due || is_urgent);
        if asks {
            let want = self.wanted.take();
            self.asked = Some(Asked { serial, want });
            self.last = Some(uptime);
        }
        asks
    }

    /// It was answered. The serial number is that of the question, if one was asked.
    pub(super) fn answered(&mut self) -> Option<u64> {
        self.asked.take().map(|asked| asked.serial)
    }
}
