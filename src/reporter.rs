//! The one place that writes what happened to the log: a line each, with its fields.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tracing::{error, info, warn};

use crate::entry::shown;
use crate::happened::{Happened, first_names, seconds};
use crate::ledger::Summary;

/// Writes the line, with its fields.
pub fn report(happened: &Happened) {
    match happened {
        Happened::ContainerdStarted { pid, binary } => info!(pid, binary, "{happened}"),
        Happened::ContainerdAttached(address) => info!(address, "{happened}"),
        Happened::ContainerdAwaited { seconds, missing } => info!(seconds, missing, "{happened}"),
        Happened::ContainerdStopped { pid, status } => info!(pid, status, "{happened}"),
        Happened::Loaded(Summary {
            images,
            entries,
            failed,
        }) => info!(images, entries, failed, "{happened}"),
        Happened::Reloaded(taken) => info!(taken = taken.join(" "), "{happened}"),
        Happened::NotTakenBeforeRestart(left) => warn!(left = left.join(" "), "{happened}"),
        Happened::NotReloaded(error) | Happened::Stopped(error) => error!(error, "{happened}"),
        Happened::Stopping(signal) => info!(signal, "{happened}"),
        Happened::StoppingAtOnce(signal) => warn!(signal, "{happened}"),
        Happened::Found {
            path,
            bytes,
            reason,
        } => info!(entry = shown(path), bytes, %reason, "{happened}"),
        Happened::PinsHeld(path)
        | Happened::Skipped(path)
        | Happened::Changed(path)
        | Happened::GoneUnimported(path)
        | Happened::Gone(path) => {
            info!(entry = shown(path), "{happened}");
        }
        Happened::Missing { path, names } => {
            info!(entry = shown(path), names = names.join(" "), "{happened}");
        }
        Happened::Imported {
            path,
            images,
            bytes,
            duration,
            ..
        } => {
            let (entry, names) = (shown(path), first_names(images));
            let (images, seconds) = (images.len(), seconds(*duration));
            info!(entry, images, bytes, seconds, names, "{happened}");
        }
        Happened::Failed {
            path,
            images,
            error,
            attempts,
            next_try,
        } => {
            let (entry, names) = (shown(path), first_names(images));
            let (images, next_try) = (images.len(), time(*next_try));
            error!(
                entry,
                images, names, error, attempts, next_try, "{happened}"
            );
        }
        Happened::NotPulled {
            entry, line, error, ..
        } => warn!(entry, line, error, "{happened}"),
        Happened::PullingWithoutCredentials { entry, error } => {
            warn!(entry, error, "{happened}");
        }
        Happened::NotNamed { image, error } => warn!(image, error, "{happened}"),
        Happened::Ignored(path) => info!(path = shown(path), "{happened}"),
        Happened::DirectoryMissing(path) => warn!(path = shown(path), "{happened}"),
        Happened::OutOfSight { first, entries } => {
            warn!(entry = shown(first), entries, "{happened}");
        }
        Happened::InSightAgain | Happened::Restored => info!("{happened}"),
        Happened::Degraded(cause) => warn!(cause, "{happened}"),
        Happened::Unpinned(image) => info!(image, "{happened}"),
        Happened::PinsNotChecked(error) | Happened::StoreNotListed(error) => {
            warn!(error, "{happened}");
        }
        Happened::StoreAway { path, error } => {
            warn!(entry = shown(path), error, "{happened}");
        }
        Happened::ListsOvertime { lists, .. } => warn!(lists = paths(lists), "{happened}"),
    }
}

fn paths(paths: &[PathBuf]) -> String {
    let paths = paths.iter().map(|path| shown(Path::new(path)));
    paths.collect::<Vec<_>>().join(" ")
}

/// Nothing where it is not tried again by itself.
fn time(time: Option<SystemTime>) -> String {
    let time = time.map(humantime::format_rfc3339_seconds);
    time.map_or_else(String::new, |time| time.to_string())
}
