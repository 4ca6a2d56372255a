//! The one place that writes what happened to the log: a line each, with its fields.
//!
//! Lines at debug and trace are for developers, and are written where they arise.

use std::time::SystemTime;

use tracing::{error, info, warn};

use crate::entry::shown;
use crate::happened::{
    DaemonEvent, Happened, OutputEvent, ProcessEvent, StoreEvent, first_names, first_of,
    first_paths, seconds,
};
use crate::layout::Note;
use crate::ledger::{OverruledImage, Summary};
use crate::naming::Shadowed;
use crate::one_line::first_few;

/// Writes the line, with its fields.
pub fn report(happened: impl Into<Happened>) {
    let happened = happened.into();
    match &happened {
        Happened::Daemon(event) => of_daemon(event),
        Happened::Process(event) => of_process(event),
        Happened::Output(event) => of_output(event),
        Happened::Store(event) => of_store(event),
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
            info!(entry = shown(path), names = first_of(names), "{happened}");
        }
        Happened::LeftToInstance {
            path,
            instance,
            names,
        } => {
            let (entry, names) = (shown(path), first_of(names));
            warn!(entry, instance, names, "{happened}");
        }
        Happened::Damaged { path, damage } => {
            let mut images = damage
                .iter()
                .map(|one| one.image.clone())
                .collect::<Vec<_>>();
            images.dedup();
            first_few(&mut images);
            let (entry, images, blobs) = (shown(path), images.join(" "), damage.len());
            warn!(entry, images, blobs, "{happened}");
        }
        Happened::LeftDamaged { damage, .. } => {
            let blob = &damage.blob.digest;
            warn!(image = damage.image, %blob, "{happened}");
        }
        Happened::Scrubbed {
            blobs,
            bytes,
            damaged,
            ..
        } => info!(blobs, bytes, damaged, "{happened}"),
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
        Happened::Unpacked { image, snapshots } => info!(image, snapshots, "{happened}"),
        Happened::SnapshotsMissing(image) => info!(image, "{happened}"),
        Happened::NotUnpacked {
            image,
            error,
            attempts,
            next_try,
        } => {
            let next_try = time(*next_try);
            error!(image, error, attempts, next_try, "{happened}");
        }
        Happened::NotPulled {
            entry, line, error, ..
        } => warn!(entry, line, error, "{happened}"),
        Happened::PullingWithoutCredentials { entry, error } => {
            warn!(entry, error, "{happened}");
        }
        Happened::LoginMissing { entry, cause } => info!(entry, cause, "{happened}"),
        Happened::NotLabelled {
            entry,
            image,
            error,
        } => warn!(entry, image, error, "{happened}"),
        Happened::Noted {
            entry,
            note: Note::Shadowed(Shadowed { name, image }),
        } => info!(entry, %name, image, "{happened}"),
        Happened::Noted { entry, note } => info!(entry, %note, "{happened}"),
        Happened::NotNamed { image, error } => warn!(image, error, "{happened}"),
        Happened::Ignored(ignored) => info!(path = shown(&ignored.path), "{happened}"),
        Happened::NoList { path, error } => {
            warn!(entry = shown(path), error, "{happened}");
        }
        Happened::DirectoryMissing(path) => warn!(path = shown(path), "{happened}"),
        Happened::OutOfSight { first, entries } => {
            warn!(entry = shown(first), entries, "{happened}");
        }
        Happened::InSightAgain | Happened::Restored | Happened::StoreReturned => {
            info!("{happened}")
        }
        Happened::Degraded(cause) => warn!(cause, "{happened}"),
        Happened::Unpinned(image) => info!(image, "{happened}"),
        Happened::NotUnpinned(error)
        | Happened::StoreNotListed(error)
        | Happened::StoreSilent(error) => {
            warn!(error, "{happened}");
        }
        Happened::StoreAway { path, error } => {
            warn!(entry = shown(path), error, "{happened}");
        }
        Happened::Overruled(image) => {
            let OverruledImage {
                entry,
                digest,
                by,
                other,
                names,
            } = image;
            let (entry, by, names) = (shown(entry), shown(by), first_of(names));
            warn!(entry, image = %digest, by, other = %other, names, "{happened}");
        }
        Happened::SandboxImageMissing(image) => warn!(image, "{happened}"),
        Happened::SandboxImageThere(image) => info!(image, "{happened}"),
        Happened::GivenUp { path, names } => {
            warn!(entry = shown(path), names = first_of(names), "{happened}");
        }
        Happened::ListsOvertime { lists, .. } => warn!(lists = first_paths(lists), "{happened}"),
    }
}

fn of_daemon(event: &DaemonEvent) {
    match event {
        DaemonEvent::FilterIgnored(cause) => warn!(cause, "{event}"),
        DaemonEvent::ConfigDoubtful(_) | DaemonEvent::LedgerNotSaved => warn!("{event}"),
        DaemonEvent::StateDirNotWritten { path, error }
        | DaemonEvent::StateDirNotLocked { path, error } => {
            warn!(path = shown(path), error, "{event}");
        }
        DaemonEvent::LedgerNotUsed(error)
        | DaemonEvent::LedgerNotWritten(error)
        | DaemonEvent::ManagerNotTold(error) => warn!(error, "{event}"),
        DaemonEvent::UncleanStop(since) => {
            warn!(since = %humantime::format_rfc3339_seconds(*since), "{event}");
        }
        DaemonEvent::LedgerOfAnother { path, names, .. } => {
            info!(path = shown(path), names, "{event}");
        }
        DaemonEvent::LedgerWrittenAgain(path) => info!(path = shown(path), "{event}"),
        DaemonEvent::Loaded {
            summary,
            ignored,
            unpacked,
        } => {
            let Summary {
                images,
                entries,
                failed,
            } = summary;
            let unpacked = unpacked.map_or(0, |tally| tally.unpacked);
            info!(images, entries, failed, ignored, unpacked, "{event}");
        }
        DaemonEvent::Reloaded(taken) => info!(taken = taken.join(" "), "{event}"),
        DaemonEvent::NotTakenBeforeRestart(left) => warn!(left = left.join(" "), "{event}"),
        DaemonEvent::NotReloaded(error) | DaemonEvent::Stopped(error) => error!(error, "{event}"),
        DaemonEvent::Stopping(signal) => info!(signal, "{event}"),
        DaemonEvent::StoppingAtOnce(signal) => warn!(signal, "{event}"),
    }
}

fn of_process(event: &ProcessEvent) {
    match event {
        ProcessEvent::LeftoverFound(pid)
        | ProcessEvent::Killing(pid)
        | ProcessEvent::Abandoned(pid) => warn!(pid, "{event}"),
        ProcessEvent::LeftoverStopped(pid) | ProcessEvent::Stopping(pid) => info!(pid, "{event}"),
        ProcessEvent::Started { pid, binary } => info!(pid, binary, "{event}"),
        ProcessEvent::Attached(address) => info!(address, "{event}"),
        ProcessEvent::Awaited { seconds, missing } => info!(seconds, missing, "{event}"),
        ProcessEvent::Overdue { pid, limit } => warn!(pid, timeout = ?limit, "{event}"),
        ProcessEvent::NotWaitedFor(error) => warn!(error, "{event}"),
        ProcessEvent::Stopped { pid, status } => info!(pid, status, "{event}"),
    }
}

fn of_output(event: &OutputEvent) {
    match event {
        OutputEvent::FileNotRotated { file, error }
        | OutputEvent::FileNotWritten { file, error } => {
            error!(file = shown(file), error, "{event}");
        }
        OutputEvent::FileWrittenAgain { file, lines } => {
            warn!(file = shown(file), lines, "{event}");
        }
        OutputEvent::NotTidied { directory, error } => {
            warn!(directory = shown(directory), error, "{event}");
        }
        OutputEvent::Dropped(lines) => warn!(lines, "{event}"),
        OutputEvent::NotAwaited => warn!("{event}"),
        OutputEvent::ReaderPanicked => error!("{event}"),
    }
}

fn of_store(event: &StoreEvent) {
    match event {
        StoreEvent::WritingDirectly(path) => info!(path = shown(path), "{event}"),
        StoreEvent::SendingBlobs(cause) | StoreEvent::SandboxImageUnknown(cause) => {
            info!(cause, "{event}");
        }
        StoreEvent::DirectWritesEnded(cause) => warn!(cause, "{event}"),
        StoreEvent::SnapshotterUnknown { taken, cause } => warn!(taken, cause, "{event}"),
        StoreEvent::DeletionsHeardAgain => info!("{event}"),
        StoreEvent::DeletionsNotHeard(error)
        | StoreEvent::InstanceNotHeld(error)
        | StoreEvent::LeasesNotFound(error)
        | StoreEvent::LeasesNotCleared { error, .. }
        | StoreEvent::LeaseNotReleased(error) => warn!(error, "{event}"),
    }
}

/// Nothing where it is not tried again by itself.
fn time(time: Option<SystemTime>) -> String {
    let time = time.map(humantime::format_rfc3339_seconds);
    time.map_or_else(String::new, |time| time.to_string())
}
