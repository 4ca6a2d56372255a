//! The actor that owns the queue and the ledger: entries go in, outcomes come out.
//!
//! Every decision is the queue's; every effect is a verb's. It waits on: work that has ended (a
//! listing or an import); the next entry that has settled; the clock by which it shows that it
//! turns.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytesize::ByteSize;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tracing::{error, info, warn};

use crate::entry::{Entry, Identity, Kind, shown};
use crate::image_store::ImageStore;
use crate::images_dir::{Scan, scan};
use crate::importer::{self, ImportError, ImportReport};
use crate::ledger::{Imported, Ledger, Outcome};
use crate::platform::Wanted;
use crate::progress::{Meter, Progress, Work};
use crate::queue::{Queue, settling};

/// How often the loop shows that it turns, and how old the bytes in STATUS may be.
const TURN: Duration = Duration::from_secs(1);

/// How long an import waits for a store that went away in the middle of it.
const STORE_AWAY: Duration = Duration::from_secs(2);

/// What becomes of a list for as long as nothing pulls it.
const LISTS: &str = "this version of stowd does not pull image lists; import an archive instead";

/// What the intake needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The images directory.
    pub dir: PathBuf,
    /// Quiet time after the last change of a file.
    pub settle: Duration,
    /// Entries imported at once.
    pub parallel: usize,
    /// Which platforms of an image are imported.
    pub wanted: Wanted,
}

/// A task of the intake panicked: a bug, after which nothing that it holds can be trusted.
#[derive(Debug, thiserror::Error)]
#[error("internal error: {0}")]
pub struct IntakePanicked(#[from] JoinError);

/// Owns the queue and the ledger.
pub struct Intake<S> {
    store: S,
    settings: Arc<Settings>,
    queue: Queue,
    ledger: Ledger,
    running: BTreeMap<PathBuf, Running>,
    tasks: JoinSet<Done>,
    progress: watch::Sender<Progress>,
    turns: u64,
}

/// An import that is under way.
struct Running {
    size: u64,
    meter: Meter,
    begun: Instant,
}

/// Work that has ended.
enum Done {
    Listed(Scan),
    Read {
        entry: Entry,
        result: Result<ImportReport, ImportError>,
    },
}

impl<S: ImageStore> Intake<S> {
    /// An intake with nothing in it, and what it tells of its progress.
    pub fn new(store: S, settings: Settings) -> (Self, watch::Receiver<Progress>) {
        let (progress, seen) = watch::channel(Progress::default());
        let intake = Self {
            store,
            queue: Queue::new(slots(settings.parallel)),
            settings: Arc::new(settings),
            ledger: Ledger::default(),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            progress,
            turns: 0,
        };
        (intake, seen)
    }

    /// Works until it is dropped. Imports in work are abandoned then: their leases make that safe.
    pub async fn run(mut self) -> IntakePanicked {
        self.list();
        let mut clock = tokio::time::interval(TURN);
        loop {
            self.start_what_is_due();
            self.publish();
            let settled = self.queue.next_due(Instant::now());
            tokio::select! {
                Some(done) = self.tasks.join_next() => match done {
                    Ok(Done::Listed(scan)) => self.listed(scan),
                    Ok(Done::Read { entry, result }) => self.read(entry, result),
                    Err(error) => return error.into(),
                },
                () = until(settled) => {}
                _ = clock.tick() => self.turns += 1,
            }
        }
    }

    fn list(&mut self) {
        self.queue.listing_begun();
        let settings = Arc::clone(&self.settings);
        self.tasks
            .spawn_blocking(move || Done::Listed(scan(&settings.dir)));
    }

    fn start_what_is_due(&mut self) {
        while let Some(entry) = self.queue.take(Instant::now()) {
            let running = Running {
                size: entry.identity.size,
                meter: Meter::default(),
                begun: Instant::now(),
            };
            let meter = running.meter.clone();
            self.running.insert(entry.path.clone(), running);
            let (store, settings) = (self.store.clone(), Arc::clone(&self.settings));
            self.tasks.spawn(async move {
                let result = importer::import(&store, &entry, &settings.wanted, meter).await;
                Done::Read { entry, result }
            });
        }
    }

    fn listed(&mut self, scan: Scan) {
        let dir = shown(&self.settings.dir);
        if scan.missing {
            warn!(path = dir, "images directory missing: {dir}");
        }
        for path in scan.others {
            let path = shown(&path);
            info!(path, "ignored: not an archive and not a list: {path}");
        }
        for unreadable in scan.unreadable {
            let path = unreadable.path.clone();
            self.failed(&path, unreadable.to_string(), Imported::default());
        }
        for entry in scan.entries {
            let (path, bytes) = (shown(&entry.path), entry.identity.size);
            info!(entry = path, bytes, "found {path}, {}", iec(bytes));
            match entry.kind {
                Kind::Archive => self.enqueue(entry),
                Kind::List => self.failed(&entry.path, LISTS.to_owned(), Imported::default()),
            }
        }
        self.queue.listing_ended();
    }

    fn enqueue(&mut self, entry: Entry) {
        let wait = settling(&entry.identity, now(), self.settings.settle);
        self.queue.add(entry, Instant::now() + wait);
    }

    fn read(&mut self, entry: Entry, result: Result<ImportReport, ImportError>) {
        self.queue.finished(&entry.path);
        let duration = self
            .running
            .remove(&entry.path)
            .map_or(Duration::ZERO, |r| r.begun.elapsed());
        match result {
            Ok(ImportReport {
                images,
                problems,
                identity,
            }) => {
                let imported = Imported {
                    images,
                    bytes: identity.size,
                    duration,
                };
                if problems.is_empty() {
                    self.imported(&entry.path, imported);
                } else {
                    self.failed(&entry.path, problems.join("; "), imported);
                }
            }
            Err(ImportError::Changed) => self.read_again(entry),
            Err(error) if error.is_store_away() => {
                let path = shown(&entry.path);
                warn!(entry = path, %error, "containerd is away; trying again: {path}: {error}");
                self.queue.add(entry, Instant::now() + STORE_AWAY);
            }
            Err(error) => self.failed(&entry.path, error.to_string(), Imported::default()),
        }
    }

    /// The file became another one: that one is imported, once it has settled.
    fn read_again(&mut self, entry: Entry) {
        match fs::metadata(&entry.path) {
            Ok(metadata) => {
                let path = shown(&entry.path);
                info!(
                    entry = path,
                    "changed while it was read; reading it again: {path}"
                );
                let identity = Identity::of(&metadata);
                self.enqueue(Entry { identity, ..entry });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let path = shown(&entry.path);
                info!(entry = path, "gone before it was imported: {path}");
            }
            Err(error) => self.failed(&entry.path, error.to_string(), Imported::default()),
        }
    }

    fn imported(&mut self, path: &Path, imported: Imported) {
        let (entry, images, bytes) = (shown(path), imported.images.len(), imported.bytes);
        let (seconds, names) = (seconds(imported.duration), names(&imported));
        info!(
            entry,
            images,
            bytes,
            seconds,
            names,
            "imported {entry}: {names} ({}, {seconds} s)",
            iec(bytes)
        );
        self.ledger
            .record(path.to_owned(), Outcome::Imported(imported));
    }

    fn failed(&mut self, path: &Path, error: String, imported: Imported) {
        let (entry, images, names) = (shown(path), imported.images.len(), names(&imported));
        error!(entry, images, names, error, "failed {entry}: {error}");
        self.ledger
            .record(path.to_owned(), Outcome::Failed { error, imported });
    }

    fn publish(&self) {
        let working = self.running.iter().map(|(path, running)| Work {
            name: name(path),
            size: running.size,
            meter: running.meter.clone(),
        });
        self.progress.send_replace(Progress {
            summary: self.ledger.summary(),
            open: self.queue.len(),
            working: working.collect(),
            settling: self.queue.first_waiting().map(name),
            drained: self.queue.is_drained(),
            turns: self.turns,
        });
    }
}

/// 0 asks for as many as suit the machine: reading an archive keeps a core busy, and more than a
/// few at a time only make each of them later.
fn slots(parallel: usize) -> usize {
    let cores = || std::thread::available_parallelism().map_or(2, usize::from);
    if parallel == 0 {
        cores().clamp(2, 4)
    } else {
        parallel
    }
}

fn name(path: &Path) -> String {
    shown(Path::new(path.file_name().unwrap_or_default()))
}

/// A number of bytes for people.
fn iec(bytes: u64) -> impl Display {
    ByteSize::b(bytes).display().iec()
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

fn now() -> i128 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i128::try_from(since.as_nanos()).unwrap_or(i128::MAX)
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
