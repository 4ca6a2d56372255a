//! The one question to the store that may be under way, and what it is wanted for.

use std::collections::BTreeSet;
use std::time::Duration;

/// How long a store that failed to answer is left alone.
pub(super) const STORE_REST: Duration = Duration::from_secs(2);

/// Between two questions that nothing but listings and deletions want: directories that come and go all
/// the time have the images directory listed as often, and a client may delete a thousand images in a
/// second.
const SOON: Duration = Duration::from_secs(1);

/// Between two looks at all blobs, where the images are asked for more often: a look costs some
/// microseconds a blob.
const BLOBS_REST: Duration = Duration::from_secs(60);

/// The question which images the store has.
#[derive(Debug, Default)]
pub(super) struct StoreQuery {
    asked: Option<Asked>,
    wants: BTreeSet<Want>,
    /// A store that has failed to answer is left alone until then.
    rests_until: Duration,
    /// When it was asked last.
    last: Option<Duration>,
    /// When it has told of the blobs last.
    blobs_told: Option<Duration>,
}

/// Why the entries are to be audited against what the store has, and so when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Want {
    /// A listing has come, and the entries that it has brought wait for the answer themselves; or images
    /// were deleted. Within [`SOON`]: what is done goes on counting as done until then.
    Soon,
    /// The store may have lost what a job has brought that has no record yet. An audit passes over it: when
    /// a job has ended.
    JobEnded,
    /// Names are to go to other entries. An archive that is in work takes names, and is not their owner
    /// before it has a record: when none is.
    ArchivesEnded,
    /// The same, after an audit that READY has waited for: of the archives that it did not wait for.
    LateArchivesEnded,
    /// Something may be missing of an entry that is done: nothing goes on before the answer.
    Doubt,
}

/// A question that is under way.
#[derive(Debug)]
struct Asked {
    /// The ledger's last serial number when it was asked.
    serial: u64,
    /// Something that is done may lack something until it is answered.
    is_doubt: bool,
}

impl StoreQuery {
    pub(super) fn want(&mut self, want: Want) {
        self.wants.insert(want);
    }

    /// Whether an audit is wanted for this. From now on it is not.
    pub(super) fn take(&mut self, want: Want) -> bool {
        self.wants.remove(&want)
    }

    /// The store answers again, and may be another one.
    pub(super) fn returned(&mut self) {
        self.want(Want::Doubt);
        self.rests_until = Duration::ZERO;
        self.doubt_blobs();
    }

    /// The store has not answered: it is asked again after a while.
    pub(super) fn failed(&mut self, uptime: Duration) {
        self.want(Want::Doubt);
        self.rests_until = uptime + STORE_REST;
    }

    /// The store has told of the blobs.
    pub(super) fn blobs_told(&mut self, uptime: Duration) {
        self.blobs_told = Some(uptime);
    }

    /// What it has told of them is not so any more.
    pub(super) fn doubt_blobs(&mut self) {
        self.blobs_told = None;
    }

    /// Whether it is long ago that it did.
    pub(super) fn are_blobs_due(&self, uptime: Duration) -> bool {
        self.blobs_told
            .is_none_or(|last| last + BLOBS_REST <= uptime)
    }

    /// Whether an audit is wanted and has not been asked for, or the answer is awaited, and what is
    /// done may lack something until then.
    pub(super) fn is_pending(&self) -> bool {
        let asked = self.asked.as_ref();
        self.wants.contains(&Want::Doubt) || asked.is_some_and(|asked| asked.is_doubt)
    }

    /// Whether an answer is awaited.
    pub(super) fn is_under_way(&self) -> bool {
        self.asked.is_some()
    }

    pub(super) fn due(&self) -> Option<Duration> {
        let is_wanted = |want| self.wants.contains(&want);
        let rested = match self.last {
            _ if is_wanted(Want::Doubt) => Duration::ZERO,
            last if is_wanted(Want::Soon) => last.map_or(Duration::ZERO, |last| last + SOON),
            _ => return None,
        };
        self.asked.is_none().then(|| rested.max(self.rests_until))
    }

    /// Whether the question is to be asked now: an audit is due, or `is_urgent`.
    pub(super) fn is_to_be_asked(&self, uptime: Duration, is_urgent: bool) -> bool {
        let is_due = self.due().is_some_and(|due| due <= uptime);
        self.asked.is_none() && (is_due || is_urgent)
    }

    /// It is asked; the ledger's last serial number is `serial`.
    pub(super) fn ask(&mut self, uptime: Duration, serial: u64) {
        self.take(Want::Soon);
        let is_doubt = self.take(Want::Doubt);
        self.asked = Some(Asked { serial, is_doubt });
        self.last = Some(uptime);
    }

    /// It was answered. The serial number is that of the question, if one was asked.
    pub(super) fn answered(&mut self) -> Option<u64> {
        self.asked.take().map(|asked| asked.serial)
    }
}
