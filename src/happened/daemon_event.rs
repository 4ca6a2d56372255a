//! What happens to stowd itself: its start and end, its configuration and its own files.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::entry::shown;
use crate::ledger::Summary;
use crate::progress::{Amount, Speed, counted};
use crate::unpack::UnpackTally;

#[derive(Debug, Clone, PartialEq)]
pub enum DaemonEvent {
    /// `RUST_LOG` is not a filter, and is left; the text says why.
    FilterIgnored(String),
    /// The configuration is in force, and something about it should be mended.
    ConfigDoubtful(String),
    /// The state directory, or the lock in it, cannot be written. It is used as it is.
    StateDirNotWritten { path: PathBuf, error: String },
    /// Whether another stowd uses the state directory cannot be told.
    StateDirNotLocked { path: PathBuf, error: String },
    /// The kernel has ended under an earlier run: what was brought since then may have lost something.
    UncleanStop(SystemTime),
    /// A ledger's file, or part of it, is not used.
    LedgerNotUsed(String),
    /// A ledger is of another images directory, and is left as it is.
    LedgerOfAnother {
        path: PathBuf,
        /// The directory; `None` where an older stowd has not said it.
        images_dir: Option<PathBuf>,
        /// How many names of images it has.
        names: usize,
    },
    /// What stowd knows is in memory alone until a write succeeds.
    LedgerNotWritten(String),
    /// Writes succeed again; the file.
    LedgerWrittenAgain(PathBuf),
    /// `status.json` is not what it should be until a write succeeds.
    StatusNotWritten { path: PathBuf, error: String },
    /// Metrics are served here.
    MetricsServed(String),
    /// They are not, until the address can be listened on; the text says why.
    MetricsNotServed(String),
    /// stowd ends, and the disk has not taken the ledger in time.
    LedgerNotSaved,
    /// The service manager did not take a message.
    ManagerNotTold(String),
    /// The work goes on, and takes long.
    Loading {
        /// What is done, as the status tells it.
        status: String,
        /// Entries that have an outcome, and those that have none.
        entries: usize,
        open: usize,
        amount: Amount,
        speed: Option<Speed>,
    },
    /// The initial load is over: READY=1 is sent.
    Loaded {
        summary: Summary,
        /// Files that are no entries.
        ignored: usize,
        /// Of images, where stowd unpacks them.
        unpacked: Option<UnpackTally>,
    },
    /// A run with `--keep` has written the baked set.
    BakedSetWritten {
        path: PathBuf,
        /// How many entries it has, in all.
        entries: usize,
        images: usize,
    },
    /// The baked set on disk could not be changed: what was released is of it again with the next start.
    BakedSetNotChanged(String),
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
}

impl fmt::Display for DaemonEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FilterIgnored(cause) => {
                write!(f, "RUST_LOG is no filter, log-level is used: {cause}")
            }
            Self::ConfigDoubtful(warning) => write!(f, "configuration: {warning}"),
            Self::StateDirNotWritten { path, error } => write!(
                f,
                "state directory cannot be written: {}: {error}",
                shown(path)
            ),
            Self::StateDirNotLocked { path, error } => write!(
                f,
                "state directory cannot be locked: {}: {error}",
                shown(path)
            ),
            Self::UncleanStop(since) => write!(
                f,
                "unclean stop: the machine went down under stowd; reading what was brought since {} after \
                 READY",
                humantime::format_rfc3339_seconds(*since)
            ),
            Self::LedgerNotUsed(error) => write!(
                f,
                "ledger not used in full: {error}; what it knew is imported again"
            ),
            Self::LedgerOfAnother {
                path,
                images_dir,
                names,
            } => write!(
                f,
                "ledger of another images directory: {} of {}: {names} names stay pinned; remove the file to \
                 have them unpinned",
                shown(path),
                images_dir.as_deref().map_or("unknown".to_owned(), shown)
            ),
            Self::LedgerNotWritten(error) => write!(f, "ledger not written: {error}"),
            Self::LedgerWrittenAgain(path) => write!(f, "ledger written again: {}", shown(path)),
            Self::StatusNotWritten { path, error } => {
                write!(f, "status not written: {}: {error}", shown(path))
            }
            Self::MetricsServed(address) => write!(f, "metrics served: {address}"),
            Self::MetricsNotServed(error) => {
                write!(f, "metrics not served; trying again: {error}")
            }
            Self::LedgerNotSaved => f.write_str("ledger not saved in time"),
            Self::ManagerNotTold(error) => write!(f, "service manager not told: {error}"),
            Self::Loading { status, .. } => write!(f, "loading: {status}"),
            Self::Loaded {
                summary,
                ignored,
                unpacked,
            } => {
                write!(f, "ready: {summary}")?;
                if let Some(unpacked) = unpacked {
                    write!(f, ", {unpacked}")?;
                }
                match ignored {
                    0 => Ok(()),
                    ignored => write!(f, ", {ignored} ignored"),
                }
            }
            Self::BakedSetWritten {
                path,
                entries,
                images,
            } => write!(
                f,
                "kept for good: {} of {}, whatever becomes of the files: {}",
                counted(*images, "image", "images"),
                counted(*entries, "entry", "entries"),
                shown(path)
            ),
            Self::BakedSetNotChanged(error) => write!(f, "baked set not changed: {error}"),
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
        }
    }
}
