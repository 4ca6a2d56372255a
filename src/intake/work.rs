//! The jobs that are under way: each is a task, and its end is an event for the plan.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::blocking::blocking;
use crate::digest::Digest;
use crate::entry::{Entry, Kind, file_name};
use crate::entry_file::sample;
use crate::image_store::{BlobWay, ImageStore};
use crate::importer::{self, ImportRules, Reservations};
use crate::ledger::FailureClass;
use crate::needed_blob::{BlobFaults, NeededBlob};
use crate::pin::PinOwner;
use crate::plan::{Brings, Event, Job, JobEnd, Looked, SandboxImage, ScrubStep};
use crate::progress::{Meter, Work};
use crate::puller::Puller;
use crate::state_dir::save_scrub;
use crate::status::{Traffic, WorkDone};
use crate::told::Told;
use crate::unpacker;

use super::Settings;
use super::hung_files::HungFiles;
use super::unrecorded::unrecorded;

/// The tasks of an intake, and how far they have come.
#[derive(Debug)]
pub(super) struct Jobs<S: ImageStore> {
    store: S,
    puller: Puller<S>,
    reservations: Reservations,
    hung_files: HungFiles,
    told: Told,
    tasks: JoinSet<Event>,
    under_way: BTreeMap<PathBuf, UnderWay>,
    /// How far those came that have ended.
    moved: u64,
    /// The bytes of the archives among them.
    ended_bytes: u64,
    /// The bytes that they have read.
    read_bytes: u64,
}

/// A job that is under way.
#[derive(Debug)]
struct UnderWay {
    kind: Kind,
    size: u64,
    meter: Meter,
    /// Gives it up. A look ends soon by itself.
    stop: CancellationToken,
}

/// What one job works with.
struct JobTask<S: ImageStore> {
    store: S,
    puller: Puller<S>,
    reservations: Reservations,
    told: Told,
    settings: Arc<Settings>,
    brings: Brings,
    meter: Meter,
    stop: CancellationToken,
}

impl<S: ImageStore> JobTask<S> {
    async fn run(&self, entry: &Entry, job: Job) -> JobEnd {
        let Self { store, stop, .. } = self;
        let meter = self.meter.clone();
        let rules = ImportRules {
            reservations: &self.reservations,
            told: &self.told,
            wanted: &self.settings.wanted,
            extra_registries: &self.settings.pulls.extra_registries,
            later: &self.brings.later,
        };
        match job {
            Job::Import => {
                let report = importer::import(store, entry, rules, meter.clone(), stop).await;
                let mut end = report.map_or_else(JobEnd::from, JobEnd::from);
                if let JobEnd::Through(brought) = &mut end
                    && brought.problems.is_empty()
                {
                    // Without one a copy of the file is imported once more.
                    brought.sample = sample(entry, &meter).await.unwrap_or_default();
                }
                end
            }
            Job::Compare(expected) => match sample(entry, &meter).await {
                Ok(Some(found)) => JobEnd::Compared(found == expected),
                Ok(None) => JobEnd::Changed,
                Err(error) => {
                    let error = format!("cannot be read: {error}");
                    JobEnd::Failed(FailureClass::Environment, error)
                }
            },
            Job::Verify => {
                let report = importer::verify(store, entry, rules, meter, stop).await;
                report.map_or_else(JobEnd::from, JobEnd::from)
            }
            Job::Look => {
                let looked = self.puller.look(entry, &self.brings.known, &meter).await;
                looked.map_or_else(JobEnd::from, JobEnd::from)
            }
            Job::Pull(looked) => {
                let looked = Looked::clone(&looked);
                let pulled = self
                    .puller
                    .pull(entry, &self.brings.known, looked, &meter, stop);
                pulled.await.map_or_else(JobEnd::from, JobEnd::Through)
            }
        }
    }
}

impl<S: ImageStore> Jobs<S> {
    pub(super) fn new(store: S, settings: &Settings) -> Self {
        Self {
            puller: Puller::new(store.clone(), settings.pulls.clone()),
            store,
            reservations: Reservations::default(),
            hung_files: HungFiles::default(),
            told: Told::default(),
            tasks: JoinSet::new(),
            under_way: BTreeMap::new(),
            moved: 0,
            ended_bytes: 0,
            read_bytes: 0,
        }
    }

    /// Jobs that begin from now on are done with these.
    pub(super) fn set_rules(&mut self, settings: &Settings) {
        self.puller.set_rules(settings.pulls.clone());
    }

    /// Begins a job.
    pub(super) fn begin(
        &mut self,
        entry: Entry,
        job: Job,
        brings: Brings,
        settings: &Arc<Settings>,
    ) {
        let under_way = UnderWay {
            kind: entry.kind,
            size: entry.identity.size,
            meter: Meter::default(),
            stop: CancellationToken::new(),
        };
        let (meter, stop) = (under_way.meter.clone(), under_way.stop.clone());
        self.under_way.insert(entry.path.clone(), under_way);
        let task = JobTask {
            store: self.store.clone(),
            puller: self.puller.clone(),
            reservations: self.reservations.clone(),
            told: self.told.clone(),
            settings: Arc::clone(settings),
            brings,
            meter,
            stop,
        };
        let hung_files = self.hung_files.clone();
        self.tasks.spawn(async move {
            let worked = task.run(&entry, job);
            let end = hung_files.watch(&entry, &task.meter, worked).await;
            Event::Ended(entry.path, end)
        });
    }

    pub(super) fn abandon(&mut self, path: &Path) {
        if let Some(under_way) = self.under_way.get(path) {
            under_way.stop.cancel();
        }
    }

    pub(super) fn ask_space(&mut self) {
        let store = self.store.clone();
        let free = async move { Event::FreeSpace(store.free_space().await) };
        self.tasks.spawn(free);
    }

    pub(super) fn list_images(&mut self) {
        let store = self.store.clone();
        self.tasks.spawn(async move {
            Event::Images(store.images().await.map_err(|error| error.to_string()))
        });
    }

    pub(super) fn ask_for_sandbox_image(&mut self) {
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let Some(name) = store.sandbox_image().await else {
                return Event::SandboxImage(None);
            };
            let image = store.image(&name).await.map(|image| SandboxImage {
                is_there: image.is_some(),
                name,
            });
            // A store that does not answer is asked again when it returns.
            Event::SandboxImage(image.ok())
        });
    }

    pub(super) fn check_blobs(&mut self, blobs: Vec<NeededBlob>) {
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let checked = tokio::try_join!(store.images(), store.faults(blobs));
            Event::Checked(checked.map_err(|error| error.to_string()))
        });
    }

    pub(super) fn find_unrecorded(&mut self, known: BTreeSet<Digest>) {
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let found = unrecorded(&store, |label| store.owner().owns(label), &known).await;
            let not_found = |error| debug!(%error, "pinned images not found");
            Event::Unrecorded(found.map_err(not_found).ok())
        });
    }

    /// Reads the blobs of a step of the scrub, so many bytes a second.
    pub(super) fn scrub(&mut self, step: ScrubStep, settings: &Settings) {
        let (store, state_dir) = (self.store.clone(), settings.state_dir.clone());
        let rate = match step.is_awaited {
            true => u64::MAX,
            false => settings.scrub_rate,
        };
        self.tasks.spawn(async move {
            let read = match step.blobs.is_empty() {
                true => Ok(BlobFaults::new()),
                false => store.hash_blobs(step.blobs.clone(), rate).await,
            };
            let then = read.as_ref().map(|faults| step.ended(faults));
            if let Ok(then) = then
                && let Err(error) = blocking(move || save_scrub(&state_dir, &then)).await
            {
                // The next run reads more than it must.
                debug!(%error, "how far the scrub has come is not kept");
            }
            let not_read = |error| debug!(%error, "blobs not read");
            Event::Scrubbed(read.map_err(not_read).ok())
        });
    }

    pub(super) fn list_unpacked(&mut self) {
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let unpacked = store.unpacked().await;
            Event::UnpackedListed(unpacked.map_err(|error| error.to_string()))
        });
    }

    pub(super) fn unpack(&mut self, target: Digest, name: String) {
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let end = unpacker::unpack(&store, &name, &target).await;
            Event::UnpackEnded(target, end)
        });
    }

    pub(super) fn unpin(&mut self, names: Vec<String>) {
        let store = self.store.clone();
        self.tasks.spawn(async move {
            let (mut unpinned, mut result) = (Vec::new(), Ok(()));
            for name in names {
                match store.unpin(&name).await {
                    Ok(()) => unpinned.push(name),
                    Err(error) => {
                        result = result.and(Err(error.to_string()));
                        // What is wrong with one name must not keep the others pinned.
                        if !error.is_refusal() {
                            break;
                        }
                    }
                }
            }
            Event::Unpinned(unpinned, result)
        });
    }

    pub(super) fn take_over(&mut self, names: Vec<String>) {
        let store = self.store.clone();
        self.tasks.spawn(async move {
            for name in names {
                if let Err(error) = store.take_over(&name).await {
                    debug!(%error, "pin of {name} not taken over: {error}");
                }
            }
            Event::Tick
        });
    }

    /// Begins a task whose end is an event.
    pub(super) fn spawn(&mut self, task: impl Future<Output = Event> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub(super) fn store(&self) -> &S {
        &self.store
    }

    /// Whose pins the store sets.
    pub(super) fn owner(&self) -> &PinOwner {
        self.store.owner()
    }

    /// The next end of a task; `None` where none is under way. Nothing is lost when the future is
    /// dropped.
    pub(super) async fn next(&mut self) -> Option<Result<Event, JoinError>> {
        let ended = self.tasks.join_next().await?;
        if let Ok(Event::Ended(path, _)) = &ended
            && let Some(under_way) = self.under_way.remove(path)
        {
            self.moved += under_way.meter.moved();
            self.read_bytes += under_way.meter.read();
            if under_way.kind == Kind::Archive {
                self.ended_bytes += under_way.meter.bytes().min(under_way.size);
            }
        }
        if let Ok(Event::UnpackEnded(..)) = &ended {
            self.moved += 1;
        }
        Some(ended)
    }

    /// Gives all of them up, and returns when they have ended.
    pub(super) async fn abandon_all(&mut self) {
        self.tasks.shutdown().await;
    }

    /// What is worked on of this kind, by its path.
    pub(super) fn working(&self, kind: Kind) -> Vec<Work> {
        let of_kind = self.under_way.iter();
        let of_kind = of_kind.filter(|(_, under_way)| under_way.kind == kind);
        let of_kind = of_kind.map(|(path, under_way)| Work {
            name: file_name(path),
            size: under_way.size,
            meter: under_way.meter.clone(),
        });
        of_kind.collect()
    }

    /// The bytes of the archives that have ended.
    pub(super) fn ended_bytes(&self) -> u64 {
        self.ended_bytes
    }

    /// How far the work on an entry has come.
    pub(super) fn moved_of(&self, path: &Path) -> Option<WorkDone> {
        let UnderWay {
            kind, size, meter, ..
        } = self.under_way.get(path)?;
        let total = match kind {
            Kind::Archive => *size,
            Kind::List => meter.expected(),
        };
        let done = meter.bytes();
        Some(WorkDone { done, total })
    }

    /// What was moved so far.
    pub(super) fn traffic(&self) -> Traffic {
        let tally = self.store.tally();
        let reading = self.under_way.values();
        let reading = reading.map(|under_way| under_way.meter.read());
        Traffic {
            read_bytes: self.read_bytes + reading.sum::<u64>(),
            direct: tally.of(BlobWay::Direct),
            sent: tally.of(BlobWay::Sent),
            present: tally.of(BlobWay::Present),
        }
    }

    /// How far those came that have ended, and the store with what no meter counts.
    pub(super) fn moved(&self) -> u64 {
        self.moved + self.store.moved()
    }
}
