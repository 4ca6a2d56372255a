//! The way to READY, and what follows: from a store that was started to the end of the intake.
//!
//! A component that ends, panics or cannot start is an error. READY is told only while the intake
//! works and the store serves.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::happened::{DaemonEvent, ProcessEvent, Run, StoreEvent};
use crate::image_store::{ImageStore, StoreError};
use crate::intake::{Intake, IntakeError, Settings};
use crate::ledger::Summary;
use crate::notify::{self, Notifier};
use crate::progress::Progress;
use crate::reporter::report;
use crate::source_event::EntrySource;

use super::end::{Ending, FatalError, Mode};
use super::store_service::StoreService;

/// How long the store may take to let go of leases, and to collect what they kept.
const RELEASE: Duration = Duration::from_secs(10);

/// How much longer a start may take each time the store was waited for in vain.
const WAITING: Duration = Duration::from_secs(30);

/// What a load is made with.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// When it ends.
    pub mode: Mode,
    /// Whether blobs are written directly, where that is safe.
    pub direct: bool,
    /// How long the store may take to serve.
    pub start_timeout: Duration,
}

/// From a store that was started to the end: loads, tells READY and follows the source that `start`
/// gives, until `interrupt` is there or something fatal happened, or, in `Mode::Once`, until the
/// initial load is over. Then what is in work is abandoned, the ledger saved and the leases released.
/// Says why it ended, and what has come of the entries.
///
/// # Errors
/// The first thing that ended it. Its words are the last STATUS.
pub async fn load<S: StoreService, D: EntrySource>(
    store: &S,
    start: impl FnOnce() -> Result<D, FatalError>,
    settings: watch::Receiver<Settings>,
    options: LoadOptions,
    notifier: &Notifier,
    interrupt: impl Future<Output = Result<Ending, FatalError>>,
    force: &CancellationToken,
) -> Result<(Ending, Summary), FatalError> {
    let mut load = Load {
        store,
        notifier,
        options,
        intake: None,
    };
    let ended = tokio::select! {
        biased;
        ending = interrupt => ending,
        loaded = load.run(start, settings) => loaded.map(|()| Ending::Loaded),
    };
    match &ended {
        Ok(_) => notifier.stopping(&"stopping"),
        Err(error) => notifier.stopping(&format_args!("failed: {error}")),
    }
    let is_store_there = !matches!(ended, Err(FatalError::ContainerdExited(_)));
    let stopped = load.stop(force, is_store_there).await;
    let ending = ended?;
    stopped?;
    Ok((ending, load.summary()))
}

/// A load that is under way.
struct Load<'a, S> {
    store: &'a S,
    notifier: &'a Notifier,
    options: LoadOptions,
    intake: Option<IntakeTask>,
}

/// The intake as a task.
struct IntakeTask {
    /// `None` when it has been joined.
    task: Option<JoinHandle<Result<(), IntakeError>>>,
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
}

impl<S: StoreService> Load<'_, S> {
    async fn run<D: EntrySource>(
        &mut self,
        start: impl FnOnce() -> Result<D, FatalError>,
        settings: watch::Receiver<Settings>,
    ) -> Result<(), FatalError> {
        self.serving().await?;
        if self.options.direct {
            self.store.write_directly().await;
        }
        // They are what this run resumes: cleared when the load is over.
        let stale = self.stale_leases().await;
        let source = start()?;
        let begun = IntakeTask::begin(self.store.clone(), source, settings);
        self.intake.insert(begun).loaded(self.notifier).await?;
        in_time(Run::Earlier, self.store.clear_leases(&stale)).await;
        // The store may have died after the last import.
        self.serving().await?;
        self.ready().await?;
        let Some(intake) = &mut self.intake else {
            return Err(IntakeError::Ended.into());
        };
        match self.options.mode {
            Mode::Once if intake.progress.borrow().open > 0 => Err(FatalError::Unfinished),
            Mode::Once => Ok(()),
            Mode::Daemon => Err(intake.follow(self.notifier).await),
        }
    }

    fn summary(&self) -> Summary {
        let intake = self.intake.as_ref();
        intake.map_or_else(Summary::default, |intake| intake.progress.borrow().summary)
    }

    /// An intake that fails at its end is an error.
    async fn stop(
        &mut self,
        force: &CancellationToken,
        is_store_there: bool,
    ) -> Result<(), FatalError> {
        let stopped = match &mut self.intake {
            Some(intake) => intake.end(force).await,
            None => Ok(()),
        };
        if is_store_there {
            let release = async {
                let own = self.store.own_leases().await?;
                self.store.clear_leases(&own).await
            };
            tokio::select! {
                () = in_time(Run::This, release) => {}
                () = force.cancelled() => {}
            }
        }
        stopped
    }

    async fn serving(&mut self) -> Result<(), FatalError> {
        let on_wait = |waited: Duration, missing: &str| {
            report(ProcessEvent::Awaited {
                seconds: waited.as_secs(),
                missing: missing.to_owned(),
            });
            // It may take what start-timeout allows, whatever TimeoutStartSec says.
            self.notifier.extend_timeout(WAITING);
        };
        let serving = self.store.serving(self.options.start_timeout, on_wait);
        match &mut self.intake {
            Some(intake) => tokio::select! {
                biased;
                error = intake.ended() => Err(error),
                served = serving => Ok(served?),
            },
            None => Ok(serving.await?),
        }
    }

    /// They expire by themselves: no load is given up for them.
    async fn stale_leases(&self) -> Vec<S::Lease> {
        let stale = self.store.stale_leases().await;
        stale.unwrap_or_else(|error| {
            report(StoreEvent::LeasesNotFound(error.to_string()));
            Vec::new()
        })
    }

    async fn ready(&mut self) -> Result<(), FatalError> {
        let Some(intake) = &mut self.intake else {
            return Err(IntakeError::Ended.into());
        };
        if intake.task.as_ref().is_none_or(JoinHandle::is_finished) {
            return Err(intake.ended().await);
        }
        let progress = intake.progress.borrow();
        report(DaemonEvent::Loaded(progress.summary));
        self.notifier.ready(&*progress);
        Ok(())
    }
}

impl IntakeTask {
    fn begin<S: ImageStore, D: EntrySource>(
        store: S,
        source: D,
        settings: watch::Receiver<Settings>,
    ) -> Self {
        let heartbeat = notify::watchdog_period();
        let (intake, progress) = Intake::new(store, source, settings, heartbeat);
        let stop = CancellationToken::new();
        let task = Some(tokio::spawn(intake.run(stop.clone())));
        Self {
            task,
            progress,
            stop,
        }
    }

    /// Returns when the initial load is over.
    async fn loaded(&mut self, notifier: &Notifier) -> Result<(), FatalError> {
        let progress = self.progress.clone();
        tokio::select! {
            biased;
            error = self.ended() => Err(error),
            told = notify::report_load(notifier, progress) => match told {
                Ok(()) => Ok(()),
                // It has nothing more to tell: its end says why.
                Err(notify::Closed) => Err(self.ended().await),
            },
        }
    }

    /// Returns when the intake has ended, which it must not.
    async fn follow(&mut self, notifier: &Notifier) -> FatalError {
        let (progress, changes) = (self.progress.clone(), self.progress.clone());
        tokio::select! {
            biased;
            error = self.ended() => error,
            () = notify::report_changes(notifier, changes) => self.ended().await,
            () = notify::feed_watchdog(notifier, &progress) => self.ended().await,
        }
    }

    /// Returns when the intake has ended without being asked to.
    async fn ended(&mut self) -> FatalError {
        let Some(task) = &mut self.task else {
            return IntakeError::Ended.into();
        };
        let ended = task.await.map_err(IntakeError::from).flatten();
        self.task = None;
        match ended {
            Ok(()) => IntakeError::Ended.into(),
            Err(error) => error.into(),
        }
    }

    /// Ends the intake. Where it has ended before, its error has been told.
    async fn end(&mut self, force: &CancellationToken) -> Result<(), FatalError> {
        self.stop.cancel();
        let Some(mut task) = self.task.take() else {
            return Ok(());
        };
        tokio::select! {
            ended = &mut task => Ok(ended.map_err(IntakeError::from)??),
            () = force.cancelled() => {
                task.abort();
                Ok(())
            }
        }
    }
}

/// Leases expire by themselves: that they cannot be cleared now is worth a line, and no more.
async fn in_time(run: Run, clear: impl Future<Output = Result<(), StoreError>>) {
    let error = match tokio::time::timeout(RELEASE, clear).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not within {RELEASE:?}"),
    };
    report(StoreEvent::LeasesNotCleared { run, error });
}
