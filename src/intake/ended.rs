//! What came of an import: the ledger's record, and the next try of what has failed.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use tracing::{error, info, warn};

use crate::entry::{Entry, Identity, Kind, shown};
use crate::image_store::ImageStore;
use crate::importer::{ImportError, ImportReport};
use crate::ledger::{Attempt, Fingerprint, Imported, Outcome, Record};

use super::{Intake, Running, STORE_AWAY, iec};

impl<S: ImageStore> Intake<S> {
    pub(super) fn read(&mut self, entry: Entry, result: Result<ImportReport, ImportError>) {
        self.queue.finished(&entry.path);
        let running = self.running.remove(&entry.path);
        let duration = running
            .as_ref()
            .map_or(Duration::ZERO, |r| r.begun.elapsed());
        self.moved += running.as_ref().map_or(0, |running| running.meter.moved());
        self.upkeep.ask(self.settings.settle);
        if !matches!(result, Err(ImportError::Changed)) {
            self.unsettled.remove(&entry.path);
        }
        // It may have gone while it was read, by a name that the watch cannot tell.
        self.look_now(&entry.path);
        match result {
            Ok(ImportReport {
                images,
                problems,
                identity,
            }) => {
                let bytes = identity.size;
                let imported = Imported {
                    images,
                    bytes,
                    duration,
                };
                self.away_until = None;
                if problems.is_empty() {
                    self.imported(&entry, identity, imported, running);
                } else {
                    self.failed(&entry.path, Some(identity), problems.join("; "), imported);
                    self.try_again(entry);
                }
            }
            Err(ImportError::Changed) => self.read_again(entry),
            Err(error) if error.is_store_away() => {
                // One line an outage: all entries would say the same.
                if self
                    .away_until
                    .replace(Instant::now() + STORE_AWAY)
                    .is_none()
                {
                    let path = shown(&entry.path);
                    warn!(entry = path, %error, "containerd is away; trying again: {path}: {error}");
                }
                // Unless a newer version of it waits already.
                if self.queue.waiting(&entry.path).is_none() {
                    self.enqueue(entry, Duration::ZERO);
                }
            }
            Err(error) => {
                let error = error.to_string();
                self.failed(
                    &entry.path,
                    Some(entry.identity),
                    error,
                    Imported::default(),
                );
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
                self.failed(&entry.path, None, error, Imported::default());
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
        let size = iec(bytes);
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
        self.record(&read.path, Some(identity), begun_with, outcome);
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
            let kind = Kind::Archive;
            self.enqueue(
                Entry {
                    path: later,
                    kind,
                    identity,
                },
                Duration::ZERO,
            );
        }
    }

    pub(super) fn failed(
        &mut self,
        path: &Path,
        identity: Option<Identity>,
        error: String,
        imported: Imported,
    ) {
        let (entry, images, names) = (shown(path), imported.images.len(), names(&imported));
        let outcome = Outcome::Failed {
            error: error.clone(),
            imported,
        };
        let record = self.record(path, identity, None, outcome);
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

    /// `begun_with`: the settings that the attempt was begun with, if not those of now.
    fn record(
        &mut self,
        path: &Path,
        identity: Option<Identity>,
        begun_with: Option<Fingerprint>,
        outcome: Outcome,
    ) -> &Record {
        let attempt = Attempt {
            identity,
            settings: begun_with.unwrap_or_else(|| self.settings.fingerprint()),
            outcome,
            finished: SystemTime::now(),
            seed: self.seed,
        };
        self.ledger.record(path.to_owned(), attempt)
    }
}

fn names(imported: &Imported) -> String {
    let first = imported
        .images
        .iter()
        .filter_map(|image| image.names.first());
    first.map(String::as_str).collect::<Vec<_>>().join(" ")
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
