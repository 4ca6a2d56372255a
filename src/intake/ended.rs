//! What came of an import: the ledger's record, and the next try of what has failed.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};

use crate::entry::{Entry, Identity, Kind, Verdict, shown};
use crate::image_store::{ImageStore, StoreError};
use crate::importer::{ImportError, ImportReport};
use crate::ledger::{Attempt, Imported, ImportedImage, Keeps, Outcome, Record};
use crate::progress::counted;
use crate::puller::{PullListError, PullReport};
use crate::shown::first_few;

use super::{Intake, Running, STORE_AWAY, iec};

/// What came of an entry that was gone through.
pub(super) struct Brought {
    images: Vec<ImportedImage>,
    problems: Vec<String>,
    identity: Identity,
    keeps: Keeps,
    not_before: Duration,
}

/// Why an entry was not gone through, as far as anything is done about it.
pub(super) enum Unread {
    /// The file is not the one that was to be read.
    Changed,
    /// The store is away: it says nothing about the entry.
    Away(String),
    /// Anything else.
    Failed(String),
}

impl From<ImportReport> for Brought {
    fn from(report: ImportReport) -> Self {
        Self {
            images: report.images,
            problems: report.problems,
            identity: report.identity,
            keeps: Keeps::All,
            not_before: Duration::ZERO,
        }
    }
}

impl From<PullReport> for Brought {
    fn from(report: PullReport) -> Self {
        Self {
            images: report.images,
            problems: report.problems,
            identity: report.identity,
            keeps: report.keeps,
            not_before: report.not_before.unwrap_or_default(),
        }
    }
}

impl From<ImportError> for Unread {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Changed => Self::Changed,
            away if away.is_store_away() => Self::Away(away.to_string()),
            other => Self::Failed(other.to_string()),
        }
    }
}

impl From<PullListError> for Unread {
    fn from(error: PullListError) -> Self {
        match error {
            PullListError::Changed => Self::Changed,
            PullListError::Store(away @ StoreError::Unreachable { .. }) => {
                Self::Away(away.to_string())
            }
            other => Self::Failed(other.to_string()),
        }
    }
}

/// An entry that failed.
pub(super) struct Failed {
    identity: Option<Identity>,
    error: String,
    imported: Imported,
    keeps: Keeps,
    not_before: Duration,
}

impl Failed {
    /// Nothing came of it. `identity`: which version it is about, if it could be looked at.
    pub(super) fn new(identity: impl Into<Option<Identity>>, error: String) -> Self {
        Self {
            identity: identity.into(),
            error,
            imported: Imported::default(),
            keeps: Keeps::All,
            not_before: Duration::ZERO,
        }
    }
}

impl<S: ImageStore> Intake<S> {
    pub(super) fn read(&mut self, entry: Entry, result: Result<Brought, Unread>) {
        self.queue.finished(&entry.path);
        let running = self.running.remove(&entry.path);
        let duration = running
            .as_ref()
            .map_or(Duration::ZERO, |r| r.begun.elapsed());
        self.moved += running.as_ref().map_or(0, |running| running.meter.moved());
        self.upkeep.ask(self.settings.settle);
        if !matches!(result, Err(Unread::Changed)) {
            self.unsettled.remove(&entry.path);
        }
        // It may have gone while it was read, by a name that the watch cannot tell.
        self.look_now(&entry.path);
        match result {
            Ok(brought) => {
                let imported = Imported {
                    images: brought.images,
                    bytes: brought.identity.size,
                    duration,
                };
                self.away_until = None;
                if brought.problems.is_empty() {
                    self.imported(&entry, brought.identity, imported, running);
                } else {
                    let failed = Failed {
                        imported,
                        keeps: brought.keeps,
                        not_before: brought.not_before,
                        ..Failed::new(brought.identity, brought.problems.join("; "))
                    };
                    self.failed(&entry.path, failed);
                    self.try_again(entry);
                }
            }
            Err(Unread::Changed) => self.read_again(entry),
            Err(Unread::Away(error)) => {
                // One line an outage: all entries would say the same.
                if self
                    .away_until
                    .replace(Instant::now() + STORE_AWAY)
                    .is_none()
                {
                    let path = shown(&entry.path);
                    warn!(
                        entry = path,
                        error, "containerd is away; trying again: {path}: {error}"
                    );
                }
                // Unless a newer version of it waits already.
                if self.queue.waiting(&entry.path).is_none() {
                    self.enqueue(entry, Duration::ZERO);
                }
            }
            Err(Unread::Failed(error)) => {
                self.failed(&entry.path, Failed::new(entry.identity, error));
                self.try_again(entry);
            }
        }
    }

    /// The file became another one: that one is imported, once it has settled.
    fn read_again(&mut self, entry: Entry) {
        if self.queue.waiting(&entry.path).is_some() {
            return;
        }
        match std::fs::metadata(&entry.path) {
            Ok(metadata) => {
                let path = shown(&entry.path);
                info!(
                    entry = path,
                    "changed while it was read; reading it again: {path}"
                );
                let identity = Identity::of(&metadata);
                // It grows: that is bytes that move, if not by stowd.
                self.moved += 1;
                self.wait_until_whole(Entry { identity, ..entry });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = shown(&entry.path);
                info!(entry = path, "gone before it was imported: {path}");
            }
            Err(error) => {
                let error = format!("cannot be read: {error}");
                self.failed(&entry.path, Failed::new(None, error));
            }
        }
    }

    fn imported(
        &mut self,
        read: &Entry,
        identity: Identity,
        imported: Imported,
        running: Option<Running>,
    ) {
        let (entry, images, bytes) = (shown(&read.path), imported.images.len(), imported.bytes);
        let (seconds, names) = (seconds(imported.duration), names(&imported));
        let size = match read.kind {
            Kind::Archive => iec(bytes).to_string(),
            Kind::List => counted(images, "image", "images"),
        };
        info!(
            entry,
            images, bytes, seconds, names, "imported {entry}: {names} ({size}, {seconds} s)"
        );
        let begun_with = running.as_ref().map(|running| running.settings.clone());
        let before = self.ledger.get(&read.path);
        let dropped =
            before.is_some_and(|before| before.outcome.imported().images != imported.images);
        let outcome = Outcome::Imported(imported);
        let now = self.settings.fingerprint();
        let outdated = begun_with.as_ref().is_some_and(|settings| *settings != now);
        let attempt = self.attempt(identity, outcome);
        let settings = begun_with.unwrap_or(attempt.settings);
        self.record(
            &read.path,
            Attempt {
                settings,
                ..attempt
            },
        );
        if dropped || outdated {
            // Another entry may be to have a name that this one has brought until now; or this one is
            // to be read again, with the settings that have come meanwhile.
            self.list();
        }
        self.give_names_back(&read.path);
        let after = running.map_or(0, |running| running.after);
        if self.ledger.was_overruled(&read.path, after) {
            // An earlier entry has ended while this one was read, and taken a name of its.
            let entry = Entry {
                identity,
                ..read.clone()
            };
            self.enqueue(entry, Duration::ZERO);
        }
    }

    /// An entry that brings a name for another image, and comes later in name order, has ended
    /// before: it is to have the name. Its blobs are there, so this costs a look and the names.
    fn give_names_back(&mut self, path: &Path) {
        for (later, identity) in self.ledger.overruled_by(path) {
            let (first, last) = (shown(path), shown(&later));
            info!(
                entry = last,
                "names of {first} are also those of {last}, which is to have them"
            );
            let Verdict::Entry(kind) = Verdict::on(later.file_name().unwrap_or_default()) else {
                continue;
            };
            let path = later;
            self.enqueue(
                Entry {
                    path,
                    kind,
                    identity,
                },
                Duration::ZERO,
            );
        }
    }

    pub(super) fn failed(&mut self, path: &Path, failed: Failed) {
        let Failed {
            identity,
            error,
            imported,
            keeps,
            not_before,
        } = failed;
        let (entry, images, names) = (shown(path), imported.images.len(), names(&imported));
        let outcome = Outcome::Failed {
            error: error.clone(),
            imported,
        };
        let attempt = Attempt {
            keeps,
            not_before,
            ..self.attempt(identity, outcome)
        };
        let record = self.record(path, attempt);
        let attempts = record.attempts;
        let next = record.next_try.map(humantime::format_rfc3339_seconds);
        let next_try = next.map(|next| next.to_string()).unwrap_or_default();
        error!(
            entry,
            images,
            names,
            error,
            attempts,
            next_try,
            "failed {entry}: {error} (attempt {attempts})"
        );
        if identity.is_none() {
            self.look_again(path);
        }
    }

    fn attempt(&self, identity: impl Into<Option<Identity>>, outcome: Outcome) -> Attempt {
        Attempt {
            identity: identity.into(),
            settings: self.settings.fingerprint(),
            outcome,
            finished: SystemTime::now(),
            seed: self.seed,
            keeps: Keeps::All,
            not_before: Duration::ZERO,
        }
    }

    fn record(&mut self, path: &Path, attempt: Attempt) -> &Record {
        self.pledges.redeem(path);
        self.ledger.record(path.to_owned(), attempt)
    }
}

/// The first name of each image, as many as somebody reads.
fn names(imported: &Imported) -> String {
    let images = imported.images.iter();
    let first = images.filter_map(|image| image.names.first());
    let mut names = first.cloned().collect::<Vec<_>>();
    first_few(&mut names);
    names.join(" ")
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
