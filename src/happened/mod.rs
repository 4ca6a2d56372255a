//! What happened, as values: to stowd, to containerd, to the entries and to the images of the store.
//!
//! Each is told once, by the plan or by the verb that did it, to the one reporter, which writes a line
//! of the log. Counts and views hang on the same values.
//!
//! What happens to entries and to their images is told here; each other subject has a file.

mod daemon_event;
mod message;
mod output_event;
mod process_event;
mod stable;
mod store_event;

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use crate::entry::Kind;
use crate::layout::Note;
use crate::ledger::{Change, FailureClass, ImportedImage, OverruledImage};
use crate::needed_blob::BlobDamage;
use crate::source_event::Ignored;

pub use daemon_event::DaemonEvent;
pub(crate) use message::{first_names, first_of, first_paths, seconds};
pub use output_event::OutputEvent;
pub use process_event::ProcessEvent;
pub use stable::{StableMessage, stable_messages};
pub use store_event::{Run, StoreEvent};

/// Something that happened. Its `Display` is the text of its line in the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    Daemon(DaemonEvent),
    /// The process of containerd.
    Process(ProcessEvent),
    /// What containerd writes.
    Output(OutputEvent),
    /// Blobs, leases, and what the store does not tell.
    Store(StoreEvent),
    /// An entry was seen that is to be imported.
    Found {
        path: PathBuf,
        /// The length of its file.
        bytes: u64,
        /// Why it is to be imported.
        reason: FoundBecause,
    },
    /// All that the entry brings is in the store: its file is not opened.
    Skipped(PathBuf),
    /// The file is the one that was imported, and the store has lost these names of its images.
    Missing {
        path: PathBuf,
        names: Vec<String>,
    },
    /// The file is the one that was imported, and these blobs of its images are damaged in the store.
    /// They are brought back from it.
    Damaged {
        path: PathBuf,
        damage: Vec<BlobDamage>,
    },
    /// A blob is damaged, and nothing is done about it.
    LeftDamaged {
        damage: BlobDamage,
        /// An entry brings it; then it cannot be read.
        is_brought: bool,
    },
    /// Blobs were read, to find those whose bytes are wrong.
    Scrubbed {
        reason: ScrubReason,
        blobs: usize,
        bytes: u64,
        /// How many of them were not right.
        damaged: usize,
    },
    /// Another instance has pinned other images under these names, which the entry brings as well.
    LeftToInstance {
        path: PathBuf,
        instance: String,
        names: Vec<String>,
    },
    /// All of the entry is in the store; or some of an archive, before it is told to have failed.
    Imported {
        path: PathBuf,
        kind: Kind,
        images: Vec<ImportedImage>,
        /// The length of its file.
        bytes: u64,
        duration: Duration,
    },
    /// An image is unpacked, and was not before.
    Unpacked {
        image: String,
        /// So many snapshots are new.
        snapshots: usize,
        duration: Duration,
    },
    /// The store has lost snapshots of the image, which is unpacked again.
    SnapshotsMissing(String),
    /// The image is in the store, and is not unpacked.
    NotUnpacked {
        image: String,
        error: String,
        /// How often that was tried.
        attempts: u32,
        /// When it is tried again by itself.
        next_try: Option<SystemTime>,
    },
    /// A `.txt` that is plainly no list of images: it brings nothing.
    NoList {
        path: PathBuf,
        /// What is in it instead.
        error: String,
    },
    /// Some of the entry is not in the store.
    Failed {
        path: PathBuf,
        /// What of it is in the store.
        images: Vec<ImportedImage>,
        class: FailureClass,
        error: String,
        /// How often this version of it was tried; 0 where its file cannot be.
        attempts: u32,
        /// When it is tried again by itself.
        next_try: Option<SystemTime>,
    },
    /// Of an archive something is worth knowing, although nothing failed.
    Noted {
        /// The archive, for people.
        entry: String,
        note: Note,
    },
    /// The file of an entry changed while it was read.
    Changed(PathBuf),
    /// The entry was removed before anything came of it.
    GoneUnimported(PathBuf),
    Gone(PathBuf),
    /// A line of a list has no image in the store.
    NotPulled {
        /// The list, for people.
        entry: String,
        line: usize,
        /// The image, where the line names one.
        image: Option<String>,
        error: String,
    },
    /// `lists.auth-file` cannot be used.
    PullingWithoutCredentials {
        /// The list, for people.
        entry: String,
        error: String,
    },
    /// `lists.auth-file` names a registry and has no usable login for it.
    LoginMissing {
        /// The list, for people.
        entry: String,
        /// Which registry, and why.
        cause: String,
    },
    /// The blobs of an image that was pulled do not tell the extra registries.
    NotLabelled {
        /// The list, for people.
        entry: String,
        image: String,
        error: String,
    },
    /// An image that is in the store does not get this name.
    NotNamed {
        /// The name.
        image: String,
        /// Why, and what follows.
        error: String,
    },
    /// A file that is neither an archive nor a list.
    Ignored(Ignored),
    /// The images directory is not there.
    DirectoryMissing(PathBuf),
    /// The files of entries cannot be seen any more. What they brought is kept.
    OutOfSight {
        first: PathBuf,
        /// How many are out of sight now, in all.
        entries: usize,
    },
    /// What entries of the baked set have brought is kept, and their files are gone.
    Baked {
        /// How many entries, in all.
        entries: usize,
        /// How many different images they bring.
        images: usize,
    },
    /// No entry is out of sight any more.
    InSightAgain,
    /// Some of the images directory is polled; the text says why.
    Degraded(String),
    /// All of it is followed by events again.
    Restored,
    /// An image that no entry brings any more has lost its pin.
    Unpinned(String),
    /// Images that no entry brings any more have kept their pins; the text says why.
    NotUnpinned(String),
    /// Nothing is unpinned: what this entry brings is not known.
    PinsHeld(PathBuf),
    /// The store did not list its images.
    StoreNotListed(String),
    /// The store is away; the first entry that waits for it.
    StoreAway {
        path: PathBuf,
        /// What the store said.
        error: String,
    },
    /// An entry later in name order gives the names of an image to another one.
    Overruled(OverruledImage),
    /// The store has not the image that the runtime makes every pod with, and no entry brings it.
    SandboxImageMissing(String),
    /// It has it by now.
    SandboxImageThere(String),
    /// The store does not answer, whether an entry needs it or not; the text says why.
    StoreSilent(String),
    /// A store answers again: the same or another one.
    StoreReturned,
    /// The store has lost these names of an entry again, and they are not brought back any more.
    GivenUp {
        path: PathBuf,
        names: Vec<String>,
    },
    /// READY waits for these lists no longer.
    ListsOvertime {
        lists: Vec<PathBuf>,
        /// `lists.ready-timeout`.
        limit: Duration,
    },
}

impl From<DaemonEvent> for Happened {
    fn from(event: DaemonEvent) -> Self {
        Self::Daemon(event)
    }
}

impl From<ProcessEvent> for Happened {
    fn from(event: ProcessEvent) -> Self {
        Self::Process(event)
    }
}

impl From<OutputEvent> for Happened {
    fn from(event: OutputEvent) -> Self {
        Self::Output(event)
    }
}

impl From<StoreEvent> for Happened {
    fn from(event: StoreEvent) -> Self {
        Self::Store(event)
    }
}

/// Why blobs are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubReason {
    /// The time has come.
    Due,
    /// The kernel has ended under an earlier run.
    UncleanStop,
}

/// Why an entry is to be imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoundBecause {
    /// A listing has it, and the ledger says this of it.
    Listed(Change),
    /// Its file was touched.
    Noticed,
}

impl fmt::Display for FoundBecause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(change) => change.fmt(f),
            Self::Noticed => f.write_str("noticed"),
        }
    }
}
