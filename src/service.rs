//! The daemon as one function of its edges.
//!
//! Start: supervise -> serving -> scan -> drained -> stale leases cleared -> READY -> until stopped.
//! Stop: STOPPING -> imports abandoned -> leases released -> containerd stopped, its log flushed.
//!
//! Leases that an earlier run left are cleared after the drain, not before: the half-written blobs
//! that they keep are what this run's imports resume.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;
use crate::containerd::{Containerd, NotServing};
use crate::image_store::StoreError;
use crate::intake::{Intake, IntakePanicked, Settings};
use crate::ledger::Summary;
use crate::notify::{self, Notifier};
use crate::platform::{Platform, PlatformError, Wanted};
use crate::progress::Progress;
use crate::shutdown::Shutdown;
use crate::state_dir::{self, Taken};
use crate::supervisor::{Exit, Supervisor, SupervisorError};

/// How long containerd may take to let go of leases when stowd stops.
const RELEASE: Duration = Duration::from_secs(5);

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
    StateDir(#[from] Taken),
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
    /// A bug.
    #[error(transparent)]
    Intake(#[from] IntakePanicked),
}

/// Runs stowd until `shutdown`, until the drain has ended (`Mode::Once`), or until something fatal
/// happens. Returns what has come of the entries.
pub async fn run(
    config: Config,
    mode: Mode,
    notifier: Notifier,
    shutdown: Shutdown,
) -> Result<Summary, FatalError> {
    let _lock = state_dir::lock(&config.state_dir)?;
    let wanted = Wanted::from_config(&config.images.platforms, Platform::host())?;
    let hangup = signal(SignalKind::hangup())?;
    notifier.status(&"starting containerd");
    let mut child = supervise(&config).await?;
    let store = Containerd::connect(&config.containerd.address, &config.containerd.namespace)?;
    let (intake, progress) = Intake::new(store.clone(), settings(&config, wanted));
    let mut load = Load {
        store: &store,
        config: &config,
        notifier: &notifier,
        progress,
        tasks: JoinSet::new(),
    };

    let ended = tokio::select! {
        biased;
        exit = exited(&mut child, hangup) => Err(FatalError::ContainerdExited(exit)),
        () = shutdown.stop.cancelled() => Ok(()),
        ended = load.run(intake, mode) => ended,
    };

    let summary = load.progress.borrow().summary;
    match &ended {
        Ok(()) => notifier.stopping(&"stopping"),
        Err(error) => notifier.stopping(&format_args!("stopping: {error}")),
    }
    load.tasks.shutdown().await;
    if !matches!(ended, Err(FatalError::ContainerdExited(_))) {
        release_leases(&store, &shutdown.hurry).await;
    }
    if let Some(mut child) = child {
        child.stop(shutdown.hurry.cancelled()).await;
    }
    ended.map(|()| summary)
}

async fn supervise(config: &Config) -> Result<Option<Supervisor>, SupervisorError> {
    if !config.containerd.supervise {
        let address = config.containerd.address.display();
        info!(%address, "attaching to containerd: {address}");
        return Ok(None);
    }
    Supervisor::start(&config.containerd).await.map(Some)
}

/// Returns when the child ends. On SIGHUP its log is reopened.
///
/// Waits on: the child's end; SIGHUP.
async fn exited(child: &mut Option<Supervisor>, mut hangup: Signal) -> Exit {
    loop {
        let end = async {
            match child {
                Some(child) => child.exited().await,
                // Attached: containerd's end is its own manager's business.
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            exit = end => return exit,
            _ = hangup.recv() => {
                if let Some(child) = child {
                    child.reopen_log();
                }
            }
        }
    }
}

fn settings(config: &Config, wanted: Wanted) -> Settings {
    Settings {
        dir: config.images.dir.clone(),
        settle: config.images.settle,
        parallel: config.images.parallel,
        wanted,
    }
}

/// The way to READY, and what follows.
struct Load<'a> {
    store: &'a Containerd,
    config: &'a Config,
    notifier: &'a Notifier,
    progress: watch::Receiver<Progress>,
    tasks: JoinSet<IntakePanicked>,
}

impl Load<'_> {
    async fn run(&mut self, intake: Intake<Containerd>, mode: Mode) -> Result<(), FatalError> {
        self.serving().await?;
        let stale = self.store.stale_leases().await?;
        self.tasks.spawn(intake.run());
        self.drained().await?;
        self.store.clear_leases(&stale).await?;
        // containerd may have died after the last import: then nobody is ready.
        self.serving().await?;
        self.ready();
        match mode {
            Mode::Once => Ok(()),
            Mode::Daemon => self.follow().await,
        }
    }

    async fn serving(&self) -> Result<(), NotServing> {
        let timeout = self.config.containerd.start_timeout;
        let on_wait = |waited: Duration, missing: &str| {
            let seconds = waited.as_secs();
            info!(
                seconds,
                missing, "waiting for containerd, {seconds} s: {missing}"
            );
        };
        self.store.wait_serving(timeout, on_wait).await
    }

    async fn drained(&mut self) -> Result<(), IntakePanicked> {
        tokio::select! {
            () = notify::report_drain(self.notifier, self.progress.clone()) => Ok(()),
            Some(ended) = self.tasks.join_next() => Err(ended.unwrap_or_else(IntakePanicked::from)),
        }
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
            Some(ended) = self.tasks.join_next() => Err(ended.unwrap_or_else(IntakePanicked::from).into()),
        }
    }
}

async fn release_leases(store: &Containerd, hurry: &CancellationToken) {
    let release = async {
        let own = store.own_leases().await?;
        store.clear_leases(&own).await
    };
    tokio::select! {
        released = tokio::time::timeout(RELEASE, release) => match released {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(%error, "leases not released, they expire by themselves: {error}"),
            Err(_) => warn!("leases not released in time, they expire by themselves"),
        },
        () = hurry.cancelled() => {}
    }
}
