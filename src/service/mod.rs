//! The daemon as one function of its edges.
//!
//! Start: supervise -> serving -> watch armed -> scan -> drained -> stale leases cleared -> READY ->
//! watch until stopped.
//! Stop: STOPPING -> watch -> imports abandoned, ledger saved -> leases released -> containerd
//! stopped, its log flushed.
//!
//! Leases that an earlier run left are cleared after the drain, not before: the half-written blobs
//! that they keep are what this run's imports resume.

mod reload;

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::{Config, Inputs};
use crate::containerd::{Containerd, Lease, NotServing};
use crate::image_store::StoreError;
use crate::intake::{Intake, IntakeError};
use crate::ledger::Summary;
use crate::notify::{self, Notifier};
use crate::platform::PlatformError;
use crate::progress::Progress;
use crate::shutdown::{ReloadSignal, Shutdown};
use crate::state_dir::{self, AlreadyRunning};
use crate::supervisor::{Exit, Supervisor, SupervisorError};

use reload::{Reload, settings};

/// How long containerd may take to let go of leases, and to collect what they kept.
const RELEASE: Duration = Duration::from_secs(10);

/// How much longer a start may take each time containerd was waited for in vain.
const WAITING: Duration = Duration::from_secs(30);

/// When the service ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// When it is told to.
    Daemon,
    /// When the drain has ended.
    Once,
}

/// What ends the daemon. Nothing that concerns one entry alone does.
#[derive(Debug, thiserror::Error)]
pub enum FatalError {
    /// Two daemons on one state directory.
    #[error(transparent)]
    StateDir(#[from] AlreadyRunning),
    /// `images.platforms` names none.
    #[error("images.platforms: {0}")]
    Platforms(#[from] PlatformError),
    /// A signal cannot be heard.
    #[error("signals cannot be heard: {0}")]
    Signals(#[from] std::io::Error),
    /// containerd cannot be started.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// containerd was started, or is attached to, and does not serve.
    #[error(transparent)]
    NotServing(#[from] NotServing),
    /// containerd ended without being asked to.
    #[error("{0}")]
    ContainerdExited(Exit),
    /// containerd does not do what no stowd can do without.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Entries cannot be taken in any more.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// `Mode::Once`, and lists have had their time.
    #[error("not every list was pulled within lists.ready-timeout")]
    Unfinished,
    /// `Mode::Once`, and a signal came before the end.
    #[error("stopped before every entry had an outcome")]
    Interrupted,
}

/// Runs stowd until `shutdown`, until the drain has ended (`Mode::Once`), or until something fatal
/// happens. Returns what has come of the entries. On SIGHUP `inputs` are read again.
pub async fn run(
    config: Config,
    inputs: Inputs,
    mode: Mode,
    notifier: Notifier,
    shutdown: Shutdown,
) -> Result<Summary, FatalError> {
    let _lock = state_dir::lock(&config.state_dir)?;
    let settings = settings(&config)?;
    let hangup = ReloadSignal::listen()?;
    notifier.status(&"starting containerd");
    let mut child = tokio::select! {
        biased;
        () = shutdown.stop.cancelled() => return interrupted(mode, Summary::default()),
        child = supervise(&config) => child?,
    };
    let store = Containerd::connect(&config.containerd.address, &config.containerd.namespace)?;
    let (changes, changed) = watch::channel(settings);
    let heartbeat = notify::watchdog_period();
    let (intake, progress) = Intake::new(store.clone(), changed, heartbeat);
    let mut load = Load {
        store: &store,
        direct: config.images.direct,
        start_timeout: config.containerd.start_timeout,
        notifier: &notifier,
        progress,
        stop: CancellationToken::new(),
        tasks: JoinSet::new(),
    };

    let ended = tokio::select! {
        biased;
        exit = exited(&mut child, hangup, Reload { config, inputs, changes, notifier: &notifier }) => {
            Err(FatalError::ContainerdExited(exit))
        }
        () = shutdown.stop.cancelled() => {
            let summary = load.progress.borrow().summary;
            interrupted(mode, summary).map(drop)
        }
        ended = load.run(intake, mode) => ended,
    };

    let summary = load.progress.borrow().summary;
    match &ended {
        Ok(()) => notifier.stopping(&"stopping"),
        Err(error) => notifier.stopping(&format_args!("stopping: {error}")),
    }
    load.stop(&shutdown.force).await;
    if !matches!(ended, Err(FatalError::ContainerdExited(_))) {
        release_leases(&store, &shutdown.force).await;
    }
    if let Some(mut child) = child {
        child.stop(shutdown.force.cancelled()).await;
    }
    ended.map(|()| summary)
}

/// A daemon that is told to end has done what it should; a load has not.
fn interrupted(mode: Mode, summary: Summary) -> Result<Summary, FatalError> {
    match mode {
        Mode::Daemon => Ok(summary),
        Mode::Once => Err(FatalError::Interrupted),
    }
}

async fn supervise(config: &Config) -> Result<Option<Supervisor>, SupervisorError> {
    if !config.containerd.supervise {
        let address = config.containerd.address.display();
        info!(%address, "attaching to containerd: {address}");
        return Ok(None);
    }
    Supervisor::start(&config.containerd).await.map(Some)
}

/// Returns when the child ends. On SIGHUP its log is reopened and the configuration read again.
///
/// Waits on: the child's end; SIGHUP; the files of the configuration.
async fn exited(
    child: &mut Option<Supervisor>,
    mut hangup: ReloadSignal,
    mut reload: Reload<'_>,
) -> Exit {
    loop {
        tokio::select! {
            exit = end_of(child) => return exit,
            () = hangup.recv() => {}
        }
        if let Some(child) = child {
            child.reopen_log();
        }
        tokio::select! {
            exit = end_of(child) => return exit,
            () = reload.reload() => {}
        }
    }
}

async fn end_of(child: &mut Option<Supervisor>) -> Exit {
    match child {
        Some(child) => child.exited().await,
        // Attached: containerd's end is its own manager's business.
        None => std::future::pending().await,
    }
}

/// The way to READY, and what follows.
struct Load<'a> {
    store: &'a Containerd,
    direct: bool,
    start_timeout: Duration,
    notifier: &'a Notifier,
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), IntakeError>>,
}

impl Load<'_> {
    async fn run(&mut self, intake: Intake<Containerd>, mode: Mode) -> Result<(), FatalError> {
        self.serving().await?;
        if self.direct {
            self.store.enable_direct_writes().await;
        }
        let stale = self.stale_leases().await;
        self.tasks.spawn(intake.run(self.stop.clone()));
        self.drained().await?;
        in_time("of an earlier run", self.store.clear_leases(&stale)).await;
        // containerd may have died after the last import: then nobody is ready.
        self.serving().await?;
        self.ready();
        match mode {
            Mode::Once if self.progress.borrow().open > 0 => Err(FatalError::Unfinished),
            Mode::Once => Ok(()),
            Mode::Daemon => self.follow().await,
        }
    }

    async fn serving(&self) -> Result<(), NotServing> {
        let on_wait = |waited: Duration, missing: &str| {
            let seconds = waited.as_secs();
            info!(
                seconds,
                missing, "waiting for containerd, {seconds} s: {missing}"
            );
            // It may take what start-timeout allows, whatever TimeoutStartSec says.
            self.notifier.extend_timeout(WAITING);
        };
        self.store.wait_serving(self.start_timeout, on_wait).await
    }

    async fn drained(&mut self) -> Result<(), IntakeError> {
        tokio::select! {
            () = notify::report_drain(self.notifier, self.progress.clone()) => Ok(()),
            Some(ended) = self.tasks.join_next() => ended?,
        }
    }

    /// They expire by themselves: no load is given up for them.
    async fn stale_leases(&self) -> Vec<Lease> {
        let stale = self.store.stale_leases().await;
        stale.unwrap_or_else(|error| {
            warn!(%error, "leases of an earlier run not found: {error}");
            Vec::new()
        })
    }

    fn ready(&self) {
        let progress = self.progress.borrow();
        let Summary {
            images,
            entries,
            failed,
        } = progress.summary;
        info!(images, entries, failed, "ready: {}", progress.summary);
        self.notifier.ready(&*progress);
    }

    async fn follow(&mut self) -> Result<(), FatalError> {
        tokio::select! {
            () = notify::feed_watchdog(self.notifier, &self.progress) => Ok(()),
            () = notify::report_changes(self.notifier, self.progress.clone()) => Ok(()),
            Some(ended) = self.tasks.join_next() => Ok(ended.map_err(IntakeError::from)??),
        }
    }

    /// Abandons what is in work, and has the ledger saved.
    async fn stop(&mut self, hurry: &CancellationToken) {
        self.stop.cancel();
        tokio::select! {
            () = ended(&mut self.tasks) => {}
            () = hurry.cancelled() => self.tasks.abort_all(),
        }
    }
}

async fn ended(tasks: &mut JoinSet<Result<(), IntakeError>>) {
    while tasks.join_next().await.is_some() {}
}

async fn release_leases(store: &Containerd, hurry: &CancellationToken) {
    let release = async {
        let own = store.own_leases().await?;
        store.clear_leases(&own).await
    };
    tokio::select! {
        () = in_time("of this run", release) => {}
        () = hurry.cancelled() => {}
    }
}

/// Leases expire by themselves: that they cannot be cleared now is worth a line, and no more.
async fn in_time(whose: &str, clear: impl Future<Output = Result<(), StoreError>>) {
    match tokio::time::timeout(RELEASE, clear).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            warn!(%error, "leases {whose} not cleared, they expire by themselves: {error}");
        }
        Err(_) => warn!("leases {whose} not cleared in time, they expire by themselves"),
    }
}
