//! The signals that stowd listens to.
//!
//! SIGHUP means one of two things. A daemon has no terminal, and is told by it to read its
//! configuration again. A program on a terminal is told by it that the terminal is gone, and ends.

use std::env;
use std::fs::{self, File};
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::happened::DaemonEvent;
use crate::reporter::report;

/// The wish that stowd end. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// End in order.
    pub stop: CancellationToken,
    /// End at once: a second signal came.
    pub force: CancellationToken,
}

impl Shutdown {
    /// Listens to SIGTERM and SIGINT from now on, and on a terminal to SIGHUP: the first stops, a
    /// second one forces. A SIGHUP never forces: the kernel and the shell may both send one for the
    /// same terminal.
    ///
    /// Waits on: these signals.
    pub fn listen() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut closed = match on_terminal() {
            true => Some(signal(SignalKind::hangup())?),
            false => None,
        };
        let shutdown = Self::default();
        let heard = shutdown.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = terminate.recv() => "SIGTERM",
                    _ = interrupt.recv() => "SIGINT",
                    () = received(&mut closed) => "SIGHUP",
                };
                if !heard.stop.is_cancelled() {
                    report(DaemonEvent::Stopping(name));
                    heard.stop.cancel();
                } else if name != "SIGHUP" {
                    report(DaemonEvent::StoppingAtOnce(name));
                    heard.force.cancel();
                }
            }
        });
        Ok(shutdown)
    }
}

/// Each SIGHUP that asks a daemon to read its configuration again.
#[derive(Debug)]
pub struct ReloadSignal(Option<Signal>);

impl ReloadSignal {
    /// Listens from now on. On a terminal there are none.
    pub fn listen() -> io::Result<Self> {
        Ok(Self(match on_terminal() {
            true => None,
            false => Some(signal(SignalKind::hangup())?),
        }))
    }

    /// Waits for the next one.
    pub async fn recv(&mut self) {
        received(&mut self.0).await;
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// Whether a SIGHUP would say that the terminal is gone: this process has a controlling terminal
/// (tty(4)), no service manager has started it, and it was not told to ignore SIGHUP as by nohup(1).
fn on_terminal() -> bool {
    let managed = env::var_os("NOTIFY_SOCKET").is_some();
    !managed && File::open("/dev/tty").is_ok() && !was_ignored()
}

/// Whether SIGHUP was ignored when this process began. Once tokio listens to it, it no longer is.
fn was_ignored() -> bool {
    static IGNORED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *IGNORED.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        ignores_hangup(&status)
    })
}

/// What `SigIgn` in a `/proc/PID/status` says of SIGHUP, the signal 1 (proc(5)).
fn ignores_hangup(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ignored_is_the_lowest_bit() {
        let status = |mask| format!("SigBlk:\t0000000000000000\nSigIgn:\t{mask}\nSigCgt:\t1\n");
        assert!(ignores_hangup(&status("0000000000001001")));
        assert!(!ignores_hangup(&status("0000000000001000")));
        assert!(!ignores_hangup(""));
    }
}
