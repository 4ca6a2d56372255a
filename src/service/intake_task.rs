//! The intake as a task, watched from outside.
//!
//! It waits on: the end of the task, and of the progress that it tells; the initial load; what the
//! service manager is told meanwhile; force.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::image_store::{ImageStore, StoreState};
use crate::intake::{Intake, IntakeError, Settings};
use crate::metrics::Counters;
use crate::notify::{self, Notifier};
use crate::progress::Progress;
use crate::source_event::EntrySource;
use crate::status::OnBoard;

use super::end::FatalError;

/// The intake as a task.
pub(super) struct IntakeTask {
    /// `None` when it has been joined.
    task: Option<JoinHandle<Result<(), IntakeError>>>,
    pub(super) progress: watch::Receiver<Progress>,
    stop: CancellationToken,
}

impl IntakeTask {
    pub(super) fn begin<S: ImageStore, D: EntrySource>(
        store: S,
        source: D,
        settings: watch::Receiver<Settings>,
        state: watch::Receiver<StoreState>,
        counters: &Counters,
    ) -> (Self, watch::Receiver<Arc<OnBoard>>) {
        let heartbeat = notify::watchdog_period();
        let (intake, progress) = Intake::new(store, source, settings, state, heartbeat);
        let intake = intake.counted_by(counters.clone());
        let on_board = intake.on_board();
        let stop = CancellationToken::new();
        let task = Some(tokio::spawn(intake.run(stop.clone())));
        let begun = Self {
            task,
            progress,
            stop,
        };
        (begun, on_board)
    }

    /// Returns when the initial load is over, of the store of which `said` tells now.
    pub(super) async fn loaded(
        &mut self,
        notifier: &Notifier,
        said: &watch::Sender<StoreState>,
    ) -> Result<(), FatalError> {
        let is_loaded = |progress: &Progress| is_loaded(progress, &said.borrow());
        let progress = self.progress.clone();
        tokio::select! {
            biased;
            error = self.ended() => Err(error),
            told = notify::report_load(notifier, progress, is_loaded) => match told {
                Ok(()) => Ok(()),
                // It has nothing more to tell: its end says why.
                Err(notify::Closed) => Err(self.ended().await),
            },
        }
    }

    /// Returns when the intake has ended, which it must not.
    pub(super) async fn follow(&mut self, notifier: &Notifier) -> FatalError {
        let (progress, changes) = (self.progress.clone(), self.progress.clone());
        tokio::select! {
            biased;
            error = self.ended() => error,
            () = notify::report_changes(notifier, changes) => self.ended().await,
            () = notify::feed_watchdog(notifier, &progress) => self.ended().await,
        }
    }

    /// Whether it still works. One that has ended, or is about to, tells no progress any more.
    pub(super) fn works(&self) -> bool {
        self.progress.has_changed().is_ok()
    }

    /// Returns when the intake has ended without being asked to.
    pub(super) async fn ended(&mut self) -> FatalError {
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
    pub(super) async fn end(&mut self, force: &CancellationToken) -> Result<(), FatalError> {
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

/// Whether the initial load is over of a store that says this: not of the one before it.
pub(super) fn is_loaded(progress: &Progress, said: &StoreState) -> bool {
    progress.loaded && said.away.is_none() && progress.store_returns == said.returns
}
