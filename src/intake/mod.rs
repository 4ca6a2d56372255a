//! Runs the plan: turns what happens into events and carries effects out. It decides nothing.
//!
//! It waits on: events of the source; what the store says by itself; jobs, questions to the store and
//! writes of the ledger that have ended; the time at which the plan, the ledger or a look at what is on board
//! is due; a reload; the
//! timer of the watchdog period; stop.

mod baked_set;
mod hung_files;
mod ledger_writer;
mod lookout;
mod recorded_load;
mod settings;
mod unrecorded;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::entry::{Kind, file_name, shown};
use crate::image_store::{ImageStore, StoreState};
use crate::ledger_file::BakedFile;
use crate::metrics::Counters;
use crate::plan::{Effect, Event, Now, Plan, Rules};
use crate::progress::{Progress, Trouble};
use crate::reporter;
use crate::source_event::{EntrySource, SourceEnded};
use crate::state_dir::{MarkedRun, begin_run, boot_id};
use crate::status::OnBoard;

use ledger_writer::{LAST_SAVE, LedgerWriter};
use lookout::Lookout;
use recorded_load::RecordedLoad;
use work::Jobs;

pub use settings::Settings;
pub(crate) use unrecorded::unrecorded;

/// Why the intake has ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The source of entries has ended.
    #[error(transparent)]
    SourceEnded(#[from] SourceEnded),
    /// It ended, and nothing says why.
    #[error("internal error: the work on entries has ended")]
    Ended,
    /// The other end of a channel is gone.
    #[error("internal error: settings are not told any more")]
    SettingsEnded,
    #[error("internal error: the store is not followed any more")]
    StoreEnded,
    /// A task panicked: a bug, after which nothing that the intake holds can be trusted.
    #[error("internal error: {0}")]
    Panicked(#[from] JoinError),
}

/// Carries the plan out.
pub struct Intake<S: ImageStore, D> {
    source: D,
    jobs: Jobs<S>,
    changes: watch::Receiver<Settings>,
    settings: Arc<Settings>,
    store_state: watch::Receiver<StoreState>,
    seed: u64,
    started: Instant,
    /// When the plan was told something last.
    told: Now,
    heartbeat: Option<Duration>,
    turns: u64,
    load: RecordedLoad,
    /// No archive was worked on or waited when progress was told last.
    is_idle: bool,
    /// The bytes of archives that had ended when that was so last.
    bytes_before: u64,
    progress: watch::Sender<Progress>,
    lookout: Lookout,
    counters: Counters,
}

impl<S: ImageStore, D: EntrySource> Intake<S, D> {
    /// An intake of what `source` says, and what it tells of its progress. The settings are those of
    /// `changes`, and every change of it, if to the same, asks for a rescan. What the store says by itself
    /// comes by `store_state`. It shows that it turns at every `heartbeat`.
    pub fn new(
        store: S,
        source: D,
        changes: watch::Receiver<Settings>,
        store_state: watch::Receiver<StoreState>,
        heartbeat: Option<Duration>,
    ) -> (Self, watch::Receiver<Progress>) {
        let settings = Arc::new(changes.borrow().clone());
        let started = Instant::now();
        let (progress, told) = watch::channel(Progress::default());
        let intake = Self {
            source,
            jobs: Jobs::new(store, &settings),
            changes,
            settings,
            store_state,
            seed: settings::seed(),
            started,
            told: now(started),
            heartbeat,
            turns: 0,
            load: RecordedLoad::default(),
            is_idle: true,
            bytes_before: 0,
            progress,
            lookout: Lookout::default(),
            counters: Counters::default(),
        };
        (intake, told)
    }

    /// What is on board, told at most once a second.
    pub fn on_board(&self) -> watch::Receiver<Arc<OnBoard>> {
        self.lookout.subscribe()
    }

    /// Has these count what happens to entries and images.
    pub fn counted_by(self, counters: Counters) -> Self {
        Self { counters, ..self }
    }

    /// Works until `stop`. Jobs under way are abandoned then, which their leases make safe, and the
    /// ledger is saved. Progress is told for as long as it works, and not while it ends.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), IntakeError> {
        let state_dir = self.settings.state_dir.clone();
        let begin = move || begin_run(&state_dir, &boot_id(), SystemTime::now());
        let load = LedgerWriter::load(&self.settings.state_dir, &self.settings.dir);
        let load = async {
            tokio::select! {
                loaded = load => loaded.map(Some),
                // The images directory may not answer.
                () = stop.cancelled() => Ok(None),
            }
        };
        // The one waits for the disk, and the other for a processor.
        let (loaded, begun) = tokio::join!(load, blocking(begin));
        let (run, scrubbed) = begun;
        let Some((mut writer, ledger)) = loaded? else {
            end_in_order(run).await;
            return Ok(());
        };
        let mut plan = Plan::new(self.rules(), ledger);
        self.tell(&mut plan, Event::Started, &run);
        plan.resume_scrub(scrubbed);
        let worked = self.work(&mut plan, &mut writer, &run, stop).await;
        drop(self.progress);
        self.jobs.abandon_all().await;
        writer.end(plan.ledger()).await;
        if worked.is_ok() {
            end_in_order(run).await;
        }
        worked
    }

    async fn work(
        &mut self,
        plan: &mut Plan,
        writer: &mut LedgerWriter,
        run: &MarkedRun,
        stop: CancellationToken,
    ) -> Result<(), IntakeError> {
        loop {
            let recording = writer.recording(plan.ledger());
            self.load = { self.load }.followed(plan.is_loaded(), recording, Instant::now());
            writer.begin(plan.ledger(), run, self.load.is_awaited());
            self.turns += 1;
            self.publish(plan);
            let looked = self.lookout.due();
            // As of then: what has become due since is due at once, and not passed over.
            let due = plan.next_due(self.told).map(|due| self.started + due);
            let turn = self
                .heartbeat
                .map(|heartbeat| Instant::now() + heartbeat / 2);
            let event = tokio::select! {
                event = self.source.next() => Event::Source(event?),
                changed = self.store_state.changed() => {
                    changed.map_err(|_| IntakeError::StoreEnded)?;
                    Event::Store(self.store_state.borrow_and_update().clone())
                }
                Some(ended) = self.jobs.next() => ended?,
                written = writer.wait(plan.ledger()) => written.map(|()| Event::Tick)?,
                () = until(due) => Event::Tick,
                () = until(turn) => Event::Tick,
                () = until(looked) => Event::Tick,
                () = until(self.load.until()) => Event::Tick,
                changed = self.changes.changed() => {
                    changed.map_err(|_| IntakeError::SettingsEnded)?;
                    self.reload()
                }
                () = stop.cancelled() => return Ok(()),
            };
            self.tell(plan, event, run);
        }
    }

    fn tell(&mut self, plan: &mut Plan, event: Event, run: &MarkedRun) {
        self.told = now(self.started);
        run.reach(self.told.wall);
        for effect in plan.on(event, self.told) {
            self.carry_out(effect);
        }
    }

    fn reload(&mut self) -> Event {
        self.settings = Arc::new(self.changes.borrow_and_update().clone());
        self.jobs.set_rules(&self.settings);
        self.source.set_settle(self.settings.settle);
        Event::Reloaded(self.rules())
    }

    fn rules(&self) -> Rules {
        self.settings.rules(self.jobs.owner(), self.seed)
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Begin(entry, job, brings) => {
                self.jobs.begin(entry, job, brings, &self.settings);
            }
            Effect::Abandon(path) => self.jobs.abandon(&path),
            Effect::Rescan => self.source.rescan(),
            Effect::LookAgain(path) => self.source.look(&path),
            Effect::ListImages => self.jobs.list_images(),
            Effect::AskSpace => self.jobs.ask_space(),
            Effect::AskSandboxImage => self.jobs.ask_for_sandbox_image(),
            Effect::CheckBlobs(blobs) => self.jobs.check_blobs(blobs),
            Effect::FindUnrecorded(known) => self.jobs.find_unrecorded(known),
            Effect::Scrub(step) => self.jobs.scrub(step, &self.settings),
            Effect::ListUnpacked => self.jobs.list_unpacked(),
            Effect::Unpack(target, name) => self.jobs.unpack(target, name),
            Effect::Unpin(names) => self.jobs.unpin(names),
            Effect::TakeOver(names) => self.jobs.take_over(names),
            Effect::PutNames(images) => self.jobs.put_names(images),
            Effect::ReadBaked => self.jobs.read_baked(&self.settings),
            Effect::Unbake(path) => {
                let change = move |file: &BakedFile| file.unbake(&path);
                self.jobs.change_baked(&self.settings, change);
            }
            Effect::Tell(happened) => {
                self.counters.count(&happened);
                reporter::report(happened);
            }
        }
    }

    fn publish(&mut self, plan: &Plan) {
        let failed = plan.first_failed();
        let working = self.jobs.working(Kind::Archive);
        let waiting_bytes = plan.waiting_bytes();
        let was_idle =
            std::mem::replace(&mut self.is_idle, working.is_empty() && waiting_bytes == 0);
        if was_idle && !self.is_idle {
            self.bytes_before = self.jobs.ended_bytes();
        }
        let progress = Progress {
            summary: plan.ledger().summary(),
            open: plan.open(),
            working,
            ended_bytes: self.jobs.ended_bytes() - self.bytes_before,
            waiting_bytes,
            speed: None,
            pulling: self.jobs.working(Kind::List),
            settling: plan.first_held().map(file_name),
            unpacking: plan.unpacking(),
            unpacked: plan.unpack_tally(),
            loaded: self.load.is_over(),
            watching: shown(&self.settings.dir),
            is_dir_missing: plan.is_dir_missing(),
            out_of_sight: plan.out_of_sight(),
            ignored: plan.ignored(),
            damaged: plan.left_damaged(),
            missing_sandbox_image: plan.missing_sandbox_image().map(str::to_owned),
            store_returns: plan.store_returns(),
            store_away: plan.why_store_is_away().map(str::to_owned),
            trouble: failed.map(|(path, record)| Trouble {
                name: file_name(path),
                attempts: record.map_or(0, |record| record.attempts),
                next_try: record.and_then(|record| record.next_try),
            }),
            ended: self.jobs.moved() + plan.unmetered_steps(),
            turns: self.turns,
        };
        let (jobs, now) = (&self.jobs, now(self.started));
        self.lookout.look(&progress, || {
            let line = progress.to_string();
            OnBoard {
                traffic: jobs.traffic(),
                ..plan.on_board(line, now, |path| jobs.moved_of(path))
            }
        });
        // In this order: what is told of a load that is over is not what was on board before.
        self.progress.send_replace(progress);
    }
}

/// The time now, for a plan of that start.
fn now(started: Instant) -> Now {
    Now {
        uptime: started.elapsed(),
        wall: SystemTime::now(),
    }
}

/// Says that this run ended in order. Where the disk does not answer the next run reads more than it must.
async fn end_in_order(run: MarkedRun) {
    let _ = timeout(LAST_SAVE, blocking(move || run.end())).await;
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
