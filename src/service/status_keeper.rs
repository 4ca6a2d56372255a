//! Keeps `status.json` up to date: at once when the phase changes, and at most once a second else.
//!
//! It waits on: what is told of the phase and of what is on board; the rest after a write; a write.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::happened::DaemonEvent;
use crate::process_identity::{pid_namespace, start_of};
use crate::reporter::report;
use crate::state_dir::boot_id;
use crate::status::{DaemonPhase, OnBoard, STATUS_VERSION, StatusDocument};
use crate::status_file;

/// Between two writes that tell of the same phase.
const REST: Duration = Duration::from_secs(1);
/// How long a write may hold READY, or the end.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is to be written. Clones are one.
#[derive(Debug, Clone)]
pub(super) struct StatusTeller {
    said: watch::Sender<Said>,
    /// The phase that the file has.
    written: watch::Sender<Option<DaemonPhase>>,
    started: Instant,
}

/// What is told so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Said {
    pub(super) phase: DaemonPhase,
    ready_since: Option<SystemTime>,
    /// From the start to READY.
    pub(super) load: Option<Duration>,
    pub(super) on_board: Arc<OnBoard>,
    /// Why metrics are not served.
    metrics_error: Option<String>,
}

impl StatusTeller {
    pub(super) fn phase(&self, phase: DaemonPhase) {
        self.said.send_if_modified(|said| {
            let was = std::mem::replace(&mut said.phase, phase);
            was != phase
        });
    }

    /// READY is about to be told. Returns when the file says so, if the disk takes it soon.
    pub(super) async fn ready(&self) {
        self.said.send_modify(|said| {
            said.phase = DaemonPhase::Ready;
            said.ready_since = Some(SystemTime::now());
            said.load = Some(self.started.elapsed());
        });
        let mut written = self.written.subscribe();
        let is_written = written.wait_for(|phase| *phase == Some(DaemonPhase::Ready));
        // The keeper ends with the service.
        let _ = timeout(PATIENCE, is_written).await;
    }

    /// Why metrics are not served; `None` where they are, or are not to be.
    pub(super) fn metrics_error(&self, error: Option<String>) {
        self.said.send_if_modified(|said| {
            let is_news = said.metrics_error != error;
            said.metrics_error = error;
            is_news
        });
    }

    pub(super) fn said(&self) -> Said {
        self.said.borrow().clone()
    }

    /// Passes on what is on board, until that is told no more.
    pub(super) async fn follow(&self, mut on_board: watch::Receiver<Arc<OnBoard>>) -> Infallible {
        while on_board.changed().await.is_ok() {
            let now = Arc::clone(&on_board.borrow_and_update());
            self.said.send_modify(|said| said.on_board = now);
        }
        std::future::pending().await
    }
}

/// Writes what is told.
pub(super) struct StatusKeeper {
    path: PathBuf,
    /// Of this process; with nothing on board.
    document: StatusDocument,
    said: watch::Receiver<Said>,
    written: watch::Sender<Option<DaemonPhase>>,
    /// Whatever ends the wait for it, it goes on.
    write: Option<JoinHandle<std::io::Result<()>>>,
    /// That it cannot be written was told.
    is_failing: bool,
}

impl StatusKeeper {
    /// Of this process, which has the state directory.
    pub(super) fn new(config: &Config) -> (StatusTeller, Self) {
        let (said, told) = watch::channel(Said::default());
        let written = watch::Sender::default();
        let pid = std::process::id();
        let document = StatusDocument {
            version: STATUS_VERSION,
            stowd: env!("CARGO_PKG_VERSION").to_owned(),
            pid,
            pid_start: start_of(pid).unwrap_or_default(),
            pid_namespace: pid_namespace().unwrap_or_default(),
            boot_id: boot_id(),
            started: Some(SystemTime::now()),
            written: None,
            instance: config.instance.clone(),
            images_dir: config.images.dir.to_string_lossy().into_owned(),
            containerd_address: config.containerd.address.to_string_lossy().into_owned(),
            supervises: config.containerd.supervise,
            phase: DaemonPhase::Starting,
            ready_since: None,
            error: None,
            metrics_error: None,
            on_board: OnBoard::default(),
        };
        let keeper = Self {
            path: status_file::path_for(&config.state_dir),
            document,
            said: told,
            written: written.clone(),
            write: None,
            is_failing: false,
        };
        let started = Instant::now();
        let teller = StatusTeller {
            said,
            written,
            started,
        };
        (teller, keeper)
    }

    pub(super) async fn run(&mut self) -> Infallible {
        loop {
            let said = self.said.borrow_and_update().clone();
            let phase = said.phase;
            self.put(said, None).await;
            self.written.send_replace(Some(phase));
            if self.said.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            tokio::select! {
                () = sleep(REST) => {}
                _ = self.said.wait_for(|said| said.phase != phase) => {}
            }
        }
    }

    /// A daemon that was asked to end leaves no file. One that ends of an error leaves it, with the error.
    pub(super) async fn end(mut self, error: Option<String>) {
        let path = self.path.clone();
        let end = async {
            match error {
                None => {
                    self.last_write().await;
                    let _ = tokio::task::spawn_blocking(move || status_file::remove(&path)).await;
                }
                Some(error) => {
                    let mut said = self.said.borrow().clone();
                    said.phase = DaemonPhase::Failed;
                    self.put(said, Some(error)).await;
                }
            }
        };
        let _ = timeout(PATIENCE, end).await;
    }

    async fn put(&mut self, said: Said, error: Option<String>) {
        self.last_write().await;
        let path = self.path.clone();
        let document = StatusDocument {
            written: Some(SystemTime::now()),
            phase: said.phase,
            ready_since: said.ready_since,
            error,
            metrics_error: said.metrics_error,
            ..self.document.clone()
        };
        let write = move || {
            let on_board = OnBoard::clone(&said.on_board);
            status_file::write(
                &path,
                &StatusDocument {
                    on_board,
                    ..document
                },
            )
        };
        self.write = Some(tokio::task::spawn_blocking(write));
        self.last_write().await;
    }

    /// Returns when the write that is under way has ended.
    async fn last_write(&mut self) {
        let Some(write) = &mut self.write else {
            return;
        };
        let written = write.await;
        self.write = None;
        let error = written.map_err(std::io::Error::other).flatten().err();
        let was_failing = std::mem::replace(&mut self.is_failing, error.is_some());
        if let (Some(error), false) = (error, was_failing) {
            let (path, error) = (self.path.clone(), error.to_string());
            report(DaemonEvent::StatusNotWritten { path, error });
        }
    }
}
