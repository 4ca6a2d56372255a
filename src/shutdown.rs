//! The signals that end stowd.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The wish that stowd end. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// End in order.
    pub stop: CancellationToken,
    /// End now: whoever asked has asked twice.
    pub hurry: CancellationToken,
}

impl Shutdown {
    /// Hears SIGTERM and SIGINT from now on: the first stops, the second hurries.
    ///
    /// Waits on: both signals.
    pub fn listen() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::default();
        let heard = shutdown.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                };
                if heard.stop.is_cancelled() {
                    warn!(signal = name, "stopping at once: {name} again");
                    heard.hurry.cancel();
                } else {
                    info!(signal = name, "stopping: {name}");
                    heard.stop.cancel();
                }
            }
        });
        Ok(shutdown)
    }
}
