//! The messages of what happens to entries and images.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;

use super::{FoundBecause, Happened, ScrubReason};
use crate::compression::archive_name;
use crate::entry::{Kind, file_name, shown};
use crate::layout::Note;
use crate::ledger::{ImportedImage, OverruledImage};
use crate::one_line::first_few;
use crate::progress::counted;
use crate::source_event::{Ignored, LooksLike};

impl fmt::Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon(event) => event.fmt(f),
            Self::Process(event) => event.fmt(f),
            Self::Output(event) => event.fmt(f),
            Self::Store(event) => event.fmt(f),
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
                first_of(names)
            ),
            Self::LeftToInstance {
                path,
                instance,
                names,
            } => write!(
                f,
                "left to instance {instance}, which has pinned other images under these names of {}: {}",
                shown(path),
                first_of(names)
            ),
            Self::Damaged { path, damage } => {
                let mut damage = damage.iter().map(ToString::to_string).collect();
                first_few(&mut damage);
                let (path, damage) = (shown(path), damage.join("; "));
                write!(f, "bringing back what is damaged of {path}: {damage}")
            }
            Self::LeftDamaged { damage, is_brought } => {
                write!(f, "damaged, and left as it is: {damage}")?;
                match is_brought {
                    true => Ok(()),
                    false => f.write_str("; no entry in sight brings it"),
                }
            }
            Self::Scrubbed {
                reason,
                blobs,
                bytes,
                damaged,
            } => {
                let (blobs, bytes) = (counted(*blobs, "blob", "blobs"), iec(*bytes));
                let reason = match reason {
                    ScrubReason::Due => "images.scrub",
                    ScrubReason::UncleanStop => "an unclean stop",
                };
                write!(f, "scrubbed {blobs}, {bytes}, {damaged} damaged ({reason})")
            }
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
            Self::Unpacked {
                image,
                snapshots,
                duration,
            } => {
                let snapshots = counted(*snapshots, "new snapshot", "new snapshots");
                let seconds = seconds(*duration);
                write!(f, "unpacked {image}: {snapshots} ({seconds} s)")
            }
            Self::SnapshotsMissing(image) => {
                write!(f, "unpacking again, snapshots are missing: {image}")
            }
            Self::NotUnpacked {
                image,
                error,
                attempts,
                ..
            } => write!(f, "not unpacked {image}: {error} (attempt {attempts})"),
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
            Self::LoginMissing { cause, .. } => write!(f, "lists.auth-file: {cause}"),
            Self::NotLabelled { image, error, .. } => write!(f, "not labelled {image}: {error}"),
            Self::Noted {
                entry,
                note: note @ Note::Shadowed(_),
            } => {
                write!(f, "shadowed in {entry}: {note}")
            }
            Self::Noted { entry, note } => write!(f, "note on {entry}: {note}"),
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
            Self::Ignored(Ignored { path, looks_like }) => match looks_like {
                LooksLike::Nothing => {
                    write!(f, "ignored: not an archive and not a list: {}", shown(path))
                }
                LooksLike::OciLayout => {
                    let directory = shown(path.parent().unwrap_or(path));
                    write!(
                        f,
                        "ignored: a directory with an OCI layout; make an archive of it \
                         (tar -cf IMAGES.tar -C DIRECTORY .): {directory}"
                    )
                }
                LooksLike::Archive(compression) => {
                    let name = archive_name(&file_name(path), *compression);
                    write!(
                        f,
                        "ignored: looks like an archive ({compression}), and would count as {name}: {}",
                        shown(path)
                    )
                }
            },
            Self::NoList { path, error } => {
                write!(f, "ignored: no list of images: {}: {error}", shown(path))
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
            Self::Baked { entries, images } => write!(
                f,
                "baked: {} of {} kept for good, without the files",
                counted(*images, "image", "images"),
                counted(*entries, "entry", "entries"),
            ),
            Self::InSightAgain => f.write_str("in sight again: all entries"),
            Self::Degraded(cause) => write!(f, "polling the images directory: {cause}"),
            Self::Restored => f.write_str("following the images directory again"),
            Self::Unpinned(name) => write!(f, "unpinned {name}: no entry brings it any more"),
            Self::PinsHeld(path) => write!(
                f,
                "unpinning nothing until it is known what this brings: {}",
                shown(path)
            ),
            Self::NotUnpinned(error) => {
                write!(f, "images not unpinned; trying again: {error}")
            }
            Self::StoreNotListed(error) => write!(
                f,
                "containerd does not list its images; trying again: {error}"
            ),
            Self::StoreAway { path, error } => write!(
                f,
                "containerd is away; trying again: {}: {error}",
                shown(path)
            ),
            Self::Overruled(OverruledImage {
                entry,
                digest,
                by,
                other,
                names,
            }) => {
                let (names, entry, by) = (first_of(names), shown(entry), shown(by));
                write!(
                    f,
                    "shadowed by a later entry: {names} of {entry} ({digest}): in {by} it is {other}"
                )
            }
            Self::SandboxImageMissing(name) => write!(
                f,
                "sandbox image missing: {name}: without it no pod starts offline; put an archive with it \
                 into the images directory, or name one that is there in containerd's configuration \
                 (sandbox_image; from 2.0 on pinned_images.sandbox)"
            ),
            Self::SandboxImageThere(name) => write!(f, "sandbox image there: {name}"),
            Self::StoreSilent(error) => {
                write!(f, "containerd does not answer; waiting for it: {error}")
            }
            Self::StoreReturned => f.write_str("containerd answers again; checking what it has"),
            Self::GivenUp { path, names } => write!(
                f,
                "given up {}: what is brought back of it disappears again: {}",
                shown(path),
                first_of(names)
            ),
            Self::ListsOvertime { lists, limit } => {
                let (lists, limit) = (first_paths(lists), humantime::format_duration(*limit));
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
    first_of(&first.cloned().collect::<Vec<_>>())
}

/// As many names as fit a line.
pub(crate) fn first_of(names: &[String]) -> String {
    let mut names = names.to_vec();
    first_few(&mut names);
    names.join(" ")
}

/// As many paths as fit a line.
pub(crate) fn first_paths(paths: &[PathBuf]) -> String {
    first_of(&paths.iter().map(|path| shown(path)).collect::<Vec<_>>())
}

/// Seconds, to the millisecond.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}

fn iec(bytes: u64) -> impl fmt::Display {
    ByteSize::b(bytes).display().iec()
}
