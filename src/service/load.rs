//! The way to READY, and what follows: from a store that was started to the end of the intake.
//!
//! A component that ends, panics or cannot start is an error. READY is told only while the intake
//! works and the store serves which was loaded: not another one, that has taken its place meanwhile.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::containerd::ClaimError;
use crate::happened::{DaemonEvent, Run};
use crate::image_store::StoreState;
use crate::images_dir::Unwatchable;
use crate::intake::{IntakeError, Settings};
use crate::ledger::Summary;
use crate::notify::Notifier;
use crate::progress::Progress;
use crate::reporter::report;
use crate::source_event::EntrySource;
use crate::status::DaemonPhase;

use super::end::{Ending, FatalError, Mode};
use super::intake_task::{IntakeTask, is_loaded};
use super::status_keeper::StatusTeller;
use super::store_follower::StoreFollower;
use super::store_service::{Claim, StoreService};
use super::store_steps::{in_time, report_wait, stale_leases};
use super::tellers::Tellers;

/// How much longer a start may take each time the store was waited for in vain.
const WAITING: Duration = Duration::from_secs(30);

/// What a load is made with.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoadOptions<'a> {
    /// When it ends.
    pub(super) mode: Mode,
    /// Whether blobs are written directly, where that is safe.
    pub(super) direct: bool,
    /// Whether the store is another's, which starts and ends it as it likes.
    pub(super) is_attached: bool,
    /// How long the store may take to serve.
    pub(super) start_timeout: Duration,
    pub(super) tellers: Tellers<'a>,
}

/// From a store that was started to the end: loads, tells READY and follows the source that `start`
/// gives, until `interrupt` is there or something fatal happened, or, in `Mode::Once`, until the
/// initial load is over. Then what is in work is abandoned, the ledger saved and the leases released.
/// Says why it ended, and what has come of the entries.
///
/// # Errors
/// The first thing that ended it. Its words are the last STATUS.
pub(super) async fn load<S: StoreService, D: EntrySource>(
    store: &S,
    start: impl FnOnce() -> Result<D, Unwatchable>,
    settings: watch::Receiver<Settings>,
    options: LoadOptions<'_>,
    interrupt: impl Future<Output = Result<Ending, FatalError>>,
    force: &CancellationToken,
) -> Result<(Ending, Summary), FatalError> {
    let Tellers {
        notifier, status, ..
    } = options.tellers;
    let mut load = Load {
        store,
        notifier,
        status,
        options,
        store_said: watch::Sender::default(),
        store_state: watch::Sender::default(),
        intake: None,
    };
    let mut claim = None;
    let ended = tokio::select! {
        biased;
        ending = interrupt => ending,
        loaded = load.run(start, settings, &mut claim) => loaded.map(|()| Ending::Loaded),
    };
    status.phase(DaemonPhase::Stopping);
    match &ended {
        Ok(_) => notifier.stopping(&"stopping"),
        Err(error) => notifier.stopping(&format_args!("failed: {error}")),
    }
    let is_store_there = !matches!(ended, Err(FatalError::ContainerdExited(_)));
    let stopped = load.stop(claim, force, is_store_there).await;
    let ending = ended?;
    stopped?;
    Ok((ending, load.summary()))
}

/// Fails where a load that is over has left entries without an outcome. A failure is one.
fn is_complete(progress: &Progress) -> Result<(), FatalError> {
    if progress.open > 0 {
        Err(FatalError::Unfinished)
    } else if progress.is_dir_missing {
        Err(FatalError::DirectoryMissing(progress.watching.clone()))
    } else if progress.out_of_sight > 0 {
        Err(FatalError::OutOfSight(progress.out_of_sight))
    } else {
        match progress.unpacked.map_or(0, |tally| tally.failed) {
            0 => Ok(()),
            images => Err(FatalError::NotUnpacked(images)),
        }
    }
}

/// A load that is under way.
struct Load<'a, S> {
    store: &'a S,
    notifier: &'a Notifier,
    status: &'a StatusTeller,
    options: LoadOptions<'a>,
    /// What the store says.
    store_said: watch::Sender<StoreState>,
    /// The same, to the intake, which takes the end of it for a fault.
    store_state: watch::Sender<StoreState>,
    intake: Option<IntakeTask>,
}

impl<S: StoreService> Load<'_, S> {
    async fn run<D: EntrySource>(
        &mut self,
        start: impl FnOnce() -> Result<D, Unwatchable>,
        settings: watch::Receiver<Settings>,
        claim: &mut Option<S::Claim>,
    ) -> Result<(), FatalError> {
        self.serving().await?;
        let state_dir = settings.borrow().state_dir.clone();
        let claim = claim.insert(self.store.claim(&state_dir).await?);
        tokio::select! {
            biased;
            other = claim.lost() => Err(ClaimError::from(other).into()),
            worked = self.work(start, settings) => worked,
        }
    }

    async fn work<D: EntrySource>(
        &mut self,
        start: impl FnOnce() -> Result<D, Unwatchable>,
        settings: watch::Receiver<Settings>,
    ) -> Result<(), FatalError> {
        self.store.find_content(self.options.direct).await;
        // They are what this run resumes: cleared when the load is over.
        let stale = stale_leases(self.store).await;
        let source = start()?;
        let state = self.store_state.subscribe();
        self.status.phase(DaemonPhase::Loading);
        let counters = self.options.tellers.counters;
        let (begun, on_board) =
            IntakeTask::begin(self.store.clone(), source, settings, state, counters);
        let status = self.status;
        let follower = StoreFollower {
            store: self.store,
            is_attached: self.options.is_attached,
            direct: self.options.direct,
            start_timeout: self.options.start_timeout,
            said: self.store_said.clone(),
            told: self.store_state.clone(),
        };
        tokio::select! {
            biased;
            worked = self.follow(begun, &stale) => worked,
            never = follower.run() => match never {},
            never = status.follow(on_board) => match never {},
        }
    }

    async fn follow(&mut self, begun: IntakeTask, stale: &[S::Lease]) -> Result<(), FatalError> {
        let (notifier, said) = (self.notifier, self.store_said.clone());
        let intake = self.intake.insert(begun);
        intake.loaded(notifier, &said).await?;
        in_time(Run::Earlier, self.store.clear_leases(stale)).await;
        loop {
            // The store may have died after the last import.
            self.serving().await?;
            let intake = self.intake()?;
            if is_loaded(&intake.progress.borrow(), &said.borrow()) {
                // Who is told READY finds it in the status, too.
                self.status.ready().await;
                let intake = self.intake()?;
                if is_loaded(&intake.progress.borrow(), &said.borrow()) {
                    break;
                }
                self.status.phase(DaemonPhase::Loading);
            }
            let intake = self.intake()?;
            // Another one may have taken its place.
            intake.loaded(notifier, &said).await?;
        }
        self.ready().await?;
        let mode = self.options.mode;
        let intake = self.intake()?;
        match mode {
            Mode::Once => is_complete(&intake.progress.borrow()),
            Mode::Daemon => Err(intake.follow(notifier).await),
        }
    }

    fn intake(&mut self) -> Result<&mut IntakeTask, FatalError> {
        self.intake.as_mut().ok_or(IntakeError::Ended.into())
    }

    fn summary(&self) -> Summary {
        let intake = self.intake.as_ref();
        intake.map_or_else(Summary::default, |intake| intake.progress.borrow().summary)
    }

    /// An intake that fails at its end is an error.
    async fn stop(
        &mut self,
        claim: Option<S::Claim>,
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
                self.store.clear_leases(&own).await?;
                match claim {
                    Some(claim) => claim.release().await,
                    None => Ok(()),
                }
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
            report_wait(waited, missing);
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

    async fn ready(&mut self) -> Result<(), FatalError> {
        let notifier = self.notifier;
        let intake = self.intake()?;
        if !intake.works() {
            return Err(intake.ended().await);
        }
        let progress = intake.progress.borrow();
        report(DaemonEvent::Loaded {
            summary: progress.summary,
            ignored: progress.ignored,
            unpacked: progress.unpacked,
        });
        notifier.ready(&*progress);
        Ok(())
    }
}
