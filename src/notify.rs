//! The service manager: what stowd tells it, by `sd_notify(3)`.

use std::cell::RefCell;
use std::fmt::Display;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tracing::warn;

use crate::progress::Progress;

/// How often the service manager hears of the drain.
const REPORT: Duration = Duration::from_millis(250);

/// How long a start may take from now on, told each time bytes have moved. It must outlast the
/// longest pause in which work goes on and no byte moves: the fsync of a large blob on a slow disk.
const EXTENSION: Duration = Duration::from_secs(5 * 60);

/// The longest status, in bytes. systemd ignores a message of more than 4096 bytes as a whole, and
/// READY or STOPPING with it.
const STATUS_MAX: usize = 1024;

/// Tells the service manager named by `NOTIFY_SOCKET`; without one every call does nothing.
#[derive(Debug, Default)]
pub struct Notifier {
    last_status: RefCell<String>,
}

impl Notifier {
    /// The service has started; `status` says what came of it.
    pub fn ready(&self, status: &impl Display) {
        let status = one_line(status);
        send(&[NotifyState::Ready, NotifyState::Status(&status)]);
        self.last_status.replace(status);
    }

    /// One line for `systemctl status`. The same line again is not sent.
    pub fn status(&self, status: &impl Display) {
        let status = one_line(status);
        if *self.last_status.borrow() != status {
            send(&[NotifyState::Status(&status)]);
            self.last_status.replace(status);
        }
    }

    /// The start, or the stop, may take this long from now on.
    pub fn extend_timeout(&self, by: Duration) {
        let microseconds = u32::try_from(by.as_micros()).unwrap_or(u32::MAX);
        send(&[NotifyState::ExtendTimeoutUsec(microseconds)]);
    }

    /// The service is alive.
    pub fn watchdog(&self) {
        send(&[NotifyState::Watchdog]);
    }

    /// The service is about to end.
    pub fn stopping(&self, status: &impl Display) {
        let status = one_line(status);
        send(&[NotifyState::Stopping, NotifyState::Status(&status)]);
        self.last_status.replace(status);
    }
}

/// The status as it may be sent: short enough, and without the line feeds that would end it. What
/// follows one is an assignment of its own: a file of the name `x\nREADY=1` would say READY.
fn one_line(status: &impl Display) -> String {
    let mut line = status.to_string().replace(char::is_control, " ");
    if line.len() > STATUS_MAX {
        line.truncate(line.floor_char_boundary(STATUS_MAX));
        line.push('…');
    }
    line
}

fn send(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "service manager not told: {error}");
    }
}

/// Reports progress until the drain has ended: STATUS when it changes, EXTEND_TIMEOUT_USEC when
/// bytes have moved. A load that is stuck is left to `TimeoutStartSec`.
///
/// Waits on: the clock; the end of the drain.
pub async fn report_drain(notifier: &Notifier, mut progress: watch::Receiver<Progress>) {
    let mut clock = tokio::time::interval(REPORT);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let shown = progress.clone();
    let mut seen = (0, 0);
    loop {
        tokio::select! {
            _ = clock.tick() => {
                let now = shown.borrow().clone();
                let moved = now.marks();
                if moved != seen {
                    seen = moved;
                    notifier.extend_timeout(EXTENSION);
                }
                notifier.status(&now);
            }
            ended = progress.wait_for(|progress| progress.drained) => {
                // An error is an intake that has ended; whoever joins it knows why.
                let _ = ended;
                return;
            }
        }
    }
}

/// Feeds the watchdog for as long as the work loop turns; for ever without `WatchdogSec`.
///
/// Waits on: the clock.
pub async fn feed_watchdog(notifier: &Notifier, progress: &watch::Receiver<Progress>) {
    let Some(limit) = sd_notify::watchdog_enabled() else {
        return std::future::pending().await;
    };
    // Half of the limit is what sd_watchdog_enabled(3) recommends.
    let mut clock = tokio::time::interval_at(Instant::now() + limit / 2, limit / 2);
    let mut turns = None;
    loop {
        clock.tick().await;
        let now = progress.borrow().turns;
        if turns != Some(now) {
            turns = Some(now);
            notifier.watchdog();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_line_that_systemd_takes() {
        let ready = "ready: 36 images from 12 entries, 1 failed; watching /var/lib/stowd/images";
        assert_eq!(one_line(&ready), ready);
        assert_eq!(one_line(&"a\nREADY=1\r\tb"), "a READY=1  b");
        assert_eq!(one_line(&"é".repeat(600)), format!("{}…", "é".repeat(512)));
        let odd = format!("a{}", "é".repeat(600));
        assert_eq!(one_line(&odd), format!("a{}…", "é".repeat(511)));
    }
}
