//! The one place that writes what happened to the log: a line each, with the id of its message and its
//! fields.
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
use crate::progress::Amount;

/// Writes the line, with its fields.
pub fn report(happened: impl Into<Happened>) {
    let happened = happened.into();
    let message_id = happened.message().id;
    match &happened {
        Happened::Daemon(event) => of_daemon(event, message_id),
        Happened::Process(event) => of_process(event, message_id),
        Happened::Output(event) => of_output(event, message_id),
        Happened::Store(event) => of_store(event, message_id),
        Happened::Found {
            path,
            bytes,
            reason,
        } => info!(message_id, entry = shown(path), bytes, %reason, "{happened}"),
        Happened::PinsHeld(path)
        | Happened::Skipped(path)
        | Happened::Changed(path)
        | Happened::GoneUnimported(path)
        | Happened::Gone(path) => {
            info!(message_id, entry = shown(path), "{happened}");
        }
        Happened::Missing { path, names } => {
            info!(
                message_id,
                entry = shown(path),
                names = first_of(names),
                "{happened}"
            );
        }
        Happened::LeftToInstance {
            path,
            instance,
            names,
        } => {
            let (entry, names) = (shown(path), first_of(names));
            warn!(message_id, entry, instance, names, "{happened}");
        }
        Happened::Damaged { path, damage } => {
            let mut images = damage
                .iter()
                .map(|one| one.image.clone())
                .collect::<Vec<_>>();
            images.dedup();
            first_few(&mut images);
            let (entry, images, blobs) = (shown(path), images.join(" "), damage.len());
            warn!(message_id, entry, images, blobs, "{happened}");
        }
        Happened::LeftDamaged { damage, .. } => {
            let blob = &damage.blob.digest;
            warn!(message_id, image = damage.image, %blob, "{happened}");
        }
        Happened::Scrubbed {
            blobs,
            bytes,
            damaged,
            ..
        } => info!(message_id, blobs, bytes, damaged, "{happened}"),
        Happened::Imported {
            path,
            images,
            bytes,
            duration,
            ..
        } => {
            let (entry, names) = (shown(path), first_names(images));
            let (images, seconds) = (images.len(), seconds(*duration));
            info!(
                message_id,
                entry, images, bytes, seconds, names, "{happened}"
            );
        }
        Happened::Failed {
            path,
            images,
            class,
            error,
            attempts,
            next_try,
        } => {
            let (entry, names) = (shown(path), first_names(images));
            let (images, next_try) = (images.len(), time(*next_try));
            let class = class.word();
            error!(
                message_id,
                entry, images, names, class, error, attempts, next_try, "{happened}"
            );
        }
        Happened::Unpacked {
            image,
            snapshots,
            duration,
        } => {
            let seconds = seconds(*duration);
            info!(message_id, image, snapshots, seconds, "{happened}");
        }
        Happened::SnapshotsMissing(image) => info!(message_id, image, "{happened}"),
        Happened::NotUnpacked {
            image,
            error,
            attempts,
            next_try,
        } => {
            let next_try = time(*next_try);
            error!(message_id, image, error, attempts, next_try, "{happened}");
        }
        Happened::NotPulled {
            entry, line, error, ..
        } => warn!(message_id, entry, line, error, "{happened}"),
        Happened::PullingWithoutCredentials { entry, error } => {
            warn!(message_id, entry, error, "{happened}");
        }
        Happened::LoginMissing { entry, cause } => info!(message_id, entry, cause, "{happened}"),
        Happened::NotLabelled {
            entry,
            image,
            error,
        } => warn!(message_id, entry, image, error, "{happened}"),
        Happened::Noted {
            entry,
            note: Note::Shadowed(Shadowed { name, image }),
        } => info!(message_id, entry, %name, image, "{happened}"),
        Happened::Noted { entry, note } => info!(message_id, entry, %note, "{happened}"),
        Happened::NotNamed { image, error } => warn!(message_id, image, error, "{happened}"),
        Happened::Ignored(ignored) => info!(message_id, path = shown(&ignored.path), "{happened}"),
        Happened::NoList { path, error } => {
            warn!(message_id, entry = shown(path), error, "{happened}");
        }
        Happened::DirectoryMissing(path) => warn!(message_id, path = shown(path), "{happened}"),
        Happened::OutOfSight { first, entries } => {
            warn!(message_id, entry = shown(first), entries, "{happened}");
        }
        Happened::Baked { entries, images } => {
            info!(message_id, entries, images, "{happened}");
        }
        Happened::InSightAgain | Happened::Restored | Happened::StoreReturned => {
            info!(message_id, "{happened}")
        }
        Happened::Degraded(cause) => warn!(message_id, cause, "{happened}"),
        Happened::Unpinned(image) => info!(message_id, image, "{happened}"),
        Happened::NotUnpinned(error)
        | Happened::StoreNotListed(error)
        | Happened::StoreSilent(error) => {
            warn!(message_id, error, "{happened}");
        }
        Happened::StoreAway { path, error } => {
            warn!(message_id, entry = shown(path), error, "{happened}");
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
            warn!(message_id, entry, image = %digest, by, other = %other, names, "{happened}");
        }
        Happened::SandboxImageMissing(image) => warn!(message_id, image, "{happened}"),
        Happened::SandboxImageThere(image) => info!(message_id, image, "{happened}"),
        Happened::GivenUp { path, names } => {
            warn!(
                message_id,
                entry = shown(path),
                names = first_of(names),
                "{happened}"
            );
        }
        Happened::ListsOvertime { lists, .. } => {
            warn!(message_id, lists = first_paths(lists), "{happened}")
        }
    }
}

fn of_daemon(event: &DaemonEvent, message_id: &str) {
    match event {
        DaemonEvent::FilterIgnored(cause) => warn!(message_id, cause, "{event}"),
        DaemonEvent::ConfigDoubtful(_) | DaemonEvent::LedgerNotSaved => {
            warn!(message_id, "{event}")
        }
        DaemonEvent::StatusNotWritten { path, error }
        | DaemonEvent::StateDirNotWritten { path, error }
        | DaemonEvent::StateDirNotLocked { path, error } => {
            warn!(message_id, path = shown(path), error, "{event}");
        }
        DaemonEvent::MetricsServed(address) => info!(message_id, address, "{event}"),
        DaemonEvent::BakedSetWritten {
            path,
            entries,
            images,
        } => info!(message_id, path = shown(path), entries, images, "{event}"),
        DaemonEvent::MetricsNotServed(error)
        | DaemonEvent::BakedSetNotChanged(error)
        | DaemonEvent::LedgerNotUsed(error)
        | DaemonEvent::LedgerNotWritten(error)
        | DaemonEvent::ManagerNotTold(error) => warn!(message_id, error, "{event}"),
        DaemonEvent::UncleanStop(since) => {
            warn!(message_id, since = %humantime::format_rfc3339_seconds(*since), "{event}");
        }
        DaemonEvent::LedgerOfAnother { path, names, .. } => {
            info!(message_id, path = shown(path), names, "{event}");
        }
        DaemonEvent::LedgerWrittenAgain(path) => info!(message_id, path = shown(path), "{event}"),
        DaemonEvent::Loading {
            entries,
            open,
            amount: Amount { done, total },
            speed,
            ..
        } => {
            let bytes_per_second = speed.map_or(0, |speed| speed.bytes_per_second);
            let left = speed.and_then(|speed| speed.left);
            let seconds_left = left.map_or_else(String::new, |left| left.as_secs().to_string());
            info!(
                message_id,
                entries,
                open,
                bytes = done,
                size = total,
                bytes_per_second,
                seconds_left,
                "{event}"
            );
        }
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
            info!(
                message_id,
                images, entries, failed, ignored, unpacked, "{event}"
            );
        }
        DaemonEvent::Reloaded(taken) => info!(message_id, taken = taken.join(" "), "{event}"),
        DaemonEvent::NotTakenBeforeRestart(left) => {
            warn!(message_id, left = left.join(" "), "{event}")
        }
        DaemonEvent::NotReloaded(error) | DaemonEvent::Stopped(error) => {
            error!(message_id, error, "{event}")
        }
        DaemonEvent::Stopping(signal) => info!(message_id, signal, "{event}"),
        DaemonEvent::StoppingAtOnce(signal) => warn!(message_id, signal, "{event}"),
    }
}

fn of_process(event: &ProcessEvent, message_id: &str) {
    match event {
        ProcessEvent::LeftoverFound(pid)
        | ProcessEvent::Killing(pid)
        | ProcessEvent::Abandoned(pid) => warn!(message_id, pid, "{event}"),
        ProcessEvent::LeftoverStopped(pid) | ProcessEvent::Stopping(pid) => {
            info!(message_id, pid, "{event}")
        }
        ProcessEvent::Started { pid, binary } => info!(message_id, pid, binary, "{event}"),
        ProcessEvent::Attached(address) => info!(message_id, address, "{event}"),
        ProcessEvent::Awaited { seconds, missing } => {
            info!(message_id, seconds, missing, "{event}")
        }
        ProcessEvent::Overdue { pid, limit } => warn!(message_id, pid, timeout = ?limit, "{event}"),
        ProcessEvent::NotWaitedFor(error) => warn!(message_id, error, "{event}"),
        ProcessEvent::Stopped { pid, status } => info!(message_id, pid, status, "{event}"),
    }
}

fn of_output(event: &OutputEvent, message_id: &str) {
    match event {
        OutputEvent::FileNotRotated { file, error }
        | OutputEvent::FileNotWritten { file, error } => {
            error!(message_id, file = shown(file), error, "{event}");
        }
        OutputEvent::FileWrittenAgain { file, lines } => {
            warn!(message_id, file = shown(file), lines, "{event}");
        }
        OutputEvent::NotTidied { directory, error } => {
            warn!(message_id, directory = shown(directory), error, "{event}");
        }
        OutputEvent::Dropped(lines) => warn!(message_id, lines, "{event}"),
        OutputEvent::NotAwaited => warn!(message_id, "{event}"),
        OutputEvent::ReaderPanicked => error!(message_id, "{event}"),
    }
}

fn of_store(event: &StoreEvent, message_id: &str) {
    match event {
        StoreEvent::WritingDirectly(path) => info!(message_id, path = shown(path), "{event}"),
        StoreEvent::SendingBlobs(cause) | StoreEvent::SandboxImageUnknown(cause) => {
            info!(message_id, cause, "{event}");
        }
        StoreEvent::DirectWritesEnded(cause) => warn!(message_id, cause, "{event}"),
        StoreEvent::DeletionsHeardAgain => info!(message_id, "{event}"),
        StoreEvent::DeletionsNotHeard(error)
        | StoreEvent::InstanceNotHeld(error)
        | StoreEvent::LeasesNotFound(error)
        | StoreEvent::LeasesNotCleared { error, .. }
        | StoreEvent::LeaseNotReleased(error) => warn!(message_id, error, "{event}"),
    }
}

/// Nothing where it is not tried again by itself.
fn time(time: Option<SystemTime>) -> String {
    let time = time.map(humantime::format_rfc3339_seconds);
    time.map_or_else(String::new, |time| time.to_string())
}
