//! The daemon as one function of the store, the source and the signals that it is given.
//!
//! Start: supervise -> serving -> instance claimed -> watch armed -> listing -> initial load -> stale
//! leases cleared -> READY -> follow until stopped.
//! Stop: STOPPING -> watch -> imports abandoned, ledger saved -> leases and instance released ->
//! containerd stopped, its log flushed.
//!
//! Leases that an earlier run left are cleared after the load, not before: the half-written blobs
//! that they keep are what this run's imports resume.

mod edges;
mod end;
mod intake_task;
mod load;
mod metrics_server;
mod reload;
mod status_keeper;
mod store_follower;
mod store_service;
mod store_steps;
mod tellers;

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::config::{Config, Inputs};
use crate::containerd::ClaimError;
use crate::happened::ProcessEvent;
use crate::images_dir::SourceOptions;
use crate::ledger::Summary;
use crate::metrics::Counters;
use crate::notify::Notifier;
use crate::reporter::report;
use crate::shutdown::{ReloadSignal, Shutdown};
use crate::state_dir;
use crate::supervisor::leftover::LeftoverError;
use crate::supervisor::{Exit, Supervisor, SupervisorError};
use crate::unpack::UnpackWhen;

use end::Ending;
use load::{LoadOptions, load};
use metrics_server::MetricsServer;
use reload::{Reload, settings};
use status_keeper::StatusKeeper;
use tellers::Tellers;

pub use edges::{Edges, HostEdges};
pub use end::{FatalError, Mode};
pub use store_service::{Claim, StoreService};

/// How long a containerd that serves the address is asked which stowd has it.
const ASKED: Duration = Duration::from_secs(10);

/// Runs stowd until `shutdown`, until the initial load is over (`Mode::Once`), or until something
/// fatal happens. Returns what has come of the entries. On SIGHUP `inputs` are read again.
pub async fn run(
    config: Config,
    inputs: Inputs,
    mode: Mode,
    notifier: Notifier,
    shutdown: Shutdown,
    edges: &impl Edges,
) -> Result<Summary, FatalError> {
    let ended = start_and_load(config, inputs, mode, &notifier, &shutdown, edges).await;
    if let Err(error) = &ended {
        notifier.stopping(&format_args!("failed: {error}"));
    }
    ended
}

async fn start_and_load(
    config: Config,
    inputs: Inputs,
    mode: Mode,
    notifier: &Notifier,
    shutdown: &Shutdown,
    edges: &impl Edges,
) -> Result<Summary, FatalError> {
    // The status of another daemon is left alone.
    let _lock = state_dir::lock(&config.state_dir)?;
    let (told, mut keeper) = StatusKeeper::new(&config);
    let counters = Counters::default();
    let (listen, server) = MetricsServer::new(&config, &told, &counters);
    let tellers = Tellers {
        notifier,
        status: &told,
        counters: &counters,
    };
    let serve = async {
        match mode {
            Mode::Daemon => server.run().await,
            // It ends by itself, and may run where images are baked.
            Mode::Once => pending::<Infallible>().await,
        }
    };
    let ended = tokio::select! {
        biased;
        ended = load_locked(config, inputs, mode, tellers, listen, shutdown, edges) => ended,
        never = keeper.run() => match never {},
        never = serve => match never {},
    };
    let error = ended.as_ref().err().filter(|_| mode == Mode::Daemon);
    keeper.end(error.map(ToString::to_string)).await;
    ended
}

async fn load_locked(
    mut config: Config,
    inputs: Inputs,
    mode: Mode,
    tellers: Tellers<'_>,
    listen: watch::Sender<Option<String>>,
    shutdown: &Shutdown,
    edges: &impl Edges,
) -> Result<Summary, FatalError> {
    let notifier = tellers.notifier;
    if mode == Mode::Once && config.images.unpack == UnpackWhen::AfterReady {
        // There is no time after it.
        config.images.unpack = UnpackWhen::BeforeReady;
    }
    let settings = settings(&config)?;
    let hangup = ReloadSignal::listen()?;
    notifier.status(&"starting containerd");
    let mut child = tokio::select! {
        biased;
        () = shutdown.stop.cancelled() => {
            notifier.stopping(&"stopping");
            return interrupted(mode, Summary::default());
        }
        child = supervise(&config, edges) => child?,
    };
    let store = edges.store(&config)?;
    let options = LoadOptions {
        mode,
        direct: config.images.direct,
        is_attached: !config.containerd.supervise,
        start_timeout: config.containerd.start_timeout,
        tellers,
    };
    let source = SourceOptions::with_rescan(config.images.settle, config.images.rescan);
    let dir = settings.dir.clone();
    let (changes, changed) = watch::channel(settings);
    // It outlives the load: an intake that is told no settings any more takes that for a fault.
    let mut reload = Reload {
        config,
        inputs,
        changes,
        listen,
        notifier,
    };
    let interrupt = async {
        tokio::select! {
            biased;
            exit = exited(&mut child, hangup, &mut reload) => Err(FatalError::ContainerdExited(exit)),
            () = shutdown.stop.cancelled() => Ok(Ending::Asked),
        }
    };
    let start = || edges.source(&dir, source);
    let force = &shutdown.force;
    let ended = load(&store, start, changed, options, interrupt, force).await;
    if let Some(mut child) = child {
        child.stop(force.cancelled()).await;
    }
    match ended? {
        (Ending::Loaded, summary) => Ok(summary),
        (Ending::Asked, summary) => interrupted(mode, summary),
    }
}

/// A daemon that is told to end has done what it should; a load has not.
fn interrupted(mode: Mode, summary: Summary) -> Result<Summary, FatalError> {
    match mode {
        Mode::Daemon => Ok(summary),
        Mode::Once => Err(FatalError::Interrupted),
    }
}

async fn supervise(config: &Config, edges: &impl Edges) -> Result<Option<Supervisor>, FatalError> {
    if !config.containerd.supervise {
        let address = config.containerd.address.display().to_string();
        report(ProcessEvent::Attached(address));
        return Ok(None);
    }
    match Supervisor::start(&config.containerd).await {
        Ok(child) => Ok(Some(child)),
        Err(error @ SupervisorError::Leftover(LeftoverError::Served { .. })) => {
            let other = timeout(ASKED, other_stowd(config, edges)).await;
            Err(other.ok().flatten().unwrap_or(error.into()))
        }
        Err(error) => Err(error.into()),
    }
}

/// That another stowd has the instance, where one runs the containerd that serves the address.
async fn other_stowd(config: &Config, edges: &impl Edges) -> Option<FatalError> {
    let store = edges.store(config).ok()?;
    match store.claim(&config.state_dir).await {
        Err(error @ ClaimError::InUse(_)) => Some(error.into()),
        Err(ClaimError::Store(_)) => None,
        Ok(claim) => {
            let _ = claim.release().await;
            None
        }
    }
}

/// Returns when the child ends. On SIGHUP its log is reopened and the configuration read again.
///
/// Waits on: the child's end; SIGHUP; the files of the configuration.
async fn exited(
    child: &mut Option<Supervisor>,
    mut hangup: ReloadSignal,
    reload: &mut Reload<'_>,
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
