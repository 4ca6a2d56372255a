//! What happened, as values: to stowd, to containerd, to the entries and to the images of the store.
//!
//! Each is told once, by the plan or by the verb that did it, to the one reporter, which writes a line
//! of the log. Counts and views hang on the same values.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;

use crate::entry::{Kind, shown};
use crate::ledger::{Change, ImportedImage, Summary};
use crate::one_line::first_few;
use crate::progress::counted;

/// Something that happened. Its `Display` is the message of its line in the log.
#[derive(Debug, Clone, PartialEq)]
pub enum Happened {
    /// The child runs; it need not serve yet.
    ContainerdStarted {
        /// Its pid.
        pid: u32,
        /// The program.
        binary: String,
    },
    /// `containerd.supervise` is false: the containerd at this address is used.
    ContainerdAttached(String),
    /// containerd does not serve yet.
    ContainerdAwaited {
        /// For how long it has been waited for.
        seconds: u64,
        /// What is missing.
        missing: String,
    },
    /// The child has ended as it was asked to, in time or not.
    ContainerdStopped {
        /// Its pid.
        pid: u32,
        /// Its exit status.
        status: String,
    },
    /// The initial load is over: READY=1 is sent.
    Loaded(Summary),
    /// The configuration was read again; the keys whose values were taken.
    Reloaded(Vec<&'static str>),
    /// Keys that differ, and are not taken before a restart.
    NotTakenBeforeRestart(Vec<&'static str>),
    /// The configuration on disk is wrong: nothing of it was taken.
    NotReloaded(String),
    /// A signal asks stowd to end.
    Stopping(&'static str),
    /// A second signal asks it to end at once.
    StoppingAtOnce(&'static str),
    /// stowd ends of an error.
    Stopped(String),
    /// An entry was seen that is to be imported.
    Found {
        /// The entry.
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
        /// The entry.
        path: PathBuf,
        /// The names.
        names: Vec<String>,
    },
    /// All of the entry is in the store.
    Imported {
        /// The entry.
        path: PathBuf,
        /// What it is.
        kind: Kind,
        /// Its images.
        images: Vec<ImportedImage>,
        /// The length of its file.
        bytes: u64,
        /// How long it took.
        duration: Duration,
    },
    /// Some of the entry is not in the store.
    Failed {
        /// The entry.
        path: PathBuf,
        /// What of it is in the store.
        images: Vec<ImportedImage>,
        /// What went wrong.
        error: String,
        /// How often this version of it was tried; 0 where its file cannot be.
        attempts: u32,
        /// When it is tried again by itself.
        next_try: Option<SystemTime>,
    },
    /// The file of an entry changed while it was read.
    Changed(PathBuf),
    /// The entry was removed before anything came of it.
    GoneUnimported(PathBuf),
    /// The entry was removed.
    Gone(PathBuf),
    /// A line of a list has no image in the store.
    NotPulled {
        /// The list, for people.
        entry: String,
        /// The number of the line.
        line: usize,
        /// The image, where the line names one.
        image: Option<String>,
        /// Why.
        error: String,
    },
    /// `lists.auth-file` cannot be used.
    PullingWithoutCredentials {
        /// The list, for people.
        entry: String,
        /// Why.
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
    Ignored(PathBuf),
    /// The images directory is not there.
    DirectoryMissing(PathBuf),
    /// The files of entries cannot be seen any more. What they brought is kept.
    OutOfSight {
        /// The first of them.
        first: PathBuf,
        /// How many are out of sight now, in all.
        entries: usize,
    },
    /// No entry is out of sight any more.
    InSightAgain,
    /// Some of the images directory is polled; the text says why.
    Degraded(String),
    /// All of it is followed by events again.
    Restored,
    /// An image that no entry brings any more has lost its pin.
    Unpinned(String),
    /// Pins could not be looked after.
    PinsNotChecked(String),
    /// Nothing is unpinned: what this entry brings is not known.
    PinsHeld(PathBuf),
    /// The store did not list its images.
    StoreNotListed(String),
    /// The store is away; the first entry that waits for it.
    StoreAway {
        /// The entry.
        path: PathBuf,
        /// What the store said.
        error: String,
    },
    /// READY waits for these lists no longer.
    ListsOvertime {
        /// The lists.
        lists: Vec<PathBuf>,
        /// `lists.ready-timeout`.
        limit: Duration,
    },
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

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ContainerdStarted { pid, binary } => {
                write!(f, "containerd started: {binary}, pid {pid}")
            }
            Self::ContainerdAttached(address) => write!(f, "attaching to containerd: {address}"),
            Self::ContainerdAwaited { seconds, missing } => {
                write!(f, "waiting for containerd, {seconds} s: {missing}")
            }
            Self::ContainerdStopped { status, .. } => write!(f, "containerd stopped: {status}"),
            Self::Loaded(summary) => write!(f, "ready: {summary}"),
            Self::Reloaded(taken) if taken.is_empty() => f.write_str("reloaded; changed: nothing"),
            Self::Reloaded(taken) => write!(f, "reloaded; changed: {}", taken.join(" ")),
            Self::NotTakenBeforeRestart(left) => write!(
                f,
                "changed, and not taken before a restart: {}",
                left.join(" ")
            ),
            Self::NotReloaded(error) => write!(f, "not reloaded: {error}"),
            Self::Stopping(signal) => write!(f, "stopping: {signal}"),
            Self::StoppingAtOnce(signal) => write!(f, "stopping at once: {signal} again"),
            Self::Stopped(error) => write!(f, "stopped: {error}"),
            Self::Found {
                path,
                bytes,
                reason: FoundBecause::Noticed,
            } => write!(f, "found {}, {}", shown(path), iec(*bytes)),
            Self::Found {
                path,
                bytes,
                reason,
            } => write!(f, "found {}, {}, {reason}", shown(path), iec(*bytes)),
            Self::Skipped(path) => write!(f, "skipped {}: unchanged", shown(path)),
            Self::Missing { path, names } => write!(
                f,
                "bringing back what is missing of {}: {}",
                shown(path),
                names.join(" ")
            ),
            Self::Imported {
                path,
                kind,
                images,
                bytes,
                duration,
            } => {
                let size = match kind {
                    Kind::Archive => iec(*bytes).to_string(),
                    Kind::List => counted(images.len(), "image", "images"),
                };
                let (path, names) = (shown(path), first_names(images));
                let seconds = seconds(*duration);
                write!(f, "imported {path}: {names} ({size}, {seconds} s)")
            }
            Self::Failed {
                path,
                error,
                attempts,
                ..
            } => {
                write!(f, "failed {}: {error}", shown(path))?;
                match attempts {
                    0 => Ok(()),
                    _ => write!(f, " (attempt {attempts})"),
                }
            }
            Self::NotPulled {
                entry,
                line,
                image,
                error,
            } => {
                write!(f, "not pulled {entry}:{line}: ")?;
                if let Some(image) = image {
                    write!(f, "{image}: ")?;
                }
                f.write_str(error)
            }
            Self::PullingWithoutCredentials { error, .. } => {
                write!(f, "pulling without credentials: {error}")
            }
            Self::NotNamed { image, error } => write!(f, "not named {image}: {error}"),
            Self::Changed(path) => write!(
                f,
                "changed while it was read; reading it again: {}",
                shown(path)
            ),
            Self::GoneUnimported(path) => {
                write!(f, "gone before it was imported: {}", shown(path))
            }
            Self::Gone(path) => write!(f, "gone: {}", shown(path)),
            Self::Ignored(path) => {
                write!(f, "ignored: not an archive and not a list: {}", shown(path))
            }
            Self::DirectoryMissing(path) => {
                write!(f, "images directory missing: {}", shown(path))
            }
            Self::OutOfSight { first, entries } => write!(
                f,
                "out of sight: {}; what they brought stays pinned until their directory is back, \
                 the first: {}",
                counted(*entries, "entry", "entries"),
                shown(first)
            ),
            Self::InSightAgain => f.write_str("in sight again: all entries"),
            Self::Degraded(cause) => write!(f, "polling the images directory: {cause}"),
            Self::Restored => f.write_str("following the images directory again"),
            Self::Unpinned(name) => write!(f, "unpinned {name}: no entry brings it any more"),
            Self::PinsNotChecked(error) => write!(f, "pins not looked after: {error}"),
            Self::PinsHeld(path) => write!(
                f,
                "unpinning nothing until it is known what this brings: {}",
                shown(path)
            ),
            Self::StoreNotListed(error) => write!(
                f,
                "containerd does not list its images; trying again: {error}"
            ),
            Self::StoreAway { path, error } => write!(
                f,
                "containerd is away; trying again: {}: {error}",
                shown(path)
            ),
            Self::ListsOvertime { lists, limit } => {
                let lists = lists.iter().map(|path| shown(path)).collect::<Vec<_>>();
                let (lists, limit) = (lists.join(" "), humantime::format_duration(*limit));
                write!(
                    f,
                    "not waiting any longer for lists: {lists} (lists.ready-timeout, {limit})"
                )
            }
        }
    }
}

/// The first name of each image, as many as fit a line.
pub(crate) fn first_names(images: &[ImportedImage]) -> String {
    let first = images.iter().filter_map(|image| image.names.first());
    let mut names = first.cloned().collect::<Vec<_>>();
    first_few(&mut names);
    names.join(" ")
}

/// Seconds, to the millisecond.
pub fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

fn iec(bytes: u64) -> impl fmt::Display {
    ByteSize::b(bytes).display().iec()
}
