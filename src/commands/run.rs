//! `stowd run`: the daemon, or with `--once` one load of the images directory.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crate::config::{Config, Inputs, LoadedConfig};
use crate::happened::DaemonEvent;
use crate::ledger::Summary;
use crate::ledger_file::{BakedFile, BakedTally, LedgerFile};
use crate::logging::{self, InitError};
use crate::notify::Notifier;
use crate::reporter::report;
use crate::service::{self, Edges, FatalError, Mode};
use crate::shutdown::Shutdown;

/// How long a thread may still read an archive after its import was abandoned.
const LAST_THREADS: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Logging(#[from] InitError),
    /// The system refuses threads or epoll.
    #[error("the runtime cannot be started: {0}")]
    Runtime(#[from] io::Error),
}

/// Tells the service manager why stowd ends, where it does so before its service begins.
pub fn tell_failure(error: &impl Display) {
    Notifier::default().stopping(&format_args!("failed: {error}"));
}

/// Runs the service to its end. The exit status is 0 when it was asked to end; with `Mode::Once`,
/// when every entry was imported. With `keeps` they are the baked set then, or are added to it.
pub fn run(
    loaded: LoadedConfig,
    inputs: Inputs,
    mode: Mode,
    keeps: bool,
    edges: &impl Edges,
) -> Result<ExitCode, RunError> {
    logging::init(&loaded.config.log_level)?;
    for warning in &loaded.warnings {
        report(DaemonEvent::ConfigDoubtful(warning.clone()));
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let bakery = keeps.then(|| Bakery {
        state_dir: loaded.config.state_dir.clone(),
        images_dir: loaded.config.images.dir.clone(),
    });
    let ended = runtime.block_on(serve(loaded.config, inputs, mode, edges));
    runtime.shutdown_timeout(LAST_THREADS);
    Ok(match (ended, bakery) {
        (None, _) => ExitCode::FAILURE,
        (Some(_), None) => ExitCode::SUCCESS,
        (Some(summary), Some(bakery)) => bakery.bake(summary),
    })
}

/// Where what was loaded is written down to be kept.
struct Bakery {
    state_dir: PathBuf,
    images_dir: PathBuf,
}

impl Bakery {
    fn bake(&self, loaded: Summary) -> ExitCode {
        let file = BakedFile::new(&self.state_dir);
        let read = LedgerFile::new(&self.state_dir, &self.images_dir).look();
        let error = match file.bake(read.ledger) {
            Ok(BakedTally { images, .. }) if images < loaded.images => {
                "the ledger on disk lacks some of it".to_owned()
            }
            Ok(BakedTally { entries, images }) => {
                report(DaemonEvent::BakedSetWritten {
                    path: file.path().to_owned(),
                    entries,
                    images,
                });
                return ExitCode::SUCCESS;
            }
            Err(error) => error.to_string(),
        };
        let error = format!("what was loaded is not kept (--keep): {error}");
        report(DaemonEvent::Stopped(error));
        ExitCode::FAILURE
    }
}

/// What has come of the entries; `None` where it failed, which was told.
async fn serve(config: Config, inputs: Inputs, mode: Mode, edges: &impl Edges) -> Option<Summary> {
    let notifier = Notifier::default();
    let ended = match Shutdown::listen() {
        Ok(shutdown) => service::run(config, inputs, mode, notifier, shutdown, edges).await,
        Err(error) => {
            let error = FatalError::from(error);
            notifier.stopping(&format_args!("failed: {error}"));
            Err(error)
        }
    };
    match ended {
        Ok(summary) => (mode != Mode::Once || summary.failed == 0).then_some(summary),
        Err(error) => {
            report(DaemonEvent::Stopped(error.to_string()));
            None
        }
    }
}
