//! The states of one entry, and what leads from one to another.
//!
//! ```text
//!   (nothing) -- listed --> Checking -- the store lacks something --+
//!       |                      +------- the store has it --> Done   |
//!       |                                                           v
//!       +------ touched --> Settling -- whole --> Queued <-- due -- Waiting
//!                                                   |  ^               ^
//!                                                   v  |               |
//!                                         Done <-- Running -- failed --+
//!
//!   from        when                                              to
//!   Checking    the store lacks something, and the file is whole  Queued
//!                                          and it is not whole    Settling
//!               it has failed in this run                         Waiting
//!   Settling    not whole for too long                            Unfinished
//!   Unfinished  whole                                             Queued
//!               whole, and it has changed at each reading         Waiting
//!   Running     the store is away; a list is to be pulled;
//!               other rules have come                             Queued
//!               the file changed while it was read                Rereading
//!               it has changed at each reading for too long       Unfinished
//!   Rereading   seen                                              Settling, Queued
//!   Waiting     due, and there is space for it if it lacked any;
//!               another entry has brought something; reload       Queued
//!   Done        the store has lost something                      Queued
//!   any         another version is seen                           Settling, Queued
//!               it cannot be looked at                            Unreadable
//!               its directory cannot be seen                      OutOfSight
//!               it is removed                                     (nothing)
//!               it is removed or cannot be seen, and is baked     Baked
//!   Unreadable  seen, as its record says                          Checking
//!   Baked       the same
//!   OutOfSight  seen, in another version                          Settling, Queued
//!
//!   Running     what is seen, or removed, counts when the job has ended
//! ```
//!
//! Checking, Settling, Queued, Rereading and the first Running have no outcome yet: the initial load
//! waits for them.

use std::time::Duration;

use crate::entry::{Entry, Identity, Kind};
use crate::ledger::Fingerprint;
use crate::source_event::{DirectoryId, Listed};

use super::event::{Job, Looked};

/// What is the matter with an entry.
#[derive(Debug, Clone)]
pub(super) enum Life {
    /// A listing has it. The store's list of images tells whether anything is to be done.
    Checking(Listed),
    /// Its file is not whole.
    Settling(Entry),
    /// Its file has not been whole for so long that its outcome is a failure, until it is.
    Unfinished(Entry),
    /// It is to be worked on.
    Queued(Queued),
    /// It is worked on.
    Running(Running),
    /// Its file changed while it was read. The source looks at it again.
    Rereading(Entry),
    /// It failed.
    Waiting(Entry, Until),
    /// It could not be looked at. The source looks again.
    Unreadable {
        /// Whether its record tells all that was pinned for it.
        is_recorded: bool,
    },
    /// All of it is in the store.
    Done(Entry),
    /// Its file is gone, and it is of the baked set: all of it is kept.
    Baked,
    /// Its directory cannot be seen.
    OutOfSight {
        /// Whether its record tells all that was pinned for it.
        is_recorded: bool,
        /// The directories in which it was seen.
        seen_in: Vec<DirectoryId>,
    },
}

/// An entry that is to be worked on.
#[derive(Debug, Clone)]
pub(super) struct Queued {
    pub(super) entry: Entry,
    pub(super) job: Job,
    /// Whether it has failed before, and so has an outcome.
    pub(super) again: bool,
    /// The uptime at which the first job for it began, if one did.
    pub(super) begun: Option<Duration>,
}

impl Queued {
    /// The first job of an entry.
    pub(super) fn first(entry: Entry, again: bool) -> Self {
        Self {
            job: Job::first(entry.kind),
            entry,
            again,
            begun: None,
        }
    }
}

/// What an entry that failed waits for. A change of its file and a reload end each wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// This uptime.
    Uptime(Duration),
    /// So many free bytes in the store, which is asked for them at this uptime.
    Space { due: Duration, needs: u64 },
    /// The same, and the store was asked.
    Answer { needs: u64 },
    /// Another entry that brings something.
    OtherEntry,
    /// A change of its file.
    Change,
}

/// An entry that is worked on.
#[derive(Debug, Clone)]
pub(super) struct Running {
    pub(super) entry: Entry,
    pub(super) job: Job,
    /// Whether it has failed before, and so has an outcome.
    pub(super) again: bool,
    /// The uptime at which the first job for it began.
    pub(super) begun: Duration,
    /// Whether a job before it was interrupted: names may be pinned that no record has.
    pub(super) was_interrupted: bool,
    /// What it was begun with: other rules may have come since.
    pub(super) fingerprint: Fingerprint,
    /// What the source has said meanwhile, if its outcome is not simply the entry's.
    pub(super) overtaken: Option<Overtaken>,
}

/// What follows the end of a job that the source has overtaken.
#[derive(Debug, Clone)]
pub(super) enum Overtaken {
    /// The file is another one meanwhile; the listed one is next.
    Next(Listed),
    /// The file was removed.
    Forget,
    /// The file was removed, of an entry of the baked set. Its outcome is the entry's, which is kept where that
    /// is what was baked, else forgotten.
    FileGone,
    /// The file cannot be seen, which was in these directories. Its outcome is the entry's, and it is
    /// out of sight.
    OutOfSight(Vec<DirectoryId>),
}

impl Life {
    /// The entry in the version that the newest news are about.
    pub(super) fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Checking(listed) => Some(&listed.entry),
            Self::Settling(entry)
            | Self::Unfinished(entry)
            | Self::Rereading(entry)
            | Self::Waiting(entry, _)
            | Self::Done(entry) => Some(entry),
            Self::Queued(queued) => Some(&queued.entry),
            Self::Running(running) => match &running.overtaken {
                Some(Overtaken::Next(listed)) => Some(&listed.entry),
                _ => Some(&running.entry),
            },
            Self::Unreadable { .. } | Self::OutOfSight { .. } | Self::Baked => None,
        }
    }

    /// The length of an archive that is to be worked on as soon as it can be.
    pub(super) fn waiting_bytes(&self) -> u64 {
        let entry = match self {
            Self::Settling(entry) | Self::Rereading(entry) => entry,
            Self::Queued(queued) => &queued.entry,
            _ => return 0,
        };
        match entry.kind {
            Kind::Archive => entry.identity.size,
            Kind::List => 0,
        }
    }

    /// When an entry that has failed is due.
    pub(super) fn due(&self) -> Option<Duration> {
        match self {
            Self::Waiting(_, Until::Uptime(due) | Until::Space { due, .. }) => Some(*due),
            _ => None,
        }
    }

    /// The version of its file that the newest news are about.
    pub(super) fn identity(&self) -> Option<&Identity> {
        self.entry().map(|entry| &entry.identity)
    }

    /// Whether the entry has no outcome yet, and of which kind it is then.
    pub(super) fn open(&self) -> Option<Kind> {
        match self {
            Self::Checking(listed) => Some(listed.entry.kind),
            Self::Settling(entry) | Self::Rereading(entry) => Some(entry.kind),
            Self::Queued(queued) if !queued.again => Some(queued.entry.kind),
            Self::Running(running) => match &running.overtaken {
                Some(Overtaken::Next(listed)) => Some(listed.entry.kind),
                None if !running.again => Some(running.entry.kind),
                _ => None,
            },
            _ => None,
        }
    }

    /// The look at a list whose absent images are pulled, or are to be pulled.
    pub(super) fn looked(&self) -> Option<&Looked> {
        match self {
            Self::Queued(Queued {
                job: Job::Pull(looked),
                ..
            })
            | Self::Running(Running {
                job: Job::Pull(looked),
                ..
            }) => Some(looked),
            _ => None,
        }
    }

    /// Whether names may be pinned for it of which the plan does not know: by a job that runs, or by
    /// one that was given up half way and is to run again.
    pub(super) fn is_pinning(&self) -> bool {
        let has_begun = match self {
            Self::Running(_) => true,
            Self::Queued(queued) => queued.begun.is_some(),
            _ => false,
        };
        has_begun && self.looked().is_none()
    }
}
