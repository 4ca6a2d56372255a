//! `stowd run`: the daemon, or with `--once` one load of the images directory.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use crate::config::{Config, Inputs, LoadedConfig};
use crate::happened::DaemonEvent;
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
/// when every entry was imported.
pub fn run(
    loaded: LoadedConfig,
    inputs: Inputs,
    mode: Mode,
    edges: &impl Edges,
) -> Result<ExitCode, RunError> {
    logging::init(&loaded.config.log_level)?;
    for warning in &loaded.warnings {
        report(DaemonEvent::ConfigDoubtful(warning.clone()));
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let status = runtime.block_on(serve(loaded.config, inputs, mode, edges));
    runtime.shutdown_timeout(LAST_THREADS);
    Ok(status)
}

async fn serve(config: Config, inputs: Inputs, mode: Mode, edges: &impl Edges) -> ExitCode {
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
        Ok(summary) if mode == Mode::Once && summary.failed > 0 => ExitCode::FAILURE,
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            report(DaemonEvent::Stopped(error.to_string()));
            ExitCode::FAILURE
        }
    }
}
